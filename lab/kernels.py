# SPDX-License-Identifier: GPL-2.0-only
"""Kernels to boot, and Xen: taken out of Debian's packages, or built (debugkernel).

A kernel is a cache entry with vmlinuz, config and lib/modules/<release>/, the last
holding the modules below and what they depend on, uncompressed, ready for depmod.
"""

import gzip
import lzma
import os
import re
import shutil
from dataclasses import dataclass

import cache
import debugkernel
import packages
from common import LabError, read, write

# What a kernel has built in, or not at all, is left out.
COMMON = """
xen_evtchn xen_gntdev xen_gntalloc xen_privcmd xenfs xen_blkfront xen_netfront
null_blk tun veth dummy macvlan 8021q pktgen netconsole tcp_bbr kunit
sch_fq sch_fq_codel sch_netem sch_tbf sch_ingress sch_htb cls_bpf act_bpf act_mirred cls_matchall
""".split()
DOM0_FIRST = ["crc32c_generic", "virtio_pci", "virtio_blk", "ext4"]  # until dom0 has its root
FILE_SYSTEMS = ["crc32c_generic", "ext4", "xfs", "btrfs"]  # in guests that have a disk
DOM0 = ["virtio_console", "9p", "9pnet_virtio", "xen_blkback", "xen_netback", "bridge", "loop",
        "dm_delay"]
MODULES = COMMON + DOM0_FIRST + FILE_SYSTEMS + DOM0


@dataclass(frozen=True)
class Kernel:
    name: str     # 6.1, 6.12, debug
    folder: str   # the cache entry
    release: str  # uname -r

    @property
    def vmlinuz(self):
        return os.path.join(self.folder, "vmlinuz")

    @property
    def modules(self):
        return os.path.join(self.folder, "lib/modules", self.release)


def kernel(name):
    if name == "debug":
        source = debugkernel.key()
    else:
        release = packages.release(name)
        source = release + packages.installed_version(f"linux-headers-{release}")

    def build(work):
        if name == "debug":
            from_tree(debugkernel.tree(), work)
        else:
            from_debian(release, work)
    folder = cache.entry(f"kernel-{name}", cache.key_of(source, ("file", __file__)), build,
                         f"the {name} kernel's files")
    return Kernel(name, folder, os.listdir(os.path.join(folder, "lib/modules"))[0])


def from_debian(release, work):
    package = f"linux-image-{release}"
    raw = os.path.join(work, "raw")
    os.makedirs(raw)
    try:
        packages.extract(package, raw)
        source = raw
    except LabError as error:
        if not os.path.exists(f"/lib/modules/{release}/kernel"):
            raise LabError(f"{error}; if the archive has moved on, upgrade linux-headers: "
                           "the lab boots the kernel whose headers are installed") from error
        source = "/"
    shutil.copy(os.path.join(source, f"boot/vmlinuz-{release}"), os.path.join(work, "vmlinuz"))
    shutil.copy(os.path.join(source, f"boot/config-{release}"), os.path.join(work, "config"))
    select(os.path.join(source, "lib/modules", release), release, work)
    shutil.rmtree(raw)


def from_tree(tree, work):
    """From a built kernel tree."""
    release = read(os.path.join(tree, "include/config/kernel.release")).strip()
    shutil.copy(os.path.join(tree, "arch/x86/boot/bzImage"), os.path.join(work, "vmlinuz"))
    shutil.copy(os.path.join(tree, ".config"), os.path.join(work, "config"))
    select(tree, release, work)


def plain(name):
    return re.sub(r"\.ko(\.[a-z0-9]+)?$", "", os.path.basename(name)).replace("-", "_")


def depends(data):
    """Names in a module's depends= string."""
    found = re.search(rb"\0depends=([^\0]*)\0", b"\0" + data)
    return [name.replace("-", "_") for name in found.group(1).decode().split(",") if name] \
        if found else []


def module_data(path):
    with open(path, "rb") as stream:
        data = stream.read()
    return lzma.decompress(data) if path.endswith(".xz") else data


def closure(folder, names):
    """File names below folder of these modules and of all they depend on."""
    there = {plain(name): name for name in os.listdir(folder)}
    todo, found = list(names), {}
    while todo:
        name = todo.pop()
        if name in there and name not in found:
            found[name] = there[name]
            todo += depends(module_data(os.path.join(folder, there[name])))
    return sorted(found.values())


def select(source, release, work):
    there = {plain(name): os.path.join(base, name)
             for base, _, names in os.walk(source) for name in names
             if re.search(r"\.ko(\.xz)?$", name)}
    todo, done = [name for name in MODULES if name in there], set()
    target = os.path.join(work, "lib/modules", release)
    while todo:
        name = todo.pop()
        if name in done or name not in there:
            continue
        done.add(name)
        data = module_data(there[name])
        todo += depends(data) + (["crc32c_generic"] if name == "ext4" else [])
        place = os.path.join(target, "kernel", re.sub(r"\.xz$", "", os.path.basename(there[name])))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as stream:
            stream.write(data)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        path = os.path.join(source, name)
        if os.path.exists(path):
            shutil.copy(path, target)
        else:
            write(os.path.join(target, name), "")


def xen():
    """Xen as a 32-bit ELF, which QEMU's -kernel takes; Debian ships it compressed."""
    version = packages.versions([packages.XEN])

    def build(work):
        raw = os.path.join(work, "raw")
        os.makedirs(raw)
        packages.extract(packages.XEN, raw)
        with gzip.open(os.path.join(raw, "boot", "xen-4.17-amd64.gz")) as packed, \
                open(os.path.join(work, "xen"), "wb") as stream:
            shutil.copyfileobj(packed, stream)
        shutil.rmtree(raw)
    return os.path.join(cache.entry("xen", cache.key_of(*version), build, "Xen"), "xen")
