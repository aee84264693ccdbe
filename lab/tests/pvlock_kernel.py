#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""xpv-pvlock kernel=1 in a guest on real Xen: the kernel's spinlocks and rwlocks stay exact
while their slow paths are taken over and given back under load; no sleep ends by its safety
timeout. In guest g1, or in dom0 in a lab without guests. native: its kernel was told
nopvspin.

usage: pvlock_kernel.py pv|native [SECONDS [SECONDS]]     of each torture run; of those in
which it is switched on and off all the time
"""

import sys

from labtest import Report, check, guests
from pvlock import KNOBS, TEST, figures, guest, load, parse, say

MODES = {"pv": "PV, waiters sleep", "native": "native, waiters yield"}
STATS = "/sys/kernel/debug/xpv-pvlock/kernel"


def switch(name, on):
    guest(name, f"echo {on} > {KNOBS}/kernel")


def stats(name):
    return parse(guest(name, f"cat {STATS}"))


def says_mode(name, mode):
    check(stats(name)["mode"] == "off", str(stats(name)))
    switch(name, 1)
    log = guest(name, "dmesg | grep xpv-pvlock | tail -1")
    check(f"spinlocks and rwlocks wait here now: {MODES[mode]}" in log, log)
    check(stats(name)["mode"] == MODES[mode], str(stats(name)))
    check(guest(name, f"cat {KNOBS}/kernel").strip() == "1", "sysfs does not say 1")


def refuses(name, command):
    said = guest(name, f"({command}) 2>&1 || echo refused", ok=False)
    check("refused" in said, f"{command}: {said}")


def refuses_what_harms(name):
    """Not a number; ftrace switched off while waiters go through it, or before."""
    refuses(name, f"echo 2 > {KNOBS}/kernel")
    switch(name, 1)
    refuses(name, "echo 0 > /proc/sys/kernel/ftrace_enabled")
    switch(name, 0)
    guest(name, "echo 0 > /proc/sys/kernel/ftrace_enabled")
    refuses(name, f"echo 1 > {KNOBS}/kernel")
    check("kernel=1 refused: ftrace is off" in guest(name, "dmesg | tail -1"), "not said")
    guest(name, "echo 1 > /proc/sys/kernel/ftrace_enabled")


def sound(name, result, mode, used=True):
    check(result["exact"] == 1, f"a counter is wrong: {result}")
    now = stats(name)
    check(now["rescued"] == 0 and now["timeouts"] == 0 and now["not_owner"] == 0, str(now))
    check(not used or now["contended"] > 0, f"nobody waited: {now}")
    check(mode == "pv" or now["polls"] == 0, f"somebody slept: {now}")


def torture(name, options, mode, seconds):
    switch(name, 1)
    guest(name, f"echo > {STATS}")
    result = figures(name, options, seconds)
    now = stats(name)
    say(f"{options}: {result['count'] * 1000000000 // result['ns']} a second, fewest/most "
        f"{result['fewest'] / max(1, result['most']):.2f}; " +
        ", ".join(f"{key} {now[key]}" for key in ("contended", "queued", "yields", "polls", "kicks",
                                                  "repends", "spurious")))
    sound(name, result, mode)


def switched(name, options, mode, seconds):
    """On and off for as long as threads fight for the lock. In bursts: to let go of a function
    ftrace waits until every task has slept once, which threads that fight never do."""
    guest(name, f"echo > {STATS}")
    result = parse(guest(
        name, f"(for burst in $(seq {int(seconds * 20)}); do echo '{options} ms=50' > {TEST} && "
              f"grep -qx 'exact: 1' {TEST} || exit 1; done) & n=0; "
              "while kill -0 $! 2> /dev/null; do "
              f"n=$((n + 1)); echo $((n % 2)) > {KNOBS}/kernel || exit 1; done; "
              f"wait $! || exit 1; echo 0 > {KNOBS}/kernel; echo switches: $n; cat {TEST}",
        timeout=300 + 40 * seconds))
    say(f"{options}: switched {result['switches']} times")
    check(result["switches"] > 3, f"too slow to tell: {result}")
    sound(name, result, mode, used=False)


def reloads(name, mode):
    """Unloaded while it is in charge, and loaded with kernel=1."""
    switch(name, 1)
    guest(name, "rmmod xpv-pvlock-test; rmmod xpv-pvlock; modprobe xpv-pvlock kernel=1")
    check(stats(name)["mode"] == MODES[mode], str(stats(name)))
    load(name)


def main():
    mode = sys.argv[1]
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    switching = float(sys.argv[3]) if len(sys.argv) > 3 else 5.0
    name = (guests() or ["dom0"])[0]
    report = Report()
    report.test("the modules load", load, name)
    report.test("the kernel's locks are taken over, and it is said", says_mode, name, mode)
    report.test("8 threads, short sections", torture, name,
                "lock=kernel threads=8", mode, seconds)
    report.test("8 threads, long sections", torture, name,
                "lock=kernel threads=8 hold=5000 pause=5000", mode, seconds)
    report.test("8 threads, interrupts off every other time, timers that take locks", torture, name,
                "lock=kernel threads=8 irqs=1 timer=1", mode, seconds)
    report.test("8 threads, readers and writers", torture, name,
                "lock=rwlock threads=8 irqs=1 timer=1", mode, seconds)
    report.test("on and off under contention", switched, name,
                "lock=kernel threads=8 irqs=1 timer=1", mode, switching)
    report.test("on and off with readers and writers", switched, name,
                "lock=rwlock threads=8", mode, switching)
    report.test("unloaded while in charge, loaded with kernel=1", reloads, name, mode)
    report.test("refuses what would harm", refuses_what_harms, name)
    report.finish()


if __name__ == "__main__":
    main()
