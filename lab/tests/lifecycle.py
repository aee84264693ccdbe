#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Drivers and guests come and go under running traffic; afterwards everything is
counted against what was there before. Needs two guests with our drivers.

usage: lifecycle.py [TURNS]      of each thing, by default 2; ten times as many attachments,
                                 with 1 three
"""

import os
import sys
import time

from labtest import (Report, address, census, check, domid, event_channels, finish, guest,
                     guest_start, guests, online, run, same, start, status, vif, wait_for)


class Traffic:
    """iperf3 both ways with one guest, for as long as the block runs; whether it
    survives is the test's business, that it runs when the block begins is ours."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.server = guest_start(self.name, "exec iperf3 -s -p 5100 >/dev/null 2>&1")
        wait_for("iperf3 listens", lambda: ":5100 " in guest(self.name, "ss -ltn", ok=False))
        self.client = start(f"exec iperf3 -c {address(self.name)} -p 5100 -t 600 --bidir "
                            ">/dev/null 2>&1")
        device = vif(self.name)
        first = received(device)
        wait_for("traffic flows", lambda: received(device) > first + 1000000)
        return self

    def __exit__(self, *_):
        self.client.kill()
        self.client.wait()
        guest(self.name, "killall -9 iperf3", ok=False)
        self.server.wait(30)


def received(device):
    try:
        with open(f"/sys/class/net/{device}/statistics/rx_bytes") as counter:
            return int(counter.read())
    except OSError:
        return 0


def configured(name):
    """The guest's address survives only while its netdev does; set it again."""
    guest(name, "lab-ifup eth0")


def front_reload(name, turns):
    """rmmod and insmod of netfront under traffic."""
    before = census()
    mapped = event_channels(domid(name))
    for _ in range(turns):
        with Traffic(name):
            guest(name, "rmmod xpv-netfront")
        guest(name, "modprobe xpv-netfront")
        wait_for("eth0 is back", lambda: "eth0" in guest(name, "ls /sys/class/net"))
        configured(name)
        online(name)
    same(before, census())
    check(event_channels(domid(name)) == mapped, "the guest's event channels changed")


def back_reload(names, turns):
    """rmmod and insmod of netback under traffic; the frontends reconnect by themselves."""
    before = census()
    for _ in range(turns):
        with Traffic(names[0]):
            run("rmmod xpv-netback")
            gone = census()
            check(not any("vif" in dev for dev in gone["netdevs"]), "a vif outlived its driver")
            check(gone["interrupts"] == 0, f"{gone['interrupts']} interrupts are left")
            run("modprobe xpv-netback")
            run("xpv-vif-reconnect")
            for name in names:
                online(name)  # with the address it had: its netdev was kept
    same(before, census())


def attach_detach(name, turns):
    """xl network-attach and network-detach, again and again."""
    before = census()
    mapped = event_channels(domid(name))
    for turn in range(turns):
        run(f"xl network-attach {name} mac=00:16:3e:77:77:01 bridge=xenbr0")
        wait_for(f"attach {turn}: the second device connects", lambda: "state 4" in " ".join(
            f"state {line.split()[4]}" for line in run(f"xl network-list {name}").splitlines()[1:]
            if "77:77:01" in line))
        if turn % 5 == 0:
            guest(name, "ip link set eth1 up; ip addr add 10.77.1.2/24 dev eth1")
            run("ip addr add 10.77.1.1/24 dev xenbr0")
            wait_for("eth1 answers", lambda: status("ping -c 1 -W 1 10.77.1.2") == 0, 30)
            run("ip addr del 10.77.1.1/24 dev xenbr0")
        index = [line.split()[0] for line in run(f"xl network-list {name}").splitlines()[1:]
                 if "77:77:01" in line][0]
        run(f"xl network-detach {name} {index}")
        wait_for("eth1 is gone", lambda: "eth1" not in guest(name, "ls /sys/class/net"))
    wait_for("nothing is left", lambda: census() == before, 20) if census() != before else None
    same(before, census())
    check(event_channels(domid(name)) == mapped, "the guest's event channels changed")


def destroy(name, turns):
    """xl destroy in full traffic, then the same guest again."""
    without = None
    for turn in range(turns):
        device = vif(name)
        with Traffic(name):
            run(f"xl destroy {name}")
        wait_for("its vif is gone", lambda: not os.path.exists(f"/sys/class/net/{device}"))
        wait_for("it is no zombie", lambda: status(f"xl domid {name}") != 0)
        time.sleep(2)
        left = census()
        if without is None:
            without = left
        same(without, left)
        run(f"xl create /etc/xen/{name}.cfg")
        run(f"guest-wait {name}", timeout=300)
        online(name, 180)


def guest_to_guest(first, second):
    """Two guests talk to each other through dom0's bridge: 16 MiB each way, sha256."""
    for source, sink in ((first, second), (second, first)):
        listener = guest_start(sink, "nc -d -l -p 5200 | sha256sum")
        wait_for("the guest listens", lambda: ":5200 " in guest(sink, "ss -ltn", ok=False))
        sent = guest(source, "dd if=/dev/urandom of=/tmp/s bs=1M count=16 status=none; "
                     f"nc -N {address(sink)} 5200 < /tmp/s; sha256sum < /tmp/s; rm /tmp/s", timeout=300)
        got = finish(listener, 300)
        check(got.split()[0] == sent.split()[0], f"{got} arrived, {sent} was sent")


def all_gone(names):
    """Every guest destroyed: not one thing of any vif is left in dom0."""
    for name in names:
        run(f"xl destroy {name}")
    wait_for("all vifs are gone",
             lambda: not any(dev.startswith("vif") for dev in os.listdir("/sys/class/net")), 30)
    time.sleep(1)
    left = census()
    check(not left["xenstore nodes"], f"xenstore: {left['xenstore nodes']}")
    check(left["interrupts"] == 0, f"interrupts: {left['interrupts']}")
    run("rmmod xpv-netback")
    run("modprobe xpv-netback")


def main():
    report = Report()
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    names = guests()[:2]
    first, second = names
    for name in guests()[2:]:  # whose frontend may be one that no reload brings back
        run(f"xl destroy {name}")
    for name in names:
        report.test(f"{name}: is on line", online, name)
    report.test("two guests through the bridge", guest_to_guest, first, second)
    report.test("rmmod and insmod of netfront under traffic", front_reload, first, turns)
    report.test("rmmod and insmod of netback under traffic", back_reload, names, turns)
    report.test("network-attach and -detach, again and again", attach_detach, first,
                10 * turns if turns > 1 else 3)
    report.test("xl destroy under traffic", destroy, second, turns)
    report.test("nothing is left when all guests are gone", all_gone, names)
    report.finish()


main()
