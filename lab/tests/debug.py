#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""The debug kernel (lockdep, sleep-in-atomic checks, KASAN in the PVH guest) at both
ends: traffic, drivers coming and going, and the KUnit suites inside the PVH guest.
Any splat fails the run; kmemleak is asked at the end where it is there. Guests: g1
is PV, g2 PVH."""

import re

from labtest import (Report, address, check, guest, guest_start, guests, memory_leaks, online,
                     ping, run, wait_for)

MODULES = "/lib/modules/xpv"


def kasan(name):
    check("KernelAddressSanitizer initialized" in guest(name, "dmesg"), "KASAN is not in effect")


def traffic(name):
    for flags in ("", "-R", "-u -b 20M", "-u -b 20M -R"):
        server = guest_start(name, "timeout 60 iperf3 -s -1 >/dev/null 2>&1")
        wait_for("iperf3 listens", lambda: ":5201 " in guest(name, "ss -ltn", ok=False))
        run(f"iperf3 -c {address(name)} -t 3 {flags}", timeout=120)
        server.wait(60)
    for size in (0, 1472, 9000, 65507):
        ping(name, 1, size)


def front_reload(name):
    for _ in range(2):
        guest(name, "rmmod xpv-netfront")
        guest(name, f"insmod {MODULES}/xpv-netfront.ko")
        wait_for("eth0 is back", lambda: "eth0" in guest(name, "ls /sys/class/net"))
        guest(name, "lab-ifup eth0")
        online(name)


def back_reload(names):
    run("rmmod xpv-netback")
    run(f"insmod {MODULES}/xpv-netback.ko")
    run("xpv-vif-reconnect")
    for name in names:
        online(name)


def kunit(name):
    if not guest(name, f"ls {MODULES}/xpv-kunit.ko", ok=False).startswith(MODULES):
        check(False, "xpv-kunit.ko was not handed to the guest")
    guest(name, f"insmod {MODULES}/xpv-kunit.ko", timeout=900)  # every access is checked
    log = guest(name, "dmesg")
    passed = len(re.findall(r"^\S*.*\] +ok \d+ ", log, re.M))
    failed = re.findall(r".*not ok \d+ .*", log)
    check(passed > 0, "no suite ran")
    check(not failed, "\n".join(failed))
    print(f"# KUnit in {name}: {passed} ok lines")


def main():
    report = Report()
    names = guests()
    for name in names:
        report.test(f"{name}: is on line", online, name)
    report.test("KASAN is in effect", kasan, names[1])
    for name in names:
        report.test(f"{name}: traffic", traffic, name)
        report.test(f"{name}: rmmod and insmod of netfront", front_reload, name)
    report.test("rmmod and insmod of netback", back_reload, names)
    report.test("KUnit suites in a guest", kunit, names[1])
    report.test("kmemleak in dom0", memory_leaks, run)
    for name in names:
        report.test(f"{name}: kmemleak", memory_leaks, lambda command, name=name: guest(name, command))
    report.finish()


main()
