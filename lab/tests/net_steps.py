# SPDX-License-Identifier: GPL-2.0-only
"""What happens to a vif while it works, at one end or the other. Each step is taken `count`
times, by one process where it can be, and leaves the vif as it was; `seed` decides pauses
and numbers of queues. Whether the vif is well afterwards is for the caller to see."""

import functools
import os

from churn import BACK, MODULES, attach, mac, recreate, vifs
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


def in_dom0(count, step):
    run(f"for turn in $(seq {count}); do {step} || exit; sleep 0.0$((turn % 10)); done",
        timeout=patience(count))


def queues(name, count, seed):
    """A reconnect that we choose."""
    in_guest(name, count, seed, f"queues {at_rest()}")


def front_link(name, count, seed):
    in_guest(name, count, seed, "link")


def back_link(name, count, seed):
    run(churn(vifs(name)[0], count, seed, "link"), timeout=patience(count))


def front_bind(name, count, seed):
    in_guest(name, count, seed, "bind xen xpv-netfront")


def back_bind(name, count, _):
    device = vifs(name)[0]
    node = device.replace("vif", "vif-").replace(".", "-")
    in_dom0(count, f"{{ echo {node} > {BACK}/unbind && [ ! -e /sys/class/net/{device} ] && "
                   f"echo {node} > {BACK}/bind && xpv-vif-reconnect; }}")


def front_reload(name, count, seed):
    in_guest(name, count, seed, f"reload {MODULES}/xpv-netfront.ko xpv_netfront max_queues={at_rest()}")


def back_reload(_, count, __):
    # One of its files may be open at the moment, by a reader.
    in_dom0(count, "{ until rmmod xpv-netback 2> /dev/null; do sleep 0.05; done; "
                   "[ -z \"$(ls -d /sys/class/net/vif* 2> /dev/null)\" ] && "
                   "modprobe xpv-netback && xpv-vif-reconnect; }")
    for other in guests():
        online(other)


def hotplug(name, count, _):
    for _ in range(count):
        run(f"xl network-detach {name} {mac(name)}")
        wait_for(f"{name}: its vif is gone", lambda: not vifs(name))
        attach(name)
        guest(name, "lab-churn eth0 1 1 back && lab-ifup eth0", timeout=150)


def guest_anew(name, count, _):
    for _ in range(count):
        device = vifs(name)[0]
        run(f"xl destroy {name}")
        wait_for(f"{device} is gone", lambda: not os.path.exists(f"/sys/class/net/{device}"))
        recreate(name)


STEPS = {"queues": queues, "front-link": front_link, "back-link": back_link,
         "front-bind": front_bind, "back-bind": back_bind, "front-reload": front_reload,
         "back-reload": back_reload, "hotplug": hotplug, "guest-anew": guest_anew}
