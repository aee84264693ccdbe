# SPDX-License-Identifier: GPL-2.0-only
"""A Debian guest on a disk of its own (--guest-root debian): systemd, the distribution's
kernel, and our modules as packaging/ puts them in place. Its image and the initramfs that
its own initramfs-tools made are cache entries, a tree of packages per kernel another one.

Exclusions are of what a Xen guest has no devices for: they only save time.
"""

import glob
import os
import shutil
import struct

import cache
import channel
import packages
from common import HERE, TOP, LabError, logged, output, write

PACKAGES = ("systemd-sysv", "udev", "dbus", "kmod", "initramfs-tools", "busybox-static", "zstd",
            "iproute2", "iputils-ping", "procps", "e2fsprogs", "util-linux", "mount", "hostname")
WITHOUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info",
           *(f"lib/modules/*/kernel/{name}" for name in
             ("sound", "drivers/gpu", "drivers/media", "drivers/staging", "drivers/infiniband",
              "drivers/scsi", "drivers/iio", "drivers/usb", "drivers/hwmon", "drivers/mfd",
              "drivers/input", "drivers/platform", "drivers/ata", "drivers/mmc", "drivers/mtd",
              "drivers/hid", "drivers/target", "drivers/edac", "drivers/leds", "drivers/message",
              "drivers/isdn", "drivers/net/ethernet", "drivers/net/wireless", "drivers/net/can",
              "drivers/net/usb", "drivers/net/phy")))
HOOK = "packaging/initramfs-tools/xpv"
CONF = "packaging/xpv.conf"
PROGRAMS = ("lab-net-start", "lab-hotplug", "lab-ifup", "lab-disk-start", "lab-env")
UNITS = ("lab.service", "lab-devices.service")
MIB = 1 << 20
FREE = 256  # MB, for what the guest writes


def tree(release):
    image = f"linux-image-{release}"
    names = (*PACKAGES, image)

    def build(work):
        if os.geteuid() != 0:
            raise LabError("--guest-root debian makes a tree with chroot the first time: run it as root")
        log = os.path.join(cache.folder(), "debian.log")
        target = os.path.join(work, "tree")
        # Without an initramfs yet: ours is to be in it.
        logged(["env", "INITRD=No", "mmdebstrap", "--variant=minbase", "--mode=root",
                '--aptopt=APT::Install-Recommends "false"',
                *(f"--dpkgopt=path-exclude=/{name}/*" for name in WITHOUT),
                f"--include={','.join(names)}", "bookworm", target, *packages.sources()], log)
        for waste in ("var/cache/apt", "var/lib/apt/lists"):
            shutil.rmtree(os.path.join(target, waste))
            os.makedirs(os.path.join(target, waste, "partial"))
    key = cache.key_of(*packages.versions(names), *WITHOUT)
    series = ".".join(release.split(".")[:2])
    return os.path.join(cache.entry(f"debiantree-{series}", key, build, f"a Debian guest of {release}"),
                        "tree")


def root(kernel, modules, settings):
    """The folder of disk.img, vmlinuz and initrd. modules: name and path of each of ours;
    settings: a file for modprobe.d."""
    source = tree(kernel.release)
    programs = channel.programs()
    guest = os.path.join(HERE, "guest")
    files = [*modules.values(), os.path.join(TOP, HOOK), os.path.join(TOP, CONF),
             *(os.path.join(guest, name) for name in (*PROGRAMS, *UNITS))]

    def build(work):
        target = os.path.join(work, "tree")
        output(["cp", "-a", "--reflink=auto", source, target])
        furnish(target, kernel.release, modules, settings, programs)
        output(["chroot", target, "update-initramfs", "-c", "-k", kernel.release])
        for name in ("vmlinuz", "initrd"):
            boot = {"vmlinuz": "vmlinuz", "initrd": "initrd.img"}[name]
            shutil.copy(os.path.join(target, f"boot/{boot}-{kernel.release}"), os.path.join(work, name))
        disk(target, os.path.join(work, "disk.img"))
        shutil.rmtree(target)
    key = cache.key_of(source, programs, settings, *(("file", path) for path in files), ("file", __file__))
    return cache.entry(f"debian-{kernel.name}", key, build, f"a Debian guest's disk of {kernel.release}")


def furnish(target, release, modules, settings, programs):
    """What an administrator would do, and the lab's own services."""
    updates = os.path.join(target, "lib/modules", release, "updates")
    os.makedirs(updates)
    for name, path in modules.items():
        output(["objcopy", "--strip-debug", path, os.path.join(updates, name)])
    output(["depmod", "-b", target, release])
    install(os.path.join(TOP, HOOK), os.path.join(target, "etc/initramfs-tools/hooks/xpv"), 0o755)
    install(os.path.join(TOP, CONF), os.path.join(target, "etc/modprobe.d/xpv.conf"), 0o644)
    write(os.path.join(target, "etc/modprobe.d/lab.conf"), settings)
    write(os.path.join(target, "etc/fstab"), "/dev/xvda1 / ext4 errors=remount-ro 0 1\n")
    write(os.path.join(target, "etc/machine-id"), "78707600000000000000000000000001\n")
    for name in PROGRAMS:
        install(os.path.join(HERE, "guest", name), os.path.join(target, "usr/sbin", name), 0o755)
    for path in glob.glob(os.path.join(glob.escape(programs), "*")):
        if os.path.basename(path) in ("agent", "lab-send"):
            install(path, os.path.join(target, "usr/sbin", os.path.basename(path)), 0o755)
    os.symlink("../bin/busybox", os.path.join(target, "usr/sbin/uevent"))
    wants = os.path.join(target, "etc/systemd/system/multi-user.target.wants")
    os.makedirs(wants, exist_ok=True)
    for name in UNITS:
        install(os.path.join(HERE, "guest", name), os.path.join(target, "etc/systemd/system", name), 0o644)
        os.symlink(f"../{name}", os.path.join(wants, name))


def install(source, target, mode):
    shutil.copy(source, target)
    os.chmod(target, mode)


def disk(target, image):
    """A disk with one partition, the first MiB being its table's."""
    size = sum(os.lstat(os.path.join(base, name)).st_size // 4096 + 1
               for base, _, names in os.walk(target) for name in names) // 256
    size += size // 8 + FREE
    entry = struct.pack("<8BII", 0, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff, MIB // 512, size * MIB // 512)
    with open(image, "wb") as stream:
        stream.write(bytes(446) + entry + bytes(48) + b"\x55\xaa")
        stream.truncate((size + 1) * MIB)
    output(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-E", f"offset={MIB}", "-d", target, image,
            f"{size}M"])
