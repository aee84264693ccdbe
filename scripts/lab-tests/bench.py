#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Measurements in dom0 for scripts/bench: ours and Linux's own drivers in turn, on
one host, under counted instructions. Prints one JSON line a figure:
{"stack": "xpv", "name": "net/...", "unit": "...", "value": 1.0, "round": 1}.

usage: bench.py ROUNDS SECONDS PREFIX    (guests of the run: g1, g2)
"""

import json
import re
import sys

from labtest import Failed, address, domid, guest, guest_start, online, run, wait_for

ROUNDS, SECONDS, PREFIX = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
GUESTS = ("g1", "g2")
STACKS = {
    "linux": {"back": "xen-netback", "front": "xen-netfront", "load": "modprobe {}"},
    "xpv": {"back": "xpv-netback", "front": "xpv-netfront",
            "load": "insmod /lib/modules/xpv/{}.ko"},
}


def emit(stack, name, unit, value, turn):
    print(json.dumps({"stack": stack, "name": name, "unit": unit, "value": value,
                      "round": turn}), flush=True)


def say(text):
    print(f"# {text}", flush=True)


def swap(stack, current):
    """Both ends from one stack to the other. Linux's drivers cannot be unloaded while
    they have a device: the vifs go first."""
    if stack == current:
        return
    old, new = STACKS[current], STACKS[stack]
    macs = {name: run(f"xenstore-read /local/domain/{domid(name)}/device/vif/0/mac").strip()
            for name in GUESTS}
    for name in GUESTS:
        run(f"xl network-detach {name} {macs[name]}", 900)
        wait_for("eth0 is gone", lambda: "eth0" not in guest(name, "ls /sys/class/net"), 900)
        guest(name, f"rmmod {old['front']} && {new['load'].format(new['front'])}", 900)
    wait_for("no vif is left", lambda: "vif" not in run("ls /sys/class/net"), 900)
    run(f"rmmod {old['back']} && {new['load'].format(new['back'])}", 900)
    for name in GUESTS:
        run(f"xl network-attach {name} mac={macs[name]} bridge=xenbr0", 900)
        wait_for("eth0", lambda: "eth0" in guest(name, "ls /sys/class/net"), 900)
        guest(name, "lab-ifup eth0", 900)
        online(name, 900)
        driver = guest(name, "ethtool -i eth0").split()[1]
        if (driver == "xpv-netfront") != (stack == "xpv"):
            raise Failed(f"{name} runs {driver}, not {stack}'s frontend")


def iperf(server, client, flags):
    """One iperf3 run; the receiver's summary."""
    listen = "iperf3 -s -1 -p 5300 >/dev/null 2>&1"
    if server == "dom0":
        run(f"{listen} &")
        wait_for("iperf3 listens", lambda: ":5300 " in run("ss -ltn"))
    else:
        process = guest_start(server, listen)
        wait_for("iperf3 listens", lambda: ":5300 " in guest(server, "ss -ltn"))
    command = f"iperf3 -J -c {address(server)} -p 5300 -t {SECONDS} {flags}"
    text = run(command, 600) if client == "dom0" else guest(client, command, 600)
    if server != "dom0":
        process.wait(60)
    return json.loads(text[text.index("{"):])["end"]


def tcp(server, client):
    end = iperf(server, client, "")
    return end["sum_received"]["bits_per_second"] / 1e9


def udp(server, client, size):
    """Packets a second that arrived, sent as fast as the sender can."""
    end = iperf(server, client, f"-u -b 0 -l {size}")
    total = end["sum"]
    say(f"{total['packets']} sent, {total['lost_packets']} lost")
    return (total["packets"] - total["lost_packets"]) / total["seconds"] / 1e3


def latency(client, server):
    """Mean round trip of small packets, one at a time."""
    command = f"ping -i 0 -c 300 -q {address(server)}"
    text = run(command) if client == "dom0" else guest(client, command)
    return float(re.search(r"= [\d.]+/([\d.]+)/", text).group(1)) * 1000


CASES = [
    ("net/tcp-guest-to-dom0", "Gb/s", lambda: tcp("dom0", "g1")),
    ("net/tcp-dom0-to-guest", "Gb/s", lambda: tcp("g1", "dom0")),
    ("net/tcp-guest-to-guest", "Gb/s", lambda: tcp("g2", "g1")),
    ("net/udp64-guest-to-dom0", "kpps", lambda: udp("dom0", "g1", 64)),
    ("net/udp64-dom0-to-guest", "kpps", lambda: udp("g1", "dom0", 64)),
    ("net/udp1400-guest-to-dom0", "kpps", lambda: udp("dom0", "g1", 1400)),
    ("net/udp1400-dom0-to-guest", "kpps", lambda: udp("g1", "dom0", 1400)),
    ("net/udp1400-guest-to-guest", "kpps", lambda: udp("g2", "g1", 1400)),
    ("net/latency-dom0-guest", "us", lambda: latency("dom0", "g1")),
    ("net/latency-guest-guest", "us", lambda: latency("g1", "g2")),
]

def events(where):
    """Interrupts so far on vif channels in dom0 or a guest."""
    text = where("cat /proc/interrupts")
    total = 0
    for line in text.splitlines():
        if "vif" in line or "eth0" in line:
            total += sum(int(word) for word in line.split()[1:] if word.isdigit())
    return total


def packets(where, device):
    text = where(f"cat /sys/class/net/{device}/statistics/rx_packets "
                 f"/sys/class/net/{device}/statistics/tx_packets")
    return sum(int(word) for word in text.split())


def processor_seconds():
    """What each domain has used so far, as Xen counts it."""
    return {line.split()[0]: float(line.split()[5]) for line in run("xl list").splitlines()[1:]}


def with_events(stack, name, body, turn):
    """A case's own figure, and the interrupts at both ends for each packet."""
    in_guest = lambda command: guest("g1", command)
    before = events(run) + events(in_guest)
    first = packets(in_guest, "eth0")
    spent = processor_seconds()
    value = body()
    spent = {domain: round(after - spent[domain], 1)
             for domain, after in processor_seconds().items()}
    say(f"processor seconds: {spent}")
    count = packets(in_guest, "eth0") - first
    emit(stack, name, dict((case[0], case[1]) for case in CASES)[name], value, turn)
    if count:
        emit(stack, name + "/events-per-packet", "1/packet",
             (events(run) + events(in_guest) - before) / count, turn)


def main():
    current = "linux"  # what the lab was booted with
    for turn in range(1, ROUNDS + 1):
        for stack in ("linux", "xpv"):
            swap(stack, current)
            current = stack
            for name, _, body in CASES:
                if not name.startswith(PREFIX):
                    continue
                say(f"round {turn} {stack} {name}")
                with_events(stack, name, body, turn)
    say("done")


main()
