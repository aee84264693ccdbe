#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Our balloon in the place of Linux's: targets both ways, the floor, a guest that runs out
of memory, unloading with pages out. Arguments: names of tests, by default all that need no
special run. Every guest of the run is tested."""

import re
import sys
import time

from labtest import (Report, check, domid, guest, guests, run, status, wait_for)

INFO = "/sys/devices/system/xpv_memory/xpv_memory0"
KNOBS = "/sys/module/xpv_balloon/parameters"
DEBUG = "/sys/kernel/debug/xpv-balloon"


# ---- what each side says, in KiB ---------------------------------------------

def xen_kb(name):
    """Pages of a domain as Xen counts them."""
    run("xl dmesg -c")
    run("xl debug-keys q")
    number = domid(name)
    text = run("xl dmesg")
    found = re.search(rf"General information for domain {number}:.*?nr_pages=(\d+)", text, re.S)
    check(found, f"no domain {number} in: {text[-2000:]}")
    return int(found.group(1)) * 4


def held_kb(name):
    return int(guest(name, f"cat {INFO}/info/current_kb"))


def total_kb(name):
    return int(re.search(r"MemTotal:\s+(\d+)", guest(name, "cat /proc/meminfo")).group(1))


def available_kb(name):
    return int(re.search(r"MemAvailable:\s+(\d+)", guest(name, "cat /proc/meminfo")).group(1))


def maximum_mb(name):
    return int(run(f"xenstore-read /local/domain/{domid(name)}/memory/static-max")) // 1024


def log(name):
    return guest(name, "dmesg | grep xpv-balloon", ok=False)


def counters(name):
    return {key: int(value) for key, value in
            (line.split() for line in guest(name, f"cat {DEBUG}/counters").splitlines())}


def state(name):
    return guest(name, f"cat {DEBUG}/state")


class Figures:
    """How far Xen, /proc/meminfo and the balloon are apart never changes."""

    def __init__(self, name):
        self.name = name
        self.apart = self.read()

    def read(self):
        held = held_kb(self.name)
        return xen_kb(self.name) - held, held - total_kb(self.name)

    def agree(self):
        last = None
        for _ in range(20):  # while the balloon moves, they are not of one moment
            last = self.read()
            if last == self.apart:
                return
            time.sleep(0.5)
        raise AssertionError(f"{self.name}: xen - held, held - MemTotal: {self.apart} before, {last} now")


def mem_set(name, megabytes):
    run(f"xl mem-set {name} {megabytes}")


def target_kb(name):
    return int(guest(name, f"cat {INFO}/target_kb"))


def settled(name, timeout=60):
    """The balloon holds what it is asked to."""
    wait_for(f"{name} holds its target", lambda: held_kb(name) == target_kb(name), timeout)


def at_floor(name, timeout=60):
    """It has stopped, at the floor or a little above it, give or take what our looks need."""
    last = [0]

    def still():
        now = held_kb(name)
        stopped, last[0] = abs(now - last[0]) < 1024, now
        time.sleep(2)
        return stopped
    wait_for(f"{name} stops", still, timeout)


def load(name, options=""):
    guest(name, "[ -e /sys/kernel/debug/sched ] || mount -t debugfs none /sys/kernel/debug", ok=False)
    guest(name, f"modprobe xpv-balloon {options}")
    wait_for("a first look", lambda: held_kb(name) > 0)


def unload(name):
    guest(name, f"echo 0 > {KNOBS}/balloon && rmmod xpv-balloon", timeout=90)


# ---- tests ----------------------------------------------------------------------

def down_and_up(name):
    """Down and up, and what Xen, the kernel and we say is the same to the page."""
    load(name)
    check("mode take-over" in log(name), log(name))
    figures = Figures(name)
    whole = held_kb(name)
    for megabytes in (maximum_mb(name) - 1, maximum_mb(name) * 3 // 4, maximum_mb(name) * 2 // 3,
                      maximum_mb(name) - 50, maximum_mb(name)):
        mem_set(name, megabytes)
        wait_for("the target arrives", lambda mb=megabytes: abs(target_kb(name) - mb * 1024) < 4096)
        settled(name)
        figures.agree()
        print(f"# {name} {megabytes} MB: xen {xen_kb(name)} held {held_kb(name)} MemTotal {total_kb(name)}",
              flush=True)
    check(held_kb(name) == whole, f"{whole} KiB before, {held_kb(name)} after")
    count = counters(name)
    print(f"# {count}", flush=True)
    check(count["lost"] == 0 and count["inflated_2m"] > 0, f"{count}")
    unload(name)


def stops_at_its_floor(name):
    """To where Linux's driver kills its guest: it stops, says so, lives, and comes back."""
    load(name)
    figures = Figures(name)
    whole = held_kb(name)
    mem_set(name, 96)
    wait_for("the target arrives", lambda: target_kb(name) < 97 * 1024)
    at_floor(name)
    floor = int(guest(name, f"cat {INFO}/info/floor_kb"))
    held = held_kb(name)
    print(f"# {name}: floor {floor} held {held}; {state(name)}", flush=True)
    check(held >= floor - 4096 and held < whole, f"held {held}, floor {floor}, {whole} before")
    wait_for("it says so", lambda: "is below the floor of" in log(name), 40)
    figures.agree()
    guest(name, "head -c 20000000 /dev/urandom > /tmp/x && sha256sum /tmp/x && rm /tmp/x")
    mem_set(name, maximum_mb(name))
    settled(name)
    figures.agree()
    check(held_kb(name) == whole, f"{whole} KiB before, {held_kb(name)} after")
    unload(name)


def again_and_again(name):
    """Targets that change while pages are on their way."""
    load(name)
    figures = Figures(name)
    whole = held_kb(name)
    for turn in range(20):
        mem_set(name, 96 if turn % 2 == 0 else maximum_mb(name) - turn)
        time.sleep(0.1 * (turn % 5))
    mem_set(name, maximum_mb(name))
    settled(name, 90)
    figures.agree()
    check(held_kb(name) == whole, f"{whole} KiB before, {held_kb(name)} after")
    print(f"# {counters(name)}", flush=True)
    unload(name)


def unloads(name):
    """Not with pages out; without, Linux's driver goes on to the same target."""
    load(name)
    figures = Figures(name)
    before = total_kb(name)
    half = maximum_mb(name) * 3 // 4
    mem_set(name, half)
    wait_for("pages are out", lambda: held_kb(name) < (half + 4) * 1024)
    check(status(f"guest {name} rmmod xpv-balloon") != 0, "unloaded with pages out")
    unload(name)
    wait_for("Linux's driver is at the target",
             lambda: abs(total_kb(name) - (before - (maximum_mb(name) - half) * 1024)) < 64)
    load(name)  # over pages that are the other driver's
    check(figures.read()[0] == figures.apart[0], f"{figures.apart} before, {figures.read()} now")
    mem_set(name, maximum_mb(name))
    wait_for("all is back", lambda: total_kb(name) == before)
    figures.agree()
    unload(name)


def gives_back_when_memory_is_out(name):
    """Who would be killed gets pages, even beyond the target if Xen lets it; and for a
    minute they are not asked for again."""
    load(name)
    mem_set(name, 96)
    wait_for("the target arrives", lambda: target_kb(name) < 97 * 1024)
    at_floor(name)
    low = held_kb(name)
    run(f"xl mem-max {name} {maximum_mb(name)}")  # mem-set has lowered Xen's limit
    wanted = available_kb(name) + 60 * 1024
    guest(name, f"dmesg -c > /dev/null; mkdir -p /tmp/hog && mount -t tmpfs -o size={wanted + 1024}k "
          f"none /tmp/hog && head -c {wanted * 1024} /dev/zero > /tmp/hog/x", timeout=300)
    count = counters(name)
    print(f"# {name}: {low} KiB held, then {held_kb(name)}; {count}", flush=True)
    check(count["oom_pages"] > 0 and held_kb(name) > low, f"{low} before, {held_kb(name)}; {count}")
    check("Killed process" not in guest(name, "dmesg"), "somebody was killed")
    guest(name, "umount /tmp/hog")
    mem_set(name, maximum_mb(name))
    settled(name)
    unload(name)


def bad_input(name):
    """Rubbish in parameters, nodes and the knobs: a line that names it, nothing moves."""
    for parameter, value in (("mode", "both"), ("mode", "target"), ("slew_percent", "0"),
                             ("slew_percent", "101"), ("cpu_percent", "x"), ("tick_ms", "99"),
                             ("floor_mb", "-1"), ("balloon", "2")):
        guest(name, "dmesg -c > /dev/null")
        text = guest(name, f"modprobe xpv-balloon {parameter}={value} && echo LOADED", ok=False)
        check("LOADED" not in text, f"accepted {parameter}={value}")
        said = log(name)
        check(parameter in said and value in said, f"{parameter}={value}: {said}")
    load(name)
    folder = f"/local/domain/{domid(name)}/memory"
    held, target = held_kb(name), run(f"xenstore-read {folder}/target").strip()
    # Nothing above static-max: before we have a say, Linux's driver adds memory for that.
    for value in ("-5", "much", "1e6", str(2**70)):
        guest(name, "dmesg -c > /dev/null")
        run(f"xenstore-write -- {folder}/target '{value}'")
        wait_for(f"{value} is refused", lambda v=value: f'memory/target: "{v}' in log(name), 20)
        # To Linux's driver some of these are numbers, and it may be quicker.
        wait_for(f"{value}: all is as before", lambda: held_kb(name) == held, 20)
    run(f"xenstore-write {folder}/target {target}")
    for value in ("-5", "much", "1", str(maximum_mb(name) * 1024 + 4)):
        check(status(f"guest {name} sh -c 'echo {value} > {INFO}/target_kb'") != 0, f"took {value}")
    for value in ("1e9", "", "nan", "1 0.500 1 0", "1 2.000 1 60"):
        run(f"xenstore-write {folder}/xpv-gauge '{value}'")
    time.sleep(2)
    check(held_kb(name) == held, f"{held} KiB before, {held_kb(name)} after")
    check("no gauge" in state(name), state(name))
    run(f"xenstore-rm {folder}/xpv-gauge")
    unload(name)


TESTS = {test.__name__: test for test in (down_and_up, stops_at_its_floor, again_and_again, unloads,
                                          gives_back_when_memory_is_out, bad_input)}


def main():
    report = Report()
    for name in guests():
        for test in sys.argv[1:] or TESTS:
            report.test(f"{name}_{test}", TESTS[test], name)
    report.finish()


if __name__ == "__main__":
    main()
