# SPDX-License-Identifier: GPL-2.0-only
"""The Debian tree that dom0's image and the guests' archive are made from."""

import os
import shutil

import cache
import packages
from common import logged

WITHOUT = ("doc", "man", "locale", "info", "lintian", "bash-completion")  # below /usr/share
WASTE = ("usr/share/perl", "usr/lib/x86_64-linux-gnu/perl", "usr/lib/udev", "var/cache/apt",
         "var/lib/apt/lists")


def key():
    return cache.key_of(*packages.versions(packages.DOM0), ("file", __file__))


def tree():
    return os.path.join(cache.entry("tree", key(), build, "a Debian root"), "tree")


def build(work):
    packages.require(packages.HOST)
    log = os.path.join(cache.folder(), "tree.log")
    open(log, "w", encoding="ascii").close()
    target = os.path.join(work, "tree")
    mode = "root" if os.geteuid() == 0 else "auto"
    logged(["mmdebstrap", "--variant=essential", f"--mode={mode}",
            '--aptopt=APT::Install-Recommends "false"',
            *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in WITHOUT),
            f"--include={','.join(packages.DOM0)}", "bookworm", target, *packages.sources()], log)
    for waste in WASTE:
        shutil.rmtree(os.path.join(target, waste), ignore_errors=True)
    # Not below var/run: that is a link to the host's /run, seen from here.
    for folder in ("lab", "share", "var/log/xen/console", "lib/modules"):
        os.makedirs(os.path.join(target, folder), exist_ok=True)
