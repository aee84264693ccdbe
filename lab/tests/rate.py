#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""A vif with `rate=10Mb/s`, ours at both ends: what passes in each direction, live changes, bad
values, shares of equal vifs; links that go down at either end; queues that stand still.

usage: rate.py [TEXT...]     all tests, or those whose names contain a TEXT

What is measured is what netback counts, over dom0's clock: at most the rate and a period's burst,
and with enough traffic a tenth less at the least.
"""

import functools
import re
import socket
import sys
import threading
import time

import labtest
from labtest import (Report, address, check, guest, guest_start, guests, online, ping, run, start,
                     wait_for)

RATE = 1250000  # bytes per second of 10Mb/s
PERIOD = 50000  # microseconds, xl's unless it is said
PARAMETERS = "/sys/module/xpv_netback/parameters"
SECONDS = 8
SO_SNDBUFFORCE = 32


def say(text):
    print(f"# {text}", flush=True)


# ---- what netback says -------------------------------------------------------------

@functools.cache
def domid(name):
    """Domains stay, and xl takes seconds here."""
    return labtest.domid(name)


def vif(name):
    return f"vif{domid(name)}.0"


def said(name):
    """What the log has of this vif's backend."""
    return log_lines(f"xpv-netback vif-{domid(name)}-0: ")


def node(name, key="rate"):
    return f"/local/domain/0/backend/vif/{domid(name)}/0/{key}"


def counters(device, names):
    """Sums since the vif exists."""
    text = run(f"ethtool -S {device}")
    return [int(re.search(rf"^\s*guest_{name}: (\d+)$", text, re.M).group(1)) for name in names]


def front_counter(name, counter):
    text = guest(name, "ethtool -S eth0")
    return sum(int(found) for found in re.findall(rf"_{counter}: (\d+)", text))


def log_lines(text, where=run):
    return [line for line in where("dmesg").splitlines() if text in line]


def set_rate(name, text):
    """Write the node, or remove it, and wait until netback has said something about it."""
    before = len(said(name))
    if text is None:
        run(f"xenstore-rm {node(name)}")
    else:
        run(f"xenstore-write {node(name)} '{text}'")
    wait_for(f"{name}: a line in the log", lambda: len(said(name)) > before, 20)
    line = said(name)[-1]
    say(line)
    return line


def passed(device):
    """Bytes from the guest and to it. Nothing is started for it: that takes seconds here."""
    folder = f"/sys/class/net/{device}/statistics"
    return [int(open(f"{folder}/{way}_bytes", encoding="ascii").read()) for way in ("rx", "tx")]


def measure(names, seconds=SECONDS):
    """Bytes from and to each guest, and in how many seconds at least and at most."""
    devices = [vif(name) for name in names]
    first = time.monotonic()
    before = [passed(device) for device in devices]
    first_end = time.monotonic()
    time.sleep(seconds)
    last = time.monotonic()
    after = [passed(device) for device in devices]
    last_end = time.monotonic()
    rows = [[now[i] - was[i] for i in range(2)] for was, now in zip(before, after)]
    return rows, last - first_end, last_end - first


# ---- traffic -----------------------------------------------------------------------

PORTS = iter(range(5300, 5999))


class Flow:
    """iperf3 between dom0 and a guest for as long as the block runs. to: "dom0" or "guest"."""

    def __init__(self, name, to, flags=""):
        self.name, self.to, self.flags, self.port = name, to, flags, next(PORTS)

    def __enter__(self):
        self.server = start(f"exec iperf3 -s -p {self.port} >/dev/null 2>&1")
        wait_for("iperf3 listens", lambda: f":{self.port} " in run("ss -ltn"))
        way = "-R" if self.to == "guest" else ""
        self.client = guest_start(
            self.name, f"exec iperf3 -c {address('dom0')} -p {self.port} -t 600 --connect-timeout "
                       f"60000 {way} {self.flags} 2>&1")
        device, way = vif(self.name), int(self.to == "guest")
        before = passed(device)[way]
        wait_for("the flow flows", lambda: passed(device)[way] > before + 300000, 120)
        return self

    def __exit__(self, *_):
        self.server.kill()
        guest(self.name, "killall -9 iperf3", ok=False)
        try:
            self.client.wait(60)
        except Exception:  # an iperf3 that waits for its server
            self.client.kill()
        self.server.wait(60)


def held(what, size, rate, period, shortest, longest, least=0.9):
    """Not more than the rate with its burst, and a packet of each queue beyond it."""
    burst = rate * max(period, 10000) / 1e6 + 2 * 65536
    speed = size / longest
    say(f"{what}: {size} bytes in {shortest:.2f}..{longest:.2f} s, {speed / rate:.3f} of the rate of "
        f"{rate} bytes per second")
    check(size <= rate * longest * 1.01 + burst, f"{what}: {size / shortest:.0f} bytes per second")
    check(size >= rate * shortest * least, f"{what}: {speed:.0f} bytes per second of {rate}")


# Datagrams: so many on their way that a sender which is let run seldom keeps the queue full.
KINDS = {"TCP": "-P 4", "UDP": "-u -b 10M -l 1400 -w 1M -P 2"}


def one_way(name, kind, to):
    with Flow(name, to, KINDS[kind]):
        looks = ["tx_holds", "rx_holds", "rx_starved", "rx_stops", "rx_expired", "tx_errors"]
        before = counters(vif(name), looks)
        rows, shortest, longest = measure([name])
        after = counters(vif(name), looks)
    say(", ".join(f"{look} {now - was}" for look, was, now in zip(looks, before, after)))
    held(f"{name} to {to}, {kind}", rows[0][0 if to == "dom0" else 1], RATE, PERIOD, shortest, longest)


def both_ways(name):
    """Full duplex: the rate in each direction at the same time."""
    with Flow(name, "dom0", "-P 2"), Flow(name, "guest", "-P 2"):
        rows, shortest, longest = measure([name])
    for size, way in zip(rows[0], ("from", "to")):
        held(f"{way} {name}, both at once", size, RATE, PERIOD, shortest, longest, 0.85)


def live(name):
    """While traffic flows: half, then twice, then none, then as it was."""
    with Flow(name, "dom0", "-P 2"):
        for rate, text in ((RATE // 2, f"{RATE // 40},{PERIOD}"), (2 * RATE, f"{RATE // 10},{PERIOD}")):
            check("limited to" in set_rate(name, text), text)
            time.sleep(1)
            rows, shortest, longest = measure([name], 6)
            held(f"live {text}", rows[0][0], rate, PERIOD, shortest, longest, 0.85)
        check("not limited any more" in set_rate(name, None), "removed")
        rows, shortest, _ = measure([name], 5)
        say(f"without: {rows[0][0] / shortest:.0f} bytes per second")
        check(rows[0][0] > 2.5 * RATE * shortest, f"{rows[0][0]} bytes in {shortest} s")
        set_rate(name, f"{RATE // 20},{PERIOD}")
        time.sleep(1)
        rows, shortest, longest = measure([name], 6)
        held("as it was", rows[0][0], RATE, PERIOD, shortest, longest, 0.85)


def bad(name):
    """Each is named with its range, and the limit stays."""
    with Flow(name, "dom0", "-P 2"):
        for text in ("0,50000", "1,0", "62500", "10Mb/s", "62500;50000", "1,4294967296", "1,200000",
                     "99999999999999999999,50000", ""):
            line = set_rate(name, text)
            check(f'rate = "{text}" is not' in line and "1..18446744073709551615 and 1..4294967295" in
                  line and "the limit stays" in line, line)
        rows, shortest, longest = measure([name], 6)
        held("with bad values", rows[0][0], RATE, PERIOD, shortest, longest, 0.85)
    set_rate(name, f"{RATE // 20},{PERIOD}")


def small_burst(name):
    """Packets larger than what a period lets through pass, and the rate holds."""
    rate, period = 150000, 10000
    set_rate(name, f"{rate * period // 1000000},{period}")
    with Flow(name, "dom0"):
        rows, shortest, longest = measure([name], 15)
    held("a burst of 1500 bytes", rows[0][0], rate, period, shortest, longest, 0.85)
    run(f"ping -c 3 -i 0.2 -W 10 -s 20000 {address(name)}")
    set_rate(name, f"{RATE // 20},{PERIOD}")


def share(names, to, limit):
    """Equal vifs, equal shares."""
    with Flow(names[0], to, "-P 2"), Flow(names[1], to, "-P 2"):
        rows, shortest, longest = measure(names, 2 * SECONDS)
    got = [row[0 if to == "dom0" else 1] for row in rows]
    say(f"to {to}: {got[0]} and {got[1]} bytes in {shortest:.1f} s, {got[0] / got[1]:.3f}")
    if limit:
        for name, size in zip(names, got):
            held(f"{name} of two", size, RATE, PERIOD, shortest, longest, 0.85)
    most = 1 / 0.9 if limit else 4
    check(1 / most < got[0] / got[1] < most, f"shares of {got}")


def share_unlimited(names):
    """Without a limit it is the processor that is shared, which Xen does: nobody starves."""
    for name in names:
        set_rate(name, None)
    try:
        for to in ("dom0", "guest"):
            share(names, to, False)
    finally:
        for name in names:
            set_rate(name, f"{RATE // 20},{PERIOD}")


# ---- senders -----------------------------------------------------------------------

def sent(name, *arguments):
    text = guest(name, "lab-send " + " ".join(map(str, arguments)), 120)
    say(text.strip())
    return {word: int(value) for word, value in re.findall(r"(\w+)=(\d+)", text)}


def sink(kind, port):
    """Takes whatever comes to a port of dom0."""
    sock = socket.socket(socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address("dom0"), port))
    if kind == socket.SOCK_STREAM:
        sock.listen()

    def take():
        end = sock.accept()[0] if kind == socket.SOCK_STREAM else sock
        while end.recv(1 << 20):
            pass
    threading.Thread(target=take, daemon=True).start()


def senders(name):
    """What a sender has in the device stays charged to it, behind our backend that shapes."""
    sink(socket.SOCK_DGRAM, 6001)
    was = sent(name, "udp", address("dom0"), 6001, 1000, 2500, "sndbuf=8000", "seconds=60")
    check(was["waits"] > 0, "the sender never had to wait")
    check(was["most"] <= 2 * 8000 + 4096, f"{was['most']} bytes were in flight with SO_SNDBUF 8000")
    for port in range(6002, 6012):
        sink(socket.SOCK_STREAM, port)
        was = sent(name, "tcp", address("dom0"), port, 32768, 100000, "seconds=5")
        check(was["charged"] > was["looks"] / 2, "TCP is not charged for what is in the device")
        if was["device"]:  # of the first queue alone
            break
    check(was["device"] > was["looks"] / 2, "BQL counts nothing")
    check(was["most_device"] < 256 * 4096 / 2, f"BQL lets {was['most_device']} bytes in")


# ---- links -------------------------------------------------------------------------

def carrier(name):
    return run(f"cat /sys/class/net/{vif(name)}/carrier", ok=False).strip()


def front_carrier(name):
    return guest(name, "cat /sys/class/net/eth0/carrier", ok=False).strip()


def links(name):
    """The administrator's link, for the guest; and the guest's driver, for dom0."""
    device = vif(name)
    check(run(f"xenstore-read {node(name, 'carrier')}").strip() == "1", "carrier is not 1 at first")
    check((carrier(name), front_carrier(name)) == ("1", "1"), "a link is down at first")
    for turn in range(2):
        run(f"ip link set {device} carrier off")
        wait_for("the guest's link is down", lambda: front_carrier(name) == "0", 20)
        check(run(f"xenstore-read {node(name, 'carrier')}").strip() == "0", "carrier is not 0")
        check(carrier(name) == "0", "dom0's is up")
        if turn == 1:  # a connection that is made while the link is down leaves it so
            guest(name, "rmmod xpv-netfront; modprobe xpv-netfront")
            wait_for("eth0 is back", lambda: "eth0" in guest(name, "ls /sys/class/net"))
            guest(name, "lab-ifup eth0")
            wait_for("both are in service", lambda: run(
                f"xenstore-read {node(name, 'state')}").strip() == "4")
            time.sleep(2)
            check((carrier(name), front_carrier(name)) == ("0", "0"), "a link is up")
        run(f"ip link set {device} carrier on")
        wait_for("the guest's link is up", lambda: front_carrier(name) == "1", 20)
        check(carrier(name) == "1", "dom0's is down")
        online(name)
        ping(name)
    guest(name, "rmmod xpv-netfront")
    wait_for("dom0's link is down", lambda: carrier(name) in ("0", ""), 20)
    guest(name, "modprobe xpv-netfront")
    wait_for("eth0 is back", lambda: "eth0" in guest(name, "ls /sys/class/net"))
    guest(name, "lab-ifup eth0")
    wait_for("dom0's link is up", lambda: carrier(name) == "1", 20)
    online(name)


# ---- queues that stand still -------------------------------------------------------

def watchdogs(name):
    def guest_run(command):
        return guest(name, command)
    return len(log_lines("NETDEV WATCHDOG")) + len(log_lines("NETDEV WATCHDOG", guest_run))


def slow(name):
    """Eight bytes per second. Both directions stand still, which is nobody's stall; the guest
    says so once, and all goes on."""
    device = vif(name)
    timeouts = front_counter(name, "tx_timeouts")
    drain = int(run(f"cat {PARAMETERS}/rx_drain_timeout_ms"))
    stall = int(run(f"cat {PARAMETERS}/rx_stall_timeout_ms"))
    run(f"echo 2000 > {PARAMETERS}/rx_drain_timeout_ms; echo 4000 > {PARAMETERS}/rx_stall_timeout_ms")
    before = counters(device, ["rx_drains", "rx_stalls", "rx_expired"])
    mac = guest(name, "cat /sys/class/net/eth0/address").strip()
    run(f"ip neigh replace {address(name)} lladdr {mac} dev xenbr0 nud permanent")
    set_rate(name, "8,1000000")
    try:
        process = guest_start(name, f"lab-send udp {address('dom0')} 9 1400 4000 sndbuf=4000000 "
                              "seconds=20")
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20)
        sock.setblocking(False)
        end = time.time() + 20
        while time.time() < end:
            try:
                for _ in range(20):
                    sock.sendto(bytes(1400), (address(name), 9))
            except OSError:
                pass
            time.sleep(0.05)
        sock.close()
        check(carrier(name) == "1", "the carrier of a slow vif is off")
        text = run(f"cat /sys/kernel/debug/xpv-netback/{device}/queue-*")
        say(text.strip().replace("\n", "\n# "))
        check("stopped" in text, "no queue of dom0's is stopped")
    finally:
        process.wait(120)
        set_rate(name, f"{RATE // 20},{PERIOD}")
        run(f"echo {drain} > {PARAMETERS}/rx_drain_timeout_ms; "
            f"echo {stall} > {PARAMETERS}/rx_stall_timeout_ms")
        run(f"ip neigh del {address(name)} dev xenbr0", ok=False)
    check(counters(device, ["rx_drains", "rx_stalls", "rx_expired"]) == before,
          "a slow vif is called stalled")
    lines = log_lines("nothing sent for", lambda command: guest(name, command))
    for line in lines:
        say(line)
    told = front_counter(name, "tx_timeouts") - timeouts
    check(lines and 1 <= told <= 2, f"{told} timeouts, {len(lines)} lines")
    online(name)
    ping(name)
    check(watchdogs(name) == 0, "the kernel's watchdog has something to say")


def paused(names):
    """A guest that is paused for a while, with packets for it and in the midst of sending."""
    name, device = names[1], vif(names[1])
    before = counters(device, ["rx_timeouts"])[0]
    mac = guest(name, "cat /sys/class/net/eth0/address").strip()
    run(f"ip neigh replace {address(name)} lladdr {mac} dev xenbr0 nud permanent; "
        f"bridge fdb replace {mac} dev {device} master static")
    drain = int(run(f"cat {PARAMETERS}/rx_drain_timeout_ms"))
    run(f"echo 60000 > {PARAMETERS}/rx_drain_timeout_ms")
    set_rate(name, None)
    process = guest_start(name, f"lab-send udp {address('dom0')} 9 1400 100000000 sndbuf=4000000 "
                          "seconds=60")
    try:
        time.sleep(3)
        run(f"xl pause {name}")
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20)
        sock.setblocking(False)
        end = time.time() + 12
        while time.time() < end:
            try:
                for _ in range(50):
                    sock.sendto(bytes(1400), (address(name), 9))
            except OSError:
                pass
            time.sleep(0.02)
        sock.close()
        run(f"xl unpause {name}")
        time.sleep(3)
    finally:
        run(f"xl unpause {name}", ok=False)
        guest(name, "killall -9 lab-send", ok=False)
        process.wait(60)
        run(f"echo {drain} > {PARAMETERS}/rx_drain_timeout_ms")
        set_rate(name, f"{RATE // 20},{PERIOD}")
    lines = log_lines("the guest took nothing for")
    for line in lines:
        say(line)
    told = counters(device, ["rx_timeouts"])[0] - before
    check(lines and 1 <= told <= 4, f"{told} timeouts, {len(lines)} lines")
    run(f"ip neigh del {address(name)} dev xenbr0; bridge fdb del {mac} dev {device} master static")
    online(name)
    for each in names:
        ping(each)
        check(watchdogs(each) == 0, "the kernel's watchdog has something to say")


def reconnects(name):
    """The limit is there from the first packet of another connection on."""
    guest(name, "rmmod xpv-netfront; modprobe xpv-netfront")
    wait_for("eth0 is back", lambda: "eth0" in guest(name, "ls /sys/class/net"))
    guest(name, "lab-ifup eth0")
    online(name)
    one_way(name, "TCP", "dom0")


def main():
    names = guests()[:2]
    report = Report()
    wanted = sys.argv[1:]

    def test(what, body, *args):
        if not wanted or any(text in what for text in wanted):
            report.test(what, body, *args)
    for name in names:
        report.test(f"{name}: is on line", online, name)
    buffers = "for way in w r; do echo 4194304 > /proc/sys/net/core/${way}mem_max; done"
    run(buffers)
    for name in names:
        guest(name, buffers)
    say(run(f"xenstore-read {node(names[0])}").strip())
    for to in ("dom0", "guest"):
        for kind in KINDS:
            test(f"to {to}, {kind}", one_way, names[0], kind, to)
    test("live changes", live, names[0])
    test("bad values", bad, names[0])
    for to in ("dom0", "guest"):
        test(f"equal shares to {to}", share, names, to, True)
    test("a slow vif", slow, names[0])
    test("a paused guest", paused, names)
    test("links", links, names[0])
    test("senders", senders, names[0])
    test("both ways", both_ways, names[0])
    test("a small burst", small_burst, names[0])
    test("shares without a limit", share_unlimited, names)
    test("reconnects", reconnects, names[0])
    report.finish()


if __name__ == "__main__":
    main()
