#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Teardown against the data path: iperf3 runs over four connections both ways and
everything readable is read, while queues, links, drivers, devices and guests go and come.
After each burst of steps all queues answer; at the end everything is counted against the
beginning.

usage: net_soak.py ROUNDS [SEED] [PHASE...]     each phase ROUNDS times with each guest

Meant for guests with more vCPUs than there are processors, so that one is away in the
middle of things. SEED decides the numbers of queues and when a step begins.
"""

import os
import random
import sys
import time

from churn import (Flood, Logs, Readers, Traffic, alive, belongings, probe, recreate, say, unchanged,
                   vifs)
from labtest import Report, check, guest, guests, memory_leaks, online, run, status
from net_steps import STEPS, at_rest, queues

BURST = 20  # steps that one process takes one after the other, without us in between


class Load:
    """Traffic and readers of one guest, from phase to phase."""

    def __init__(self, name):
        # A packet costs a debug kernel some milliseconds here, before all programs; iperf3
        # looks at its clock a thousand times per second where it has a rate to keep, and
        # sends 128 KiB at once, as seldom as that takes.
        slow = "debug" in run("uname -r") + guest(name, "uname -r")
        self.traffic = Traffic(name, "-b 50K -l 1K --pacing-timer 200000" if slow else "")
        self.others = [Flood(name, 0.2 if slow else 0.005), Readers(name, 500 if slow else 50)]
        # A shell for each event of the kernel would be most of what a guest does here, and
        # lab-churn gives addresses back itself.
        guest(name, "killall uevent", ok=False)

    def keep(self):
        """A program that is to start takes minutes beside the others, in a debug kernel."""
        if not self.traffic.going():
            for part in self.others:
                part.stop()
        self.traffic.keep()
        for part in self.others:
            part.keep()

    def stop(self):
        for part in (self.traffic, *self.others):
            part.stop()


def soak(name, phase, rounds, load, logs):
    """One phase with one guest. A guest that it leaves broken is made anew, so that the
    next phase can show its own faults."""
    burst = {"guest-anew": 1, "destroy": rounds}.get(phase, BURST)
    try:
        for begun in range(0, rounds, burst):
            step(name, phase, begun, min(burst, rounds - begun), load)
    except Exception:
        for line in logs.look()[:20]:
            say(line)
        mend(name)
        raise
    logs.clean()


def step(name, phase, begun, count, load):
    start = time.time()
    if phase == "destroy":  # it has programs of its own, which outlive the guest
        load.stop()
    else:
        load.keep()
    flows = time.time()
    try:
        STEPS[phase](name, count, random.randrange(1 << 30))
        done = time.time()
        alive(name)
    except Exception:
        say(f"{name} {phase}: in a round from {begun + 1} to {begun + count}")
        raise
    say(f"{time.strftime('%H:%M:%S')} {name} {phase} {begun + count}: traffic after "
        f"{flows - start:.1f} s, steps {done - flows:.1f} s, answers {time.time() - done:.1f} s")


def mend(name):
    if status("lsmod | grep -q xpv_netback") != 0:
        run("modprobe xpv-netback; xpv-vif-reconnect", ok=False)
    if vifs(name):
        try:
            online(name, 10)
            probe(name, 20)
            queues(name, 0, 1)
            return
        except Exception as error:
            say(f"{name} is made anew: {error}")
    recreate(name)


def main():
    rest = at_rest()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    random.seed(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    phases = sys.argv[3:] or list(STEPS)
    unknown = set(phases) - set(STEPS)
    check(not unknown, f"no phase is called {unknown}: {list(STEPS)}")
    report = Report()
    names = guests()
    logs = None
    before = {}

    def begin():
        nonlocal logs
        for name in names:
            alive(name)
            vcpus = int(guest(name, "nproc"))
            check(vcpus >= rest, f"{name} has {vcpus} vCPUs: one queue each is meant")
            there = len(guest(name, "ls -d /sys/class/net/eth0/queues/tx-*").split())
            check(there == rest, f"{name} has {there} queues, not {rest}")
        time.sleep(1)
        logs = Logs(names)
        before.update(belongings(names))
    report.test(f"all guests on line, {rest} queues each", begin)
    for name in names:
        load = Load(name)
        for phase in phases:
            report.test(f"{name}: {phase}, {rounds} times under traffic", soak, name, phase, rounds,
                        load, logs)
        report.test(f"{name}: traffic and readers end", load.stop)
    report.test("everything is as at the beginning", unchanged, before, names)
    if os.path.exists("/sys/kernel/debug/kmemleak") and "kmemleak=off" not in run("cat /proc/cmdline"):
        report.test("kmemleak in dom0", memory_leaks, run)
        for name in names:
            report.test(f"{name}: kmemleak", memory_leaks,
                        lambda command, name=name: guest(name, command))
    report.finish()


main()
