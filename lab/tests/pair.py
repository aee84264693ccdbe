#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Any frontend with any backend: each guest of the run is put through the same
traffic, in both directions, with the offloads on and off."""

import functools
import hashlib
import os
import re
import socket
import sys

from labtest import (Failed, Report, address, address6, check, finish, guest, guest_start, guests,
                     online, ping, run, start, vif, wait_for)

FILE = "/tmp/pair.bin"
MIB = int(sys.argv[1]) if len(sys.argv) > 1 else 64


def make_file():
    """Bytes that repeat nowhere, so that a lost or doubled page is seen."""
    with open(FILE, "wb") as out:
        for i in range(MIB):
            block = hashlib.shake_128(i.to_bytes(4, "big")).digest(1 << 16)
            for j in range(16):
                out.write(bytes([j]) + block[1:])


def sha_of(text):
    return text.split()[0]


def part(size):
    """A command that writes the first size MiB. In large pieces: some heads copy bytes."""
    return f"dd if={FILE} bs=1M count={size} status=none"


@functools.cache
def sha_of_part(size):
    with open(FILE, "rb") as stream:
        return hashlib.sha256(stream.read(size << 20)).hexdigest()


def same(got, size):
    check(got == sha_of_part(size), f"sha256 {got} arrived, {sha_of_part(size)} was sent")


def to_guest(name, size, host):
    """size MiB from dom0 to a guest; sha256 equal."""
    sink = guest_start(name, "nc -d -l -p 5001 | sha256sum")
    guest_listens(name, 5001)
    run(f"{part(size)} | nc -N {host} 5001", timeout=300)
    same(sha_of(finish(sink, 300)), size)


def to_dom0(name, size, host):
    """size MiB of the staged file from a guest to dom0; sha256 equal."""
    sink = start("nc -d -l -p 5002 | sha256sum")
    wait_for("dom0 listens", lambda: "5002" in run("ss -ltn", ok=False))
    guest(name, f"{part(size)} | nc -N {host} 5002", timeout=300)
    same(sha_of(finish(sink, 300)), size)


def guest_listens(name, port):
    wait_for(f"{name} listens", lambda: f":{port} " in guest(name, "ss -ltun", ok=False))


def stage(name):
    """Put the file into the guest through the network, checked by sha256."""
    sink = guest_start(name, f"nc -d -l -p 5001 > {FILE}; sha256sum {FILE}")
    guest_listens(name, 5001)
    run(f"nc -N {address(name)} 5001 < {FILE}", timeout=300)
    same(sha_of(finish(sink, 300)), MIB)


def udp_sizes(name):
    """Datagrams of every interesting size there and back, payload compared."""
    echo = guest_start(name, "socat -b 66000 -T 8 UDP4-LISTEN:5003,reuseaddr PIPE")
    try:
        guest_listens(name, 5003)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(3)
        sock.connect((address(name), 5003))
        data = open(FILE, "rb").read(65536)
        sizes = list(range(1, 70)) + [127, 128, 129, 255, 256, 257, 1471, 1472, 1473, 2048, 4000]
        sizes += [4067, 4068, 4069, 4096, 8191, 8192, 8193, 16384, 32768, 65000, 65506, 65507]
        for size in sizes:
            for _ in range(4):  # UDP may drop; it may not change
                sock.send(data[:size])
                try:
                    got = sock.recv(66000)
                except socket.timeout:
                    print(f"# {name}: {size} bytes: no answer", flush=True)
                    continue
                check(got == data[:size], f"{size} bytes came back changed ({len(got)} bytes)")
                break
            else:
                raise Failed(f"{size} bytes: no answer to four datagrams")
    finally:
        echo.wait()


def udp_empty(name):
    """A datagram without payload arrives: the guest's own counter says so."""
    def datagrams():
        rows = [line.split() for line in guest(name, "grep ^Udp: /proc/net/snmp").splitlines()]
        values = dict(zip(rows[0], rows[1]))
        return int(values["InDatagrams"]) + int(values["NoPorts"])
    before = datagrams()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.sendto(b"", (address(name), 5004))
    wait_for("an empty datagram arrives", lambda: datagrams() > before, 10)


def ping_sizes(name):
    for size in (0, 1, 17, 18, 46, 1472, 1473, 4096, 9000, 65507):
        ping(name, 1, size)


def ipv6(name):
    wait_for("IPv6 ping", lambda: "1 received" in run(
        f"ping -6 -c 1 -W 2 {address6(name)}", ok=False), 30)
    run(f"ping -6 -c 2 -i 0.2 -s 8000 {address6(name)}")
    sink = guest_start(name, "nc -6 -d -l -p 5005 | sha256sum")
    guest_listens(name, 5005)
    run(f"{part(8)} | nc -N {address6(name)} 5005", timeout=120)
    same(sha_of(finish(sink)), 8)
    sink = start("nc -6 -d -l -p 5006 | sha256sum")
    wait_for("dom0 listens", lambda: "5006" in run("ss -ltn", ok=False))
    guest(name, f"{part(8)} | nc -N {address6('dom0')} 5006")
    same(sha_of(finish(sink)), 8)


def switch(name, settings):
    """Offloads at both ends, one by one: a driver may have some of them fixed."""
    def all_of(port):
        return "; ".join(f"ethtool -K {port} {setting}" for setting in settings)
    guest(name, all_of("eth0"), ok=False)
    run(all_of(vif(name)), ok=False)


def offloads(name):
    """Every offload off at both ends, then on again; the bytes stay the same."""
    switch(name, ("tso off", "tx off", "rx off", "gro off", "sg off"))
    shown = guest(name, "ethtool -k eth0")
    check("tcp-segmentation-offload: off" in shown, "tso is still on")
    to_guest(name, 8, address(name))
    to_dom0(name, 8, address("dom0"))
    switch(name, ("sg on", "tx on", "rx on", "gro on", "tso on"))
    check("tcp-segmentation-offload: on" in guest(name, "ethtool -k eth0"), "tso is not back on")
    to_guest(name, 8, address(name))
    to_dom0(name, 8, address("dom0"))


def drivers(name):
    """Say which drivers were under test, and that they are the ones asked for."""
    front = guest(name, "ethtool -i eth0").splitlines()[0]
    back = run(f"ethtool -i {vif(name)}").splitlines()[0]
    queues = guest(name, "ls -d /sys/class/net/eth0/queues/tx-*").split()
    check(len(queues) == 2, f"{len(queues)} transmit queues, not 2")
    print(f"# {name}: front {front}, back {back}, kernel {guest(name, 'uname -r').strip()}")


def threshold():
    """Of mapping instead of copying in the backend; None: it copies all."""
    found = run("cat /sys/module/xpv_netback/parameters/tx_map_threshold", ok=False).strip()
    return int(found) if found.isdigit() and int(found) < 65536 else None


def mapped(name):
    """Large packets came in the guest's pages, each of which was given back."""
    def count(what):
        return sum(int(value) for value in
                   re.findall(rf"\bguest_tx_{what}_ops: (\d+)", run(f"ethtool -S {vif(name)}")))
    check(count("map") > 0, "no page was mapped")
    wait_for("every page is unmapped", lambda: count("unmap") == count("map"))


def main():
    report = Report()
    make_file()
    for name in guests():
        test = lambda what, body, *args: report.test(f"{name}: {what}", body, name, *args)
        test("is on line", online)
        test("drivers", drivers)
        test("ping sizes 0..65507", ping_sizes)
        test(f"{MIB} MiB to the guest, sha256", stage)
        test(f"{MIB} MiB from the guest, sha256", to_dom0, MIB, address("dom0"))
        test("UDP sizes 1..65507", udp_sizes)
        test("UDP without payload", udp_empty)
        test("IPv6, TCP both ways", ipv6)
        test("offloads off and on", offloads)
        if threshold() is not None:
            test("pages were mapped and unmapped", mapped)
        guest(name, f"rm -f {FILE}", ok=False)
    os.unlink(FILE)
    report.finish()


main()
