#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Measurements in dom0 for scripts/bench: Linux's balloon and ours in turn in the same guests,
under counted instructions. Prints one JSON line a figure, as bench.py does.

usage: balloon_bench.py ROUNDS SECONDS PREFIX      (each guest of the run; SECONDS is not used)
"""

import ctypes
import json
import sys
import time

import hypercalls
from labtest import check, domid, guest, guests, run, wait_for

ROUNDS, PREFIX = int(sys.argv[1]), sys.argv[3]
MOVED = 512 * 1024  # KiB, each way
KNOBS = "/sys/module/xpv_balloon/parameters"
SLOW = 900  # seconds that the emulated machine has for anything


class Domain(ctypes.Structure):
    """xc_dominfo_t of Xen 4.17's xenctrl.h, as far as it is read, and room for the rest."""
    _fields_ = [("domid", ctypes.c_uint32), ("ssidref", ctypes.c_uint32),
                ("flags", ctypes.c_uint32), ("shutdown_reason", ctypes.c_uint32),
                ("nr_pages", ctypes.c_ulong), ("nr_outstanding_pages", ctypes.c_ulong),
                ("nr_shared_pages", ctypes.c_ulong), ("nr_paged_pages", ctypes.c_ulong),
                ("shared_info_frame", ctypes.c_ulong), ("cpu_time", ctypes.c_uint64),
                ("rest", ctypes.c_uint8 * 512)]


LIBRARY = ctypes.CDLL("libxenctrl.so.4.17")
LIBRARY.xc_interface_open.restype = ctypes.c_void_p
LIBRARY.xc_domain_getinfo.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint,
                                      ctypes.c_void_p]
XEN = LIBRARY.xc_interface_open(None, None, 0)


def look(number):
    """Pages of a domain, and nanoseconds that it has run: instructions, Xen's for it included."""
    found = Domain()
    check(LIBRARY.xc_domain_getinfo(XEN, number, 1, ctypes.byref(found)) == 1 and
          found.domid == number, f"Xen knows no domain {number}")
    return found.nr_pages, found.cpu_time


def emit(stack, name, unit, value, turn):
    print(json.dumps({"stack": stack, "name": name, "unit": unit, "value": value,
                      "round": turn}), flush=True)


def say(text):
    print(f"# {text}", flush=True)


def balloon(name, stack):
    """The guest's memory is moved by Linux's driver, or by ours."""
    loaded = "xpv_balloon" in guest(name, "lsmod", SLOW)
    if stack == "xpv" and not loaded:
        guest(name, "modprobe xpv-balloon", SLOW)
    elif stack == "linux" and loaded:
        guest(name, f"echo 0 > {KNOBS}/balloon && rmmod xpv-balloon", SLOW)


def move(number, kilobytes, pages):
    """A new target, until so many pages have gone or come: (seconds, instructions)."""
    first, ran = look(number)
    begin = time.monotonic()
    run(f"xenstore-write /local/domain/{number}/memory/target {kilobytes}", SLOW)
    while abs(look(number)[0] - first) < pages:
        check(time.monotonic() < begin + SLOW, f"{kilobytes} KiB: Xen counts {look(number)[0]} pages, "
              f"{first} before")
        time.sleep(0.004)  # of the same processor
    elapsed = time.monotonic() - begin
    time.sleep(0.5)
    return elapsed, look(number)[1] - ran


def settled(number):
    """Nothing moves any more."""
    last = [0]

    def still():
        before, last[0] = last[0], look(number)[0]
        time.sleep(1)
        return last[0] == before
    wait_for("memory at rest", still, SLOW)


def measure(name, kind, stack, turn):
    number = domid(name)
    top = int(run(f"xenstore-read /local/domain/{number}/memory/target", SLOW))
    pages = MOVED // 4 - 8
    for way, target in (("down", top - MOVED), ("up", top)):
        settled(number)
        elapsed, spent = move(number, target, pages)
        say(f"{stack} {kind} {way}: {elapsed:.3f} s, {spent / pages:.0f} instructions per page")
        emit(stack, f"balloon/{kind}-{way}", "GB/s", pages * 4096 / elapsed / 1e9, turn)
        emit(stack, f"balloon/{kind}-{way}/per-page", "instructions", spent / pages, turn)


def counted(name, kind, stack, turn):
    """Hypercalls about memory per page, in a turn that is not measured. Xen traces PV guests'."""
    number = domid(name)
    top = int(run(f"xenstore-read /local/domain/{number}/memory/target", SLOW))
    for way, target in (("down", top - MOVED), ("up", top)):
        settled(number)
        with hypercalls.Trace() as trace:
            move(number, target, MOVED // 4 - 8)
        counts = trace.counts()
        check(not trace.lost, f"{trace.lost} trace records were lost")
        say(f"{stack} {kind} {way}: {counts['memory-calls']} hypercalls")
        emit(stack, f"balloon/{kind}-{way}/calls-per-page", "1/page",
             counts["memory-calls"] / (MOVED // 4), turn)


def main():
    kinds = {name: "pvh" if "pvh" in run(f"grep ^type /etc/xen/{name}.cfg", SLOW) else "pv"
             for name in guests()}
    wanted = {name: kind for name, kind in kinds.items()
              if f"balloon/{kind}".startswith(PREFIX) or PREFIX.startswith(f"balloon/{kind}")}
    for turn in range(1, ROUNDS + 1):
        for stack in ("linux", "xpv"):
            for name, kind in wanted.items():
                balloon(name, stack)
                measure(name, kind, stack, turn)
                if turn == 1 and kind == "pv":
                    counted(name, kind, stack, turn)
    say("done")


main()
