# SPDX-License-Identifier: GPL-2.0-only
"""A guest that takes nothing (paused, so that it posts no buffers) while dom0 and another
guest flood it: nothing waits for it for long, nobody else is held up, its carrier goes
off, and all is well again when it goes on. g1 is the victim, g2 the other guest."""

import re
import socket
import threading
import time

from labtest import (Failed, address, check, finish, guest, guest_start, online, ping, run, start,
                     vif, wait_for)

PARAMETERS = "/sys/module/xpv_netback/parameters"
DRAIN_MS, STALL_MS = 1000, 6000
MTU = 9000
SIZE = 8 << 20
# Beyond rx_queue_bytes: one packet that was let in just below it, of each sender.
SLACK = 2 * 65536


def parameter(name, value=None):
    if value is not None:
        run(f"echo {value} > {PARAMETERS}/{name}")
    return int(run(f"cat {PARAMETERS}/{name}"))


def mac_of(name):
    return guest(name, "cat /sys/class/net/eth0/address").strip()


def carrier(device):
    return run(f"cat /sys/class/net/{device}/carrier", ok=False).strip() == "1"


def backlog(device):
    """Packets in the qdiscs of a vif; of mq, its children count."""
    text = run(f"tc -s qdisc show dev {device}")
    return sum(int(found) for found in re.findall(r"backlog \S+ (\d+)p", text))


def waiting(device):
    """Packets and bytes that the driver holds for the guest, of each queue."""
    text = run(f"cat /sys/kernel/debug/xpv-netback/{device}/queue-*")
    found = re.findall(r"guest-rx queue: (\d+) packets, (\d+) bytes of \d+, (\d+) in hand", text)
    check(found, f"debugfs: {text}")
    return [(int(packets) + int(hand), int(size)) for packets, size, hand in found]


class Flood:
    """Datagrams of 8000 bytes to the victim, from dom0 and the other guest."""

    def __init__(self, victim, other):
        self.victim, self.other = victim, other
        self.most = 0  # bytes seen in one queue of the driver
        self.stop = False

    def __enter__(self):
        self.threads = [threading.Thread(target=self.send, daemon=True),
                        threading.Thread(target=self.watch, daemon=True)]
        for thread in self.threads:
            thread.start()
        self.process = guest_start(self.other, f"exec lab-send udp {address(self.victim)} 9 8000 "
                                   "100000000 seconds=600 sndbuf=400000 gap=2000")
        return self

    def send(self):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        while not self.stop:
            try:
                for _ in range(8):
                    sock.sendto(bytes(8000), (address(self.victim), 9))
            except OSError:
                pass
            time.sleep(0.01)

    def watch(self):
        device = vif(self.victim)
        while not self.stop:
            self.most = max([self.most, *(size for _, size in waiting(device))])
            time.sleep(0.1)

    def __exit__(self, *_):
        self.stop = True
        for thread in self.threads:
            thread.join(30)
        guest(self.other, "killall -9 lab-send", ok=False)
        self.process.wait(30)


def prepare(names):
    """Frames large enough to be mapped; addresses that need no answer of the victim."""
    victim, other = names
    run(f"for port in {' '.join(map(vif, names))} xenbr0; do ip link set $port mtu {MTU}; done")
    for name in names:
        guest(name, f"ip link set eth0 mtu {MTU}")
    mac = mac_of(victim)
    run(f"ip neigh replace {address(victim)} lladdr {mac} dev xenbr0 nud permanent && "
        f"bridge fdb replace {mac} dev {vif(victim)} master static")
    guest(other, f"ip neigh replace {address(victim)} lladdr {mac} dev eth0 nud permanent")
    for name in names:
        ping(name, 2, 8000)


def restore(names):
    victim, other = names
    run(f"ip neigh del {address(victim)} dev xenbr0; "
        f"bridge fdb del {mac_of(victim)} dev {vif(victim)} master static", ok=False)
    guest(other, f"ip neigh del {address(victim)} dev eth0", ok=False)
    for name in names:
        guest(name, "ip link set eth0 mtu 1500")
    run(f"for port in xenbr0 {' '.join(map(vif, names))}; do ip link set $port mtu 1500; done")
    for name in names:
        ping(name)


def function(name):
    """Everything a guest may ask of dom0: echoes, and SIZE each way."""
    ping(name, 5, 1000)
    back = start("nc -d -l -p 5021 | sha256sum")
    wait_for("dom0 listens", lambda: ":5021 " in run("ss -ltn"))
    # busybox's timeout would take its own shell's nc.
    sent = guest(name, f"head -c {SIZE} /dev/urandom > /tmp/t && timeout 60 /usr/bin/nc -N {address('dom0')} "
                 "5021 < /tmp/t || exit; sha256sum < /tmp/t; rm /tmp/t")
    check(finish(back, 60).split()[0] == sent.split()[0], "sha256 differs in dom0")
    sink = guest_start(name, "nc -d -l -p 5022 | sha256sum")
    wait_for("the guest listens", lambda: ":5022 " in guest(name, "ss -ltn", ok=False))
    run(f"head -c {SIZE} /dev/urandom > /tmp/t && timeout 60 nc -N {address(name)} 5022 < /tmp/t")
    check(finish(sink, 60).split()[0] == run("sha256sum < /tmp/t").split()[0], "sha256 differs in the guest")


def stalled(names, threshold):
    """The whole story, once with copies and once with the other guest's pages mapped."""
    victim, other = names
    device = vif(victim)
    parameter("tx_map_threshold", threshold)
    limit = parameter("rx_queue_bytes")
    problems = []

    def must(condition, text):
        print(f"# {'good' if condition else 'BAD'}: {text}", flush=True)
        if not condition:
            problems.append(text)

    run(f"xl pause {victim}")
    try:
        with Flood(victim, other) as flood:
            wait_for("packets wait for the victim", lambda: flood.most > 0)
            time.sleep(3 * DRAIN_MS / 1000)
            queued, held = backlog(device), waiting(device)
            must(queued == 0, f"{queued} packets in the qdisc after the drain time, flood on")
            must(not any(count for count, _ in held), f"the driver holds {held}")
            try:
                function(other)
                must(True, "the other guest has all of its network")
            except Failed as error:
                must(False, f"the other guest: {error}")
            try:
                wait_for("carrier off", lambda: not carrier(device), 3 * STALL_MS / 1000)
                must(True, "the carrier is off")
            except Failed as error:
                must(False, str(error))
            function(other)
            must(flood.most <= limit + SLACK, f"{flood.most} bytes at most in a queue, of {limit}")
            must(backlog(device) == 0, f"{backlog(device)} packets in the qdisc")
            if threshold < 65536:
                must(unmapped(other), "of the other guest's pages, all are unmapped")
    finally:
        run(f"xl unpause {victim}")
    wait_for("the carrier is on again", lambda: carrier(device), 30)
    online(victim)
    for name in names:
        function(name)
    check(not problems, "\n".join(problems))


def unmapped(name):
    """Pages that are still mapped belong to packets of this moment."""
    text = run(f"ethtool -S {vif(name)}")

    def count(what):
        return sum(int(value) for value in re.findall(rf"\bguest_tx_{what}_ops: (\d+)", text))
    print(f"# {name}: {count('map')} pages mapped, {count('unmap')} unmapped", flush=True)
    check(count("map") > 0, "no page was mapped")
    return count("map") - count("unmap") < 64


def stall_parameter():
    """The time is a parameter, with a range."""
    check(run(f"ls {PARAMETERS}/rx_stall_timeout_ms", ok=False).startswith(PARAMETERS),
          "there is no rx_stall_timeout_ms")
    check(parameter("rx_stall_timeout_ms") == 60000, "not 60000 ms unless asked for")
    run(f"echo 3600001 > {PARAMETERS}/rx_stall_timeout_ms && echo taken", ok=False)
    check(parameter("rx_stall_timeout_ms") == 60000, "3600001 ms are taken")
    parameter("rx_stall_timeout_ms", STALL_MS)


def tests(report, names):
    report.test("prepare", prepare, names)
    report.test("rx_stall_timeout_ms", stall_parameter)
    drain = parameter("rx_drain_timeout_ms")
    parameter("rx_drain_timeout_ms", DRAIN_MS)
    for threshold in (2000, 65536):
        report.test(f"a guest that takes nothing, tx_map_threshold {threshold}", stalled, names,
                    threshold)
    parameter("rx_drain_timeout_ms", drain)
    report.test("as before", restore, names)
