# SPDX-License-Identifier: GPL-2.0-only
"""The part of `scripts/bench --account` in dom0: marks for the plugin that counts
(bench/count.c), and what tells whose code was counted."""

import ctypes
import mmap

from labtest import domid, guest, run

FOLDER = "/share/account"  # the host reads it


def instruction(digit):
    """A function that runs the plugin's MARK."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\x0f\x1f\x80xpv" + digit + b"\xc3")
    call = ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    call.page = page  # lives as long
    return call


start, stop = instruction(b"1"), instruction(b"2")


def frames(guests):
    """Which frames of the machine each guest has; Xen shows no others."""
    for name in guests:
        run("/usr/lib/xen-4.17/bin/xen-mfndump dump-p2m "
            f"{domid(name)} > {FOLDER}/frames.{name}", 900)


def symbols(stack, guests):
    """The symbols of Xen and of each kernel, with the modules of this stack."""
    run(f"cat /proc/xen/xensyms > {FOLDER}/symbols.xen", 900)
    run(f"cat /proc/kallsyms > {FOLDER}/symbols.{stack}.dom0", 900)
    for name in guests:
        with open(f"{FOLDER}/symbols.{stack}.{name}", "w") as out:
            out.write(guest(name, "cat /proc/kallsyms", 900))
