#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Measurements in dom0 for scripts/bench: block frontends in turn over one backend and one
medium, in one guest, under counted instructions. Prints one JSON line a figure, as bench.py
does; the stacks are linux, xpv and direct, which is fio in dom0 on the medium itself.

usage: block_bench.py ROUNDS SECONDS PREFIX [account]    (guest of the run: g1, with xvda)
"""

import json
import sys
import time

import account
import hypercalls
from labtest import check, guest, run, status, wait_for

ROUNDS, SECONDS, PREFIX = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
GUEST, DISK = "g1", "xvda"
MEDIUM = f"/dev/lab/{GUEST}-{DISK}"
MODULES = {"linux": "xen-blkfront", "xpv": "xpv-blkfront"}
SLOW = 900  # seconds that the emulated machine has for anything

# What is measured, in this order: frontend; scheduler, none for the driver's default; the
# end of the names. Ours chooses none by itself, so its figures stand beside both.
VARIANTS = (("linux", None, ("",)), ("linux", "none", ("/over-none",)),
            ("xpv", None, ("", "/over-none")))
BATCHES = " --iodepth_batch_submit=16 --iodepth_batch_complete_min=16"
CASES = [(f"blk/{what}4k-{depth}", "kIO/s", f"--rw=rand{what} --bs=4k --iodepth={flags}")
         for depth, flags in (("1", "1"), ("32", "32"), ("32-batch16", "32" + BATCHES))
         for what in ("read", "write")]
CASES += [(f"blk/{what}1m-4", "MB/s", f"--rw={what} --bs=1m --iodepth=4")
          for what in ("read", "write")]


def emit(stack, name, unit, value, turn):
    print(json.dumps({"stack": stack, "name": name, "unit": unit, "value": value,
                      "round": turn}), flush=True)


def say(text):
    print(f"# {text}", flush=True)


def swap(stack, current):
    """The guest's frontend from one to the other; Linux's cannot go while it has a disk."""
    if stack == current:
        return
    run(f"xl block-detach {GUEST} {DISK}", SLOW)
    wait_for(f"{DISK} is gone", lambda: DISK not in guest(GUEST, "ls /sys/block", SLOW), SLOW)
    guest(GUEST, f"rmmod {MODULES[current]} && modprobe {MODULES[stack]}", SLOW)
    run(f"xl block-attach {GUEST} format=raw,vdev={DISK},access=w,target={MEDIUM}", SLOW)
    wait_for(f"{DISK} is there", lambda: status(f"guest {GUEST} test -b /dev/{DISK}") == 0, SLOW)


def schedule(stack, scheduler):
    """The disk's scheduler; a driver that is not the wanted one is no measurement."""
    loaded = guest(GUEST, "lsmod", SLOW)
    check(MODULES[stack].replace("-", "_") in loaded, f"not {stack}'s frontend: {loaded}")
    file = f"/sys/block/{DISK}/queue/scheduler"
    if scheduler:
        guest(GUEST, f"echo {scheduler} > {file}", SLOW)
    say(f"{stack}: schedulers {guest(GUEST, f'cat {file}', SLOW).strip()}")


def fio(stack, flags, seconds):
    """One run: I/Os and bytes a second, and how many I/Os there were."""
    device = MEDIUM if stack == "direct" else f"/dev/{DISK}"
    command = (f"fio --name=b --filename={device} --direct=1 --ioengine=libaio --time_based "
               f"--runtime={seconds} --gtod_reduce=1 --size=1g --output-format=json {flags}")
    text = run(command, SLOW) if stack == "direct" else guest(GUEST, command, SLOW)
    job = json.loads(text[text.index("{"):])["jobs"][0]
    check(job["error"] == 0, text)
    one = job["read" if job["read"]["total_ios"] else "write"]
    return one["iops"], one["bw_bytes"], one["total_ios"]


def measured(stack, name, ends, unit, flags, turn):
    ios, size, _ = fio(stack, flags, SECONDS)
    for end in ends:
        emit(stack, name + end, unit, size / 1e6 if unit == "MB/s" else ios / 1e3, turn)


def counted(stack, name, ends, flags, turn):
    """Notifications and grant operations an I/O, of a second that is not measured: the
    trace is paid for in instructions."""
    with hypercalls.Trace() as trace:
        _, _, total = fio(stack, flags, 1)
    counts = trace.counts()
    say(f"hypercalls, {total} I/Os: {counts}")
    check(not trace.lost, f"{trace.lost} trace records were lost: the buffer of "
          f"{hypercalls.PAGES} pages is too small for {name}")
    for what in ("notifications", "grant-ops"):
        for end in ends:
            emit(stack, f"{name}{end}/{what}-per-io", "1/io", counts[what] / total, turn)


def accounts(wanted):
    """Each case between marks, for scripts/bench --account: a line for each."""
    account.frames([GUEST])
    current, file = "linux", 0
    for stack, scheduler, ends in VARIANTS:
        swap(stack, current)
        current = stack
        schedule(stack, scheduler)
        account.symbols(stack, [GUEST])
        for name, _, flags in wanted:
            say(f"{stack} {name}{ends[0]}")
            begin = time.monotonic()
            account.start()
            _, _, total = fio(stack, flags, SECONDS)
            account.stop()
            for end in ends:
                print(json.dumps({"stack": stack, "name": name + end, "packets": total, "file": file,
                                  "seconds": time.monotonic() - begin}), flush=True)
            file += 1


def main():
    current = "linux"  # what the lab was booted with
    wanted = [case for case in CASES if case[0].startswith(PREFIX) or PREFIX.startswith(case[0] + "/")]
    if sys.argv[4:] == ["account"]:
        accounts(wanted)
        return
    for turn in range(1, ROUNDS + 1):
        for stack, scheduler, ends in VARIANTS:
            swap(stack, current)
            current = stack
            schedule(stack, scheduler)
            for name, unit, flags in wanted:
                say(f"round {turn} {stack} {name}{ends[0]}")
                measured(stack, name, ends, unit, flags, turn)
            for name, _, flags in wanted if turn == 1 else ():
                counted(stack, name, ends, flags, turn)
        for name, unit, flags in wanted:
            say(f"round {turn} direct {name}")
            measured("direct", name, ("",), unit, flags, turn)
    say("done")


main()
