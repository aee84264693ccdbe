#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Dom0's xenwatch thread and the guests beside a hostile one. The thread serves every
watch of the kernel: were it stuck, no guest would start or stop any more. Here a vif's
two ends come to theirs at the same time: the guest's or the toolstack's, which xenwatch
hears of, and the driver's unbind or unloading. And a guest writes states into its node as
fast as it can.

usage: xenwatch.py [TIMES]      each race so often, default 6

Guests: g1 is the one that misbehaves, g2 its neighbour. Needs our netback.
"""

import itertools
import os
import sys
import time

from churn import (BACK, FRONT, MODULES, Logs, Store, Traffic, alive, attach, backend, belongings, bounded,
                   frontend, known_id, mac, recreate, say, unchanged, xenwatch_works)
from labtest import (Failed, Report, address, check, guest, guests, online, run, start,
                     status, wait_for)

# Between the two ends' beginnings, in seconds: a step of the device takes some tens of ms.
DELAYS = (0, 0.005, 0.01, 0.02, 0.04, 0.08, -0.005, -0.02)


class Ready:
    """A command in dom0 that waits for its start, so that this is all that it has to do."""

    def __init__(self, command):
        self.process = start(f"exec 3< /run/go; read go <&3; {command}")

    @staticmethod
    def gate():
        run("rm -f /run/go; mkfifo /run/go")
        return os.open("/run/go", os.O_RDWR)


def race(what, driver, other, delay):
    """`driver`, a command, beside other(), which begins `delay` seconds before it; then
    xenwatch has to serve a watch."""
    gate = Ready.gate()
    try:
        command = Ready(driver).process
        time.sleep(0.3)  # until it waits
        if delay < 0:
            os.write(gate, b"go\n")
            time.sleep(-delay)
        background = other()
        if delay >= 0:
            time.sleep(delay)
            os.write(gate, b"go\n")
        bounded(command, f"{what}, {delay * 1000:.0f} ms: `{driver}`", 60)
        check(command.returncode == 0, f"{what}: `{driver}`: {command.communicate(timeout=10)[0]}")
        if background:
            bounded(background, f"{what}, {delay * 1000:.0f} ms: {background.args}", 120)
    finally:
        os.close(gate)
    xenwatch_works()


def load():
    """The backend's driver, its devices bound, its vifs in the bridge."""
    if status("lsmod | grep -q xpv_netback") != 0:
        run(f"insmod {MODULES}/xpv-netback.ko")
    for device in os.listdir("/sys/bus/xen-backend/devices"):
        if device.startswith("vif-") and not os.path.exists(f"{BACK}/{device}"):
            run(f"echo {device} > {BACK}/bind", ok=False)
    run("xpv-vif-reconnect", ok=False)


def recover(name):
    """A guest that removed its own state node takes it back, and its driver starts anew; if
    that is not enough, the guest does."""
    load()
    try:
        if status(f"xenstore-exists {frontend(name)}/mac") != 0:
            attach(name)
        else:
            device = guest(name, "cd /sys/bus/xen/devices && echo vif-*").strip()
            guest(name, f"[ ! -e {FRONT}/{device} ] || echo {device} > {FRONT}/unbind")
            run(f"xenstore-write {frontend(name)}/state 1 {backend(name)}/online 1")
            load()
            guest(name, f"echo {device} > {FRONT}/bind")
        wait_for("eth0 is back", lambda: "eth0" in guest(name, "ls /sys/class/net"), 20)
        guest(name, "lab-ifup eth0")
        online(name, 30)
    except Failed as error:
        say(f"{name} is made anew: {str(error).splitlines()[0]}")
        recreate(name)


def state_removed(name):
    Store().remove(f"{frontend(name)}/state")


def detached(name):
    return start(f"exec xl network-detach {name} {mac(name)} >/dev/null 2>&1")


def destroyed(name):
    return start(f"exec xl destroy {name} >/dev/null 2>&1")


UNLOAD = "exec rmmod xpv-netback"


def unbind(name):
    return f"echo vif-{known_id(name)}-0 > {BACK}/unbind || :"


def races(name, what, other, unload, times):
    """The same race with all delays in turn; the guest is well between them."""
    for turn, delay in zip(range(times), itertools.cycle(DELAYS)):
        say(f"{time.strftime('%H:%M:%S')} {what}, {turn + 1} of {times}, {delay * 1000:.0f} ms")
        with Traffic(name):
            race(what, UNLOAD if unload else unbind(name), lambda: other(name), delay)
        if other is destroyed:
            wait_for(f"{name} is gone", lambda: status(f"xl domid {name}") != 0)
            load()
            recreate(name)
        else:
            recover(name)
    for each in guests():
        online(each)


# ---- states that flap ------------------------------------------------------------

SECONDS = 10
BURST, PER_SECOND = 16, 4  # connects that one guest may have of netback
LINES = 12                 # of dom0's log for each of them, at most


def log_lines():
    """Lines that dom0's log ever had, as far as its buffer tells."""
    return int(run("dmesg | wc -l"))


def flap(store, name, values, pause):
    """Writes into the state node, one after the other; None removes it."""
    path = f"{frontend(name)}/state"
    end = time.time() + SECONDS
    for count in itertools.count(1):
        for value in values:
            if value is None:
                store.remove(path)
            else:
                store.write(path, value)
            time.sleep(pause)
        if time.time() > end:
            return count


def flapping(name, neighbour, values, pause, logs):
    """The neighbour, the rtnl, the log and xenwatch while the guest flaps."""
    store = Store()
    wished = f"{backend(name)}/state"
    store.ask(Store.WATCH, wished.encode() + b"\0seen\0")
    run("dmesg -c > /dev/null")
    pinging = start(f"exec ping -q -i 0.1 -c {SECONDS * 10} -W 5 {address(neighbour)}")
    turns = start(f"n=0; end=$(($(date +%s) + {SECONDS})); while [ $(date +%s) -lt $end ]; do "
                  "ip link add lab0 type bridge && ip link del lab0 && n=$((n + 1)); done; echo $n")
    rounds = flap(store, name, values, pause)
    bounded(turns, "ip link add and del beside it", 60)
    bounded(pinging, "ping of the neighbour", 60)
    xenwatch_works(60)
    store.read(wished)
    lines = log_lines()
    changes = store.events.count(wished)
    heard = pinging.communicate(timeout=10)[0]
    lost = SECONDS * 10 - int(heard.split(" received")[0].split()[-1])
    say(f"{rounds} rounds; the backend's state changed {changes} times, dom0's log has {lines} "
        f"lines more, {lost} of {SECONDS * 10} pings lost, "
        f"{turns.communicate(timeout=10)[0].strip()} links made and removed beside it")
    say("dom0 says: " + " | ".join(run("dmesg | tail -n 3").splitlines()))
    check(lost <= SECONDS, f"the neighbour lost {lost} of {SECONDS * 10} pings")
    connects = BURST + PER_SECOND * (SECONDS + 10)
    check(lines <= LINES * connects, f"{lines} lines in dom0's log, of {connects} connects at most")
    logs.clean()


def flaps(name, neighbour, values, driver, pause, logs):
    """With the guest's driver at work, which answers what the backend does, or without."""
    before = belongings(guests())
    if not driver:
        guest(name, "rmmod xpv-netfront")
        for node in ("tx-ring-ref", "rx-ring-ref", "event-channel-tx", "event-channel-rx"):
            run(f"xenstore-write {frontend(name)}/{node} 9 {frontend(name)}/request-rx-copy 1")
    flapping(name, neighbour, values, pause, logs)
    if not driver:
        for node in ("tx-ring-ref", "rx-ring-ref", "event-channel-tx", "event-channel-rx"):
            run(f"xenstore-rm {frontend(name)}/{node}", ok=False)
        run(f"xenstore-write {frontend(name)}/state 6")
        guest(name, f"insmod {MODULES}/xpv-netfront.ko")
        wait_for("eth0 is back", lambda: "eth0" in guest(name, "ls /sys/class/net"))
        guest(name, "lab-ifup eth0")
    else:
        recover(name)
    online(name, 90)
    for each in guests():
        alive(each)
    unchanged(before, guests())


def attach_works(name):
    """Another vif comes and goes: the whole of the toolstack's and the kernel's way."""
    run(f"xl network-attach {name} mac=00:16:3e:77:77:01 bridge=xenbr0")
    wait_for("eth1 is there", lambda: "eth1" in guest(name, "ls /sys/class/net"))
    run(f"xl network-detach {name} 00:16:3e:77:77:01")
    wait_for("eth1 is gone", lambda: "eth1" not in guest(name, "ls /sys/class/net"))


def main():
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    report = Report()
    first, second = guests()[:2]
    for name in guests():
        report.test(f"{name}: is on line", alive, name)
    report.test("xenwatch serves a watch", xenwatch_works)
    logs = Logs(guests())
    for what, values, driver, pause in (
            ("1 4 5 6, fast, the driver answers", "1456", True, 0.002),
            ("1 4 5 6, slow, the driver answers", "1456", True, 0.05),
            ("1 4 6, no driver, rings that are none", "146", False, 0.02),
            ("its removal and 1 4", (None, "1", "4"), True, 0.02)):
        report.test(f"a guest flaps: {what}", flaps, first, second, values, driver, pause, logs)
    for what, other, unload in (
            ("state removed, unbind", state_removed, False),
            ("state removed, rmmod", state_removed, True),
            ("network-detach, unbind", detached, False),
            ("network-detach, rmmod", detached, True),
            ("xl destroy, rmmod", destroyed, True)):
        report.test(f"{what}, {times} times", races, first, what, other, unload, times)
        try:
            xenwatch_works()
        except Failed:
            say("xenwatch is stuck: nothing more can be tried")
            report.finish()
    report.test("another vif comes and goes", attach_works, second)
    report.finish()


main()
