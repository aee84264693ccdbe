#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What `make demo` shows in dom0: the two ends by name, ping, throughput both ways,
a file both ways, one ring."""

import json
import re
import sys

from labtest import (address, check, finish, guest, guest_start, online, run, start, vif,
                     wait_for)

NAME = "g1"
rows = []


def show(what, text):
    """Print a piece of evidence as it comes in."""
    print(f"\n--- {what}\n{text.strip()}", flush=True)


def step(what, body):
    """One row of the summary; the demo goes on after a failure and ends with it."""
    try:
        rows.append((what, body(), True))
    except Exception as error:
        rows.append((what, str(error).splitlines()[0] if str(error) else repr(error), False))


def ends():
    front = guest(NAME, "ethtool -i eth0")
    back = run(f"ethtool -i {vif(NAME)}")
    show("ethtool -i eth0, in the guest", front)
    show(f"ethtool -i {vif(NAME)}, in dom0", back)
    check("driver: xpv-netfront" in front, "the guest's eth0 is not xpv-netfront")
    check("driver: xpv-netback" in back, "dom0's vif is not xpv-netback")
    return "xpv-netfront <-> xpv-netback"


def pings():
    text = run(f"ping -c 5 -i 0.2 {address(NAME)}")
    show("ping", text)
    check(" 0% packet loss" in text, "packets were lost")
    return re.search(r"= [\d.]+/([\d.]+)/", text).group(1) + " ms"


def throughput(reverse):
    server = guest_start(NAME, "iperf3 -s -1 >/dev/null 2>&1")
    wait_for("iperf3 listens", lambda: ":5201 " in guest(NAME, "ss -ltn"))
    text = run(f"iperf3 -J -c {address(NAME)} -t 5 {'-R' if reverse else ''}", 120)
    server.wait(60)
    return f"{json.loads(text)['end']['sum_received']['bits_per_second'] / 1e6:.0f} Mb/s"


def file_to_guest():
    run("head -c 32M /dev/urandom > /tmp/demo.bin")
    sink = guest_start(NAME, "nc -d -l -p 5001 > /tmp/demo.bin; sha256sum < /tmp/demo.bin")
    wait_for("the guest listens", lambda: ":5001 " in guest(NAME, "ss -ltn"))
    run(f"nc -N {address(NAME)} 5001 < /tmp/demo.bin")
    got, want = finish(sink).split()[0], run("sha256sum < /tmp/demo.bin").split()[0]
    check(got == want, f"sha256 {got} is not {want}")
    return f"32 MiB, sha256 {got[:16]}... equal"


def file_to_dom0():
    sink = start("nc -d -l -p 5002 | sha256sum")
    wait_for("dom0 listens", lambda: ":5002 " in run("ss -ltn"))
    guest(NAME, f"nc -N {address('dom0')} 5002 < /tmp/demo.bin")
    got, want = finish(sink).split()[0], run("sha256sum < /tmp/demo.bin").split()[0]
    check(got == want, f"sha256 {got} is not {want}")
    return f"32 MiB, sha256 {got[:16]}... equal"


def ring():
    text = run(f"cat /sys/kernel/debug/xpv-netback/{vif(NAME)}/queue-0")
    show("one ring, as the backend sees it", text)
    return "queue 0 dumped"


def main():
    step("the guest is on line", lambda: online(NAME) or "yes")
    step("drivers", ends)
    step("ping", pings)
    step("TCP dom0 to guest", lambda: throughput(False))
    step("TCP guest to dom0", lambda: throughput(True))
    step("file to the guest", file_to_guest)
    step("file to dom0", file_to_dom0)
    step("debugfs", ring)
    print()
    for what, text, good in rows:
        print(f"{'ok  ' if good else 'FAIL'} {what:<24} {text}")
    sys.exit(0 if all(row[2] for row in rows) else 1)


main()
