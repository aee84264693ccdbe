# SPDX-License-Identifier: GPL-2.0-only
"""File systems on our disks: trees that survive a detach, acknowledged fsyncs that survive
a power cut. The run's first disk is of kind power (lab run --disk power)."""

import os
import re
import subprocess
import time

from blockdev import attach, detach
from labtest import check, domid, guest, run, status, wait_for

CONFIG = "/sys/kernel/config/nullb"
# A small journal, where there can be one: what mkfs writes is dom0's memory.
MKFS = {"ext4": "mkfs.ext4 -q -F -J size=8", "xfs": "mkfs.xfs -q -f",
        "btrfs": "mkfs.btrfs -q -f"}
FSCK = {"ext4": "e2fsck -fn", "xfs": "xfs_repair -n", "btrfs": "btrfs check --readonly"}
MOUNT = "mkdir -p /mnt; modprobe -q {0}; mount -t {0} /dev/xvda /mnt"
TREES = "bin sbin lib/x86_64-linux-gnu"  # of /usr; some 30 MB
WRITES = 60  # acknowledged before a cut


def medium(name):
    """The run's power disk in dom0."""
    path = f"/dev/lab/{name}-xvda"
    check(os.path.exists(f"{CONFIG}/{os.path.basename(path)}/cache_size"), f"{path} is not --disk power")
    return path


def survives(kind, name):
    """A tree written in the guest is whole after a detach and an attach, says its sha256 there
    and the file system's own check in dom0."""
    disk = medium(name)
    if "xvda" in guest(name, "ls /sys/block"):
        detach(name)
    run(f"{MKFS[kind]} {disk}")
    attach(name, disk)
    guest(name, f"{MOUNT.format(kind)}; cd /usr; tar cf - {TREES} | tar xf - -C /mnt; "
          "for i in $(seq 40); do dd if=/dev/urandom of=/mnt/f$i bs=$((i * 977)) count=3 status=none; done; "
          "rm -r /mnt/sbin; cd /mnt; find . -type f -exec sha256sum {} + > /tmp/sums; "
          "cd /; umount /mnt", timeout=600)
    detach(name)
    output = run(f"{FSCK[kind]} {disk} 2>&1", timeout=600)
    attach(name, disk)
    guest(name, f"{MOUNT.format(kind)}")
    count = guest(name, "cd /mnt; sha256sum -c --quiet /tmp/sums >&2; wc -l < /tmp/sums", timeout=600)
    check(int(count) > 50, f"{count} files")
    print(f"# {kind}: {count.strip()} files; {output.strip().splitlines()[-1]}", flush=True)
    # What was trimmed is not missed.
    guest(name, "rm -r /mnt/bin; sync; fstrim /mnt; cd /mnt; grep -v ' ./bin/' /tmp/sums | "
          "sha256sum -c --quiet -; cd /; umount /mnt", timeout=600)


def cut(name):
    """The guest and the medium's power go at once; what is left of it."""
    disk = medium(name)
    if status(f"xl domid {name}") == 0:
        domain = domid(name)
        run(f"xl destroy {name}")
        wait_for("the backend is gone", lambda: f"vbd-{domain}-" not in
                 run("ls /sys/bus/xen-backend/devices"))
    place = f"{CONFIG}/{os.path.basename(disk)}/power"
    run(f"echo 0 > {place}; echo 1 > {place}")
    wait_for("the medium is back", lambda: status(f"test -b {disk}") == 0)
    return disk


def anew(name):
    run(f"xl create /etc/xen/{name}.cfg", timeout=300)
    run(f"guest-wait {name} 300", timeout=400)
    wait_for("xvda", lambda: status(f"guest {name} test -b /dev/xvda") == 0)


def acknowledged(name):
    """Files written and flushed one by one, until some were; the last number told. All three
    file systems promise the name of a new file that was flushed, too."""
    writer = subprocess.Popen(["guest", name, "sh", "-c", "n=0; while :; do n=$((n + 1)); echo $n | "
                               "dd of=/mnt/n$n conv=fsync status=none && echo $n; done"], text=True, stdout=subprocess.PIPE)
    last = 0
    for line in writer.stdout:
        last = int(line)
        if last == WRITES:
            break
    check(last == WRITES, f"the writer ended at {last}")
    return writer, last


def power_cut(kind, name, flushes=True):
    """How many acknowledged files there were, and how many are missing after the cut."""
    disk = cut(name)
    run(f"{MKFS[kind]} {disk}; sync")
    if not flushes:  # then blkback has no flush node for the guest
        run(f"echo write through > /sys/block/{os.path.basename(disk)}/queue/write_cache")
    anew(name)
    seen = guest(name, "cat /sys/block/xvda/queue/write_cache").strip()
    check((seen == "write back") == flushes, f"the guest's disk: {seen}")
    guest(name, MOUNT.format(kind))
    writer, last = acknowledged(name)
    time.sleep(0.5)
    disk = cut(name)
    # What came through the channel until then was acknowledged, too.
    last = max(last, *map(int, re.findall(r"\d+", writer.stdout.read())), 0)
    writer.wait(60)
    run("mkdir -p /mnt")
    mounted = status(f"modprobe -q {kind}; mount -t {kind} {disk} /mnt") == 0
    there = set(os.listdir("/mnt")) if mounted else set()
    missing = 0
    for number in range(1, last + 1):
        path = f"/mnt/n{number}"
        if f"n{number}" not in there or open(path, encoding="ascii").read() != f"{number}\n":
            missing += 1
    if mounted:
        run("umount /mnt")
    print(f"# {kind}: {last} acknowledged, {missing} missing, "
          f"{'mounted' if mounted else 'not mounted'}", flush=True)
    return last, missing


def keeps(kind, name):
    last, missing = power_cut(kind, name)
    check(missing == 0, f"{kind}: {missing} of {last} acknowledged files are missing")


def loses(name):
    """The test of the test: without the backend's flush node, it fails."""
    last, missing = power_cut("ext4", name, flushes=False)
    check(missing > 0, f"none of {last} files is missing, though nothing was flushed")


TESTS = {**{f"tree-{kind}": lambda name, kind=kind: survives(kind, name) for kind in MKFS},
         **{f"power-cut-{kind}": lambda name, kind=kind: keeps(kind, name) for kind in MKFS},
         "power-cut-unflushed": loses}
