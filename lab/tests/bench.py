#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Measurements in dom0 for scripts/bench: ours and Linux's own drivers in turn, on
one host, under counted instructions. Prints one JSON line a figure:
{"stack": "xpv", "name": "net/...", "unit": "...", "value": 1.0, "round": 1}.

usage: bench.py ROUNDS SECONDS PREFIX [account]    (guests of the run: g1, g2)
"""

import json
import re
import sys
import time

import account
import hypercalls
from labtest import Failed, address, domid, guest, guest_start, online, run, wait_for

ROUNDS, SECONDS, PREFIX = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
GUESTS = ("g1", "g2")
SEGMENT = 1448  # bytes of TCP that count as a packet, however they cross
STACKS = {
    "linux": {"back": "xen-netback", "front": "xen-netfront"},
    "xpv": {"back": "xpv-netback", "front": "xpv-netfront"},
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
        guest(name, f"rmmod {old['front']} && modprobe {new['front']}", 900)
    wait_for("no vif is left", lambda: "vif" not in run("ls /sys/class/net"), 900)
    run(f"rmmod {old['back']} && modprobe {new['back']}", 900)
    for name in GUESTS:
        run(f"xl network-attach {name} mac={macs[name]} bridge=xenbr0", 900)
        wait_for("eth0", lambda: "eth0" in guest(name, "ls /sys/class/net"), 900)
        guest(name, "lab-ifup eth0", 900)
        online(name, 900)
        driver = guest(name, "ethtool -i eth0").split()[1]
        if (driver == "xpv-netfront") != (stack == "xpv"):
            raise Failed(f"{name} runs {driver}, not {stack}'s frontend")


def iperf(server, client, seconds, flags):
    """One iperf3 run; the receiver's summary."""
    listen = "iperf3 -s -1 -p 5300 >/dev/null 2>&1"
    if server == "dom0":
        run(f"{listen} &")
        wait_for("iperf3 listens", lambda: ":5300 " in run("ss -ltn"))
    else:
        process = guest_start(server, listen)
        wait_for("iperf3 listens", lambda: ":5300 " in guest(server, "ss -ltn"))
    command = f"iperf3 -J -c {address(server)} -p 5300 -t {seconds} {flags}"
    text = run(command, 600) if client == "dom0" else guest(client, command, 600)
    if server != "dom0":
        process.wait(60)
    return json.loads(text[text.index("{"):])["end"]


# Of each case: how fast, how many packets arrived, and how many were sent for that.

def tcp(server, client, seconds):
    end = iperf(server, client, seconds, "")["sum_received"]
    segments = end["bytes"] / SEGMENT
    return end["bits_per_second"] / 1e9, segments, segments


def udp(server, client, size, seconds):
    """Packets a second that arrived, sent as fast as the sender can."""
    total = iperf(server, client, seconds, f"-u -b 0 -l {size}")["sum"]
    say(f"{total['packets']} sent, {total['lost_packets']} lost")
    arrived = total["packets"] - total["lost_packets"]
    return arrived / total["seconds"] / 1e3, arrived, total["packets"]


def latency(client, server, seconds):
    """Mean round trip of small packets, one at a time."""
    count = 1000 * seconds
    command = f"ping -i 0 -c {count} -q {address(server)}"
    text = run(command) if client == "dom0" else guest(client, command)
    return float(re.search(r"= [\d.]+/([\d.]+)/", text).group(1)) * 1000, 2 * count, 2 * count


CASES = [
    ("net/tcp-guest-to-dom0", "Gb/s", lambda time: tcp("dom0", "g1", time)),
    ("net/tcp-dom0-to-guest", "Gb/s", lambda time: tcp("g1", "dom0", time)),
    ("net/tcp-guest-to-guest", "Gb/s", lambda time: tcp("g2", "g1", time)),
    ("net/udp64-guest-to-dom0", "kpps", lambda time: udp("dom0", "g1", 64, time)),
    ("net/udp64-dom0-to-guest", "kpps", lambda time: udp("g1", "dom0", 64, time)),
    ("net/udp1400-guest-to-dom0", "kpps", lambda time: udp("dom0", "g1", 1400, time)),
    ("net/udp1400-dom0-to-guest", "kpps", lambda time: udp("g1", "dom0", 1400, time)),
    ("net/udp1400-guest-to-guest", "kpps", lambda time: udp("g2", "g1", 1400, time)),
    ("net/latency-dom0-guest", "us", lambda time: latency("dom0", "g1", time)),
    ("net/latency-guest-guest", "us", lambda time: latency("g1", "g2", time)),
]


def processor_seconds():
    """What each domain has used so far, as Xen counts it."""
    return {line.split()[0]: float(line.split()[5]) for line in run("xl list").splitlines()[1:]}


def measured(stack, name, unit, body, turn):
    """A case's own figure."""
    spent = processor_seconds()
    value, _, _ = body(SECONDS)
    spent = {domain: round(after - spent[domain], 1)
             for domain, after in processor_seconds().items()}
    say(f"processor seconds: {spent}")
    emit(stack, name, unit, value, turn)


def counted(stack, name, body, turn):
    """Notifications and grant operations a packet that was sent: those that the
    receiver is too slow for cost them, too. A pass of its own, since the trace is paid
    for in instructions."""
    with hypercalls.Trace() as trace:
        _, _, packets = body(1)
    counts = trace.counts()
    say(f"hypercalls, {packets:.0f} packets: {counts}")
    if trace.lost:
        raise Failed(f"{trace.lost} trace records were lost: the buffer of "
                     f"{hypercalls.PAGES} pages is too small for {name}")
    for what in ("notifications", "grant-ops"):
        emit(stack, f"{name}/{what}-per-packet", "1/packet", counts[what] / packets, turn)


def accounts(wanted):
    """Each case between marks, for scripts/bench --account: a line for each."""
    account.frames(GUESTS)
    current, file = "linux", 0
    for stack in STACKS:
        swap(stack, current)
        current = stack
        account.symbols(stack, GUESTS)
        for name, _, body in wanted:
            say(f"{stack} {name}")
            begin = time.monotonic()
            account.start()
            _, packets, _ = body(SECONDS)
            account.stop()
            print(json.dumps({"stack": stack, "name": name, "packets": packets, "file": file,
                              "seconds": time.monotonic() - begin}), flush=True)
            file += 1


def main():
    current = "linux"  # what the lab was booted with
    wanted = [case for case in CASES if case[0].startswith(PREFIX)]
    if sys.argv[4:] == ["account"]:
        accounts(wanted)
        return
    for turn in range(1, ROUNDS + 1):
        for stack in ("linux", "xpv"):
            swap(stack, current)
            current = stack
            for name, unit, body in wanted:
                say(f"round {turn} {stack} {name}")
                measured(stack, name, unit, body, turn)
            for name, _, body in wanted if turn == 1 else ():
                counted(stack, name, body, turn)
    say("done")


main()
