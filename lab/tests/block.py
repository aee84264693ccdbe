#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Our block frontend with Linux's backend: data, detaching, restarts, resizes. Arguments:
names of tests, by default all that need no special run. Needs one guest."""

import os
import re
import sys
import time

import block_fs
from blockdev import (SIZE, Verified, Writer, attach, counters, detach, disks, fio, gone, load, medium,
                      whole)
from labtest import (Report, check, domid, event_channels, finish, guest, guest_start, guests,
                     memory_leaks, run, save_and_go_on, save_restore, status, wait_for, xen_grants)


def data(name):
    """Persistent, direct, without indirect segments; small rings and large."""
    device = medium("r0")
    attach_first = True
    for options, seen in (("", "copied"), ("persistent=2", "granted as it lies"),
                          ("persistent=2 max_indirect_segments=0", "11 segments"),
                          ("max_indirect_segments=32 max_ring_page_order=0 max_rings=1", "rings 1")):
        load(name, options)
        if attach_first:
            attach(name, device)
            attach_first = False
        wait_for("xvda", lambda: status(f"guest {name} test -b /dev/xvda") == 0)
        counters(name)
        shown = guest(name, "cat /sys/kernel/debug/xpv-blkfront/*/disk")
        check(seen in shown and "flush 1" in shown and "discard 1" in shown, shown)
        check("[none]" in guest(name, "cat /sys/block/xvda/queue/scheduler"), "a scheduler")
        whole(name, size="6m" if "persistent=2" in options else "24m")
        count = counters(name)
        print(f"# {options or 'default'}: {count}", flush=True)
        check(count["errors"] == 0 and count["timeouts"] == 0, f"{count}")
        guest(name, "rmmod xpv-blkfront")
    load(name)
    wait_for("xvda", lambda: status(f"guest {name} test -b /dev/xvda") == 0)
    detach(name)
    guest(name, "rmmod xpv-blkfront")


def discards(name):
    device = medium("r1")
    load(name)
    attach(name, device)
    guest(name, "dd if=/dev/urandom of=/dev/xvda bs=1M count=8 oflag=direct status=none; "
          "blkdiscard -o 1048576 -l 2097152 /dev/xvda; "
          "dd if=/dev/xvda bs=1M skip=1 count=2 iflag=direct status=none | cmp -n 2097152 - /dev/zero")
    detach(name)
    gone("r1")
    guest(name, "rmmod xpv-blkfront")


def polls(name):
    """Who polls is not interrupted; others in the same ring are, and get what is theirs."""
    device = medium("r0")
    load(name, "poll_queues=1")
    attach(name, device)
    check(guest(name, "cat /sys/block/xvda/queue/io_poll").strip() == "1", "no polling")
    # Not preadv2's RWF_HIPRI: the kernel polls for io_uring alone.
    engines = ("--ioengine=io_uring --hipri --iodepth=8", "--ioengine=io_uring --hipri --iodepth=1")

    def polled(engine):
        output = guest(name, fio("/dev/xvda", f"--offset=36m --rw=randwrite --bs=4k {engine}",
                                 size="8m"), timeout=600)
        check("err= 0" in output, output[-2000:])
    for engine in engines:
        before = counters(name)
        polled(engine)
        count = {key: value - before[key] for key, value in counters(name).items()}
        print(f"# {engine}: {count}", flush=True)
        check(count["polled"] >= 4096 and count["events"] < count["polled"] / 20, f"{count}")
    with Verified(name):
        for engine in engines:
            polled(engine)
    check(counters(name)["timeouts"] == 0, f"{counters(name)}")
    detach(name)
    gone("r0")
    guest(name, "rmmod xpv-blkfront")


def comes_and_goes(name):
    """Attach and detach again and again; not while in use; nothing is left."""
    device = medium("r0")
    load(name)
    attach(name, device)
    detach(name)
    grants, channels = xen_grants().get(domid(name)), event_channels(domid(name))
    for turn in range(8):
        attach(name, device)
        guest(name, "dd if=/dev/xvda of=/dev/null bs=1M count=4 iflag=direct status=none")
        if turn % 4 == 0:
            holder = guest_start(name, "exec 3</dev/xvda; echo held; sleep 3; "
                                 "dd bs=4k count=1 of=/dev/null <&3")
            time.sleep(0.5)
            detach(name)  # by the last close
            finish(holder)
        else:
            detach(name)
    check(xen_grants().get(domid(name)) == grants and event_channels(domid(name)) == channels,
          f"grants {grants} before, {xen_grants()} after")
    guest(name, "rmmod xpv-blkfront")


def under_io(name):
    """Disks come and go while another one works; and one that works goes at its end."""
    first, second = medium("r0"), medium("r1")
    load(name)
    attach(name, first)
    with Verified(name):
        for turn in range(6):
            attach(name, second, "xvdb")
            # fio closes its file between two passes, and the last close lets the disk go.
            holder = guest_start(name, "exec 3< /dev/xvdb; " + fio(
                "/dev/xvdb", "--rw=randwrite --bsrange=512-64k --bs_unaligned=0 --iodepth=8",
                runtime=4))
            wait_for("xvdb works", lambda: int(guest(name, "cat /sys/block/xvdb/stat").split()[4]) > 20)
            detach(name, "xvdb")
            output = finish(holder)
            check("err= 0" in output and "error=" not in output.replace("error=0", ""), output)
    detach(name)
    gone("r1")
    guest(name, "rmmod xpv-blkfront")


def vbds():
    return re.findall(r"vbd-\d+-\d+", run("ls /sys/bus/xen-backend/drivers/vbd"))


def restarts(name):
    """blkback unbound and bound again, ours reloaded, under fio with verify."""
    device = medium("r0")
    for options in ("", "persistent=2"):
        load(name, options)
        if "xvda" not in disks(name):
            attach(name, device)
        wait_for("xvda", lambda: status(f"guest {name} test -b /dev/xvda") == 0)
        with Verified(name):
            for turn in range(4):
                vbd = vbds()[0]
                run(f"echo {vbd} > /sys/bus/xen-backend/drivers/vbd/unbind")
                time.sleep(1 if turn % 2 else 0)
                run(f"echo {vbd} > /sys/bus/xen-backend/drivers/vbd/bind")
                before = counters(name)["requests"]
                wait_for("requests go on", lambda: counters(name)["requests"] > before + 50, 60)
        print(f"# {counters(name)}", flush=True)
        guest(name, "rmmod xpv-blkfront")
    load(name)
    wait_for("xvda", lambda: status(f"guest {name} test -b /dev/xvda") == 0)
    detach(name)
    guest(name, "rmmod xpv-blkfront")


def limits(name):
    """The next backend has a disk without a cache, while somebody waits for a frozen queue,
    with the lock of its limits: neither waits for the other."""
    device = medium("r0")
    load(name)
    attach(name, device)
    queue = "/sys/block/xvda/queue"
    with Verified(name):
        vbd = vbds()[0]
        run(f"echo {vbd} > /sys/bus/xen-backend/drivers/vbd/unbind")
        stuck = [guest_start(name, f"echo {value} > {queue}/{key}; echo done")
                 for key, value in (("max_sectors_kb", "64"), ("scheduler", "mq-deadline"))]
        time.sleep(2)
        run("echo write through > /sys/block/r0/queue/write_cache")
        run(f"echo {vbd} > /sys/bus/xen-backend/drivers/vbd/bind")
        before = counters(name)["requests"]
        wait_for("requests go on", lambda: counters(name)["requests"] > before + 50, 60)
        wait_for("no cache", lambda: guest(name, f"cat {queue}/write_cache").strip() == "write through")
        for process in stuck:
            check("done" in finish(process), "the queue's attributes")
    check("[mq-deadline]" in guest(name, f"cat {queue}/scheduler"), "the scheduler")
    detach(name)
    guest(name, "rmmod xpv-blkfront")


def knobs(name):
    """Parameters that change under a live disk; wrong values are refused by name and range."""
    parameters = "/sys/module/xpv_blkfront/parameters"
    device = medium("r0")
    load(name)
    attach(name, device)
    count = counters(name)  # and debugfs is there
    for knob, wrong, low, high in (("pool_pages", "767", 768, 1024), ("event_batch", "0", 1, 64),
                                   ("fail_after_s", "-1", 0, 86400), ("max_rings", "9", 1, 8),
                                   ("persistent", "yes", 0, 2), ("detach_in_use", "2", 0, 1),
                                   ("max_indirect_segments", "257", 0, 256),
                                   ("max_ring_page_order", "", 0, 4)):
        before = guest(name, f"cat {parameters}/{knob}")
        check(status(f"guest {name} 'echo {wrong} > {parameters}/{knob}'") != 0, f"{knob} = {wrong}")
        said = guest(name, "dmesg | tail -1")
        check(f'parameter {knob}: "{wrong}" is not a number in {low}..{high}' in said, said)
        check(guest(name, f"cat {parameters}/{knob}") == before, f"{knob} is not what it was")

    def set_(knob, value):
        guest(name, f"echo {value} > {parameters}/{knob}")

    def shown():
        return guest(name, "cat /sys/kernel/debug/xpv-blkfront/*/disk")
    with Verified(name):
        check(" of 1024" in shown(), shown())
        set_("pool_pages", 768)
        check(" of 768" in shown(), shown())
        set_("event_batch", 16)
        time.sleep(2)
        set_("pool_pages", 1024)
        set_("persistent", 2)  # of the next connection
        check("copied" in shown(), shown())
        vbd = vbds()[0]
        run(f"echo {vbd} > /sys/bus/xen-backend/drivers/vbd/unbind; "
            f"echo {vbd} > /sys/bus/xen-backend/drivers/vbd/bind")
        wait_for("another connection", lambda: "granted as it lies" in shown(), 60)
    segments = {line.split()[0]: int(line.split()[1]) for line in
                guest(name, "cat /sys/kernel/debug/xpv-blkfront/*/segments").splitlines()}
    count = counters(name)
    print(f"# {segments} {count}", flush=True)
    check(list(segments) == [str(1 << i) for i in range(9)] and segments["64"] > 0, f"{segments}")
    check(0 < sum(segments.values()) <= count["requests"] and count["errors"] == 0, f"{count}")
    # A deadline for a backend that is gone: without a word, which the second timeout notices.
    run(f"echo {vbd} > /sys/bus/xen-backend/drivers/vbd/unbind")
    reader = guest_start(name, "dd if=/dev/xvda of=/dev/null bs=4k count=1 iflag=direct 2>&1; echo ended $?")
    time.sleep(2)
    check(reader.poll() is None, "no wait for the backend")
    set_("fail_after_s", 3)
    check("ended 1" in reader.communicate(timeout=240)[0], "dd did not fail")
    run(f"echo {vbd} > /sys/bus/xen-backend/drivers/vbd/bind")
    wait_for("reads go on", lambda: status(f"guest {name} dd if=/dev/xvda of=/dev/null bs=4k count=1") == 0)
    detach(name)
    guest(name, "rmmod xpv-blkfront")


# Longer than a backend takes to go and come, in the emulator.
LATE_S = 20


def late_writes(name):
    """A former backend's write that is still on its way when the next one serves: nothing
    that came after it may be lost. The old one writes through a delay, the new one does not."""
    device = medium("r0")
    run("modprobe dm_delay && dmsetup create late --table "
        f"'0 {2048 * SIZE} delay {device} 0 0 {device} 0 {LATE_S * 1000}'")
    late = os.path.realpath("/dev/mapper/late")
    in_flight = f"/sys/block/{os.path.basename(late)}/inflight"
    number = os.stat(device).st_rdev
    for options in ("", "persistent=2"):
        load(name, options)
        if "xvda" not in disks(name):
            attach(name, late)
        wait_for("xvda", lambda: status(f"guest {name} test -b /dev/xvda") == 0)
        # The disk is there for the test alone: nobody looks for partitions meanwhile.
        write = "yes {0} | head -c 4096 > /tmp/{0}; dd if=/tmp/{0} of=/dev/xvda oflag=direct bs=4k status=none"
        writer = guest_start(name, f"{write.format('old')} && {write.format('new')} && echo written")
        wait_for("the old write is under way", lambda: int(run(f"cat {in_flight}").split()[1]) > 0)
        vbd = vbds()[0]
        backend = f"/local/domain/0/backend/vbd/{vbd[4:].replace('-', '/')}"
        run(f"echo {vbd} > /sys/bus/xen-backend/drivers/vbd/unbind; "
            f"xenstore-write {backend}/physical-device {os.major(number):x}:{os.minor(number):x}; "
            f"echo {vbd} > /sys/bus/xen-backend/drivers/vbd/bind")
        check(int(run(f"cat {in_flight}").split()[1]) > 0, "the old write was over too soon: LATE_S")
        check("written" in finish(writer, 300), "the writer")
        wait_for("the old write is over", lambda: int(run(f"cat {in_flight}").split()[1]) == 0, 60)
        found = run(f"echo 3 > /proc/sys/vm/drop_caches; head -c 4 {device}").strip()
        count = counters(name)
        print(f"# {options or 'default'}: {found}, {count['replayed']} replayed", flush=True)
        check(found == "new", f"'{found}' is on the medium")
        check(count["replayed"] > 0 and count["errors"] == 0, f"{count}")
        detach(name)
        guest(name, "rmmod xpv-blkfront")
    run("dmsetup remove late")


def resizes(name):
    run("truncate -s 32M /tmp/d; losetup /dev/loop3 /tmp/d")
    load(name)
    attach(name, "/dev/loop3")
    for size in (64, 16, 32):
        run(f"truncate -s {size}M /tmp/d; losetup -c /dev/loop3")
        wait_for(f"{size} MB", lambda: guest(name, "cat /sys/block/xvda/size").strip() ==
                 str(size * 2048))
        guest(name, "dd if=/dev/zero of=/dev/xvda bs=1M count=16 oflag=direct status=none")
    detach(name)
    run("losetup -d /dev/loop3; rm /tmp/d")
    guest(name, "rmmod xpv-blkfront")


def kinds(name):
    """Read-only, 4096-byte blocks, other names."""
    device = medium("r2", blocksize=4096)
    load(name)
    attach(name, device, "xvdb")
    check(guest(name, "cat /sys/block/xvdb/queue/logical_block_size").strip() == "4096", "512")
    output = guest(name, fio("/dev/xvdb", "--rw=randwrite --bsrange=4k-1m --iodepth=8"), timeout=600)
    check("err= 0" in output, output)
    detach(name, "xvdb")
    gone("r2")
    device = medium("r0")
    for vdev in ("xvda1", "xvdq", "xvdaa"):
        attach(name, device, vdev, "r")
        check(guest(name, f"cat /sys/block/{vdev}/ro").strip() == "1", "writable")
        check(status(f"guest {name} dd if=/dev/zero of=/dev/{vdev} bs=4k count=1") != 0, "written")
        detach(name, vdev)
    guest(name, "rmmod xpv-blkfront")


def suspends(name):
    """Saved and going on, saved and restored, under fio with verify. Xen needs memory for
    it."""
    device = medium("r0")
    load(name)
    attach(name, device)
    writer = Writer(name)
    writer.begin()
    wait_for("fio runs", lambda: counters(name)["requests"] > 200, 120)
    for way in (save_and_go_on, save_restore):
        way(name)
        before = counters(name)["requests"]
        wait_for("requests go on", lambda: counters(name)["requests"] > before + 50, 120)
        print(f"# {way.__name__}: {counters(name)}", flush=True)
    writer.end()
    detach(name)
    guest(name, "rmmod xpv-blkfront")


def leaks(name):
    """For the debug kernel, after the others."""
    memory_leaks(lambda command: guest(name, command))


# What `lab run --disk` makes, as its options say: kind, sector, read-only, backend.
# Few, since libxl gives the hotplug scripts of all of them 40 s together.
GIVEN = ("power,size=512", "file,ro", "file,sector=4096", "null,size=4096",
         "ram,backend=qdisk,size=33")


def given(name):
    """The disks of the run, there since the guest's boot. For a run with GIVEN."""
    disks_ = os.environ["LAB_DISKS"].split()
    check(len(disks_) == len(GIVEN), f"{disks_}")
    for disk, options in zip(disks_, GIVEN):
        sysfs = {what: guest(name, f"cat /sys/block/{disk}/{what}").strip() for what in
                 ("size", "ro", "queue/logical_block_size", "queue/write_cache", "device/modalias")}
        kind, size = options.split(",")[0], re.search(r"size=(\d+)", options)
        wanted = {"size": str((int(size[1]) if size else 64) * 2048), "ro": str(int(",ro" in options)),
                  "queue/logical_block_size": "4096" if "sector=4096" in options else "512",
                  "device/modalias": "xen:vbd",
                  # Without a cache nothing is flushed; qemu always says that it can.
                  "queue/write_cache": "write through" if (kind == "null" or ",ro" in options) and
                  "qdisk" not in options else "write back"}
        check(sysfs == wanted, f"{disk} {options}: {sysfs}, not {wanted}")
        backend = run(f"xenstore-ls -f /local/domain/0/backend | grep /{domid(name)}/ | "
                      f"grep '/dev = \"{disk}\"'")
        check(("/qdisk/" if "qdisk" in options else "/vbd/") in backend, backend)
        if "ro" in options.split(","):
            check(status(f"guest {name} dd if=/dev/zero of=/dev/{disk} bs=4k count=1") != 0, "written")
        elif kind != "null":
            output = guest(name, fio(f"/dev/{disk}", "--rw=randwrite --bsrange=4k-256k --iodepth=8 "
                                     "--fsync=20", size="16m"), timeout=600)
            check("err= 0" in output, output)
            medium_ = f"/dev/lab/{name}-{disk}"
            run("echo 3 > /proc/sys/vm/drop_caches")
            theirs = run(f"dd if={medium_} bs=1M count=16 status=none | sha256sum")
            check(guest(name, f"dd if=/dev/{disk} bs=1M count=16 iflag=direct status=none | "
                        "sha256sum") == theirs, f"{disk} {options}: dom0 sees other data")
        print(f"# {disk} {options}: ok", flush=True)


SPECIAL = {"suspends": suspends, "given": given, "leaks": leaks,
           **block_fs.TESTS}
TESTS = {test.__name__: test for test in (data, discards, kinds, polls, comes_and_goes, under_io, resizes,
                                          limits, restarts, late_writes, knobs)}


def main():
    report = Report()
    name = guests()[0]
    for test in sys.argv[1:] or TESTS:
        report.test(test, {**TESTS, **SPECIAL}[test], name)
        if report.failed:
            print("# " + "\n# ".join(guest(name, "dmesg | tail -40; cat /sys/kernel/debug/"
                                            "xpv-blkfront/*/*", ok=False).splitlines()), flush=True)
            print("# " + "\n# ".join(run("dmesg | tail -20; xenstore-ls -f | grep vbd", ok=False)
                                     .splitlines()), flush=True)
            break
    report.finish()


main()
