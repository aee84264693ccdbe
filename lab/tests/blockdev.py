# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of block devices share: media, attaching and detaching, fio with verify."""

import os
import re
import time

from labtest import check, guest, guest_start, run, status, wait_for

MODULES = "/lib/modules/xpv"
CONFIG = "/sys/kernel/config/nullb"
SIZE = 48  # MB of a medium


def medium(name, size=SIZE, **more):
    """A null_blk with memory, discard and a cache, which is volatile: /dev/NAME."""
    run("modprobe configfs; mountpoint -q /sys/kernel/config || mount -t configfs none "
        "/sys/kernel/config; modprobe null_blk nr_devices=0")
    values = {"memory_backed": 1, "size": size, "discard": 1, "queue_mode": 2, "cache_size": 8,
              "blocksize": 512, **more, "power": 1}
    if os.path.exists(f"{CONFIG}/{name}"):
        gone(name)
    os.makedirs(f"{CONFIG}/{name}")
    for key, value in values.items():
        run(f"echo {value} > {CONFIG}/{name}/{key}")
    return f"/dev/{name}"


def gone(name):
    run(f"echo 0 > {CONFIG}/{name}/power", ok=False)
    run(f"rmdir {CONFIG}/{name}", ok=False)


def disks(name):
    return re.findall(r"xvd\w+", guest(name, "ls /dev /sys/block", ok=False))


def attach(name, target, vdev="xvda", access="w"):
    run(f"xl block-attach {name} format=raw,vdev={vdev},access={access},target={target}")
    wait_for(f"{vdev} is there", lambda: status(f"guest {name} test -b /dev/{vdev}") == 0)


def detach(name, vdev="xvda", ok=True):
    began = time.time()
    output = run(f"xl block-detach {name} {vdev}", ok=ok)
    ended = time.time() - began
    if ok:
        wait_for(f"{vdev} is gone", lambda: vdev not in disks(name))
        print(f"# {vdev}: xl {ended:.1f} s, gone after {time.time() - began:.1f} s", flush=True)
    return output


def load(name, options=""):
    guest(name, f"insmod {MODULES}/xpv-blkfront.ko {options}")


def counters(name):
    text = guest(name, "[ -d /sys/kernel/debug/xpv-blkfront ] || mount -t debugfs none /sys/kernel/debug;"
                 " cat /sys/kernel/debug/xpv-blkfront/*/counters")
    return {line.split()[0]: int(line.split()[1]) for line in text.splitlines()}


def fio(device, what, runtime=0, size="32m"):
    return (f"exec fio --name=v --filename={device} --direct=1 --ioengine=libaio --size={size} "
            f"--verify=crc32c --verify_fatal=1 --verify_backlog=64 --randrepeat=0 "
            f"{f'--time_based --runtime={runtime} ' if runtime else ''}{what} 2>&1")


MIXED = "--rw=randwrite --bsrange=512-256k --bs_unaligned=0 --iodepth=16 --fsync=50"


def sound(output):
    """What fio with verify said."""
    check("verify:" not in output and "error=" not in output.replace("error=0", "") and
          re.search(r"err= 0", output), f"fio: {output[-3000:]}")


class Verified:
    """fio with verify in the guest for as long as the block runs; it must not notice."""

    def __init__(self, name, device="/dev/xvda"):
        self.name = name
        self.command = fio(device, MIXED, runtime=600)

    def __enter__(self):
        self.process = guest_start(self.name, self.command.replace("exec ", "", 1) +
                                   "; echo ended $?")
        wait_for("fio runs", lambda: counters(self.name)["requests"] > 200, 120)
        return self

    def __exit__(self, kind, *_):
        guest(self.name, "killall -INT fio", ok=False)
        output = self.process.communicate(timeout=300)[0]
        if kind is None:
            sound(output)


class Writer:
    """fio with verify as a program of the guest's own: a call does not outlive a restore."""

    def __init__(self, name, device="/dev/xvda", more="", runtime=3000):
        self.name = name
        self.command = fio(device, f"{MIXED} {more}", runtime=runtime).replace("exec ", "", 1)

    def begin(self):
        guest(self.name, f"rm -f /tmp/fio; echo '({self.command}) > /tmp/fio; echo status $? >> /tmp/fio' "
              "> /tmp/fio.sh; setsid /usr/bin/sh /tmp/fio.sh > /dev/null 2>&1 &")

    def end(self):
        guest(self.name, "killall -INT fio", ok=False)
        wait_for("fio ends", lambda: "status" in guest(self.name, "cat /tmp/fio"), 300)
        sound(guest(self.name, "cat /tmp/fio"))


def whole(name, device="/dev/xvda", size="24m"):
    """Every kind of request, verified. Direct grants are slow under emulation."""
    for what in ("--rw=randwrite --bs=4k --iodepth=32",
                 "--rw=randwrite --bsrange=512-1m --iodepth=8 --fsync=20",
                 "--rw=write --bs=1m --iodepth=4",
                 "--rw=randrw --bsrange=512-64k --iodepth=16",
                 "--rw=randwrite --bs=4k --iodepth=64 --iodepth_batch_submit=16 "
                 "--iodepth_batch_complete_min=8"):
        output = guest(name, fio(device, what, size=size), timeout=600)
        check("err= 0" in output, output[-2000:])
    # 512 bytes off a page, and not through the page cache.
    guest(name, f"dd if=/dev/urandom of=/tmp/s bs=512 count=4001 status=none; "
          f"dd if=/tmp/s of={device} bs=512 seek=7 oflag=direct status=none; sync; "
          f"dd if={device} bs=512 skip=7 count=4001 iflag=direct status=none | cmp - /tmp/s; "
          "rm /tmp/s")
