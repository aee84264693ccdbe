# SPDX-License-Identifier: GPL-2.0-only
"""The run disk: all that one run hands to dom0, as a small file system at /lab.

  run.json run.env modprobe.conf script/ dom0/ xen/gK.cfg
  modules/<release>/   dom0's modules, ours below updates/; modules/xpv links there
  boot/<kernel>/       vmlinuz and initrd of the guests' kernels, our modules inside
"""

import glob
import json
import os
import shutil

import channel
import cpio
import debian
import disks
import kernels
from common import HERE, TOP, LabError, output, write

FRONTENDS = {"xpv": "xpv-netfront", "linux": "xen-netfront"}
GAUGED = "build/gauged/xpv-gauged"
BACKENDS = {"xpv": "xpv-netback", "linux": "xen-netback"}

# No false alarms on a slow emulator: a starved processor is late, not stuck. Real
# stalls still show, later. The Xen clock needs no watchdog against another clock.
PATIENCE = ("clocksource=xen watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120 "
            "rcupdate.rcu_task_stall_timeout=300000 workqueue.watchdog_thresh=120")
CMDLINE = f"console=hvc0 loglevel=7 net.ifnames=0 random.trust_cpu=on {PATIENCE}"


def our_modules(plan, kernel):
    """File name and path of each; --modules may hold a folder a kernel, or be one."""
    folder = os.path.join(plan.modules or os.path.join(TOP, "build"), kernel)
    if plan.modules and not os.path.isdir(folder):
        folder = plan.modules
    return {os.path.basename(path): path
            for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*.ko")))}


def check_modules(plan):
    """One line for each of our modules that the run would load and that is not built."""
    wanted = [(guest.kernel, FRONTENDS[guest.netfront]) for guest in plan.guests]
    wanted += [(guest.kernel, disks.FRONTENDS[guest.blkfront])
               for guest in plan.guests if plan.disks]
    wanted.append((plan.dom0_kernel, BACKENDS[plan.netback]))
    lines = []
    for kernel, module in sorted(set(wanted)):
        if module.startswith("xpv-") and f"{module}.ko" not in our_modules(plan, kernel):
            folder = plan.modules or os.path.join("build", kernel)
            lines.append(f"{folder}/{module}.ko is missing: run make KVER={kernel}")
    if lines:
        raise LabError("\nlab: ".join(lines))


def modprobe_conf(plan):
    lines = []
    for param in plan.params:
        module, _, setting = param.partition(".")
        lines.append(f"options {module.replace('-', '_')} {setting}\n")
    return "".join(lines)


def stage_modules(plan, kernel, names, into):
    """lib/modules of a kernel, these modules and ours, as `into`/<release> and `into`/xpv."""
    target = os.path.join(into, kernel.release)
    for folder in ("kernel", "updates"):
        os.makedirs(os.path.join(target, folder))
    source = os.path.join(kernel.modules, "kernel")
    for name in kernels.closure(source, names):
        link_or_copy(os.path.join(source, name), os.path.join(target, "kernel", name))
    for name in glob.glob(os.path.join(kernel.modules, "modules.*")):
        shutil.copy(name, target)
    for name, path in our_modules(plan, kernel.name).items():
        # Debug information is most of a module, and an initramfs is memory.
        output(["objcopy", "--strip-debug", path, os.path.join(target, "updates", name)])
    os.symlink(f"{kernel.release}/updates", os.path.join(into, "xpv"))
    output(["depmod", "-b", os.path.dirname(os.path.dirname(into)), kernel.release])


def link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def modules_tree(plan, kernel, work, purpose):
    """A folder with lib/modules in it, ready to use; purpose is dom0, first or guest."""
    names = {"dom0": kernels.MODULES, "first": kernels.DOM0_FIRST, "guest": kernels.COMMON + (kernels.FILE_SYSTEMS if plan.disks else [])}[purpose]
    tree = os.path.join(work, f"modules-{purpose}-{kernel.name}")
    if not os.path.isdir(tree):
        stage_modules(plan, kernel, names, os.path.join(tree, "lib/modules"))
    return tree


def guest_initrd(plan, kernel, root, work, into):
    """The cached archive of programs, then this run's modules and settings."""
    extra = os.path.join(work, f"extra-{kernel.name}.cpio")
    with cpio.Archive(extra) as archive:
        archive.file("init", os.path.join(HERE, "guest/init"))
        for name in channel.IN_GUESTS:
            archive.file(f"usr/sbin/{name}", os.path.join(channel.programs(), name))
        for name in ("lab-env", "lab-net-start", "lab-hotplug", "lab-ifup", "lab-disk-start"):
            archive.file(f"usr/sbin/{name}", os.path.join(HERE, "guest", name))
        archive.tree(os.path.join(modules_tree(plan, kernel, work, "guest"), "lib"), "usr/lib")
        archive.data("etc/modprobe.d/lab.conf", modprobe_conf(plan).encode())
    with open(into, "wb") as stream:
        for part in (os.path.join(root, "guest.cpio"), extra):
            with open(part, "rb") as source:
                shutil.copyfileobj(source, stream)


def dom0_initrd(plan, kernel, root, work):
    extra = os.path.join(work, "dom0-extra.cpio")
    with cpio.Archive(extra) as archive:
        archive.file("init", os.path.join(HERE, "dom0/initramfs-init"))
        archive.data("first-modules", " ".join(kernels.DOM0_FIRST).encode())
        archive.folder("new")
        archive.tree(os.path.join(modules_tree(plan, kernel, work, "first"), "lib"), "usr/lib")
    path = os.path.join(work, "dom0-initrd")
    with open(path, "wb") as stream:
        for part in (os.path.join(root, "mini.cpio"), extra):
            with open(part, "rb") as source:
                shutil.copyfileobj(source, stream)
    return path


def debian_roots(plan, guest_kernels):
    """The folder of a Debian guest's disk, by kernel; empty when no such guest is wanted."""
    if plan.guest_root != "debian":
        return {}
    return {kernel.name: debian.root(kernel, our_modules(plan, kernel.name), modprobe_conf(plan))
            for kernel in guest_kernels}


def guest_config(plan, guest):
    """An ordinary xl configuration."""
    vif = f"bridge=xenbr0,mac=00:16:3e:77:00:{guest.number:02x}" + (f",{plan.vif}" if plan.vif else "")
    # A PVH guest has no PCI; looking for it costs emulated port accesses.
    pci = " pci=off" if guest.type == "pvh" else ""
    blk = (f" lab.blkfront={disks.FRONTENDS[guest.blkfront]} "
           f"lab.disks={','.join(name for name, _ in disks.named(plan.disks))}" if plan.disks else "")
    root = "root=/dev/xvda1 ro" if plan.guest_root == "debian" else "rdinit=/init"
    extra = (f"{CMDLINE}{pci} {root} lab.name={guest.name} lab.number={guest.number} "
             f"lab.frontend={FRONTENDS[guest.netfront]}{blk} {guest.cmdline}").strip()
    return "\n".join((
        f'name = "{guest.name}"', f'type = "{guest.type}"',
        f'kernel = "/lab/boot/{guest.kernel}/vmlinuz"', f'ramdisk = "/lab/boot/{guest.kernel}/initrd"',
        f"extra = {extra!r}", f"vcpus = {guest.vcpus}", f"memory = {guest.memory}",
        # Else Xen, which does not trust the emulated TSC, traps and emulates every look
        # at the clock in a PV guest, which no real host does.
        'tsc_mode = "native"',
        f"maxmem = {guest.memory}", f'vif = ["{vif}"]',
        *([f"disk = {disks.config(guest.name, plan.disks)!r}"] if plan.disks else ()),
        'on_poweroff = "destroy"', 'on_reboot = "restart"', 'on_crash = "destroy"', ""))


def run_disk(plan, dom0, guest_kernels, root, roots, work):
    """The image, and the initrd of dom0."""
    lab = os.path.join(work, "lab")
    for name in ("bin", "script", "xen", "dom0"):
        os.makedirs(os.path.join(lab, name))
    for name in ("init", "link", "disks"):
        shutil.copy(os.path.join(HERE, "dom0", name), os.path.join(lab, "dom0", name))
    for name in channel.IN_DOM0:
        shutil.copy(os.path.join(channel.programs(), name), os.path.join(lab, "bin", name))
    os.symlink("guest", os.path.join(lab, "bin/guest-wait"))
    for name in ("packaging/xpv-vif-reconnect", "packaging/xpv-vif-reattach", "gauge/xpv-gauge-view"):
        shutil.copy(os.path.join(TOP, name), os.path.join(lab, "bin"))
    if os.path.exists(os.path.join(TOP, GAUGED)):  # who tests it builds it: make gauged
        link_or_copy(os.path.join(TOP, GAUGED), os.path.join(lab, "bin/xpv-gauged"))
    script = os.path.basename(plan.script) if plan.script else None
    if script:
        shutil.copy(plan.script, os.path.join(lab, "script", script))
        os.chmod(os.path.join(lab, "script", script), 0o755)
    for guest in plan.guests:
        write(os.path.join(lab, "xen", f"{guest.name}.cfg"), guest_config(plan, guest))
    write(os.path.join(lab, "disks"), disks.table([guest.name for guest in plan.guests], plan.disks))
    for kernel in guest_kernels:
        folder = os.path.join(lab, "boot", kernel.name)
        os.makedirs(folder)
        if kernel.name in roots:
            for name in ("vmlinuz", "initrd"):
                link_or_copy(os.path.join(roots[kernel.name], name), os.path.join(folder, name))
            continue
        link_or_copy(kernel.vmlinuz, os.path.join(folder, "vmlinuz"))
        guest_initrd(plan, kernel, root, work, os.path.join(folder, "initrd"))
    shutil.copytree(os.path.join(modules_tree(plan, dom0, work, "dom0"), "lib/modules"),
                    os.path.join(lab, "modules"), symlinks=True, copy_function=link_or_copy)
    write(os.path.join(lab, "modprobe.conf"), modprobe_conf(plan))
    write(os.path.join(lab, "run.env"), f"LAB_SHELL={'' if script else 1}\nLAB_SHARE={1 if plan.share else ''}\n")
    write(os.path.join(lab, "run.json"), json.dumps({
        "guests": [guest.name for guest in plan.guests], "netback": BACKENDS[plan.netback],
        "disks": [name for name, _ in disks.named(plan.disks)], "script": script,
        "arguments": plan.arguments, "share": bool(plan.share), "log": bool(plan.log)}))
    image = os.path.join(work, "run.img")
    size = sum(os.lstat(os.path.join(base, name)).st_size // 4096 + 1
               for base, _, names in os.walk(lab) for name in names) // 256
    output(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal,^resize_inode", "-m", "0", "-N", "2048",
            "-d", lab, image, f"{size + 16}M"])
    return image, dom0_initrd(plan, dom0, root, work)
