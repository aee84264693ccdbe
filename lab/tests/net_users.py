# SPDX-License-Identifier: GPL-2.0-only
"""What users of a network device do to it besides traffic: namespaces, pktgen, zero
copy from swapped memory, VLANs at the largest MTU, a shaped vif, a backend that is
reloaded. g1 runs our frontend, g2 Linux's."""

import hashlib
import mmap
import re
import socket
import struct
import time

from labtest import (Failed, address, check, domid, finish, guest, guest_start, online, ping,
                     run, vif, wait_for)

MODULES = "/lib/modules/xpv"
BRIDGE_MAC = "/sys/class/net/xenbr0/address"


def say(text):
    print(f"# {text}", flush=True)


def said(pattern):
    """Lines of dom0's log since it was cleared."""
    return [line for line in run("dmesg").splitlines() if re.search(pattern, line)]


# ---- F1: a namespace that eth0 was in ------------------------------------------

def into_namespace(name):
    """eth0 in a namespace of its own, from where it can send to dom0."""
    with open(BRIDGE_MAC) as file:
        mac = file.read().strip()
    guest(name, "ip netns add f1 && ip link set eth0 netns f1 && "
          f"ip -n f1 addr add {address(name)}/24 dev eth0 && ip -n f1 link set eth0 up && "
          f"ip -n f1 neigh replace {address('dom0')} lladdr {mac} dev eth0 nud permanent")


def leave_namespace(name, down=True):
    """Its last act is to send: what that was is still in the ring when the link goes down."""
    guest(name, f"ip netns exec f1 lab-send udp {address('dom0')} 9 1280 20 seconds=5"
          f"{' down=eth0' if down else ''} && ip netns del f1")


def is_back(name):
    return "eth0" in guest(name, "ls /sys/class/net").split()


def returns(name, seconds=60):
    """eth0 is in the first namespace again; it and its addresses work."""
    wait_for("eth0 is back in the first namespace", lambda: is_back(name), seconds)
    guest(name, "lab-ifup eth0")


def recover(name):
    """The tests after one that failed want an eth0, too."""
    try:
        returns(name)
    except Failed:
        if name != "g1":
            raise
        guest(name, f"rmmod xpv-netfront && insmod {MODULES}/xpv-netfront.ko")
        returns(name)


def namespace(name):
    into_namespace(name)
    try:
        leave_namespace(name)
        returns(name)
    finally:
        recover(name)
    online(name)
    ping(name)


def namespace_stalled(name, down):
    """The same while nothing is answered: dom0's end of the vif is down."""
    device = vif(name)
    into_namespace(name)
    run(f"ip link set {device} down")
    try:
        leave_namespace(name, down)
        try:
            returns(name, 60 if name == "g1" else 10)
        except Failed:
            if name == "g1":
                say(guest(name, "cat /sys/kernel/debug/xpv-netfront/*/queue-0", ok=False))
                raise
            say("Linux's: eth0 does not come back until the backend answers")
    finally:
        run(f"ip link set {device} up")
        recover(name)
    online(name)


# ---- F3: pktgen -----------------------------------------------------------------

PKTGEN = """
cd /proc/net/pktgen && echo rem_device_all > kpktgend_0 && echo "add_device {dev}" > kpktgend_0 || exit 1
for line in "count {count}" "pkt_size 1000" "dst {to}" "dst_mac {mac}" "delay 0"; do
  echo "$line" > {dev} || exit 1
done
for line in "clone_skb {clone}" "burst {burst}"; do
  echo "$line" > {dev} 2>/dev/null || echo "refused: $line"
done
timeout 30 sh -c 'echo start > pgctrl'
grep -A1 Result {dev}
"""


def received(name):
    return int(guest(name, "cat /sys/class/net/eth0/statistics/rx_packets"))


def pktgen(name, clone, burst):
    """From dom0 into the vif; what it may not do is refused, and the guest receives."""
    run("modprobe pktgen")
    mac = guest(name, "cat /sys/class/net/eth0/address").strip()
    before = received(name)
    text = run(PKTGEN.format(dev=vif(name), count=2000, to=address(name), mac=mac, clone=clone,
                             burst=burst), ok=False)
    say(" ".join(text.split()))
    check("Result: OK" in text, f"pktgen did not end: {text}")
    check(received(name) > before, "nothing arrived of what pktgen sent")
    online(name, 20)
    ping(name)
    wait_for("nothing is counted as queued", lambda: queued(name) == 0, 20)


def pktgen_guest(name):
    guest(name, "modprobe pktgen")
    with open(BRIDGE_MAC) as file:
        mac = file.read().strip()
    for clone, burst in ((0, 1), (100, 8)):
        text = guest(name, PKTGEN.format(dev="eth0", count=2000, to=address("dom0"), mac=mac,
                                         clone=clone, burst=burst), ok=False)
        say(" ".join(text.split()))
        check("Result: OK" in text, f"pktgen did not end: {text}")
    guest(name, "rmmod pktgen")
    ping(name)


def queued(name):
    """Bytes that a vif of ours counts as waiting for the guest, all queues."""
    return sum(int(found) for found in re.findall(r"guest-rx queue: \d+ packets, (\d+) bytes",
               run(f"cat /sys/kernel/debug/xpv-netback/{vif(name)}/queue-*")))


# ---- F4: MSG_ZEROCOPY of pages that are in the swap cache -------------------------

MADV_PAGEOUT, SO_ZEROCOPY, MSG_ZEROCOPY = 21, 60, 0x4000000
SWAPPED = 2 << 20


def vmstat(what):
    with open("/proc/vmstat") as file:
        return int(re.search(rf"^{what} (\d+)", file.read(), re.M)[1])


def swap_cached():
    with open("/proc/meminfo") as file:
        return int(re.search(r"^SwapCached: +(\d+)", file.read(), re.M)[1])


def zerocopy_swapped(name):
    """Every byte as it was, though the pages carry swap entries where a page of another
    domain's carries its grant."""
    run("modprobe null_blk memory_backed=1 gb=1 && mkswap /dev/nullb0 && swapon /dev/nullb0")
    try:
        memory = mmap.mmap(-1, SWAPPED, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for at in range(0, SWAPPED, 4096):
            memory[at:at + 4096] = hashlib.shake_128(struct.pack("<I", at)).digest(4096)
        want = hashlib.sha256(memory).hexdigest()
        memory.madvise(MADV_PAGEOUT)
        for at in range(0, SWAPPED, 4096):  # in again, but not written: stays in the swap cache
            check(memory[at] == hashlib.shake_128(struct.pack("<I", at)).digest(1)[0], "memory changed")
        say(f"{vmstat('pswpout')} pages swapped out, {swap_cached()} KiB in the swap cache")
        check(swap_cached() >= SWAPPED // 1024 // 2, "the memory is not in the swap cache")
        sink = guest_start(name, "nc -d -l -p 5011 | sha256sum")
        wait_for("the guest listens", lambda: ":5011 " in guest(name, "ss -ltn", ok=False))
        sock = socket.create_connection((address(name), 5011))
        sock.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        sock.settimeout(30)
        view, sent = memoryview(memory), 0
        try:
            while sent < SWAPPED:
                sent += sock.send(view[sent:sent + 32768], MSG_ZEROCOPY)
        except socket.timeout:
            raise Failed(f"the connection stands still after {sent} bytes") from None
        finally:
            view.release()
        sock.shutdown(socket.SHUT_WR)
        got = finish(sink, 60).split()[0]
        check(got == want, f"sha256 {got} arrived, {want} was sent")
        sock.close()
    finally:
        guest(name, "killall -9 nc", ok=False)
        run("swapoff /dev/nullb0 && rmmod null_blk", ok=False)


# ---- F5: VLANs at the largest MTU -------------------------------------------------

LARGEST = 65517  # 65535 on the wire, less Ethernet's header and a tag


def refuses_mtu(where, device, mtu):
    text = where(f"ip link set {device} mtu {mtu} && echo TAKEN", ok=False)
    check("TAKEN" not in text, f"{device} takes an MTU of {mtu}")
    check("mtu greater than device maximum" in text, f"{device}: {text}")


def vlan(name):
    """Full frames with a tag pass; an MTU that has no room for the tag is refused."""
    device = vif(name)
    def here(command, **more):
        return guest(name, command, **more)
    refuses_mtu(here, "eth0", LARGEST + 1)
    refuses_mtu(here, "eth0", 65521)
    refuses_mtu(run, device, LARGEST + 1)
    ends = ((run, "xenbr0", device, "10.78.0.1"), (here, "eth0", "eth0", "10.78.0.2"))
    try:
        for where, parent, port, ours in ends:
            where(f"modprobe 8021q; ip link set {port} mtu {LARGEST}")
            where(f"ip link set {parent} mtu {LARGEST} && "
                  f"ip link add link {parent} name v7 type vlan id 7 && "
                  f"ip link set v7 mtu {LARGEST} up && ip addr add {ours}/24 dev v7")
        for size in (56, 1472, 65000, LARGEST - 28):
            run(f"ping -M do -c 3 -i 0.2 -W 5 -s {size} 10.78.0.2", timeout=60)
            here(f"ping -M do -c 3 -i 0.2 -W 5 -s {size} 10.78.0.1", timeout=60)
    finally:
        for where, parent, port, _ in ends:
            where("ip link del v7", ok=False)
            where(f"ip link set {parent} mtu 1500; ip link set {port} mtu 1500", ok=False)
    ping(name)


# ---- F7: rate= in a vif; F6: a frontend that does not watch --------------------------

def rate(name):
    """A line says what is limited, at the first connection; rate.py measures."""
    mac = "00:16:3e:77:77:02"
    run("dmesg -C")
    run(f"xl network-attach {name} mac={mac} bridge=xenbr0 rate=10Mb/s")
    try:
        wait_for("eth1", lambda: "eth1" in guest(name, "ls /sys/class/net"))
        wait_for("connected", lambda: run(
            f"xenstore-read /local/domain/{domid(name)}/device/vif/1/state").strip() == "4")
        time.sleep(1)
        lines = said("limited to 62500 bytes per 50000 us")
        check(len(lines) == 1 and f"{domid(name)}" in lines[0], f"{len(lines)} lines: {lines}")
        guest(name, "echo vif-1 > /sys/bus/xen/drivers/vif/unbind; "
              "echo vif-1 > /sys/bus/xen/drivers/vif/bind", ok=False)
        time.sleep(2)
        lines = said("limited")
        check(len(lines) == 1, f"{len(lines)} lines after a reconnect: {lines}")
    finally:
        run(f"xl network-detach {name} {mac}")
        wait_for("eth1 is gone", lambda: "eth1" not in guest(name, "ls /sys/class/net"))


def reload_backend():
    run("rmmod xpv-netback", timeout=180)
    run(f"insmod {MODULES}/xpv-netback.ko", timeout=120)
    run("xpv-vif-reconnect")


def unwatched(names):
    """A frontend that stays Connected while the backend is new: a line and the error node
    say why, and what to do; one that wakes up is served."""
    name = names[0]
    folder = f"/local/domain/0/backend/vif/{domid(name)}/0"
    error = f"/local/domain/0/error/backend/vif/{domid(name)}/0/error"
    run("dmesg -C")
    run(f"xl pause {name}")
    try:
        reload_backend()
        wait_for("a line says that the frontend stays Connected", lambda: said(
            rf"vif.*{domid(name)}.*(frontend|Connected|watch)"), 60)
        say("; ".join(said(rf"vif.*{domid(name)}")))
        text = run(f"xenstore-read {error}", ok=False)
        say(f"error node: {text.strip()}; state {run(f'xenstore-read {folder}/state').strip()}")
        check("onnected" in text, f"the error node does not say why: {text.strip()}")
    finally:
        run(f"xl unpause {name}")
    online(name)
    for other in names[1:]:  # Linux's does not come back by itself
        guest(other, "echo vif-0 > /sys/bus/xen/drivers/vif/unbind; "
              "echo vif-0 > /sys/bus/xen/drivers/vif/bind", ok=False)
        wait_for("eth0", lambda: "eth0" in guest(other, "ls /sys/class/net"))
        guest(other, "lab-ifup eth0")
        online(other)


def tests(report, names):
    first = names[0]
    for name in names:
        report.test(f"{name}: eth0 comes back from a namespace", namespace, name)
        for down in (True, False) if name == first else (True,):
            report.test(f"{name}: and while the backend is stalled, link {'down' if down else 'up'}",
                        namespace_stalled, name, down)
    report.test("VLAN at the largest MTU", vlan, first)
    report.test("MSG_ZEROCOPY from the swap cache", zerocopy_swapped, first)
    report.test("rate= is honoured, and told once", rate, first)
    report.test("pktgen in the guest", pktgen_guest, first)
    for clone, burst in ((0, 1), (1000, 1), (0, 8)):
        report.test(f"pktgen on the vif, clone_skb {clone}, burst {burst}", pktgen, first, clone, burst)
    report.test("the backend is reloaded under a frontend that does not watch", unwatched, names)
