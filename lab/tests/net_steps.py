# SPDX-License-Identifier: GPL-2.0-only
"""What happens to a vif while it works, at one end or the other. Each step is taken `count`
times, by one process where it can be, and leaves the vif as it was; `seed` decides pauses
and numbers of queues. Whether the vif is well afterwards is for the caller to see."""

import functools
import os

from churn import MODULES, attach, backend, mac, recreate, say, vifs
from image import destroyed
from labtest import guest, guests, online, run, wait_for


@functools.cache
def at_rest():
    """Queues of a vif that nobody has told otherwise."""
    return int(run("cat /sys/module/xpv_netback/parameters/max_queues"))


def patience(count):
    return 120 + 30 * count


def churn(device, count, seed, action):
    return f"lab-churn {device} {count} {seed} {action}"


def in_guest(name, count, seed, action):
    guest(name, churn("eth0", count, seed, action), timeout=patience(count))


def in_dom0(name, count, seed, action):
    """With what a hotplug script does, which is a minute's work for a debug kernel."""
    run(churn(vifs(name)[0], count, seed, action), timeout=patience(count))


def queues(name, count, seed):
    """A reconnect that we choose."""
    in_guest(name, count, seed, f"queues {at_rest()}")


def front_link(name, count, seed):
    in_guest(name, count, seed, "link")


def back_link(name, count, seed):
    in_dom0(name, count, seed, "link")


def front_bind(name, count, seed):
    in_guest(name, count, seed, "bind xen xpv-netfront")


def back_bind(name, count, seed):
    in_dom0(name, count, seed, "bind xen-backend xpv-netback")
    run("xpv-vif-reconnect")  # the other guests'


def front_reload(name, count, seed):
    in_guest(name, count, seed, f"reload {MODULES}/xpv-netfront.ko xpv_netfront max_queues={at_rest()}")


def back_reload(name, count, seed):
    file = run("modinfo -n xpv-netback").strip()
    in_dom0(name, count, seed, f"reload {file} xpv_netback max_queues={at_rest()}")
    run("xpv-vif-reconnect")  # the other guests'
    for other in guests():
        online(other)


def hotplug(name, count, _):
    for _ in range(count):
        script = run(f"xenstore-read {backend(name)}/script").strip()
        run(f"xl network-detach {name} {mac(name)}")
        wait_for(f"{name}: its vif is gone", lambda: not vifs(name))
        attach(name, script)
        guest(name, "lab-churn eth0 1 1 back && lab-ifup eth0", timeout=150)


def destroy(name, count, _):
    """From an image that is running already; with programs of its own, which outlive it."""
    destroyed(name, count, say)


def guest_anew(name, count, _):
    for _ in range(count):
        device = vifs(name)[0]
        run(f"xl destroy {name}")
        wait_for(f"{device} is gone", lambda: not os.path.exists(f"/sys/class/net/{device}"))
        recreate(name)


STEPS = {"queues": queues, "front-link": front_link, "back-link": back_link,
         "front-bind": front_bind, "back-bind": back_bind, "front-reload": front_reload,
         "back-reload": back_reload, "hotplug": hotplug, "destroy": destroy,
         "guest-anew": guest_anew}
