#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Everything that may happen to our drivers, at random, for so many minutes: the part of
scripts/soak in dom0. Each result line is an action with its time, guest and arguments; after it
all is looked at; in the end everything is stopped and counted against the beginning. The first
fault ends it, so that what it left behind can be looked at; or, with --go-on, its guest is made anew.
"""

import argparse
import collections
import os
import re
import time

from churn import Logs, alive, belongings, say, stuck, unchanged, xenwatch_works
from labtest import (Report, check, domid, guest, guests, memory_leaks, run, wait_for)
from soak_acts import ACTS
from soak_guest import Subject
from soak_plan import chosen, guests_of, lock_guest, steps

ALL = 8  # steps between two looks at all guests; after the others, at the one that it was about
MEMORY_MIB = 16  # that a kernel may have taken for itself: caches of whoever was new
FAULTS = 8  # after so many nothing that follows says anything
XEN_MIB = 8  # that Xen may have less to give: domains that were made anew take other pieces


def options():
    parser = argparse.ArgumentParser(description=__doc__.split(":", maxsplit=1)[0])
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--guests", nargs="+", required=True)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--go-on", action="store_true")
    return parser.parse_args()


# ---- counts ----------------------------------------------------------------------

def devices(names):
    """Backends of disks, by guests' names."""
    ids = {str(domid(name)): name for name in names}
    return sorted(re.sub(r"^vbd-(\d+)", lambda found: "vbd-" + ids.get(found[1], found[1]), device)
                  for device in os.listdir("/sys/bus/xen-backend/devices") if device.startswith("vbd-"))


def kernel_memory(subject=None):
    """MiB that dom0's or a guest's kernel has for itself and cannot give back."""
    command = "echo 3 > /proc/sys/vm/drop_caches; cat /proc/meminfo"
    text = guest(subject.name, command) if subject else run(command)
    return sum(int(re.search(rf"^{name}:\s+(\d+)", text, re.M)[1]) for name in
               ("SUnreclaim", "VmallocUsed", "Percpu", "PageTables", "KernelStack")) / 1024


def xen_free():
    return int(re.search(r"free_memory\s*: (\d+)", run("xl info"))[1])


class Counts:
    """All that can be counted while the guests have their vif alone."""

    def __init__(self, subjects):
        self.subjects = subjects
        self.names = [subject.name for subject in subjects]
        self.belongings = belongings(self.names)
        self.devices = devices(self.names)
        self.memory = self.kernels()
        self.free = xen_free()
        check(self.belongings["interrupts"] > 0, "no interrupt of a vif is counted")
        say(f"counted: event channels {self.belongings['event channels']}, grants mapped "
            f"{self.belongings['grants mapped']}, interrupts of vifs {self.belongings['interrupts']}, "
            f"xenstore nodes {len(self.belongings['xenstore nodes'])}, {' '.join(self.devices)}")

    def kernels(self):
        return {"dom0": kernel_memory(), **{one.name: kernel_memory(one) for one in self.subjects}}

    def same(self):
        unchanged(self.belongings, self.names)
        wait_for("the disks' backends are as before", lambda: devices(self.names) == self.devices, 30)
        memory, free = self.kernels(), xen_free()
        say(f"free in Xen {self.free} MiB before, {free} after; the kernels' own MiB: " +
            ", ".join(f"{name} {self.memory[name]:.1f} before, {now:.1f} after" for name, now in memory.items()))
        anew = [one.name for one in self.subjects if one.reborn]  # begins at nought again
        grown = {name: now - self.memory[name] for name, now in memory.items()
                 if name not in anew and now - self.memory[name] > MEMORY_MIB}
        check(not grown, f"kernels have more MiB than before: {grown}")
        check(free > self.free - XEN_MIB, f"Xen has {self.free - free} MiB less")


# ---- what went wrong ---------------------------------------------------------------

RINGS = "for file in /sys/kernel/debug/xpv-*/*/* /sys/kernel/debug/xpv-*/*; do " \
        "[ -f $file ] && { echo \"$file:\"; head -c 3000 $file; }; done"


def evidence(subjects):
    """All that one would look for first, each part for itself: some will not answer."""
    def dom0(command, timeout=30, ok=False):
        return run(command, timeout=timeout, ok=ok)

    parts = [("dom0's log", lambda: dom0("dmesg | tail -60")), ("dom0's stuck tasks", stuck),
             ("domains", lambda: dom0("xl list -v; xl vcpu-list")),
             ("xenstore", lambda: dom0("xenstore-ls -f | grep -E '/(vif|vbd)/.*/(state|online|hotplug-status|"
                                       "error|ring-ref|event-channel|physical-device) ='")),
             ("dom0's rings", lambda: dom0(RINGS)),
             ("hotplug scripts", lambda: dom0("tail -30 /var/log/xen/xen-hotplug.log"))]
    for subject in subjects:
        def there(command, timeout=30, ok=False, name=subject.name):
            return guest(name, command, timeout=timeout, ok=ok)
        name = subject.name
        parts += [(f"{name}'s vCPUs", lambda name=name: "".join(dom0(
                    f"/usr/lib/xen-4.17/bin/xenctx -C {domid(name)}").splitlines(True)[:80])),
                  (f"{name}'s log", lambda there=there: there("dmesg | tail -40")),
                  (f"{name}'s stuck tasks", lambda there=there: stuck(there)),
                  (f"{name}'s rings and counters", lambda there=there: there(RINGS)),
                  (f"{name}'s programs", lambda there=there: there("cat /proc/loadavg; ps | tail -25; "
                                                                  "tail -c 1500 /tmp/fio"))]
    for what, how in parts:
        say(f"---- {what}")
        try:
            text = how()
        except Exception as error:  # what does not answer is a finding, too
            text = f"{error}"
        for line in text.splitlines()[:400]:
            say(line)
    # Who does not answer any more still writes to its console where it is.
    for subject in subjects:
        run(f"xl sysrq {subject.name} l; xl sysrq {subject.name} w", timeout=30, ok=False)
    time.sleep(3)
    for subject in subjects:
        say(f"---- the end of {subject.name}'s console")
        for line in run(f"tail -n 60 /var/log/xen/console/guest-{subject.name}.log", ok=False).splitlines():
            say(line)


# ---- the run -----------------------------------------------------------------------

class Soak:
    def __init__(self, report, subjects, logs, go_on):
        self.report, self.logs, self.go_on = report, logs, go_on
        self.subjects = {subject.name: subject for subject in subjects}
        self.spent = collections.defaultdict(list)  # by action: seconds of action and look

    def take(self, step):
        subject = self.subjects[step.guest]
        begun = time.time()
        for each in self.subjects.values():
            each.work()
        say(f"load is under way after {time.time() - begun:.1f} s")
        begun = time.time()
        ACTS[step.action](subject, step.seed, **step.arguments)
        done = time.time()
        for each in self.subjects.values():
            if each is subject or step.number % ALL == 0 or step.action == "net-back-reload":
                each.well()
            else:
                alive(each.name)
        xenwatch_works(60)
        self.logs.clean()
        self.spent[step.action].append((done - begun, time.time() - done))

    def begin(self, step):
        say(f"{step.number} {step}")  # what it was at, should the host not come back
        self.take(step)

    def go(self, plan, minutes):
        """True: the time is over, and all can be counted."""
        over = time.time() + 60 * minutes
        for step in plan:
            if time.time() >= over:
                break
            failed = self.report.failed
            self.report.test(f"{time.strftime('%H:%M:%S')} {step.number} {step}", self.begin, step)
            if self.report.failed > failed and not self.mended(step):
                return False
        return True

    def mended(self, step):
        """After a fault: is there a host with which to go on?"""
        if not self.go_on or self.report.failed >= FAULTS:
            evidence(self.subjects.values())
            return False
        evidence([self.subjects[step.guest]])
        failed = self.report.failed
        self.report.test(f"{step.guest} is made anew", self.subjects[step.guest].mend)
        self.logs.look()  # what is known by now
        return self.report.failed == failed

    def table(self):
        say(f"{'action':18} times  seconds each: least, mean, most   looks")
        for name in ACTS:
            if name in self.spent:
                acts, looks = zip(*self.spent[name])
                say(f"{name:18} {len(acts):5} {min(acts):16.1f} {sum(acts) / len(acts):5.1f} "
                    f"{max(acts):5.1f} {sum(looks) / len(looks):12.1f}")
        count = sum(len(times) for times in self.spent.values())
        say(f"{count} actions; iperf3 was begun "
            f"{ {name: subject.traffic.begun for name, subject in self.subjects.items()} } times")


def leaks(report, names):
    if os.path.exists("/sys/kernel/debug/kmemleak"):
        report.test("kmemleak in dom0", memory_leaks, run)
    for name in names:
        if "kmemleak" in guest(name, "ls /sys/kernel/debug"):
            report.test(f"{name}: kmemleak", memory_leaks, lambda command, name=name: guest(name, command))


def end(report, subjects, found):
    """All is stopped and counted."""
    failed = report.failed
    for subject in subjects:
        report.test(f"{subject.name}: everything stops", subject.bare)
    if report.failed == failed:
        report.test("everything is as at the beginning", found["counts"].same)
        report.test("the kernels have not complained", found["logs"].clean)
        leaks(report, [subject.name for subject in subjects])
    if report.failed > failed:
        evidence(subjects)


def main():
    asked = options()
    specs = guests_of(asked.guests)
    names = guests()
    say(f"seed {asked.seed}, {asked.minutes:g} minutes, guests {' '.join(asked.guests)}")
    report = Report()
    subjects = [Subject(one.name, one.vcpus, one.name == lock_guest(specs)) for one in specs]
    found = {}

    def begin():
        check([one.name for one in specs] == names, f"{asked.guests} are not {names}")
        # The toolstack must not wait for all that the guests do.
        run("xl sched-credit2 -d Domain-0 -w 1024", ok=False)
        for subject in subjects:
            say(f"{subject.name}: Linux {guest(subject.name, 'uname -r').strip()}, {subject.vcpus} vCPUs"
                + (", xpv-pvlock" if subject.lock else ""))
            guest(subject.name, "rmmod xpv-blkfront")
            alive(subject.name)
            subject.medium()
        time.sleep(2)
        found["counts"] = Counts(subjects)
        for subject in subjects:
            subject.equip()
        found["logs"] = Logs(names)
    report.test("all guests are counted and equipped", begin)
    if report.failed:
        evidence(subjects)
    else:
        soak = Soak(report, subjects, found["logs"], asked.go_on)
        fit = soak.go(steps(asked.seed, specs, chosen(asked.only, asked.without)), asked.minutes)
        soak.table()
        if fit:
            end(report, subjects, found)
    if report.failed:
        say(f"again: scripts/soak --seed {asked.seed}, with the same kernel, guests and actions")
    for subject in subjects:
        subject.no_medium()
    report.finish()


if __name__ == "__main__":
    main()
