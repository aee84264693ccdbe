# SPDX-License-Identifier: GPL-2.0-only
"""Root file systems: an ext4 image for dom0, an initramfs for guests.

Both come from one mmdebstrap tree. Nothing of ours is inside: modules, scripts and
the programs of the command channel are handed in at run time.
"""

import os
import re
import stat
import subprocess

import bootstrap
import cache
import cpio
import elf
from common import LabError, output

# What guests get besides busybox: initramfs is their memory, so not everything.
GUEST_PROGRAMS = ("usr/bin/dash", "usr/sbin/ethtool", "usr/bin/ip", "usr/sbin/tc", "usr/sbin/bridge",
                  "usr/bin/iperf3", "usr/bin/ping", "usr/bin/sha256sum", "usr/bin/fio",
                  "usr/bin/tcpdump", "usr/bin/nc.openbsd", "usr/bin/socat", "usr/bin/ss", "usr/bin/kmod",
                  "usr/bin/xenstore-read", "usr/bin/xenstore-write", "usr/bin/xenstore-ls",
                  "usr/bin/xenstore-list", "usr/bin/xenstore-rm")
# The shell is not busybox: that one would take its own applets before the programs above.
GUEST_LINKS = {"usr/bin/sh": "dash", "usr/bin/nc": "nc.openbsd", "usr/sbin/ip": "../bin/ip",
               **{f"usr/sbin/{name}": "../bin/kmod" for name in
                  ("modprobe", "insmod", "rmmod", "lsmod", "modinfo", "depmod")}}

# Remote storage engines of fio: 90 MB of libraries that a guest never calls. Their
# place is taken by empty functions under the same names.
FIO_STUBS = ("librados.so.2", "librbd.so.1", "libgfapi.so.0", "libnbd.so.0", "libpmem.so.1",
             "libpmemblk.so.1", "libibverbs.so.1", "librdmacm.so.1", "libiscsi.so.7")


def root():
    """The cache entry: dom0.ext4, guest.cpio, mini.cpio."""
    key = cache.key_of(bootstrap.key(), ("file", __file__))
    return cache.entry("root", key, build, "the root images")


def build(work):
    tree = bootstrap.tree()
    guest_archive(tree, work)
    mini_archive(tree, work)
    dom0_image(tree, work)


def dom0_image(tree, work):
    size = sum(os.lstat(os.path.join(base, name)).st_size // 4096 + 1
               for base, _, names in os.walk(tree) for name in names) // 256
    output(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1",
            "-L", "dom0", "-d", tree, os.path.join(work, "dom0.ext4"), f"{size + 1024}M"])


def busybox_applets(tree):
    return output([os.path.join(tree, "usr/bin/busybox"), "--list"]).split()


def base_folders(archive):
    for name in ("usr/bin", "usr/sbin", "usr/lib/x86_64-linux-gnu", "usr/lib64", "proc", "sys",
                 "dev", "etc", "run", "root", "var/log"):
        archive.folder(name)
    archive.folder("tmp", 0o1777)
    for name in ("bin", "sbin", "lib", "lib64"):
        archive.link(name, f"usr/{name}")
    archive.link("var/run", "../run")
    archive.link("var/tmp", "../tmp")
    archive.device("dev/console", stat.S_IFCHR, 5, 1)
    archive.device("dev/null", stat.S_IFCHR, 1, 3)


def guest_archive(tree, work):
    stubs = fio_stubs(tree, work)
    with cpio.Archive(os.path.join(work, "guest.cpio")) as archive:
        base_folders(archive)
        archive.file("usr/bin/busybox", os.path.join(tree, "usr/bin/busybox"))
        for program in GUEST_PROGRAMS:
            archive.file(program, os.path.join(tree, program))
        for name, target in GUEST_LINKS.items():
            archive.link(name, target)
        for name, path in elf.libraries(tree, GUEST_PROGRAMS, stubs).items():
            archive.file(f"usr/lib64/{name}" if name.startswith("ld-linux") else
                         f"usr/lib/x86_64-linux-gnu/{name}", os.path.join(tree, path))
        for name, path in stubs.items():
            archive.file(f"usr/lib/x86_64-linux-gnu/{name}", path)
        for name in busybox_applets(tree):
            archive.link(f"usr/bin/{name}", "busybox")
        archive.data("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\ntcpdump:x:1:1::/:/bin/false\n")
        archive.data("etc/group", b"root:x:0:\ntcpdump:x:1:\n")
        archive.data("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n")


def mini_archive(tree, work):
    """What dom0 starts with, until its disk is mounted."""
    with cpio.Archive(os.path.join(work, "mini.cpio")) as archive:
        base_folders(archive)
        archive.file("usr/bin/busybox", os.path.join(tree, "usr/bin/busybox"))
        for name in busybox_applets(tree):
            archive.link(f"usr/bin/{name}", "busybox")
        archive.link("usr/sbin/modprobe", "../bin/busybox")  # the kernel's own requests


def fio_stubs(tree, work):
    """Libraries with the functions that fio wants of FIO_STUBS, which all trap."""
    fio = os.path.join(tree, "usr/bin/fio")
    wanted = [name for name in elf.needed(fio) if name in FIO_STUBS]
    versions, library = {}, None  # of each library: its symbol versions
    for line in output(["objdump", "-p", fio]).splitlines():
        at = re.match(r"\s+required from (\S+):", line)
        library = at.group(1) if at else library
        found = re.match(r"\s+0x[0-9a-f]+ 0x[0-9a-f]+ \d+ (\S+)", line)
        if found and library:
            versions.setdefault(library, []).append(found.group(1))
    undefined = re.findall(r"\*UND\*\s+\S+\s+(?:\((\S+)\)\s+|(\S+)\s+)?(\S+)$",
                           output(["objdump", "-T", fio]), re.M)
    unversioned = [name for a, b, name in undefined if (a or b) in ("", "Base")]
    stubs = {}
    for library in wanted:
        source, script = "", ""
        for version in versions.get(library, []):
            names = [name for a, b, name in undefined if version in (a, b)]
            source += "".join(f".globl {n}\n.type {n}, @function\n{n}: ud2\n" for n in names)
            script += f"{version} {{ global: {'; '.join(names)}; }};\n" if names else f"{version} {{ }};\n"
        if library not in versions:  # whatever nobody else provides
            source += "".join(f".weak {n}\n.type {n}, @function\n{n}: ud2\n" for n in unversioned
                              if n.startswith(library[3:].split(".")[0] + "_"))
        path = os.path.join(work, "stubs", library)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".map", "w", encoding="ascii") as stream:
            stream.write(script)
        done = subprocess.run(["gcc", "-shared", "-nostdlib", "-Wl,-soname," + library, "-o", path,
                               *(["-Wl,--version-script=" + path + ".map"] if script else []),
                               "-x", "assembler", "-"], input=".text\n" + source, text=True,
                              stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise LabError(f"cannot make a stub of {library}: {done.stderr.strip()}")
        stubs[library] = path
    return stubs
