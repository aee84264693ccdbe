#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""A Debian guest whose root is a disk of ours. For runs with --guest-root debian, one guest."""

import os
import re

from labtest import Report, check, guest, guests, run, status, wait_for

CONSOLES = "/var/log/xen/console"
SYSTEMD_TIMEOUT = 600


def console(name):
    with open(f"{CONSOLES}/guest-{name}.log", encoding="utf-8", errors="replace") as stream:
        return stream.read()


def settled(name):
    """Everything that systemd starts is there, and nothing failed."""
    state = ""

    def known():
        nonlocal state
        state = guest(name, "systemctl is-system-running", ok=False).strip()
        return state not in ("initializing", "starting", "")
    wait_for("systemd settles", known, SYSTEMD_TIMEOUT)
    check(state == "running", f"{state}: " + guest(name, "systemctl --failed --no-legend --plain; "
                                                   "journalctl -b -p warning --no-pager | tail -30", ok=False))


def boots(name):
    """From xvda1, by our driver, which was in the initramfs; Linux's own is not even loaded."""
    settled(name)
    check(guest(name, "cat /proc/1/comm").strip() == "systemd", "process 1")
    check("ID=debian" in guest(name, "cat /etc/os-release"), "not Debian")
    mounted = guest(name, "findmnt -no SOURCE,FSTYPE,OPTIONS /").split()
    check(mounted[:2] == ["/dev/xvda1", "ext4"] and mounted[2].startswith("rw,"), f"{mounted}")
    driver = guest(name, "readlink /sys/block/xvda/device/driver").strip()
    check(driver.endswith("/xpv-blkfront"), driver)
    modules = guest(name, "cut -d ' ' -f 1 /proc/modules").split()
    check("xpv_blkfront" in modules and "xpv_netfront" in modules, f"{modules}")
    check("xen_blkfront" not in modules and "xen_netfront" not in modules, f"{modules}")
    # Who mounted the root had it, before there was another place to load it from.
    log = guest(name, "dmesg")
    check(log.index("xvda: xvda1") < log.index("systemd 2"), "the disk came after systemd")
    inside = guest(name, "lsinitramfs /boot/initrd.img-$(uname -r)", timeout=600)
    for module in ("updates/xpv-blkfront.ko", "updates/xpv-netfront.ko", "etc/modprobe.d/xpv.conf"):
        check(module in inside, f"{module} is not in the initramfs")
    print("# " + guest(name, "systemd-analyze; uname -r").replace("\n", "\n# ").strip("# \n"), flush=True)


def works(name):
    """The root is written and read, and the packages' own sums are right."""
    output = guest(name, "mkdir /root/copy && cp -a /usr/bin /usr/sbin /usr/lib/systemd /root/copy/ && sync && "
                   "echo 3 > /proc/sys/vm/drop_caches && for f in bin sbin; do "
                   "diff -r --no-dereference /usr/$f /root/copy/$f || exit; done && "
                   "diff -r --no-dereference /usr/lib/systemd /root/copy/systemd && "
                   "echo same", timeout=900)
    check(output.strip() == "same", output)
    check(guest(name, "dpkg --verify systemd udev libc6 e2fsprogs | grep -v ' c ' | "
                "grep -vE '/usr/share/(doc|man|locale|info)/' || :", timeout=900) == "", "dpkg --verify complains")
    guest(name, "find /root/copy -type f -exec sha256sum {} + > /root/sums && echo kept > /root/mark")


HOOK = """set -e
exec 2>&1
export DESTDIR=/root/{0} version=$(uname -r) verbose=n
export MODULESDIR=/lib/modules/$version
mkdir -p $DESTDIR/usr/lib/modules/$version $DESTDIR/etc $DESTDIR/conf
ln -s usr/lib $DESTDIR/lib
cp -r /etc/modprobe.d $DESTDIR/etc/
sh -e /etc/initramfs-tools/hooks/xpv
cd $DESTDIR
find . -name 'x*front.ko*' | sed 's,.*/,,; s/\\.xz$//' | sort
grep -h '^blacklist' etc/modprobe.d/* | sort"""


def falls_back(name):
    """A kernel that ours were not built for gets Linux's own, whatever modprobe.d says."""
    ours = guest(name, HOOK.format("ours"), timeout=300).split("\n")
    check(ours[:2] == ["xpv-blkfront.ko", "xpv-netfront.ko"] and "blacklist xen-blkfront" in ours, f"{ours}")
    updates = "/lib/modules/$(uname -r)/updates"
    guest(name, f"mv {updates} /root/updates; depmod")
    stock = guest(name, HOOK.format("stock"), timeout=300).split("\n")
    guest(name, f"mv /root/updates {updates}; depmod")
    check("xen-blkfront.ko" in stock and "xen-netfront.ko" in stock and "xpv-blkfront.ko" not in stock and
          "blacklist xen-blkfront" not in stock and "blacklist xen-netfront" not in stock and
          "blacklist xen-netback" in stock, f"{stock}")
    check("no xpv-blkfront for" in stock[0], f"{stock}")


def image(name):
    """The partition in dom0, which nobody has mapped now."""
    return os.path.realpath(f"/dev/lab/{name}-xvda") + "1"


def shut_down(name):
    """By systemd, to the end: the file system is clean without a look into its journal."""
    said = len(console(name))
    run(f"xl shutdown -w {name}", timeout=600)
    told = console(name)[said:]
    check(re.search(r"reboot: (Power down|.*System halted)", told), told[-3000:])
    check(not re.search(r"Failed (un)?mount|timed out|Call Trace", told), told[-3000:])
    run("echo 3 > /proc/sys/vm/drop_caches")
    features = run(f"dumpe2fs -h {image(name)} 2>&1")
    check(re.search(r"Filesystem state:\s+clean\n", features) and "needs_recovery" not in features, features)
    print("# " + run(f"e2fsck -fn {image(name)} 2>&1", timeout=600).strip().splitlines()[-1], flush=True)


def comes_back(name):
    """Created anew, as soon as xl has cleared away what shut down, it boots from what it wrote."""
    wait_for(f"{name} is gone", lambda: status(f"xl domid {name}") != 0)
    run(f"xl create /etc/xen/{name}.cfg", timeout=300)
    run(f"guest-wait {name} 900", timeout=1000)
    settled(name)
    check(guest(name, "cat /root/mark").strip() == "kept", "what was written is gone")
    guest(name, "sha256sum -c --quiet /root/sums", timeout=600)
    check(guest(name, "ls /sys/kernel/debug/xpv-blkfront").strip() == "vbd-51712", "no counters")
    check(status(f"guest {name} ping -c 2 10.77.0.1") == 0, "no network")


def reboots(name):
    """What an administrator types."""
    before = run(f"xl domid {name}").strip()
    guest(name, "systemctl reboot --no-block")
    wait_for("another domain", lambda: run(f"xl domid {name}", ok=False).strip() not in ("", before)
             and status(f"xl domid {name}") == 0, 300)
    run(f"guest-wait {name} 900", timeout=1000)
    settled(name)


def main():
    report = Report()
    name = guests()[0]
    for test in (boots, works, falls_back, shut_down, comes_back, reboots, shut_down):
        report.test(test.__name__, test, name)
        if report.failed:
            print("# " + "\n# ".join(console(name).splitlines()[-60:]), flush=True)
            break
    report.finish()


main()
