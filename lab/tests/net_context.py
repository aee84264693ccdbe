# SPDX-License-Identifier: GPL-2.0-only
"""From where pollers run and packets are sent besides the usual: timers instead of
events, sockets that poll busily, and a kernel that prints from its interrupts over
netconsole while the network is flooded: whatever lock a driver holds, netpoll may come in
on top of it. In guests (g1 has our frontend, g2 Linux's) and in dom0, where the lines
leave by the bridge and a vif."""

import re
import socket
import subprocess
import threading
import time

from labtest import (Failed, address, check, finish, guest, guest_start, online, ping, run, start,
                     vif, wait_for)

MODULES = "/lib/modules/xpv"
LINES = 4000
PERIOD_US = 1000
LOUD = 6666


def say(text):
    print(f"# {text}", flush=True)


def printed(where):
    return int(where("cat /sys/module/xpv_irqprint_test/parameters/printed"))


class Flood:
    """TCP both ways and small datagrams both ways between dom0 and a guest, for as long
    as the block runs. It is there to keep the drivers busy: how fast is no matter."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.server = guest_start(self.name, "exec iperf3 -s -p 5100 >/dev/null 2>&1")
        wait_for("iperf3 listens", lambda: ":5100 " in guest(self.name, "ss -ltn", ok=False))
        self.here = [start(f"exec iperf3 -c {address(self.name)} -p 5100 -t 600 --bidir >/dev/null 2>&1")]
        self.stop = False
        self.thread = threading.Thread(target=self.datagrams, daemon=True)
        self.thread.start()
        self.there = guest_start(self.name, f"exec lab-send udp {address('dom0')} 9 200 100000000 "
                                 "sndbuf=20000 seconds=600 >/dev/null 2>&1")
        self.flows()
        return self

    def flows(self):
        device = f"/sys/class/net/{vif(self.name)}/statistics"

        def count(what):
            with open(f"{device}/{what}_bytes") as file:
                return int(file.read())
        first = count("rx"), count("tx")
        wait_for("traffic flows", lambda: all(now > old + 500000 for now, old in
                                              zip((count("rx"), count("tx")), first)))

    def datagrams(self):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while not self.stop:
            for _ in range(50):
                try:
                    sock.sendto(bytes(200), (address(self.name), 9))
                except OSError:
                    pass
            time.sleep(0.005)

    def __exit__(self, *_):
        self.stop = True
        for process in self.here:
            process.kill()
            process.wait()
        self.thread.join(10)
        try:
            guest(self.name, "killall -9 iperf3 lab-send", 30, ok=False)
        except subprocess.TimeoutExpired:
            pass  # the test has its own word for a guest that is dead
        for process in (self.server, self.there):
            process.kill()
            process.wait(30)


class Listener:
    """Counts the printer's lines that arrive in dom0, by sender."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind((address("dom0"), LOUD))
        self.lines = {}
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            data, (sender, _) = self.sock.recvfrom(65536)
            self.lines[sender] = self.lines.get(sender, 0) + data.count(b"irqprint: ")


def mac_of(where, device):
    return where(f"cat /sys/class/net/{device}/address").strip()


def loud(where):
    """Print LINES lines from interrupts; they all must be printed, however slowly."""
    where(f"insmod {MODULES}/xpv-irqprint-test.ko lines={LINES} period_us={PERIOD_US}", timeout=60)
    wait_for(f"{LINES} lines are printed", lambda: printed(where) >= LINES, 150)
    where("rmmod xpv-irqprint-test", timeout=60)


def in_guest(name, listener):
    def here(command, timeout=30, **more):
        return guest(name, command, timeout, **more)
    source = address(name)
    with open("/sys/class/net/xenbr0/address") as file:
        mac = file.read().strip()
    here(f"modprobe netconsole netconsole=6665@{source}/eth0,{LOUD}@{address('dom0')}/{mac}", 60)
    listener.lines.pop(source, None)
    with Flood(name):
        loud(here)
    got = listener.lines.get(source, 0)
    say(f"{name}: {got} of {LINES} lines arrived")
    here("rmmod netconsole", 60)
    check(got > LINES / 10, f"only {got} of {LINES} lines arrived")
    online(name, 30)
    ping(name)


def in_dom0(name):
    mac = mac_of(lambda command: guest(name, command), "eth0")
    sink = guest_start(name, f"exec socat -u UDP4-RECV:{LOUD},rcvbuf=4194304 "
                       "OPEN:/tmp/lines,creat,trunc")
    wait_for("the guest listens", lambda: f":{LOUD} " in guest(name, "ss -lun"))
    run(f"modprobe netconsole netconsole=6665@{address('dom0')}/xenbr0,{LOUD}@{address(name)}/{mac}")
    with Flood(name):
        loud(run)
    run("rmmod netconsole")
    guest(name, "killall socat", ok=False)
    sink.wait(30)
    got = int(guest(name, "grep -c 'irqprint: ' /tmp/lines; rm /tmp/lines", ok=False).split()[0])
    say(f"dom0 by {name}: {got} of {LINES} lines arrived")
    check(got > LINES / 10, f"only {got} of {LINES} lines arrived")
    online(name, 30)
    ping(name)


# ---- deferred interrupts, busy poll -------------------------------------------------

def interrupts(where, pattern):
    """Of the channels whose line matches."""
    return sum(sum(int(word) for word in line.split(":")[1].split() if word.isdigit())
               for line in where("cat /proc/interrupts").splitlines() if re.search(pattern, line))


def echoes(name, count=300):
    text = run(f"ping -q -c {count} -i 0.002 -W 5 {address(name)}", timeout=120)
    check(" 0% packet loss" in text, text.strip().splitlines()[-2])


def deferred(name):
    """With napi_defer_hard_irqs a poller looks again by a timer and asks for no event:
    packets arrive as before, events get fewer."""
    def here(command, **more):
        return guest(name, command, **more)
    device = vif(name)
    ends = ((here, "eth0", r"\beth0|\bvif"), (run, device, "xpv-netback|" + re.escape(device)))
    counts = {}
    for on in (False, True):
        for where, port, _ in ends:
            where(f"echo {1000 if on else 0} > /sys/class/net/{port}/napi_defer_hard_irqs && "
                  f"echo {1000000 if on else 0} > /sys/class/net/{port}/gro_flush_timeout")
        before = [interrupts(where, pattern) for where, _, pattern in ends]
        echoes(name)
        counts[on] = [interrupts(where, pattern) - old
                      for (where, _, pattern), old in zip(ends, before)]
        transfer(name)
    for where, port, _ in ends:
        where(f"echo 0 > /sys/class/net/{port}/napi_defer_hard_irqs && "
              f"echo 0 > /sys/class/net/{port}/gro_flush_timeout")
    say(f"events of 300 echoes in the guest and in dom0: {counts[False]}, deferred {counts[True]}")
    for end, (before, after) in zip(("guest", "dom0"), zip(counts[False], counts[True])):
        check(after < before / 2, f"{end}: {before} events, {after} when deferred")
    echoes(name, 50)  # and events are asked for again
    transfer(name)


def transfer(name, size=4 << 20):
    """A few MiB of TCP each way. busybox's head knows no M."""
    sink = guest_start(name, "nc -d -l -p 5012 | sha256sum")
    wait_for("the guest listens", lambda: ":5012 " in guest(name, "ss -ltn", ok=False))
    run(f"head -c {size} /dev/urandom > /tmp/t && nc -N {address(name)} 5012 < /tmp/t")
    want = run("sha256sum < /tmp/t").split()[0]
    check(finish(sink).split()[0] == want, "sha256 differs at the guest")
    back = start("nc -d -l -p 5013 | sha256sum")
    wait_for("dom0 listens", lambda: ":5013 " in run("ss -ltn"))
    sent = guest(name, f"head -c {size} /dev/urandom > /tmp/t && nc -N {address('dom0')} 5013 < /tmp/t"
                 " || exit; sha256sum < /tmp/t; rm /tmp/t")
    check(finish(back).split()[0] == sent.split()[0], "sha256 differs in dom0")


def busy_poll(name):
    """Sockets poll the driver themselves, in dom0 and in the guest."""
    def all_of(value):
        for where in (run, lambda command: guest(name, command)):
            where(f"echo {value} > /proc/sys/net/core/busy_poll; echo {value} > /proc/sys/net/core/busy_read")
    echo = guest_start(name, "exec socat -b 66000 -T 5 UDP4-LISTEN:5014,reuseaddr PIPE")
    all_of(50)
    try:
        wait_for("the guest listens", lambda: ":5014 " in guest(name, "ss -lun"))
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, 46, 50)  # SO_BUSY_POLL
        sock.settimeout(5)
        sock.connect((address(name), 5014))
        for turn in range(200):
            sock.send(b"%d" % turn)
            check(sock.recv(100) == b"%d" % turn, f"echo {turn} is another one's")
        transfer(name)
    except socket.timeout:
        raise Failed("an echo did not come back") from None
    finally:
        all_of(0)
        echo.kill()
        guest(name, "killall -9 socat", ok=False)
        echo.wait(30)


def tests(report, names):
    report.test("deferred interrupts", deferred, names[0])
    report.test("busy poll", busy_poll, names[0])
    listener = Listener()
    for name in names:
        report.test(f"{name}: netconsole from interrupts under load", in_guest, name, listener)
    report.test("dom0: netconsole from interrupts under load, by the bridge and a vif", in_dom0,
                names[0])
