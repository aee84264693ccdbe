# SPDX-License-Identifier: GPL-2.0-only
"""What the tests share in which vifs come, go and reconnect: traffic that begins anew
when a step ended it, readers beside it, probes of all queues, and everything countable
without domain ids, which change when a guest is made anew or moved."""

import os
import re
import select
import socket
import struct
import time

from labtest import (Failed, address, check, domid, event_channels, guest, guest_start, online,
                     run, start, status, vif_interrupts, wait_for, xen_grants)

MODULES = "/lib/modules/xpv"
BACK = "/sys/bus/xen-backend/drivers/xpv-netback"
FRONT = "/sys/bus/xen/drivers/xpv-netfront"
FAULT = (r"WARNING: |BUG: |KASAN: |UBSAN: |Oops|general protection|still in use|lockdep|"
         r"circular locking|invalid context|list_(add|del) corruption|NETDEV WATCHDOG|"
         r"blocked for more than|unregister_netdevice: waiting|Call Trace:|Poison overwritten")


def say(text):
    print(f"# {text}", flush=True)


_ids = {}  # xl is slow where processors are busy


def known_id(name):
    """Domain id of a guest, as it was when first asked for; forget() what it was."""
    if name not in _ids:
        _ids[name] = domid(name)
    return _ids[name]


def forget(name):
    """The guest is another domain now."""
    _ids.pop(name, None)


def vifs(name):
    """Net devices of a guest in dom0; empty while it has none."""
    return [device for device in os.listdir("/sys/class/net")
            if device.startswith(f"vif{known_id(name)}.")]


def mac(name):
    return f"00:16:3e:77:00:{int(name[1:]):02x}"


def backend(name, handle=0):
    """The backend's folder in xenstore."""
    return f"/local/domain/0/backend/vif/{known_id(name)}/{handle}"


def frontend(name, handle=0):
    return f"/local/domain/{known_id(name)}/device/vif/{handle}"


def attach(name, script="vif-bridge"):
    """The guest's vif, once more when its hotplug script took too long: libxl gives it
    40 s, which a busy machine may need."""
    command = f"xl network-attach {name} mac={mac(name)} bridge=xenbr0 script={script}"
    if "async_exec_timeout" in run(command, ok=False) or not vifs(name):
        run(f"xl network-detach {name} {mac(name)}", ok=False)
        run(command)


def recreate(name):
    """The guest anew, whatever is left of it, and on line."""
    forget(name)
    run(f"xl destroy {name}", ok=False)
    wait_for(f"{name} is gone", lambda: status(f"xl domid {name}") != 0)
    # libxl gives a hotplug script 40 s, which a machine that is busy may need.
    if status(f"xl create /etc/xen/{name}.cfg", 300) != 0:
        run(f"xl destroy {name}", ok=False)
        run(f"xl create /etc/xen/{name}.cfg", timeout=300)
    run(f"guest-wait {name} 1200", timeout=1300)
    online(name, 120)


# ---- traffic -------------------------------------------------------------------

class Traffic:
    """iperf3 over four connections both ways between dom0 and a guest. keep() sees to
    it that it flows, however a step before left it."""

    def __init__(self, name, limit=""):
        self.name = name
        self.limit = limit  # iperf3's option, for kernels that a full stream keeps from all else
        self.client = self.server = None
        self.begun = 0

    def __enter__(self):
        self.keep()
        return self

    def __exit__(self, *_):
        self.stop()

    def counters(self):
        """Bytes from and to the guest, as dom0 counts them."""
        try:
            folder = f"/sys/class/net/{vifs(self.name)[0]}/statistics"
            return [int(open(f"{folder}/{way}_bytes").read()) for way in ("rx", "tx")]
        except (OSError, IndexError):
            return [0, 0]

    def flows(self, patience=3):
        """Both counters move on within so many seconds."""
        before = self.counters()
        end = time.time() + patience
        while time.time() < end:
            time.sleep(0.2)
            if all(now > then + 20000 for now, then in zip(self.counters(), before)):
                return True
        return False

    def going(self):
        return self.client is not None and self.client.poll() is None and self.flows()

    def keep(self):
        if self.going():
            return
        for _ in range(3):
            self.stop()
            self.begin()
            if self.flows(20):
                return
        raise Failed(f"{self.name}: iperf3 does not flow both ways, begun three times")

    def serve(self):
        self.server = guest_start(self.name, "exec iperf3 -s -p 5100 2>&1")

    def begin(self):
        self.begun += 1
        self.serve()
        try:
            wait_for(f"iperf3 listens in {self.name}", self.listens, 300)
        except Failed:
            if self.server:
                self.server.kill()
                say(f"iperf3 said: {self.server.communicate(timeout=30)[0][-300:]}")
            say(f"in {self.name}: " + guest(self.name, "cat /proc/loadavg; ps | tail -20",
                                            timeout=300, ok=False))
            raise
        # Gives way to what the step does, which would take minutes on a busy machine.
        self.client = start(f"exec nice -n 10 iperf3 -c {address(self.name)} -p 5100 -t 36000 -P 4 "
                            f"{self.limit} --bidir --connect-timeout 10000 >/dev/null 2>&1")

    def listens(self):
        """Asked from here: a program that looks in the guest takes long beside all this."""
        try:
            socket.create_connection((address(self.name), 5100), 10).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.client:
            self.client.kill()
            self.client.wait(30)
        if self.server:
            if self.server.poll() is None:
                guest(self.name, "killall -9 iperf3", ok=False)
            self.server.kill()  # dom0's end of it; of a guest that is gone nothing else is left
            self.server.wait(30)
        self.client = self.server = None


class Flood:
    """Echoes both ways that wait for nobody: TCP gives a link that was away a rest."""

    def __init__(self, name, interval=0.005):
        self.name = name
        self.interval = interval
        self.flows = []

    def keep(self):
        if self.flows and all(flow.poll() is None for flow in self.flows):
            return
        self.stop()
        ping = f"exec nice -n 10 ping -q -i {self.interval} -s 1400"
        self.flows = [start(f"{ping} {address(self.name)} >/dev/null 2>&1"),
                      guest_start(self.name, f"{ping} {address('dom0')} >/dev/null 2>&1")]

    def stop(self):
        if self.flows:
            guest(self.name, "killall -9 ping", ok=False)
        for flow in self.flows:
            flow.kill()
            flow.wait(30)
        self.flows = []


# What finds a file missing looks again for it later.
READ_FRONT = ("/proc/net/dev", "/sys/class/net/eth0/statistics/*", "/sys/kernel/debug/xpv-netfront/*/*",
              "/sys/bus/xen/devices/vif-*/uevent")
READ_BACK = ("/proc/net/dev", "/sys/class/net/vif*/statistics/*", "/sys/kernel/debug/xpv-netback/*/*",
             "/sys/bus/xen-backend/devices/vif-*/uevent")


class Readers:
    """Everything that may be read of a device is read again and again, at both ends.
    Xen does not know who is nice in a domain: what leaves room for others are pauses."""

    def __init__(self, name, pause=50):
        self.name = name
        self.pause = pause  # ms, at most
        self.readers = []

    def keep(self):
        if self.readers and all(reader.poll() is None for reader in self.readers):
            return
        self.stop()
        read = f"exec nice -n 19 lab-churn {{}} 1 1 read {self.pause} {{}} >/dev/null 2>&1"
        quoted = [" ".join(f"'{path}'" for path in paths) for paths in (READ_BACK, READ_FRONT)]
        self.readers = [start(read.format(vifs(self.name)[0], quoted[0])),
                        guest_start(self.name, read.format("eth0", quoted[1]))]

    def stop(self):
        if self.readers:
            guest(self.name, "killall -9 lab-churn", timeout=60, ok=False)
        for reader in self.readers:
            reader.kill()
            reader.wait(30)
        self.readers = []


# ---- is it well ----------------------------------------------------------------

PROBES = 24  # flows: one of four queues is missed by all of them in 4 of 1,000 probes


def probe(name, timeout=60):
    """TCP connections to a port where nobody listens, each over a queue that its port
    number chooses: every one is refused, so both directions of the queue work."""
    waiting = {}
    for _ in range(PROBES):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.connect_ex((address(name), 9))
        waiting[sock.fileno()] = sock
    poll = select.poll()
    for number in waiting:
        poll.register(number, select.POLLOUT)
    end = time.time() + timeout
    while waiting and time.time() < end:
        for number, _ in poll.poll(1000):
            poll.unregister(number)
            waiting.pop(number).close()
    ports = [sock.getsockname()[1] for sock in waiting.values()]
    for sock in waiting.values():
        sock.close()
    check(not ports, f"{name}: {len(ports)} of {PROBES} flows have no answer within {timeout} s: "
                     f"ports {ports}")


def alive(name):
    online(name, 60)
    probe(name)


def complaints(where):
    """Lines of a kernel's log that no healthy one has; where() runs a command there."""
    return where(f"dmesg | grep -E '{FAULT}'", ok=False).splitlines()


class Logs:
    """New complaints of dom0's and the guests' kernels since the last look."""

    def __init__(self, names):
        self.names = names
        self.seen = set()
        self.look()

    def look(self):
        new = []
        for name in ("dom0", *self.names):
            where = run if name == "dom0" else lambda command, ok, name=name: guest(
                name, command, timeout=60, ok=ok)
            try:
                new += [f"{name}: {line}" for line in complaints(where)]
            except Exception as error:  # one that hangs must not hide what the others say
                new.append(f"{name}: its log cannot be read: {error}")
        fresh = [line for line in new if line not in self.seen]
        self.seen.update(new)
        return fresh

    def clean(self):
        fresh = self.look()
        check(not fresh, "the kernels complain:\n" + "\n".join(fresh[:12]))


def belongings(names):
    """As labtest's census(), with guests' names in place of their domain ids; and the
    guests' own event channels and the frames of their grant tables."""
    ids = {domid(name): name for name in names}
    grants = xen_grants()

    def named(text):
        return re.sub(r"(vif|backend/vif/|^/local/domain/)(\d+)\b", lambda found: found.group(1) + ids.get(
            int(found.group(2)), found.group(2)), text)
    return {
        "grants mapped": {ids.get(domain, domain): count for domain, count in grants.items()},
        "event channels": {"dom0": event_channels(),
                           **{name: event_channels(domain) for domain, name in ids.items()}},
        "netdevs": sorted(named(device) for device in os.listdir("/sys/class/net")),
        "xenstore nodes": sorted(named(line.split(" = ")[0]) for line in
                                 run("xenstore-ls -f").splitlines()
                                 if "/vif/" in line and not line.startswith("/libxl") and
                                 "/error/" not in line),  # what a fault leaves on purpose
        "interrupts": vif_interrupts(),
    }


def unchanged(before, names, timeout=30):
    """All belongings are as before, as soon as what was just ended is settled."""
    end = time.time() + timeout
    while (now := belongings(names)) != before and time.time() < end:
        time.sleep(2)
    for key, value in before.items():
        was, is_ = value, now[key]
        if isinstance(value, list):
            was, is_ = set(value) - set(now[key]), set(now[key]) - set(value)
        check(now[key] == value, f"{key}: {was} before, {is_} after")


# ---- xenstore by its own protocol -----------------------------------------------

class Store:
    """A connection to xenstored, for what no program that is started for each write is
    fast enough."""
    READ, WATCH, WRITE, RM, WATCH_EVENT, ERROR = 2, 4, 11, 13, 15, 16

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(30)
        self.socket.connect("/run/xenstored/socket")
        self.events = []

    def receive(self):
        head = self.exactly(16)
        kind, _, _, length = struct.unpack("<IIII", head)
        return kind, self.exactly(length)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            check(more, "xenstored hung up")
            data += more
        return data

    def ask(self, kind, payload):
        """The answer, None for an error: the node is not there."""
        self.socket.sendall(struct.pack("<IIII", kind, 0, 0, len(payload)) + payload)
        while (answer := self.receive())[0] == self.WATCH_EVENT:
            self.events.append(answer[1].split(b"\0")[0].decode())
        return None if answer[0] == self.ERROR else answer[1].decode(errors="replace")

    def read(self, path):
        return self.ask(self.READ, path.encode() + b"\0")

    def write(self, path, value):
        return self.ask(self.WRITE, path.encode() + b"\0" + value.encode())

    def remove(self, path):
        return self.ask(self.RM, path.encode() + b"\0")


def bounded(process, what, timeout=60):
    """The end of a background command, which may be stuck in the kernel: then not waited for."""
    end = time.time() + timeout
    while process.poll() is None:
        if time.time() > end:
            raise Failed(f"{what}: no end within {timeout} s\n{stuck()}")
        time.sleep(0.1)
    return process.returncode


def stuck(where=run):
    """Where tasks sleep that nothing can wake, and xenwatch; where() runs a command there."""
    return where("for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in xenwatch) ;; *) "
                 "grep -q '^State:.D' $p/status 2>/dev/null || continue;; esac; "
                 "echo \"$(cat $p/comm) ($(grep ^State $p/status)):\"; head -12 $p/stack; done",
                 timeout=30, ok=False)


def xenwatch_works(timeout=30):
    """A program's watch through the kernel's own connection is served by the xenwatch
    thread, as all of the kernel's watches are. It may get stuck where nothing ends it."""
    watch = start("XENSTORED_PATH=/dev/xen/xenbus exec xenstore-watch -n 1 /local/domain/0/name")
    bounded(watch, "dom0's xenwatch does not serve a watch", timeout)
    check(watch.returncode == 0, f"xenstore-watch: {watch.communicate(timeout=10)[0]}")
