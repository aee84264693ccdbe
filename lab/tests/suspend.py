#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Guests are saved, restored, saved and go on, and migrate to the same host, while TCP
connections run both ways: those live, every byte arrives as it was sent, nothing is left
in dom0, the guests' kernels do not complain, and the device goes on as before.

usage: suspend.py [TURNS]       of each kind, default 2

Xen needs memory for one guest more: one that migrates is there twice.
"""

import hashlib
import socket
import sys
import threading
import time

from churn import Logs, alive, belongings, say, unchanged
from labtest import (Report, address, answers, check, finish, guest, guests, run, save_and_go_on,
                     save_restore, start, status, wait_for)

BLOCK = hashlib.shake_128(b"xpv").digest(1 << 16)
PIECE = 1 << 20  # so much each way between two looks


class Stream:
    """Two connections of a guest to dom0, one each way, which both last until told. The
    guest's ends are programs of its own: a call does not outlive a restore. busybox's setsid
    would take its own shell for "sh", and that one its own nc."""

    def __init__(self, name):
        self.name = name
        self.sums = {"down": hashlib.sha256(), "up": hashlib.sha256()}
        self.bytes = {"down": 0, "up": 0}
        self.over = False
        self.fault = None

    def __enter__(self):
        self.listeners = {}
        for way in self.sums:
            self.listeners[way] = socket.create_server((address("dom0"), 0))
            self.listeners[way].settimeout(60)
        ports = {way: listener.getsockname()[1] for way, listener in self.listeners.items()}
        guest(self.name, f"""rm -f /tmp/up* /tmp/down* /tmp/stop; mkfifo /tmp/up.tee
            dd if=/dev/urandom of=/tmp/up.data bs=64k count=16 status=none
            echo 'nc {address('dom0')} {ports["down"]} < /dev/null | sha256sum > /tmp/down.sum' > /tmp/down.sh
            echo 'sha256sum < /tmp/up.tee > /tmp/up.sum &
                while [ ! -e /tmp/stop ]; do cat /tmp/up.data; sleep 0.02; done | tee /tmp/up.tee |
                nc -N {address('dom0')} {ports["up"]}; wait' > /tmp/up.sh
            for way in down up; do setsid /usr/bin/sh /tmp/$way.sh > /dev/null 2>&1 & done""")
        self.threads = [threading.Thread(target=self.work, args=(way, listener), daemon=True)
                        for way, listener in self.listeners.items()]
        for thread in self.threads:
            thread.start()
        self.moves("before")
        return self

    def __exit__(self, *_):
        self.over = True
        for listener in self.listeners.values():
            listener.close()

    def work(self, way, listener):
        try:
            sock, _ = listener.accept()
            sock.settimeout(300)
            (self.send if way == "down" else self.take)(way, sock)
            sock.close()
        except OSError as error:
            self.fault = f"{self.name}: the connection {way} after {self.bytes[way]} bytes: {error}"

    def send(self, way, sock):
        while not self.over:
            block = self.bytes[way].to_bytes(8, "big") + BLOCK  # no two are the same
            sock.sendall(block)
            self.sums[way].update(block)
            self.bytes[way] += len(block)
            time.sleep(0.002)
        sock.shutdown(socket.SHUT_WR)

    def take(self, way, sock):
        while block := sock.recv(1 << 16):
            self.sums[way].update(block)
            self.bytes[way] += len(block)

    def moves(self, when, timeout=180):
        """Both ways move on: by so much that no socket's memory holds it."""
        before = dict(self.bytes)
        wait_for(f"{self.name}: the connections move, {when}", lambda: self.fault or all(
            self.bytes[way] > before[way] + 8 * PIECE for way in before), timeout)
        check(not self.fault, self.fault)

    def compare(self):
        """End both, and compare the sums of both ends."""
        guest(self.name, "touch /tmp/stop")
        self.over = True
        for thread in self.threads:
            thread.join(120)
            check(not thread.is_alive(), f"{self.name}: a connection does not end")
        check(not self.fault, self.fault)
        wait_for("the guest's sums", lambda: guest(
            self.name, "cat /tmp/down.sum /tmp/up.sum", ok=False).count("-\n") == 2)
        for way, here in self.sums.items():
            there = guest(self.name, f"cat /tmp/{way}.sum").split()[0]
            check(there == here.hexdigest(), f"{self.name} {way}: sha256 {there} in the guest, "
                                             f"{here.hexdigest()} in dom0, {self.bytes[way]} bytes")
        say(f"{self.name}: {self.bytes['down'] >> 20} MiB down, {self.bytes['up'] >> 20} MiB up")


def migrate(name):
    """With -s "" the host is a command, which speaks to us through a pipe."""
    run(f"xl migrate -s '' {name} 'xl migrate-receive'", timeout=300)
    answers(name)


def goes_on(name, how, turns, logs):
    before = belongings(guests())
    with Stream(name) as stream:
        for turn in range(turns):
            say(f"{name} {how.__name__} {turn + 1} of {turns}")
            how(name)
            stream.moves(f"after {how.__name__} {turn + 1}")
            alive(name)
        stream.compare()
    unchanged(before, guests())
    logs.clean()


def cancelled(name, logs):
    """A save that fails when the guest already sleeps: its reader leaves after 20 MB. The
    guest goes on as if nothing had been."""
    before = belongings(guests())
    with Stream(name) as stream:
        reader = start("rm -f /run/save; mkfifo /run/save; exec head -c 20M /run/save > /dev/null")
        wait_for("the pipe is there", lambda: status("test -p /run/save") == 0)
        check(status(f"xl save {name} /run/save", 300) != 0, "xl save did not fail")
        finish(reader)
        answers(name)
        stream.moves("after a save that failed")
        alive(name)
        stream.compare()
    unchanged(before, guests())
    logs.clean()


def device_works(name, logs):
    """What reconnects and stops the device, after all this."""
    most = int(guest(name, "ethtool -l eth0 | grep -m 1 Combined").split()[-1])
    before = belongings(guests())
    with Stream(name) as stream:
        for number in (1, most) if most > 1 else ():
            guest(name, f"ethtool -L eth0 combined {number}")
            stream.moves(f"with {number} queues")
        guest(name, "ip link set eth0 down; sleep 1; ip link set eth0 up")
        stream.moves("after link down and up")
        stream.compare()
    alive(name)
    unchanged(before, guests())
    logs.clean()


def main():
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    report = Report()
    names = guests()
    for name in names:
        report.test(f"{name}: is on line", alive, name)
    logs = Logs(names)
    for name in names:
        kernel = guest(name, "uname -r").strip()
        for what, how in (("xl save -c", save_and_go_on), ("xl save and restore", save_restore),
                          ("xl migrate localhost", migrate)):
            report.test(f"{name} ({kernel}): {what}, {turns} times under TCP", goes_on, name, how,
                        turns, logs)
        report.test(f"{name}: a save that fails", cancelled, name, logs)
        report.test(f"{name}: queues and link afterwards", device_works, name, logs)
    report.finish()


if __name__ == "__main__":
    main()
