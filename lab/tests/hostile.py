#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""A hostile frontend in a guest against xpv-netback in dom0, on real Xen: what each advisory
of Xen's network backends was about. The guest's vif is xpv-hostile-test's, which does what
net/hostile/attack.c says. Each time no kernel complains, the guest's neighbour has its
traffic, and the vif is broken with one line that names queue and value, or the packet is
answered as that row says.

usage: hostile.py [TEST...]

Guests: g1 is hostile, g2 its neighbour. Two queues per vif; packets above 2000 bytes mapped.
"""

import re
import socket
import sys
import time

from churn import (BACK, MODULES, READ_BACK, Logs, Traffic, alive, attach, backend, belongings,
                   known_id, mac, probe, say, unchanged, vifs, xenwatch_works)
from labtest import (Failed, Report, address, check, guest, guest_start, guests, memory_leaks, online, run,
                     start, status, wait_for)

A, B = guests()
RUN = "/sys/kernel/debug/xpv-hostile/run"

# Packets that are answered, and how many slots by which status.
ANSWERED = {
    "good": {"okay": 2},
    "large": {"okay": 2},
    "largest": {"okay": 16},
    "tiny-slots": {"okay": 18},            # XSA-432
    "short-head": {"okay": 28},            # XSA-423
    "same-id": {"okay": 8},
    "answers-index": {"okay": 1},
    "many-slots": {"error": 40},
    "size-zero": {"error": 4},             # XSA-448
    "total-small": {"error": 3},
    "bad-gref": {"error": 6},              # XSA-361, 362, 367
    "revoked": {"error": 1},
    "multicast": {"error": 1, "null": 1},
}
# Breaches: what the one line says of queue 1, and its value.
BREACHES = {
    "producer": ("guest-TX ring: impossible request index", 0),              # XSA-39
    "producer-back": ("guest-TX ring: impossible request index", 2),         # XSA-391
    "rx-producer": ("guest-RX ring: impossible request index", 0),
    "chain-endless": ("guest-TX packet of too many slots", 64),              # XSA-39
    "chain-cut": ("guest-TX packet ends in the middle of its slots", 3),
    "crosses-page": ("guest-TX slot reaches over its page", 4200),           # XSA-90
    "crosses-later": ("guest-TX slot reaches over its page", 131070),
    "extra-endless": ("guest-TX packet with too many extra slots", 4),
    "extra-cut": ("guest-TX packet ends in the middle of its extra slots", 0),
    "extra-type": ("guest-TX extra slot of unknown type", 77),
    "gso-zero": ("guest-TX segmentation type or size is wrong", 1),
    "gso-type": ("guest-TX segmentation type or size is wrong", 9),
}


def do(what, timeout=200):
    """The hostile frontend does it, and says what came of it."""
    return guest(A, f"echo {what} >{RUN} && cat {RUN}", timeout)


def state():
    return run(f"xenstore-read {backend(A)}/state", ok=False).strip()


def lines(pattern):
    return run(f"dmesg | grep -E '{pattern}'", ok=False).splitlines()


class Told:
    """Lines of dom0's log that match, since now."""

    def __init__(self, pattern):
        self.pattern = pattern
        self.before = set(lines(pattern))

    def new(self):
        return [line for line in lines(self.pattern) if line not in self.before]


class Connected:
    """The hostile frontend in service, and gone afterwards whatever happened."""

    def __enter__(self):
        do("connect")
        return self

    def __exit__(self, *_):
        do("close")


class Watch:
    """The neighbour's traffic and the kernels' logs."""

    def __init__(self):
        self.traffic = Traffic(B, "-b 3M")
        self.logs = Logs([A, B])

    def well(self):
        if not self.traffic.flows(10):
            # iperf3 stops reading now and then. The probes tell whether it is the network.
            say(f"{B}: no traffic; iperf3 ended with {self.traffic.client.poll()} here, "
                f"{self.traffic.server.poll()} there\n" +
                run(f"ss -tin dst {address(B)}", ok=False).replace("\n", "\n# "))
            probe(B, 20)  # both directions of each queue work
            self.traffic.keep()
        alive(B)
        self.logs.clean()


watch = None
reports = []


def room():
    """A vif tells ten errors a minute at most: wait until there is room for one."""
    while len(recent := [when for when in reports if time.time() - when < 65]) >= 9:
        time.sleep(65 - (time.time() - recent[0]))
    reports[:] = [*recent, time.time()]


def send(count=200, sockets=1):
    """Frames to the guest, straight into its vif. What waits there is charged to its socket,
    which then has to wait: more of them send more."""
    frame = bytes.fromhex("ffffffffffff02000000000288b5") + bytes(1386)
    for _ in range(sockets):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((vifs(A)[0], 0))
            sock.settimeout(0.2)
            try:
                for _ in range(count):
                    sock.send(frame)
            except OSError:  # no room, or no carrier any more
                pass


# ---- tests ----------------------------------------------------------------------

def answered():
    """Every packet's slots get the answer that they must; the vif serves on."""
    wrong = []
    with Connected():
        for name, expected in ANSWERED.items():
            said = do(name)
            counts = {word: int(number) for word, number in re.findall(r"(\w+) (\d+)", said)}
            wanted = {"okay": 0, "error": 0, "null": 0, "dropped": 0, "strange": 0, "open": 0,
                      "backend": 4, **expected}
            if counts != wanted:
                wrong.append(f"{name}: {said.strip()}, not {expected}")
                break  # what is left open would spoil the next count
        check(not wrong, "\n".join(wrong))
        watch.well()


def gso_of_rubbish():
    """A segmentation size that cannot be is refused; what is not TCP may go either way."""
    with Connected():
        said = do("gso-of-rubbish")
        found = re.match(r"okay (\d+) error (\d+) null 3 dropped 0 strange 0 open 0 backend 4$", said.strip())
        check(found and int(found[2]) >= 2 and int(found[1]) + int(found[2]) == 3, said)
        check(do("good").startswith("okay 2 "), "the vif does not serve any more")
    watch.well()


def breach(name, text, value):
    """The vif is broken, and one line says by what; the next connection works."""
    room()
    told = Told("broke the protocol")
    with Connected():
        do(name)
        wait_for("the backend gives up", lambda: state() in ("5", "6"), 30)
        wait_for("a line in the log", told.new, 10)
        error = run(f"xenstore-read /local/domain/0/error/backend/vif/{known_id(A)}/0/error", ok=False)
    said = told.new()
    wanted = f"{text} (queue 1, value {value})"
    check(len(said) == 1 and wanted in said[0] and f"vif-{known_id(A)}-0" in said[0],
          f"not one line with {wanted}: {said}")
    check(wanted in error, f"the error node says {error}")
    watch.well()


def breaches():
    wrong = []
    for name, (text, value) in BREACHES.items():
        try:
            breach(name, text, value)
        except Failed as error:
            wrong.append(f"{name}: {error}")
    check(not wrong, "\n".join(wrong))
    with Connected():
        check(do("good").startswith("okay 2 "), "the vif does not serve any more")


def refused():
    """A ring or a channel of the second queue that is not there: all is undone again."""
    for what, line in (("connect-bad-ref", "queue 1: cannot use rings tx [0-9]+ rx 4000000"),
                       ("connect-bad-port", "queue 1: cannot bind event channels tx 4000 rx 4000")):
        told = Told(line)
        do(what)
        wait_for(f"{what} is told", told.new, 10)
        do("close")
    with Connected():
        check(do("good").startswith("okay 2 "), "the vif does not serve any more")
    watch.well()


def under_its_hands():
    """XSA-155, and all of a ring page rubbish: broken or not, but nothing else."""
    for what in ("double-fetch", "rubbish", "ring-ended"):
        told = Told("broke the protocol")
        with Connected():
            said = do(what)
            check(what != "ring-ended" or said == "ended 0\n", f"Xen let a mapped ring go: {said}")
        check(len(told.new()) <= 1, f"{what}: {told.new()}")
        watch.well()


def storm():
    """XSA-332, 391: events without end cost dom0 a bounded number of interrupts."""
    def interrupts():
        return int(re.search(r"queue_1_guest_tx_events: (\d+)", run(f"ethtool -S {vifs(A)[0]}"))[1])
    with Connected():
        before, began = interrupts(), time.time()
        sent = int(re.match(r"events (\d+) backend 4", do("storm"))[1])
        taken, seconds = interrupts() - before, time.time() - began
        check(sent > 1000, f"{sent} events are no storm")
        check(0 < taken < 100 + 30 * seconds, f"{taken} interrupts for {sent} events in {seconds:.0f} s")
        watch.well()
    print(f"# {sent} events, {taken} interrupts", flush=True)


def storm_and_unbind():
    """XSA-331, 441: the channel goes while events come."""
    device = f"vif-{known_id(A)}-0"
    do("connect")
    flood = guest_start(A, f"echo storm >{RUN}")
    time.sleep(1)
    run(f"echo {device} >{BACK}/unbind", timeout=60)
    flood.wait(60)
    run(f"echo {device} >{BACK}/bind")
    run("xpv-vif-reconnect")
    xenwatch_works()
    do("close")
    with Connected():
        check(do("good").startswith("okay 2 "), "the vif does not serve any more")
    watch.well()


def starved():
    """XSA-392: no buffer for what dom0 sends; what waits is bounded."""
    def used():
        text = run("sync; echo 3 >/proc/sys/vm/drop_caches; cat /proc/meminfo")
        return int(re.search(r"^MemTotal: +(\d+)", text, re.M)[1]) - int(
            re.search(r"^MemFree: +(\d+)", text, re.M)[1])
    with Connected():
        before = used()
        send(1000, sockets=40)
        more = used() - before
        check(more < 16384, f"{more} KiB wait for a guest that takes nothing")
        watch.well()


def bad_buffers():
    """Buffers that cannot be written cost the guest its packets; then its channel goes."""
    with Connected():
        do("rx-bad")
        send()
        time.sleep(1)
        counts = [int(number) for number in
                  re.findall(r"queue_\d+_guest_rx_errors: (\d+)", run(f"ethtool -S {vifs(A)[0]}"))]
        check(sum(counts) > 0, f"rx_errors of the queues: {counts}")
        do("port-closed")
        send()
        watch.well()


def read_while_it_reconnects():
    """XSA-2026-100080: everything that may be read of a vif, while it comes and goes."""
    paths = " ".join(f"'{path}'" for path in READ_BACK)
    reader = start(f"exec nice -n 10 lab-churn {vifs(A)[0]} 1 1 read {paths} >/dev/null 2>&1")
    try:
        for _ in range(4):
            with Connected():
                run(f"ethtool -S {vifs(A)[0]}; ethtool -l {vifs(A)[0]}; ip -s link show {vifs(A)[0]}")
                do("producer")
    finally:
        reader.kill()
        reader.wait(30)
    watch.well()


def breach_and_detach():
    """XSA-374: the device goes while it is being given up."""
    do("connect")
    do("producer")
    run(f"xl network-detach {A} {mac(A)}", ok=False)  # it does not help, libxl gives up on it
    wait_for("the vif is gone", lambda: not vifs(A))
    attach(A)
    wait_for("the backend waits", lambda: state() in ("1", "2"))
    with Connected():
        check(do("good").startswith("okay 2 "), "the vif does not serve any more")
    watch.well()


def flapping():
    """States at random, as fast as it can."""
    do("connect")
    do("flap")
    do("close")
    xenwatch_works()
    with Connected():
        check(do("good").startswith("okay 2 "), "the vif does not serve any more")
    watch.well()


TESTS = {"answered": answered, "gso-of-rubbish": gso_of_rubbish, "breaches": breaches,
         "refused": refused, "under-its-hands": under_its_hands, "storm": storm,
         "storm-and-unbind": storm_and_unbind, "starved": starved, "bad-buffers": bad_buffers,
         "read-while-it-reconnects": read_while_it_reconnects,
         "breach-and-detach": breach_and_detach, "flapping": flapping}


def back_to_work(before):
    """The guest's own driver finds everything as it was."""
    guest(A, "rmmod xpv-hostile-test")
    guest(A, f"insmod {MODULES}/xpv-netfront.ko")
    wait_for("eth0 is back", lambda: "eth0" in guest(A, "ls /sys/class/net"))
    guest(A, "lab-ifup eth0")
    online(A)
    watch.traffic.stop()
    for name in (A, B):
        alive(name)
    unchanged(before, [A, B])
    watch.logs.clean()
    if status("test -e /sys/kernel/debug/kmemleak") == 0:
        memory_leaks(run)


def main():
    global watch
    report = Report()
    for name in (A, B):
        online(name)
        alive(name)
    watch = Watch()
    before = belongings([A, B])
    guest(A, "rmmod xpv-netfront")
    guest(A, f"insmod {MODULES}/xpv-hostile-test.ko")
    with watch.traffic:
        for name in sys.argv[1:] or TESTS:
            watch.traffic.keep()
            report.test(name, TESTS[name])
            do("close")
    report.test("back to work", back_to_work, before)
    report.finish()


main()
