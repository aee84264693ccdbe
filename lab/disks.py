# SPDX-License-Identifier: GPL-2.0-only
"""Disks of the guests: what --disk says, what xl gets, what dom0/disks makes the media of."""

import argparse
import re
from dataclasses import dataclass

KINDS = ("file", "ram", "null", "power")
BACKENDS = {"blkback": "phy", "qdisk": "qdisk"}  # our word, xl's
SECTORS = (512, 4096)
MAX_DISKS = 16  # xvda to xvdp, whose numbers are those of old
MAX_SIZE = 65536
FRONTENDS = {"xpv": "xpv-blkfront", "linux": "xen-blkfront"}
# A Debian guest's own, which --guest-root makes the first. The machine has it by its name.
ROOT = "root"
FOLDER = "/var/tmp/lab-disks"  # in dom0, of files


@dataclass(frozen=True)
class Disk:
    kind: str
    size: int = 64  # MB
    sector: int = 512
    read_only: bool = False
    backend: str = "blkback"


def bad(value, allowed):
    return argparse.ArgumentTypeError(f"{value!r} is not {allowed}")


def number(key, text, low, high):
    if not re.fullmatch(r"[0-9]+", text) or not low <= int(text) <= high:
        raise bad(f"{key}={text}", f"a number from {low} to {high}")
    return int(text)


def parse(text):
    """The disks of one --disk."""
    kind, *items = text.split(",")
    if kind not in KINDS:
        raise bad(kind, f"one of {', '.join(KINDS)}")
    values, count = {}, 1
    for item in items:
        key, equals, value = item.partition("=")
        if item == "ro":
            values["read_only"] = True
        elif key == "size" and equals:
            values["size"] = number(key, value, 1, MAX_SIZE)
        elif key == "count" and equals:
            count = number(key, value, 1, MAX_DISKS)
        elif key == "sector" and equals:
            if value not in map(str, SECTORS):
                raise bad(item, " or ".join(map(str, SECTORS)))
            values["sector"] = int(value)
        elif key == "backend" and equals:
            if value not in BACKENDS:
                raise bad(item, f"one of {', '.join(BACKENDS)}")
            values["backend"] = value
        else:
            raise bad(item, "one of size=MB, sector=512|4096, ro, backend=blkback|qdisk, count=N")
    disk = Disk(kind, **values)
    if disk.backend == "qdisk" and disk.sector != 512:
        # xl has no word for it, and the emulator takes 512.
        raise bad(f"sector={disk.sector}", "512, the only one that goes with backend=qdisk")
    return [disk] * count


def flat(lists):
    """All disks of a command line."""
    disks = [disk for one in lists for disk in one]
    if len(disks) > MAX_DISKS:
        raise bad(str(len(disks)), f"a number of disks from 0 to {MAX_DISKS}")
    return disks


def named(disks):
    """(xvda, disk) and so on."""
    return [(f"xvd{chr(ord('a') + index)}", disk) for index, disk in enumerate(disks)]


def plain_file(disk):
    """One that xl's own script makes a loop device of."""
    return disk.kind == "file" and (disk.sector == 512 or disk.backend == "qdisk")


def config(guest, disks):
    """The entries of an xl configuration."""
    entries = []
    for name, disk in named(disks):
        target = f"{FOLDER}/{guest}-{name}" if plain_file(disk) else f"/dev/lab/{guest}-{name}"
        entries.append(f"format=raw,vdev={name},access={'r' if disk.read_only else 'w'},"
                       f"backendtype={BACKENDS[disk.backend]},target={target}")
    return entries


def table(guests, disks):
    """A line a medium, for dom0/disks."""
    return "".join(f"{guest}-{name} {disk.kind} {disk.size} {disk.sector}\n"
                   for guest in guests for name, disk in named(disks))
