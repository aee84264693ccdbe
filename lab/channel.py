# SPDX-License-Identifier: GPL-2.0-only
"""The programs of the command channel (agent/), and those that tests run, as static binaries."""

import os

import cache
from common import HERE, output

AGENT = os.path.join(HERE, "agent")
XEN = ["-lxenvchan", "-lxenstore", "-lxengnttab", "-lxenevtchn", "-lxentoolcore", "-lxentoollog"]
LIBRARIES = {
    "agent": XEN,
    "guestd": [XEN[0], "-lxenctrl", "-lxencall", "-lxenforeignmemory", "-lxendevicemodel", *XEN[1:]],
    "guest": [],
    "lab-send": [],  # these are no part of the channel: guests have no Python
    "lab-churn": [],
    "lab-crowd": [],
    "lab-hog": [],
}
IN_GUESTS = ("agent", "lab-send", "lab-churn", "lab-crowd", "lab-hog")
IN_DOM0 = ("guest", "guestd", "lab-churn", "lab-crowd")


def programs():
    """The folder that holds them all."""
    sources = [("file", os.path.join(AGENT, name)) for name in sorted(os.listdir(AGENT))]
    return cache.entry("channel", cache.key_of(*sources, ("file", __file__)), build,
                       "the programs of guests")


def build(work):
    for name, libraries in LIBRARIES.items():
        output(["gcc", "-O2", "-Wall", "-static", "-s", "-o", os.path.join(work, name),
                os.path.join(AGENT, f"{name}.c"), *libraries])
