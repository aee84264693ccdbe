# SPDX-License-Identifier: GPL-2.0-only
"""The soak's actions by soak_plan's names: each is given the guest, its arguments and a seed, and
leaves the guest such that Subject.well() and another action can follow."""

import time

import balloon
import blockdev
import net_steps
import pvlock
import pvlock_kernel
from churn import forget
from labtest import (address, check, finish, guest, guest_start, run, save_and_go_on, save_restore, start,
                     status, wait_for)
from soak_guest import MIB

SAVE_S = 400
LOADS = {"plain": pvlock_kernel.LOCK, "irqs": pvlock_kernel.IRQS, "rwlock": pvlock_kernel.RWLOCK}


def net(step):
    return lambda subject, seed, times: net_steps.STEPS[step](subject.name, times, seed)


# ---- a file over the vif

def net_file(subject, _, mib, way):
    """At full speed, beside the rest."""
    size, name = mib * MIB, subject.name
    make = f"head -c {size} /dev/urandom > /tmp/net.bin; sha256sum < /tmp/net.bin"
    if way == "down":
        sent = run(make)
        sink = guest_start(name, "nc -d -l -p 5001 | sha256sum")
        wait_for(f"{name} listens", lambda: ":5001 " in guest(name, "ss -ltn", ok=False))
        run(f"nc -N {address(name)} 5001 < /tmp/net.bin; rm /tmp/net.bin", timeout=300)
    else:
        sent = guest(name, make)
        sink = start("nc -d -l -p 5001 | sha256sum")
        wait_for("dom0 listens", lambda: ":5001 " in run("ss -ltn", ok=False))
        guest(name, f"nc -N {address('dom0')} 5001 < /tmp/net.bin; rm /tmp/net.bin", timeout=300)
    got = finish(sink, 300)
    check(got == sent, f"{name}: sha256 {got.split()[0]} arrived, {sent.split()[0]} was sent")


# ---- disks

def disk_hotplug(subject, _):
    (subject.plug_out if subject.known else subject.plug_in)()


def disk_resize(subject, _, mib):
    subject.plug_in()
    run(f"truncate -s {mib}M {subject.file}; losetup -c {subject.loop}")
    wait_for(f"{subject.name}: xvdb has {mib} MiB", lambda: guest(
        subject.name, "cat /sys/block/xvdb/size").strip() == str(mib * MIB // 512))


def disk_file(subject, _, at, kib):
    subject.plug_in()
    wrote = guest(subject.name, f"dd if=/dev/urandom of=/tmp/disk.bin bs=1k count={kib} status=none && "
                  f"dd if=/tmp/disk.bin of=/dev/xvdb bs=64k seek={at * 16} oflag=direct status=none && "
                  "sha256sum < /tmp/disk.bin && rm /tmp/disk.bin")
    found = run(f"tail -c +{at * MIB + 1} {subject.file} | head -c {kib * 1024} | sha256sum")
    check(found == wrote, f"{subject.name}: sha256 {wrote.split()[0]} was written, {found.split()[0]} is there")
    subject.known = subject.sum_here()


def disk_verify(subject, _, depth, most):
    subject.plug_in()
    blockdev.sound(guest(subject.name, blockdev.fio(
        "/dev/xvdb", f"--rw=randwrite --bsrange=512-{most} --bs_unaligned=0 --iodepth={depth} --fsync=50",
        size="4m"), timeout=600))
    subject.known = subject.sum_here()


def disk_backend(subject, _, disk, ms):
    """Its requests wait meanwhile, and are sent again."""
    vbd = subject.vbd(disk if subject.known else "xvda")
    driver = "/sys/bus/xen-backend/drivers/vbd"
    run(f"echo {vbd} > {driver}/unbind")
    time.sleep(ms / 1000)
    run(f"echo {vbd} > {driver}/bind")


def disk_reload(subject, _):
    subject.stop_writing()
    guest(subject.name, "rmmod xpv-blkfront && modprobe xpv-blkfront")
    for vdev in ("xvda", "xvdb")[:2 if subject.known else 1]:
        subject.disk(vdev)


def disk_knobs(subject, _, **knobs):
    """Some hold at once, the others from a disk's next connection on."""
    guest(subject.name, "cd /sys/module/xpv_blkfront/parameters && " +
          " && ".join(f"echo {value} > {knob}" for knob, value in knobs.items()))


# ---- memory

def megabytes(subject, percent):
    return balloon.maximum_mb(subject.name) * percent // 100


def set_target(subject, target):
    """The guest has heard of it: to be there takes longer, and is looked at afterwards."""
    balloon.mem_set(subject.name, target)
    wait_for(f"{subject.name}: the target arrives",
             lambda: abs(balloon.target_kb(subject.name) - target * 1024) < 4096)


def memory_target(subject, _, percent):
    subject.settle()
    figures = balloon.Figures(subject.name)
    set_target(subject, megabytes(subject, percent))
    subject.settle()
    figures.agree()


def memory_hurry(subject, _, turns, percent):
    for turn in range(turns):
        balloon.mem_set(subject.name, megabytes(subject, 75 if turn % 2 == 0 else 100 - turn))
        time.sleep(0.1 * (turn % 5))
    set_target(subject, megabytes(subject, percent))


def memory_reload(subject, _):
    balloon.unload(subject.name)
    balloon.load(subject.name)


# ---- the lock

def lock_kernel(subject, _, on):
    pvlock_kernel.switch(subject.name, on)
    subject.kernel = on


def lock_switches(subject, _, load, times):
    subject.kernel = 0
    pvlock_kernel.switches(subject.name, LOADS[load], times)


def lock_crowd(subject, _, load, ms):
    result = pvlock.parse(guest(subject.name, f"lab-crowd {load} 4 {ms}", timeout=300))
    check(result["exact"] == 1, f"{subject.name}: {result}")


def lock_torture(subject, _, kind, times):
    if "locktorture" in guest(subject.name, "ls /lib/modules/xpv/"):
        subject.kernel = 0
        pvlock_kernel.linux_torture(subject.name, kind, times)


def lock_reload(subject, _):
    guest(subject.name, "rmmod xpv-pvlock-test; rmmod xpv-pvlock")
    left = guest(subject.name, "grep -c pvlock /proc/interrupts", ok=False).strip()
    check(left == "0", f"{subject.name}: {left} interrupts of xpv-pvlock are left")
    pvlock.load(subject.name)
    subject.kernel = 0


# ---- the guest itself

def life_pause(subject, _, ms):
    run(f"xl pause {subject.name}")
    time.sleep(ms / 1000)
    run(f"xl unpause {subject.name}")


def life_save(subject, _):
    save_restore(subject.name, SAVE_S)
    forget(subject.name)


def life_save_on(subject, _):
    save_and_go_on(subject.name, SAVE_S)


def life_anew(subject, seed):
    net_steps.guest_anew(subject.name, 1, seed)
    subject.born()


def life_vcpus(subject, _, times):
    name, cpus = subject.name, "/sys/devices/system/cpu"
    for _ in range(times):
        run(f"xl vcpu-set {name} 1")
        wait_for(f"{name} has one vCPU", lambda: guest(name, "nproc").strip() == "1", 120)
        run(f"xl vcpu-set {name} {subject.vcpus}")
        for cpu in range(1, subject.vcpus):  # which udev does elsewhere
            wait_for(f"{name}: vCPU {cpu} is there", lambda cpu=cpu: status(
                f"guest {name} test -e {cpus}/cpu{cpu}/online") == 0, 120)
            guest(name, f"echo 1 > {cpus}/cpu{cpu}/online")


ACTS = {
    **{f"net-{step}": net(step) for step in ("queues", "front-link", "back-link", "front-bind", "back-bind",
                                             "front-reload", "back-reload", "hotplug")},
    "net-file": net_file,
    "disk-hotplug": disk_hotplug, "disk-resize": disk_resize, "disk-file": disk_file,
    "disk-verify": disk_verify, "disk-backend": disk_backend, "disk-reload": disk_reload,
    "disk-knobs": disk_knobs,
    "memory-target": memory_target, "memory-hurry": memory_hurry, "memory-reload": memory_reload,
    "lock-kernel": lock_kernel, "lock-switches": lock_switches, "lock-crowd": lock_crowd,
    "lock-torture": lock_torture, "lock-reload": lock_reload,
    "life-pause": life_pause, "life-save": life_save, "life-save-on": life_save_on,
    "life-anew": life_anew, "life-vcpus": life_vcpus,
}
