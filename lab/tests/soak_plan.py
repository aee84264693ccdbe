# SPDX-License-Identifier: GPL-2.0-only
"""What the soak may do, and what it does next: drawn from a seed, by nothing else, so that
the same seed, guests and choice of actions give the same list on every machine. Needs no
lab; soak.py carries it out."""

import random
import re
from dataclasses import dataclass, field

KERNELS = ("6.1", "6.12", "debug")
GUESTS = ("pv-6.1x4", "pvh-6.12", "pv-6.12")
MAX_GUESTS = 4  # whose background load one emulated machine carries


class BadInput(Exception):
    """One line that names the value and what it may be."""


@dataclass(frozen=True)
class Guest:
    name: str
    type: str
    kernel: str
    vcpus: int


def guests_of(specs):
    """g1, g2, ... from texts like pv-6.1 and pvh-6.12x4."""
    if not 1 <= len(specs) <= MAX_GUESTS:
        raise BadInput(f"{len(specs)} guests: 1 to {MAX_GUESTS} are possible")
    guests = []
    for number, text in enumerate(specs, 1):
        found = re.fullmatch(r"(pv|pvh)-([\w.]+?)(?:x(\d+))?", text)
        vcpus = int(found[3] or 2) if found else 0
        if not found or found[2] not in KERNELS or not 2 <= vcpus <= 8:
            raise BadInput(f"guest {text!r} is not TYPE-KERNEL or TYPE-KERNELxVCPUS with TYPE pv or pvh, "
                           f"KERNEL {', '.join(KERNELS)}, VCPUS 2 to 8")
        guests.append(Guest(f"g{number}", found[1], found[2], vcpus))
    return guests


@dataclass(frozen=True)
class Action:
    """values: of each argument (least, greatest), or a list to choose from."""
    name: str
    weight: int
    what: str
    values: dict = field(default_factory=dict)
    who: str = "all"  # of the guests: all, pv, or lock, the one with xpv-pvlock


def times(most):
    return {"times": (1, most)}


PERCENT = (75, 100)  # of a guest's memory: above its floor, what it does at the floor has its own test
ACTIONS = (
    Action("net-queues", 6, "ethtool -L under traffic", times(12)),
    Action("net-front-link", 4, "the guest's eth0 down and up", times(12)),
    Action("net-back-link", 4, "dom0's vif down and up", times(12)),
    Action("net-front-bind", 4, "xpv-netfront unbound and bound", times(4)),
    Action("net-back-bind", 4, "xpv-netback unbound and bound", times(4)),
    Action("net-front-reload", 3, "xpv-netfront out and in", times(3)),
    Action("net-back-reload", 2, "xpv-netback out and in, under all guests", times(2)),
    Action("net-hotplug", 3, "xl network-detach and network-attach", times(2)),
    Action("net-file", 4, "a file through the vif, sha256", {"mib": (2, 8), "way": ["down", "up"]}),
    Action("disk-hotplug", 5, "xl block-attach of xvdb, or block-detach if it is there"),
    Action("disk-resize", 3, "xvdb's file grows or shrinks", {"mib": [8, 12, 16]}),
    Action("disk-file", 4, "random data on xvdb, sha256 at both ends", {"at": (0, 6), "kib": (64, 2048)}),
    Action("disk-verify", 3, "fio with verify on xvdb", {"depth": [1, 8, 32], "most": ["4k", "64k", "256k"]}),
    Action("disk-backend", 5, "blkback unbound and bound under fio", {"disk": ["xvda", "xvdb"],
                                                                  "ms": (0, 1500)}),
    Action("disk-reload", 3, "xpv-blkfront out and in"),
    Action("disk-knobs", 3, "parameters under live disks", {
        "pool_pages": [768, 1024], "event_batch": [1, 4, 16], "persistent": [0, 1, 2],
        "max_rings": [1, 4], "max_indirect_segments": [0, 32, 256]}),
    Action("memory-target", 7, "xl mem-set", {"percent": PERCENT}),
    Action("memory-hurry", 3, "targets that change while pages move", {"turns": (3, 10), "percent": PERCENT}),
    Action("memory-reload", 2, "xpv-balloon out, Linux's takes over, and in"),
    Action("lock-kernel", 4, "kernel=, from now on", {"on": [0, 1, 1]}, "lock"),
    Action("lock-switches", 2, "kernel= on and off while threads fight",
           {"load": ["plain", "irqs", "rwlock"], "times": (2, 8)}, "lock"),
    Action("lock-crowd", 3, "programs that crowd the kernel's locks",
           {"load": ["files", "messages"], "ms": (200, 1000)}, "lock"),
    Action("lock-torture", 1, "Linux's locktorture, where scripts/locktorture has made it",
           {"kind": ["spin_lock", "spin_lock_irq", "rw_lock", "rw_lock_irq"], "times": (2, 8)}, "lock"),
    Action("lock-reload", 1, "xpv-pvlock out and in", {}, "lock"),
    Action("life-pause", 4, "xl pause and unpause", {"ms": (100, 4000)}),
    Action("life-save", 3, "xl save and restore"),
    Action("life-save-on", 3, "xl save -c"),
    Action("life-anew", 1, "xl destroy and create"),
    Action("life-vcpus", 3, "xl vcpu-set, one vCPU and all again", times(2), "pv"),
)
NAMES = [action.name for action in ACTIONS]


def chosen(only=(), without=()):
    """The actions of these names, or of names that begin so."""
    def named(text):
        found = [name for name in NAMES if name == text] or \
            [name for name in NAMES if name.startswith(text)]
        if not found:
            raise BadInput(f"no action is called {text!r}: {', '.join(NAMES)}")
        return found
    wanted = {name for text in only for name in named(text)} if only else set(NAMES)
    wanted -= {name for text in without for name in named(text)}
    if not wanted:
        raise BadInput("no action is left")
    return [action for action in ACTIONS if action.name in wanted]


def lock_guest(guests):
    """The lock is shown on PV: the first such guest, None if there is none."""
    return next((guest.name for guest in guests if guest.type == "pv"), None)


@dataclass(frozen=True)
class Step:
    number: int
    action: str
    guest: str
    arguments: dict
    seed: int  # for what draws itself

    def __str__(self):
        return " ".join([self.guest, self.action,
                         *(f"{key}={value}" for key, value in self.arguments.items())])


def may(action, guest, guests):
    return {"all": True, "pv": guest.type == "pv",
            "lock": guest.name == lock_guest(guests)}[action.who]


def steps(seed, guests, actions):
    """Without end. Nothing that happens when they are taken may change them."""
    draw = random.Random(seed)
    who = {action.name: [guest.name for guest in guests if may(action, guest, guests)] for action in actions}
    actions = [action for action in actions if who[action.name]]
    if not actions:
        raise BadInput("none of these actions is for any of these guests")
    number = 0
    while True:
        number += 1
        action = draw.choices(actions, [action.weight for action in actions])[0]
        guest = draw.choice(who[action.name])
        arguments = {key: draw.randint(*values) if isinstance(values, tuple) else draw.choice(values)
                     for key, values in action.values.items()}
        yield Step(number, action.name, guest, arguments, draw.randrange(1 << 30))
