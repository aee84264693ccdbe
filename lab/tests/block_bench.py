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
CASES += [(f"blk/{what}4k-1-poll", "kIO/s", f"--rw=rand{what} --bs=4k --ioengine=io_uring --hipri")
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


def fio(stack, cases, milliseconds):
    """One fio for all cases, one after the other, since its start is dearer than they are.
    Of each: I/Os and bytes a second, and how many I/Os there were."""
    device = MEDIUM if stack == "direct" else f"/dev/{DISK}"
    command = (f"fio --filename={device} --direct=1 --ioengine=libaio --time_based --norandommap "
               f"--runtime={milliseconds}ms --gtod_reduce=1 --size=1g --output-format=json " +
               " ".join(f"--name={name} --stonewall {flags}" for name, _, flags in cases))
    if stack != "xpv":  # nobody else has queues to poll
        command = command.replace("--hipri", "")
    text = run(command, SLOW) if stack == "direct" else guest(GUEST, command, SLOW)
    jobs = json.loads(text[text.index("{"):])["jobs"]
    check(len(jobs) == len(cases) and not any(job["error"] for job in jobs), text)
    ones = [job["read" if job["read"]["total_ios"] else "write"] for job in jobs]
    return [(one["iops"], one["bw_bytes"], one["total_ios"]) for one in ones]


def measured(stack, ends, cases, turn):
    """A quarter of SECONDS for each: thousands of I/Os."""
    for (name, unit, _), (ios, size, _) in zip(cases, fio(stack, cases, SECONDS * 250)):
        value = size / 1e6 if unit == "MB/s" else ios / 1e3
        say(f"{stack} {name}{ends[0]}: {value:.3f} {unit}")
        for end in ends:
            emit(stack, name + end, unit, value, turn)


def counted(stack, ends, case, turn):
    """Notifications and grant operations an I/O, of a run that is not measured: the trace is
    paid for in instructions."""
    name = case[0]
    with hypercalls.Trace() as trace:
        _, _, total = fio(stack, [case], 100)[0]
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
        for case in wanted:
            name = case[0]
            say(f"{stack} {name}{ends[0]}")
            begin = time.monotonic()
            account.start()
            _, _, total = fio(stack, [case], SECONDS * 250)[0]
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
            say(f"round {turn} {stack}{ends[0]}")
            measured(stack, ends, wanted, turn)
            for case in wanted if turn == 1 else ():
                counted(stack, ends, case, turn)
        measured("direct", ("",), wanted, turn)
    say("done")


main()
