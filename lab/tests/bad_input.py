#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Rubbish in module parameters and xenstore nodes: a clear line that names the
value and the range, and everything goes on working afterwards."""

from labtest import (Report, check, domid, guest, guests, online, ping, run, status,
                     wait_for)

MODULES = "/lib/modules/xpv"


def said(where, *words):
    """The kernel log's new lines contain all words in one line."""
    log = where("dmesg -c")
    check(any(all(word in line for word in words) for line in log.splitlines()),
          f"no line with {words} in: {log[-1500:]}")


def in_guest(name):
    return lambda command, **extra: guest(name, command, **extra)


def up(name):
    """A netdev that is new has no address yet."""
    wait_for("eth0 is back", lambda: "eth0" in guest(name, "ls /sys/class/net"))
    guest(name, "lab-ifup eth0")
    online(name)


def fresh_log(where):
    where("dmesg -c >/dev/null")


def refuses_parameter(where, module, parameter, value):
    fresh_log(where)
    text = where(f"insmod {MODULES}/{module}.ko {parameter}={value} && echo LOADED", ok=False)
    check("LOADED" not in text, f"{module} accepted {parameter}={value}")
    said(where, parameter, value)


def front_parameters(name):
    here = in_guest(name)
    here("rmmod xpv-netfront")
    for parameter, value in (("max_queues", "0"), ("max_queues", "65"),
                             ("max_queues", "-1"), ("max_queues", "x"),
                             ("rx_copybreak", "70000")):
        refuses_parameter(here, "xpv-netfront", parameter, value)
    here(f"insmod {MODULES}/xpv-netfront.ko")
    up(name)


def back_parameters(name):
    run("rmmod xpv-netback")
    for parameter, value in (("max_queues", "0"), ("max_queues", "65"),
                             ("tx_map_threshold", "70000")):
        refuses_parameter(run, "xpv-netback", parameter, value)
    run(f"insmod {MODULES}/xpv-netback.ko")
    run("xpv-vif-reconnect")
    online(name)


def front_folder(name):
    return f"/local/domain/{domid(name)}/device/vif/0"


def bad_nodes(name):
    """The frontend's folder filled with rubbish while we play its states."""
    folder = front_folder(name)
    guest(name, "rmmod xpv-netfront")
    wait_for("the backend is closed",
             lambda: run(f"xenstore-read {backend(name)}/state").strip() in ("6", "2"))
    good = {"request-rx-copy": "1", "multi-queue-num-queues": "1", "tx-ring-ref": "9",
            "rx-ring-ref": "10", "event-channel-tx": "20", "event-channel-rx": "21"}
    cases = [("multi-queue-num-queues", value) for value in ("0", "2147483648", "-1", "x", "65")]
    cases += [("tx-ring-ref", "4000000"), ("tx-ring-ref", "x"), ("rx-ring-ref", "-1"),
              ("event-channel-tx", "99999999"), ("request-rx-copy", "0"),
              ("request-rx-copy", "yes")]
    for key, value in cases:
        run(f"xenstore-write {folder}/state 1")
        wait_for("the backend waits",
                 lambda: run(f"xenstore-read {backend(name)}/state").strip() == "2")
        for node, text in good.items():
            run(f"xenstore-write {folder}/{node} {text}")
        fresh_log(run)
        run(f"xenstore-write {folder}/{key} -- '{value}'" if value.startswith("-") else
            f"xenstore-write {folder}/{key} '{value}'")
        run(f"xenstore-write {folder}/state 4")
        wait_for(f"{key} = {value} is refused",
                 lambda: run(f"xenstore-read {backend(name)}/state").strip() in ("5", "6"))
        if key != "tx-ring-ref" or not value.isdigit():
            said(run, key, value)
        run(f"xenstore-write {folder}/state 6")
        wait_for("the backend is closed",
                 lambda: run(f"xenstore-read {backend(name)}/state").strip() == "6")
    for node in good:
        run(f"xenstore-rm {folder}/{node}")
    guest(name, f"insmod {MODULES}/xpv-netfront.ko")
    up(name)
    ping(name)


def backend(name):
    return f"/local/domain/0/backend/vif/{domid(name)}/0"


def bad_features(name):
    """Feature nodes of the backend with rubbish: the frontend comes up without them."""
    folder = backend(name)
    guest(name, "rmmod xpv-netfront")
    nodes = ("feature-sg", "feature-gso-tcpv4", "feature-split-event-channels",
             "multi-queue-max-queues")
    before = {node: run(f"xenstore-read {folder}/{node}").strip() for node in nodes}
    wait_for("the backend is closed",
             lambda: run(f"xenstore-read {folder}/state").strip() == "6")
    # Write after the backend advertised, before the frontend looks.
    run(f"xenstore-write {front_folder(name)}/state 1")
    wait_for("the backend waits", lambda: run(f"xenstore-read {folder}/state").strip() == "2")
    for node in nodes:
        run(f"xenstore-write {folder}/{node} rubbish")
    fresh_log(in_guest(name))
    guest(name, f"insmod {MODULES}/xpv-netfront.ko")
    up(name)
    said(in_guest(name), "feature-sg", "rubbish", "0..1")
    check("scatter-gather: off" in guest(name, "ethtool -k eth0"), "sg is on without the feature")
    for node, value in before.items():
        run(f"xenstore-write {folder}/{node} {value}")


def stock_beside_ours(name):
    """Our driver refuses to load beside the stock one and says what to do."""
    # A bound stock driver cannot be unloaded: no vif while it is here.
    mac = run(f"xenstore-read {front_folder(name)}/mac").strip()
    run(f"xl network-detach {name} {mac}")
    wait_for("eth0 is gone", lambda: "eth0" not in guest(name, "ls /sys/class/net"))
    for where, ours, stock in ((run, "xpv-netback", "xen-netback"),
                               (in_guest(name), "xpv-netfront", "xen-netfront")):
        where(f"rmmod {ours}")
        where(f"modprobe {stock}")
        fresh_log(where)
        text = where(f"insmod {MODULES}/{ours}.ko && echo LOADED", ok=False)
        check("LOADED" not in text, f"{ours} loaded beside {stock}")
        said(where, stock, "unload")
        where(f"rmmod {stock}")
        where(f"insmod {MODULES}/{ours}.ko")
    run(f"xl network-attach {name} mac={mac} bridge=xenbr0")
    up(name)


def alone(name):
    """The one guest, whatever ran before: another's vif would go to a stock driver."""
    for other in guests()[1:]:
        run(f"xl destroy {other}", ok=False)
    if status(f"xl domid {name}") != 0:
        run(f"xl create /etc/xen/{name}.cfg; guest-wait {name}", timeout=300)


def main():
    report = Report()
    name = guests()[0]
    alone(name)
    report.test("is on line", online, name)
    report.test("netfront: parameters out of range", front_parameters, name)
    report.test("netback: parameters out of range", back_parameters, name)
    report.test("backend refuses rubbish of the frontend", bad_nodes, name)
    report.test("frontend lives with rubbish of the backend", bad_features, name)
    report.test("stock driver already there", stock_beside_ours, name)
    report.test("still on line", ping, name)
    report.finish()


main()
