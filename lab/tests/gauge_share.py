#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Guests on a host too small for the sum of what they may have, each of which needs much
in turn: with static targets and Linux's balloon somebody is killed; with the gauge and ours,
on the same host right after it, nobody.

usage: gauge_share.py [RECORD]     RECORD: what xpv-gauge-view's --record writes goes there

Every guest of the run; all of the same memory.
"""

import re
import shutil
import sys
import time

from balloon import available_kb, held_kb, load, maximum_mb, mem_set, unload
from gauge import Daemon, eater, free_mib
from labtest import Report, check, finish, guest, guest_start, guests, run, start, wait_for

STATIC = 4, 7  # of a guest's memory: an equal share of what the host has for all
CUSHION = 130  # MiB that are free with equal shares, and the gauge's to give
BEYOND = 80  # MiB that a guest needs beyond its share, in turn
TURNS = 2
VIEW = "/lab/bin/xpv-gauge-view"


def killed(name):
    return int(guest(name, "dmesg | grep -c 'Killed process'", ok=False))


def share(name):
    return maximum_mb(name) * STATIC[0] // STATIC[1]


class Need:
    """What a guest's program wants in its turn, in MB, is what it could just not have."""

    def __init__(self):
        self.mb = {}

    def equal_shares(self):
        for name in guests():
            mem_set(name, share(name))
        for name in guests():
            wait_for(f"{name} has its share", lambda name=name: int(guest(
                name, "awk '/MemTotal/ {print $2}' /proc/meminfo")) < share(name) * 1024)
        time.sleep(2)
        for name in guests():
            self.mb[name] = available_kb(name) // 1024 + BEYOND
        eater(free_mib() - CUSHION)
        print(f"# shares {[share(name) for name in guests()]}, needs {self.mb}, free {free_mib()} MiB",
              flush=True)

    def turn(self, name):
        """Status of the program."""
        hog = guest_start(name, f"lab-hog {self.mb[name]} 10 3; echo status $?")
        text = finish(hog, 300)
        print(f"# {name}: {' '.join(text.split())}; free {free_mib()} MiB", flush=True)
        return int(re.search(r"status (\d+)", text)[1])


def static(need):
    need.equal_shares()
    name = guests()[0]
    guest(name, "dmesg -n 1")  # what is meant to come is no fault
    ended, count = need.turn(name), killed(name)
    guest(name, "dmesg -c > /dev/null; dmesg -n 8")
    check(ended == 137, f"status {ended}: Linux's balloon lets it live: this shows nothing")
    check(count > 0, "no word of the OOM killer")


def with_gauge(need, record):
    before = {name: killed(name) for name in guests()}
    for name in guests():
        load(name)
        run(f"xl mem-max {name} {maximum_mb(name)}")
    host = int(re.search(r"total_memory\s*: (\d+)", run("xl info"))[1])
    print(f"# host {host} MiB", flush=True)
    with Daemon("[host]\nlow = 64M\nband = 6%\ninterval = 1\njitter = 1\nttl = 20\n") as daemon:
        view = start(f"exec {VIEW} --gauged /lab/bin/xpv-gauged --plain --seconds 600 "
                     f"--record /tmp/share.record > /dev/null 2>&1")
        for name in guests():
            mem_set(name, maximum_mb(name))
        least = {name: 1 << 30 for name in guests()}
        for _ in range(TURNS):
            for name in guests():
                check(need.turn(name) == 0, f"{name}: {guest(name, 'dmesg | tail -5')}; "
                      f"{guest(name, 'cat /sys/kernel/debug/xpv-balloon/state')}")
                for other in guests():
                    least[other] = min(least[other], held_kb(other) // 1024)
        print(f"# fewest MiB: {least}", flush=True)
        check(daemon.process.poll() is None, daemon.said())
        view.kill()
        view.wait(30)
    for name in guests():
        check(killed(name) == before[name], f"{name}: the OOM killer came")
        check(least[name] < share(name), f"{name} gave nothing: {least[name]} MiB at least")
    if record:
        shutil.copy("/tmp/share.record", record)


def leaves():
    """The last word fades within 100 s, and then they grow at the law's pace."""
    run("xl destroy eater")
    for name in guests():
        wait_for(f"{name} has all back",
                 lambda name=name: held_kb(name) >= maximum_mb(name) * 1024 - 65536, 400)
        unload(name)


def main():
    report = Report()
    need = Need()
    report.test("static targets: somebody is killed", static, need)
    report.test("the gauge: nobody is", with_gauge, need, sys.argv[1] if len(sys.argv) > 1 else None)
    report.test("all is given back", leaves)
    report.finish()


main()
