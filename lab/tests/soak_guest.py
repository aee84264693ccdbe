# SPDX-License-Identifier: GPL-2.0-only
"""A guest of the soak: its drivers, what works in the background, and whether all is well."""

import time

import balloon
import blockdev
import pvlock
import pvlock_kernel
from churn import Readers, Traffic, alive, recreate
from labtest import Failed, check, domid, guest, run, status, wait_for
from net_steps import queues

# One emulated processor for all: enough to be under way in whatever is taken away, so
# little that a hotplug script comes to its end in the 40 s that libxl gives it.
RATE = "-b 400K -l 4K --pacing-timer 50000"
PAUSE_MS = 2000
FIO = "--bsrange=512-64k --rate=400k"  # not by requests: fio would take each for the smallest
DAY = 86400
MIB = 1 << 20
KNOWN = 8  # MiB of xvdb whose sum both ends know; it is never smaller
NUMBERS = {"xvda": 51712, "xvdb": 51728}

LOOK = f"""for what in info/current_kb target_kb info/floor_kb; do
    echo "$what: $(cat {balloon.INFO}/$what)"; done
echo "cpus: $(nproc)"
echo "fio: $(pidof fio | wc -w)"
for folder in /sys/kernel/debug/xpv-blkfront/*; do
    while read key value; do echo "$(basename $folder).$key: $value"; done < $folder/counters; done
true"""


class Stream(Traffic):
    """With a server that is a program of the guest's own: a call does not outlive a restore."""

    def serve(self):
        guest(self.name, "iperf3 -s -D -p 5100 > /dev/null 2>&1")

    def stop(self):
        super().stop()
        guest(self.name, "killall -9 iperf3", ok=False)


class Subject:
    def __init__(self, name, vcpus, lock):
        self.name, self.vcpus, self.lock = name, vcpus, lock
        self.traffic = Stream(name, RATE)
        self.readers = Readers(name, PAUSE_MS)
        self.writer = blockdev.Writer(name, more=FIO, runtime=DAY)
        self.writes = False
        self.file = f"/var/tmp/soak-{name}.img"  # xvdb's; dom0's memory would miss it
        self.loop = f"/dev/loop{name[1:]}"
        self.known = None  # sum of its beginning, while it is attached
        self.kernel = 0  # pvlock's parameter
        self.reborn = False

    # ---- drivers

    def disk(self, vdev="xvda"):
        wait_for(f"{self.name}: {vdev}", lambda: status(f"guest {self.name} test -b /dev/{vdev}") == 0, 120)

    def equip(self):
        """All drivers, in a guest that has booted or was made bare."""
        guest(self.name, "modprobe xpv-blkfront; echo 1 > /proc/sys/kernel/sysrq")  # for xl sysrq
        # A shell for each event of the kernel: who takes an interface away gives its addresses back.
        guest(self.name, "killall uevent", ok=False)
        self.disk()
        balloon.load(self.name)
        balloon.mem_set(self.name, balloon.maximum_mb(self.name))
        if self.lock:
            pvlock.load(self.name)
            self.kernel = 0

    def born(self):
        """It is another guest now: nothing of the old one is left."""
        self.writes, self.known, self.reborn = False, None, True
        self.equip()

    def mend(self):
        """Whatever state it is in, a guest that works."""
        run("lsmod | grep -q xpv_netback || { modprobe xpv-netback; xpv-vif-reconnect; }")
        recreate(self.name)
        self.readers.stop()
        self.traffic.stop()
        self.born()

    def bare(self):
        """Rested, and its vif the only device that is at work."""
        self.rest()
        self.plug_out()
        balloon.mem_set(self.name, balloon.maximum_mb(self.name))
        self.settle()
        balloon.unload(self.name)
        if self.lock:
            pvlock_kernel.switch(self.name, 0)
            guest(self.name, "rmmod xpv-pvlock-test; rmmod xpv-pvlock")
        guest(self.name, "rmmod xpv-blkfront")
        queues(self.name, 0, 1)

    # ---- xvdb, over a file that both ends can read

    def medium(self):
        run(f"head -c {KNOWN * MIB} /dev/urandom > {self.file}; losetup {self.loop} {self.file}")

    def no_medium(self):
        run(f"losetup -d {self.loop}; rm {self.file}", ok=False)

    def plug_in(self):
        if self.known:
            return
        try:
            blockdev.attach(self.name, self.loop, "xvdb")
        except Failed as error:  # its script took more than libxl's 40 s
            if "timeout" not in str(error):
                raise
            run(f"xl block-detach {self.name} xvdb", ok=False)
            blockdev.attach(self.name, self.loop, "xvdb")
        self.known = self.sum_here()

    def plug_out(self):
        if self.known:
            blockdev.detach(self.name, "xvdb")
            self.known = None

    def sum_here(self):
        return run(f"head -c {KNOWN * MIB} {self.file} | sha256sum").split()[0]

    def sum_there(self):
        return guest(self.name, f"dd if=/dev/xvdb bs=256k count={KNOWN * 4} iflag=direct status=none | "
                     "sha256sum").split()[0]

    def vbd(self, vdev):
        return f"vbd-{domid(self.name)}-{NUMBERS[vdev]}"

    # ---- what works in the background

    def write(self):
        if not self.writes:
            self.writer.begin()
            self.writes = True

    def stop_writing(self):
        if self.writes:
            self.writes = False
            self.writer.end()

    def work(self):
        self.traffic.keep()
        self.readers.keep()
        self.write()

    def rest(self):
        self.readers.stop()
        self.traffic.stop()
        self.stop_writing()

    # ---- is it well

    def look(self):
        text = guest(self.name, LOOK)
        found = {}
        for line in text.splitlines():
            key, colon, value = line.rpartition(": ")
            if colon and value.isdigit():
                found[key] = int(value)
        return found

    @staticmethod
    def memory(now):
        """It has what it is to have, or stands at its floor."""
        held, target, floor = (now.get(key, -1) for key in ("info/current_kb", "target_kb", "info/floor_kb"))
        return held == target >= 0 or (target < floor and floor - 4096 <= held < floor + 16384)

    def settle(self):
        wait_for(f"{self.name} has the memory that it is to have", lambda: self.memory(self.look()), 120)

    def well(self):
        """Every queue answers; the disks' requests go on without errors; the second disk has what
        it ought to have; memory is where it is wanted; all vCPUs are there; no wakeup was lost."""
        alive(self.name)
        first = self.look()
        key = f"vbd-{NUMBERS['xvda']}.requests"
        end = time.time() + 120
        while True:
            now = self.look()
            missing = [what for what, right in (
                ("memory", self.memory(now)), ("vCPUs", now.get("cpus") == self.vcpus),
                ("xvda", key in now), ("fio", not self.writes or now.get("fio", 0) > 0),
                ("requests", not self.writes or now.get(key, 0) > first.get(key, 0)),
            ) if not right]
            if not missing:
                break
            check(time.time() < end, f"{self.name}: not right within 120 s: {missing}: {now}\n" +
                  guest(self.name, "cat /tmp/fio", ok=False)[-2000:])
            time.sleep(0.5)
        errors = {name: value for name, value in now.items() if name.endswith(".errors") and value}
        check(not errors, f"{self.name}: {errors}: {now}")
        if self.known:
            there, here = self.sum_there(), self.sum_here()
            check(there == here == self.known, f"{self.name}: the sum of xvdb's first {KNOWN} MiB is {there}, "
                                               f"{here} in dom0, {self.known} before")
        if self.lock:
            self.locks()

    def locks(self):
        wait_for(f"{self.name}: a channel each vCPU", lambda: pvlock_kernel.stats(
            self.name)["channels"] >= self.vcpus, 30)
        for now in (pvlock_kernel.stats(self.name), pvlock.stats(self.name)):
            check(now["rescued"] == 0 and now["not_owner"] == 0, f"{self.name}: {now}")
        mode = pvlock_kernel.stats(self.name)["mode"]
        wanted = pvlock_kernel.MODES["pv"] if self.kernel else "off"
        check(mode == wanted, f"{self.name}: mode {mode}, not {wanted}")
