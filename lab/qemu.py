# SPDX-License-Identifier: GPL-2.0-only
"""The emulated machine: QEMU's command line for Xen, dom0 and the link."""

import ctypes
import os
import signal
import subprocess

import payload
from common import LabError, read

# What TCG offers but Xen or a kernel cannot use there: PV dom0 dies of SMAP and SMEP,
# PVH guests stop at rdtscp (6.1) or take the host down (6.12: la57, pku, umip,
# fsgsbase). Without erms and fsrm the kernel copies by words, not by `rep movsb`,
# of which TCG makes a loop over bytes, each counted as an instruction under icount.
# Without xsave and what builds on it, contexts are switched by fxsave: with it, PV
# guests on a busy machine lose SSE state, their programs crash and checksums differ.
CPU = ("max,-rdtscp,-la57,-pku,-smap,-smep,-umip,-fsgsbase,-erms,-fsrm,"
       "-xsave,-xsaveopt,-xsavec,-xgetbv1,-avx,-avx2,-f16c,-fma,-mpx")
XEN_OVERHEAD = 192   # MB: Xen itself, its frame table
GUEST_OVERHEAD = 24  # MB each: page tables, shadow of the toolstack

XEN = "com1=115200,8n1 console=com1 loglvl=all guest_loglvl=all conring_size=1M noreboot"


def memory(plan):
    return (plan.dom0_memory + XEN_OVERHEAD +
            sum(guest.memory + GUEST_OVERHEAD for guest in plan.guests))


def check_memory(plan):
    available = next(int(line.split()[1]) // 1024 for line in read("/proc/meminfo").splitlines()
                     if line.startswith("MemAvailable"))
    needed = memory(plan) + 256
    if available < needed:
        raise LabError(f"this run needs {needed} MB of memory, {available} MB are available: "
                       "ask for fewer or smaller guests (--guests, --memory, --dom0-memory)")


def accelerator(thread):
    """single: all processors in one thread. With multi, a thread each, one processor now and
    then runs an int3 of a code patch that is already over, and its kernel dies of it."""
    return ["-accel", f"tcg,thread={thread}"]


def command(plan, xen, dom0, root, image, initrd, roots, work):
    xen_line = (f"{XEN} dom0_mem={plan.dom0_memory}M,max:{plan.dom0_memory}M "
                f"dom0_max_vcpus={min(plan.dom0_vcpus, 16)} {plan.xen_cmdline}")
    dom0_line = f"{payload.CMDLINE} {plan.dom0_cmdline}"
    modules = ",".join(part.replace(",", ",,") for part in
                       (f"{dom0.vmlinuz} {dom0_line}", initrd))
    count = ["-icount", "shift=0,sleep=off"] if plan.icount else []

    def disk(name, path, more):
        return ["-drive", f"file={path.replace(',', ',,')},format=raw,if=none,id={name},{more}",
                "-device", f"virtio-blk-pci,drive={name},serial={name}"]
    own = [word for guest in plan.guests if roots
           for word in disk(f"{guest.name}-xvda", os.path.join(roots[guest.kernel], "disk.img"),
                            "snapshot=on,cache=unsafe")]
    share = ["-fsdev", f"local,id=share,path={plan.share.replace(',', ',,')},security_model=none",
             "-device", "virtio-9p-pci,fsdev=share,mount_tag=share"] if plan.share else []
    plugin = ["-plugin", plan.qemu_plugin] if plan.qemu_plugin else []
    return ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
            "-name", "xpv-lab", "-machine", "pc", *accelerator(plan.thread), *count, *plugin,
            "-cpu", CPU, "-smp", str(plan.cpus), "-m", str(memory(plan)), "-no-reboot",
            "-kernel", xen, "-append", xen_line, "-initrd", modules,
            *disk("root", os.path.join(root, "dom0.ext4"), "snapshot=on,cache=unsafe"),
            *disk("run", image, "readonly=on"), *own,
            "-chardev", f"socket,id=link,path={work}/link",
            "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=link,name=lab.link",
            "-serial", "mon:stdio" if plan.command == "shell" else "stdio", *share]


def die_with_parent():
    """Should the lab be killed, its machine must not stay."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def start(arguments, work, interactive=False):
    environment = dict(os.environ, TMPDIR=work)  # for what snapshot=on writes
    # In a session of its own, so that the terminal's Ctrl-C reaches only the lab.
    return subprocess.Popen(arguments, env=environment, preexec_fn=die_with_parent,
                            stdin=None if interactive else subprocess.PIPE,
                            stdout=None if interactive else subprocess.PIPE,
                            stderr=None if interactive else subprocess.PIPE,
                            start_new_session=not interactive)


def processor_time(process):
    """What it has used so far, in clock ticks (10 ms)."""
    fields = read(f"/proc/{process.pid}/stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class Pulse:
    """Wakes a machine that would sleep for ever. The emulator's SVM now and then loses an
    interrupt (its processor's thread changes the pending requests without the lock under
    which others raise one): the timer has fired, and the processor stays halted. The next
    interrupt of any device brings both, so one comes from the serial line."""
    SILENCE = 5  # seconds; dom0's end of the link does something twice a second

    def __init__(self, process):
        self.process = process
        self.used, self.since = -1, 0

    def look(self, now):
        """Call it now and then; true: the machine was woken."""
        used = processor_time(self.process)
        if used != self.used:
            self.used, self.since = used, now
        if now < self.since + self.SILENCE:
            return False
        self.since = now
        os.write(self.process.stdin.fileno(), b"\1")  # Xen itself takes a Ctrl-A, for a start
        return True


def stop(process):
    """End a machine that we started; there is nothing in it to lose."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
