#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Who waits behind a slow backend: Linux's, shaped to 10 Mb/s, under our frontend (g1) and
Linux's (g2) on one host. What a sender has in the device must stay charged to it, else
nothing that bounds a sender on a NIC works: TCP small queues, SO_SNDBUF, BQL.

usage: backpressure.py                            tests, KTAP
       backpressure.py ROUNDS SECONDS PREFIX      figures for scripts/bench, JSON
"""

import json
import re
import socket
import sys
import threading
import time

from labtest import (Report, address, check, guest, guest_start, guests, online, ping,
                     wait_for)

RATE = 10e6 / 8  # bytes per second, of `lab run --vif rate=10Mb/s`
STACKS = {"g1": "xpv", "g2": "linux"}
RING = 256 * 4096  # most that a transmit ring holds
SO_RCVBUFFORCE = 33


def say(text):
    print(f"# {text}", flush=True)


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


# ---- traffic ---------------------------------------------------------------------

class Sink:
    """Takes whatever comes to a port of dom0, and counts it."""

    def __init__(self, kind, port):
        self.bytes = self.pieces = 0
        self.first = self.last = None
        self.sock = socket.socket(socket.AF_INET, kind)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.sock.bind((address("dom0"), port))
        if kind == socket.SOCK_STREAM:
            self.sock.listen()
        threading.Thread(target=self.take, args=(kind,), daemon=True).start()

    def take(self, kind):
        sock = self.sock.accept()[0] if kind == socket.SOCK_STREAM else self.sock
        while True:
            data = sock.recv(1 << 20)
            if not data:
                return
            self.last = time.monotonic()
            self.first = self.first or self.last
            self.bytes += len(data)
            self.pieces += 1


class Bulk:
    """A flow of the guest's to dom0 that takes all it can, while the block runs."""

    def __init__(self, name, kind, *more):
        self.name, self.kind, self.more = name, kind, more

    def __enter__(self):
        port = 5400
        kind = socket.SOCK_STREAM if self.kind == "tcp" else socket.SOCK_DGRAM
        self.sink = Sink(kind, port)
        size = 32768 if self.kind == "tcp" else 1400
        self.process = guest_start(self.name, f"exec lab-send {self.kind} {address('dom0')} {port} "
                                   f"{size} 100000000 seconds=3600 {' '.join(self.more)}")
        wait_for("the flow flows", lambda: self.sink.bytes > RATE, 120)
        return self

    def __exit__(self, *_):
        guest(self.name, "killall -9 lab-send", ok=False)
        self.process.wait(60)
        self.sink.sock.close()


def sent(name, *arguments):
    """lab-send's words as a dictionary."""
    text = guest(name, "lab-send " + " ".join(map(str, arguments)), 120)
    return {word: int(value) for word, value in re.findall(r"(\w+)=(\d+)", text)}


def round_trips(name, seconds):
    """Milliseconds of each of the guest's pings to dom0, sorted; a lost one is the longest."""
    count = 20 * seconds
    text = guest(name, f"ping -c {count} -i 0.05 -W 10 {address('dom0')}", 60 + 10 * seconds, ok=False)
    times = [float(found) for found in re.findall(r"time=([\d.]+) ms", text)]
    check(times, f"no answer: {text[-500:]}")
    return sorted(times + [max(10000.0, *times)] * (count - len(times)))


def waits(name, flow, seconds):
    """Round trips beside a flow. A queue of one is under fq: who waits in the device does
    so in front of it."""
    if flow == "tcp":
        with Bulk(name, "tcp"):
            return round_trips(name, seconds)
    guest(name, "modprobe sch_fq; tc qdisc replace dev eth0 root fq")
    try:
        with Bulk(name, "udp", "sndbuf=2000000"):
            return round_trips(name, seconds)
    finally:
        guest(name, "tc qdisc del dev eth0 root")


FLOWS = {"tcp": "a bulk TCP flow", "udp-fq": "a flood of datagrams, fq"}


def figures(rounds, seconds, prefix):
    """For scripts/bench: one line per figure."""
    for turn in range(1, rounds + 1):
        for name, stack in STACKS.items():
            for flow in FLOWS:
                case = f"net/backpressure/{flow}"
                if not (case.startswith(prefix) or prefix.startswith(case)):
                    continue
                say(f"round {turn} {stack} {case}")
                times = waits(name, flow, max(seconds, 3))
                for part in (50, 99):
                    value = percentile(times, part / 100) * 1000
                    if f"{case}/ping-p{part}".startswith(prefix):
                        print(json.dumps({"stack": stack, "name": f"{case}/ping-p{part}", "unit": "us",
                                          "value": value, "round": turn}), flush=True)
    say("done")


# ---- tests ---------------------------------------------------------------------------

def table(rows):
    say(f"{'milliseconds, 50th and 99th of 60 echoes beside':50} {'ours':>15} {'Linux':>15}")
    for flow, what in FLOWS.items():
        cells = [f"{percentile(rows[name][flow], .5):7.1f} {percentile(rows[name][flow], .99):7.1f}"
                 for name in STACKS]
        say(f"{what:50} {cells[0]:>15} {cells[1]:>15}")


def beside(names):
    """An echo beside a flow: nothing like several times what it is with Linux's frontend,
    and not behind a whole ring."""
    rows = {name: {flow: waits(name, flow, 3) for flow in FLOWS} for name in names}
    table(rows)
    for flow in FLOWS:
        ours, theirs = (percentile(rows[name][flow], .5) for name in names)
        check(ours < max(5 * theirs, 50), f"{flow}: {ours} ms, Linux's {theirs} ms")
        check(ours < RING / RATE * 1000 / 2, f"{flow}: {ours} ms is half a ring of {RING} bytes")


def tcp_small_queues(names):
    """The socket is charged for what is in the device, and that is little."""
    for number, name in enumerate(names):
        port = 5410 + number  # the former may be in use still
        sink = Sink(socket.SOCK_STREAM, port)
        was = sent(name, "tcp", address("dom0"), port, 32768, 100000, "seconds=8")
        say(f"{STACKS[name]}: {was}")
        check(sink.bytes > RATE, f"{sink.bytes} bytes arrived")
        if name != names[0]:
            continue
        looks = was["looks"]
        check(looks > 20, f"{looks} looks")
        check(was["charged"] > looks / 2, "TCP is not charged for what is in the device")
        check(was["mean_charged"] < RING / 2, "TCP has half a ring in the device")
        check(was["device"] > looks / 2, "BQL counts nothing")
        check(was["most_device"] < RING / 2, f"BQL lets {was['most_device']} bytes in")


def small_sndbuf(name):
    """A sender with a small SO_SNDBUF waits for the link instead of losing datagrams."""
    sink = Sink(socket.SOCK_DGRAM, 5401)
    was = sent(name, "udp", address("dom0"), 5401, 1000, 1500, "sndbuf=8000", "seconds=60")
    say(f"{was}; {sink.pieces} arrived")
    check(was["waits"] > 0, "the sender never had to wait")
    check(was["most"] <= 2 * 8000 + 4096, f"{was['most']} bytes were in flight with SO_SNDBUF 8000")
    wait_for("every datagram arrives", lambda: sink.pieces == 1500, 10)


def zerocopy(name):
    """Each MSG_ZEROCOPY send is completed, TCP's and UDP's."""
    for kind, port, size in (("tcp", 5403, 32768), ("udp", 5404, 1400)):
        sink = Sink(socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM, port)
        was = sent(name, kind, address("dom0"), port, size, 60, "zerocopy=1", "seconds=60")
        say(f"{kind}: {was}; {sink.bytes} bytes arrived")
        check(was["sent"] == 60 * size, f"{kind}: {was['sent']} bytes were sent")
        check(was["done"] == was["asked"], f"{kind}: {was['done']} completions of {was['asked']}")
        wait_for("all bytes arrive", lambda: sink.bytes == 60 * size, 20)


def pacing(name):
    """SO_MAX_PACING_RATE holds, by TCP's own timers and by fq."""
    pace = RATE / 4
    for number, qdisc in enumerate(("", "fq")):
        if qdisc:
            guest(name, "modprobe sch_fq; tc qdisc replace dev eth0 root fq")
        sink = Sink(socket.SOCK_STREAM, 5405 + number)
        was = sent(name, "tcp", address("dom0"), 5405 + number, 16384, 40, f"pace={pace:.0f}",
                   "seconds=60")
        wait_for("all bytes arrive", lambda: sink.bytes == was["sent"], 60)
        speed = sink.bytes / (sink.last - sink.first)
        say(f"{qdisc or 'TCP'}: {speed:.0f} bytes per second of {pace:.0f}")
        check(speed < 1.5 * pace, f"{speed:.0f} bytes per second, asked for {pace:.0f} at most")
        if qdisc:
            guest(name, "tc qdisc del dev eth0 root")


def main():
    if sys.argv[1:]:
        figures(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
        return
    report = Report()
    names = guests()[:2]
    for name in names:
        report.test(f"{name}: is on line", online, name)
    report.test("TCP small queues, BQL", tcp_small_queues, names)
    report.test("an echo beside a flow", beside, names)
    for name in names:  # Linux's, too: what it does is what a test may ask for
        report.test(f"{name}: a small SO_SNDBUF", small_sndbuf, name)
        report.test(f"{name}: MSG_ZEROCOPY completions", zerocopy, name)
        report.test(f"{name}: SO_MAX_PACING_RATE", pacing, name)
        report.test(f"{name}: still on line", ping, name)
    report.finish()


main()
