#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""A driver domain: xpv-netback in g1, an ordinary PV guest, serves g2 and dom0. In it runs
what users have there: Debian's `xl devd` and vif-bridge. The backend is restarted, and its
domain killed, rebooted and made anew, under traffic of g2.

usage: driver_domain.py [TURNS]      of the backend's restart, by default 2
"""

import os
import re
import sys
import time

from churn import Logs, known_id, mac, recreate, say
from labtest import (Failed, Report, address, check, domid, event_channels, finish, guest,
                     guest_start, guests, online, run, start, status, wait_for, xen_grants)

DRIVER, SERVED = guests()[:2]
XL = "/usr/lib/xen-4.17/bin/xl"
RECONNECT = "/lab/bin/xpv-vif-reconnect"
FILES = (XL, "/bin/bash", "/etc/xen/scripts", RECONNECT)
BRIDGE = "xenbr0"
_idle = {}  # counts before it served anybody


# ---- the driver domain -----------------------------------------------------------

def install():
    """What a driver domain has from Debian's packages, out of dom0's own tree."""
    libraries = run(f"ldd {XL} /bin/bash | sed -n 's/.*=> \\(.*\\) (.*/\\1/p' | sort -u").split()
    release = run("uname -r").strip()
    modules = [f"/lib/modules/{release}/kernel/{name}.ko" for name in ("llc", "stp", "bridge")]
    names = " ".join(name.lstrip("/") for name in (*FILES, *libraries, *modules))
    run(f"tar -C / -chf - {names} | guest {DRIVER} 'tar -xf - -C /'")
    for module in modules:
        guest(DRIVER, f"insmod {module}")


def serve(threshold=65536):
    """g1 is up: make it a driver domain, its own vif one port of its bridge."""
    install()
    guest(DRIVER, f"mkdir -p /var/log/xen && modprobe xen-privcmd && "
                  f"modprobe xpv-netback tx_map_threshold={threshold} && "
                  f"ip link add {BRIDGE} type bridge forward_delay 0 stp_state 0 && "
                  f"ip link set eth0 master {BRIDGE} && ip address flush dev eth0 && "
                  f"lab-ifup {BRIDGE} && {XL} devd")
    online(DRIVER)
    _idle[DRIVER] = event_channels(domid(DRIVER))


def driver_domain():
    # A bridge of vifs alone has their address, fe:ff:ff:ff:ff:ff, which is the address of a
    # port of the driver domain's bridge as well: that one would keep all answers to dom0.
    run(f"ip link set {BRIDGE} address 00:16:3e:77:00:64")
    run(f"echo driver_domain = 1 >> /etc/xen/{DRIVER}.cfg")
    recreate(DRIVER)
    serve()
    check(DRIVER in run("xl list"), "it is not there")


def current(name):
    """Domain id, empty when there is no such domain."""
    return run(f"xl domid {name}", ok=False).strip() if status(f"xl domid {name}") == 0 else ""


def backend_vif(domain):
    return f"vif{domain}.0"


def nodes():
    """Of vifs, in the driver domain's folder."""
    return run(f"xenstore-ls -f /local/domain/{domid(DRIVER)}/backend/vif", ok=False)


# ---- the guest that it serves ----------------------------------------------------

_bare = {}


def belongings():
    """What Xen counts of g2 that a vif adds to."""
    ident = domid(SERVED)
    return {"grants mapped": xen_grants().get(ident, 0), "event channels": event_channels(ident)}


def settles(what, before):
    """At once, or after what was just ended has been cleared away."""
    try:
        wait_for(what, lambda: belongings() == before, 30)
    except Failed as error:
        raise Failed(f"{error}: {belongings()}, not {before}") from error


def is_bare(what):
    """Nothing of any vif is left of g2's: rings ungranted, channels closed."""
    settles(what, _bare)


def bare():
    """Without its vif of dom0's."""
    run(f"xl network-detach {SERVED} {mac(SERVED)}")
    wait_for("eth0 is gone", lambda: "eth0" not in guest(SERVED, "ls /sys/class/net"))
    time.sleep(1)
    _bare.update(belongings())


def attach():
    run(f"xl network-attach {SERVED} mac={mac(SERVED)} bridge={BRIDGE} backend={DRIVER}")
    served()


def detach():
    """The driver domain's xl removes the backend's folder, which dom0's waits for."""
    begun = time.time()
    run(f"xl network-detach {SERVED} {mac(SERVED)}")
    wait_for("eth0 is gone", lambda: "eth0" not in guest(SERVED, "ls /sys/class/net"))
    say(f"network-detach took {time.time() - begun:.1f} s")


def explain():
    """All that there is to see of a guest that is not served."""
    ident = domid(SERVED)
    say(f"xenstore, backend:\n{nodes()}")
    say(f"frontend:\n{run(f'xenstore-ls -f /local/domain/{ident}/device/vif', ok=False)}")
    for name, command in (
            (DRIVER, "ps | grep -v ' \\['; ip -br addr; bridge link; bridge fdb; "
                     "tail -n 30 /var/log/xen/*; dmesg | tail -n 15"),
            (SERVED, "ip -br addr; ip -s link show eth0; ip neigh; dmesg | tail -n 15")):
        say(f"{name}:\n{guest(name, command, ok=False)}")
    say(f"dom0: {run('bridge fdb show br xenbr0; ip neigh', ok=False)}")


def served():
    """On line, through two bridges from dom0, by the driver domain's backend."""
    try:
        online(SERVED)
    except Failed:
        explain()
        raise
    ident = domid(SERVED)
    path = run(f"xenstore-read /local/domain/{ident}/device/vif/0/backend").strip()
    check(path == f"/local/domain/{domid(DRIVER)}/backend/vif/{ident}/0", f"its backend is {path}")
    check(not os.path.exists(f"/sys/class/net/{backend_vif(ident)}"), "dom0 has a vif of it")
    driver = guest(DRIVER, f"ethtool -i {backend_vif(ident)}").splitlines()[0]
    check("xpv-netback" in driver, driver)


def data():
    """16 MiB each way with the driver domain, and with dom0 behind it; sha256."""
    make = "dd if=/dev/urandom of=/tmp/s bs=1M count=16 status=none; sha256sum < /tmp/s"
    send = "nc -N {} 5200 < /tmp/s; rm /tmp/s"
    sink = "nc -d -l -p 5200 | sha256sum"
    places = {"dom0": (run, start), **{name: (
        lambda command, name=name, **how: guest(name, command, **how),
        lambda command, name=name: guest_start(name, command)) for name in (DRIVER, SERVED)}}
    for source, target in ((DRIVER, SERVED), (SERVED, DRIVER), ("dom0", SERVED), (SERVED, "dom0")):
        do, begin = places[source][0], places[target][1]
        sent = do(make).split()[0]
        listener = begin(sink)
        wait_for(f"{target} listens", lambda target=target: ":5200 " in places[target][0](
            "ss -ltn", ok=False))
        do(send.format(address(target)), timeout=300)
        got = finish(listener, 300).split()[0]
        check(got == sent, f"{source} to {target}: {got} arrived, {sent} was sent")


class Traffic:
    """iperf3 both ways between the driver domain and the guest, over connections that
    outlive the backend."""

    def __enter__(self):
        self.domains = {name: current(name) for name in (DRIVER, SERVED)}
        self.server = guest_start(SERVED, "exec iperf3 -s -p 5100 >/dev/null 2>&1")
        wait_for("iperf3 listens", lambda: ":5100 " in guest(SERVED, "ss -ltn", ok=False))
        self.client = guest_start(DRIVER, f"exec iperf3 -c {address(SERVED)} -p 5100 -t 36000 "
                                  "-P 2 --bidir >/dev/null 2>&1")
        self.flows()
        return self

    @staticmethod
    def bytes():
        """From and to the guest, as the driver domain counts them."""
        folder = f"/sys/class/net/{backend_vif(known_id(SERVED))}/statistics"
        return [int(word) for word in guest(DRIVER, f"cat {folder}/rx_bytes {folder}/tx_bytes").split()]

    def flows(self):
        first = self.bytes()
        wait_for("traffic flows both ways", lambda: all(
            now > then + 500000 for now, then in zip(self.bytes(), first)))
        check(self.client.poll() is None, "iperf3 has ended")

    def __exit__(self, *_):
        for name, ident in self.domains.items():
            if current(name) == ident:  # nobody else has programs of ours
                guest(name, "killall -9 iperf3", timeout=70, ok=False)
        for process in (self.client, self.server):
            process.kill()
            process.wait(30)


# ---- what happens to them ----------------------------------------------------------

def restart(turns):
    """rmmod and insmod of netback in its domain: without a word of the toolstack's in dom0
    the guest goes on, with its interface, addresses and connections."""
    index = guest(SERVED, "cat /sys/class/net/eth0/ifindex")
    before = belongings()
    with Traffic() as traffic:
        for _ in range(turns):
            guest(DRIVER, "rmmod xpv-netback")
            wait_for("the guest's carrier is off", no_carrier)
            guest(DRIVER, f"modprobe xpv-netback && {RECONNECT}")
            online(SERVED)
            traffic.flows()
    check(guest(SERVED, "cat /sys/class/net/eth0/ifindex") == index, "eth0 is another one")
    settles("all is as before", before)


def no_carrier():
    return guest(SERVED, "cat /sys/class/net/eth0/carrier", ok=False).strip() == "0"


def seconds():
    """Of processor time that the guest has had."""
    return float(run(f"xl list {SERVED}").splitlines()[1].split()[-1])


def killed(kill):
    """The driver domain goes without a word, under traffic: the guest's end notices, lets
    go of all, and waits, quietly."""
    old = current(DRIVER)
    with Traffic():
        kill()
        wait_for("the domain is gone", lambda: current(DRIVER) != old, 120)
        begun = time.time()
        wait_for("the guest's carrier is off", no_carrier)
        say(f"the guest's carrier is off {time.time() - begun:.1f} s after the domain was seen gone")
    state = run(f"xenstore-read /local/domain/{domid(SERVED)}/device/vif/0/state").strip()
    check(state == "6", f"the frontend is in state {state}, not 6 (Closed)")
    is_bare("nothing of the connection is left")
    before = seconds()
    time.sleep(10)
    used = seconds() - before
    check(used < 3, f"the guest, which has nothing to do, took {used:.1f} s of 10")
    said = guest(SERVED, "dmesg | grep -c 'has no backend'", ok=False).strip()
    say(f"{used:.1f} s of 10 used; the log has said {said} times that the backend is gone")


def destroy():
    run(f"xl destroy {DRIVER}")


def anew(by_xl, threshold=65536):
    """A new domain in its place, and then the vif, which the toolstack has to attach anew."""
    devices = guest(SERVED, "ls /sys/class/net")
    check("eth0" in devices, "the guest's interface went with the driver domain")
    if by_xl:
        wait_for("xl makes the domain anew", lambda: current(DRIVER), 120)
        run(f"guest-wait {DRIVER} 1200", timeout=1300)
        online(DRIVER, 120)
    else:
        recreate(DRIVER)
    serve(threshold)
    if by_xl:
        say(run(f"xpv-vif-reattach {DRIVER}").strip())
        served()
        check(not run(f"xpv-vif-reattach {DRIVER} {SERVED}"), "a second call had something to do")
    else:
        detach()
        is_bare("nothing of the vif is left")
        attach()


def reboot():
    """By itself; xl in dom0 makes it anew, as its configuration wants."""
    guest_start(DRIVER, "echo b > /proc/sysrq-trigger")


def maps():
    """Large packets came in the guest's pages, each of which was given back."""
    def count(what):
        return sum(int(value) for value in re.findall(
            rf"\bguest_tx_{what}_ops: (\d+)",
            guest(DRIVER, f"ethtool -S {backend_vif(known_id(SERVED))}")))
    check(count("map") > 0, "no page was mapped")
    wait_for("every page is unmapped", lambda: count("unmap") == count("map"))


def serves_dom0():
    """Dom0's own network from the driver domain: the frontend's domain is number 0."""
    run("modprobe xpv-netfront; echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore")  # of its bridge
    before = set(os.listdir("/sys/class/net"))
    run(f"xl network-attach 0 mac=00:16:3e:77:00:fe bridge={BRIDGE} backend={DRIVER}")
    wait_for("dom0's interface", lambda: set(os.listdir("/sys/class/net")) - before)
    device = (set(os.listdir("/sys/class/net")) - before).pop()
    run(f"ip addr add 10.77.2.1/24 dev {device}; ip link set {device} up")
    guest(DRIVER, f"ip addr add 10.77.2.2/24 dev {BRIDGE}")
    wait_for("the driver domain answers", lambda: status("ping -c 1 -W 1 10.77.2.2") == 0)
    run("ping -c 20 -i 0.05 -s 8000 10.77.2.2")
    came = int(guest(DRIVER, f"cat /sys/class/net/{backend_vif(0)}/statistics/rx_bytes"))
    check(came > 20 * 8000, f"{came} bytes came by {backend_vif(0)}: dom0 sends another way")
    guest(DRIVER, f"rmmod xpv-netback; modprobe xpv-netback && {RECONNECT}")
    wait_for("it answers again", lambda: status("ping -c 1 -W 1 10.77.2.2") == 0)
    run("xl network-detach 0 00:16:3e:77:00:fe")
    wait_for(f"{device} is gone", lambda: not os.path.exists(f"/sys/class/net/{device}"))
    guest(DRIVER, f"ip addr del 10.77.2.2/24 dev {BRIDGE}")
    run("rmmod xpv-netfront")


def guest_goes():
    """xl destroy of the guest, under traffic: the backend lets go though its domain may not
    even look into the dead one's folder. Nothing is left, no zombie in Xen."""
    ident = domid(SERVED)
    with Traffic():
        begun = time.time()
        run(f"xl destroy {SERVED}")
        say(f"xl destroy took {time.time() - begun:.1f} s")
    wait_for("the backend's vif is gone",
             lambda: backend_vif(ident) not in guest(DRIVER, "ls /sys/class/net"))
    wait_for("its folder is gone", lambda: f"/{ident}/" not in nodes(), 15)
    wait_for("Xen has let go of it", lambda: str(ident) not in [
        line.split()[1] for line in run("xl list").splitlines()])
    channels = event_channels(domid(DRIVER))
    check(channels == _idle[DRIVER], f"event channels of the driver domain: {channels} are left, "
                                     f"{_idle[DRIVER]} were there before it served")


def guest_comes():
    """xl create of a guest whose configuration names the driver domain."""
    run(f"sed -i 's/bridge=xenbr0/&,backend={DRIVER}/' /etc/xen/{SERVED}.cfg")
    recreate(SERVED)
    served()


def main():
    report = Report()
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    logs = Logs([SERVED])
    report.test("a driver domain with xl devd and a bridge", driver_domain)
    report.test("the guest without its vif", bare)
    report.test("network-attach, backend= the driver domain", attach)
    if report.failed:
        report.finish()
    report.test("16 MiB each way, sha256", data)
    report.test(f"netback restarted {turns} times under traffic", restart, turns)
    report.test("network-detach and -attach", lambda: (detach(), is_bare("nothing is left"), attach()))
    report.test("the driver domain destroyed under traffic", killed, destroy)
    report.test("a new one, which maps packets, and the vif attached anew", anew, False, 2000)
    report.test("16 MiB each way, sha256", data)
    report.test("pages were mapped and unmapped", maps)
    report.test("netback that maps restarted under traffic", restart, 1)
    report.test("the driver domain reboots under traffic", killed, reboot)
    report.test("the vif attached anew", anew, True)
    report.test("16 MiB each way, sha256", data)
    report.test("dom0 is served", serves_dom0)
    report.test("no kernel complains", logs.clean)
    report.test("the guest destroyed under traffic", guest_goes)
    report.test("a guest created with backend=", guest_comes)
    report.test("16 MiB each way, sha256", data)
    report.finish()


main()
