#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""xpv-pvlock kernel=1 in a guest on real Xen: the kernel's spinlocks and rwlocks stay exact
while their slow paths are taken over and given back under load; no sleep ends by its safety
timeout. In guest g1, or in dom0 in a lab without guests. pv, native: how its kernel waits,
native if it was told nopvspin; fixed: a kernel that refuses.

usage: pvlock_kernel.py pv|native|fixed [SECONDS [SWITCHES]] [TEST...]
seconds of each torture run (1), times that it is switched in each of those (20); the tests
by name, or all.
"""

import sys

from labtest import Report, check, guests, save_restore, wait_for
from pvlock import KNOBS, TEST, figures, guest, load, parse, say

MODES = {"pv": "PV, waiters sleep", "native": "native, waiters yield"}
SLOW = {"pv": "__pv_queued_spin_lock_slowpath", "native": "native_queued_spin_lock_slowpath"}
HOOKS = {"pv": 4, "native": 3}
STATS = "/sys/kernel/debug/xpv-pvlock/kernel"
RIVAL = "/sys/kernel/debug/xpv-pvlock-test/rival"
TRACING = "/sys/kernel/tracing"
SHOWN = "at_once contended queued yields polls kicks repends spurious".split()
MODE, SECONDS, SWITCHES = "pv", 1.0, 20
# Threads of the test module, bound to vCPUs.
LOCK = "lock=kernel threads=8"
IRQS = "lock=kernel threads=8 irqs=1 timer=1"
RWLOCK = "lock=rwlock threads=8 irqs=1 timer=1"


def switch(name, on):
    guest(name, f"echo {on} > {KNOBS}/kernel")


def stats(name):
    return parse(guest(name, f"cat {STATS}"))


def last_words(name):
    return guest(name, "dmesg | grep xpv-pvlock: | tail -1")


def hooked(name):
    """Functions of the kernel that lead elsewhere, as ftrace itself says."""
    return guest(name, f"grep -c queued_.*slowpath {TRACING}/enabled_functions", ok=False).strip()


def prepare(name):
    load(name)
    if MODE != "fixed":
        guest(name, f"[ -e {TRACING}/kprobe_events ] || mount -t tracefs tracefs {TRACING}")


def anew(name):
    """The modules as they are after loading."""
    guest(name, "rmmod xpv-pvlock-test; rmmod xpv-pvlock")
    load(name)


def sound(name, result, used=True):
    check(result["exact"] == 1, f"a counter is wrong: {result}")
    now = stats(name)
    check(now["rescued"] == 0 and now["timeouts"] == 0 and now["not_owner"] == 0, str(now))
    check(not used or now["contended"] > 0, f"nobody waited: {now}")
    check(MODE == "pv" or now["polls"] == 0, f"somebody slept: {now}")


def told(what, result, now):
    say(f"{what}: {result['count'] * 1000000000 // result['ns']} a second, fewest/most "
        f"{result['fewest'] / max(1, result['most']):.2f}; " +
        ", ".join(f"{key} {now[key]}" for key in SHOWN))


# ---- it works

def says(name):
    anew(name)
    check(stats(name)["mode"] == "off" and stats(name)["hooks"] == 0, str(stats(name)))
    check(hooked(name) == "0", "something is hooked before kernel=1")
    for _ in range(2):  # the second time is the flag alone
        switch(name, 1)
        log = last_words(name)
        check(f"spinlocks and rwlocks wait here now: {MODES[MODE]}" in log, log)
        check(stats(name)["mode"] == MODES[MODE], str(stats(name)))
        check(guest(name, f"cat {KNOBS}/kernel").strip() == "1", "sysfs does not say 1")
        switch(name, 0)
        check("wait as they did" in last_words(name), last_words(name))
        now = stats(name)
        check(now["mode"] == "off" and now["hooks"] == HOOKS[MODE], str(now))
        check(hooked(name) == str(HOOKS[MODE]), f"{hooked(name)} functions lead to us")
    guest(name, "rmmod xpv-pvlock-test; rmmod xpv-pvlock")
    check(hooked(name) == "0", "a function leads to a module that is gone")
    load(name)


def torture(name, options):
    switch(name, 1)
    guest(name, f"echo > {STATS}")
    result = figures(name, options, SECONDS)
    told(options, result, stats(name))
    sound(name, result)


def nmis(name):
    """Each CPU gets NMIs wherever it is, which take a spinlock of the kernel's that only NMIs
    take, and try the threads'."""
    torture(name, "lock=kernel threads=8 irqs=1 nmi=1000 hold=200")
    result = parse(guest(name, f"cat {TEST}"))
    say(", ".join(f"{key} {result[key]}" for key in ("nmis", "nmi_waited", "nmi_trylocks",
                                                     "nmi_longest_ns")))
    check(result["nmi_slept"] == 0, f"an NMI slept: {result}")
    check(result["nmi_waited"] > 0 and result["nmi_trylocks"] > 0, f"nothing was tried: {result}")


def crowd(name, what):
    """A workload of programs, at 8 threads, on and off."""
    rates = []
    for on in (0, 1):
        switch(name, on)
        guest(name, f"echo > {STATS}")
        result = parse(guest(name, f"lab-crowd {what} 8 {int(SECONDS * 1000)}", timeout=300))
        told(f"{what}, kernel={on}", result, stats(name))
        sound(name, result, used=on == 1)
        rates.append(result["count"] * 1e9 / result["ns"])
    say(f"{what}: {rates[1] / rates[0]:.2f} times what it was")


# ---- on and off under load

def background(options):
    """Shell: the test module's threads until they are killed; then their figures. Given back
    to a kernel without PV spinlocks they keep their vCPUs for seconds: two are left to us."""
    if MODE == "native":
        options = options.replace("threads=8", "threads=6")
    return f"sh -c \"echo '{options} ms=600000' > {TEST}\""


def switched(name, job, figures_of, times=None):
    """On and off while a job goes on, a shell's that is killed in the end."""
    times = times or SWITCHES
    guest(name, f"echo > {STATS}")
    result = parse(guest(
        name, f"{job} & job=$!; sleep 0.2; read begin rest < /proc/uptime; n=0; "
              f"while [ $n -lt {times} ]; do n=$((n + 1)); "
              f"echo $((n % 2)) > {KNOBS}/kernel || exit 1; sleep 0.01; done; "
              "read end rest < /proc/uptime; kill -0 $job || exit 2; "
              f"kill -9 $job; wait $job; echo 0 > {KNOBS}/kernel; {figures_of}; "
              "echo begin: $begin; echo end: $end",
        timeout=300 + 10 * times))
    told(f"switched {times} times in {float(result['end']) - float(result['begin']):.1f} s", result,
         stats(name))
    sound(name, result)


def switches(name, options, times=None):
    switched(name, background(options), f"cat {TEST}", times)


def switches_crowd(name, what):
    """Pieces of the workload, since one that is killed says nothing."""
    switched(name, f"sh -c \"while lab-crowd {what} 8 50 > /tmp/crowd.new; do "
                   "grep -qx 'exact: 1' /tmp/crowd.new || exit 1; "
                   "mv /tmp/crowd.new /tmp/crowd; done\"", "cat /tmp/crowd")


def linux_torture(name, kind, times):
    """Linux's own, of a kind that waits in what is taken over; it counts who is inside."""
    guest(name, f"dmesg -c > /dev/null; echo > {STATS}; modprobe locktorture torture_type={kind} "
                "nwriters_stress=8 nreaders_stress=8 stutter=0 shuffle_interval=1")
    guest(name, f"n=0; while [ $n -lt {times} ]; do n=$((n + 1)); "
                f"echo $((n % 2)) > {KNOBS}/kernel || exit 1; sleep 0.05; done; "
                f"echo 0 > {KNOBS}/kernel; rmmod locktorture", timeout=300 + 10 * times)
    log = guest(name, "dmesg")
    say("; ".join(line.split("] ", 1)[-1] for line in log.splitlines() if "Total: " in line))
    check("End of test: SUCCESS" in log and "FAILURE" not in log and "!!!" not in log, log)
    sound(name, {"exact": 1})


def locktorture(name):
    check("locktorture" in guest(name, "ls /lib/modules/xpv/"), "scripts/locktorture makes it, for 6.1")
    for kind in ("spin_lock", "spin_lock_irq", "rw_lock", "rw_lock_irq"):
        linux_torture(name, kind, SWITCHES)


def hotplug(name):
    """vCPUs go and come while threads fight for locks that are taken over, and while they
    are taken over and given back."""
    cpus = int(guest(name, "nproc"))
    switch(name, 1)
    guest(name, f"echo > {STATS}")
    path = "/sys/devices/system/cpu/cpu"
    result = parse(guest(
        name, background("lock=kernel threads=8 bind=0 irqs=1") + " & job=$!; sleep 0.2; " +
        "".join(f"echo {turn % 2} > {path}{cpu}/online || exit 1; "
                f"echo {turn // 2} > {KNOBS}/kernel || exit 1; "
                for turn in range(4) for cpu in (cpus - 1, 1)) +
        f"sleep 0.2; kill -0 $job || exit 2; kill -9 $job; wait $job; cat {TEST}", timeout=400))
    check(int(guest(name, "nproc")) == cpus, "a vCPU did not come back")
    told("hotplug", result, stats(name))
    sound(name, result)


def saves(name):
    """Three saves and restores while threads fight for locks that are taken over: they stay
    so, the channels are bound anew, and threads sleep on them again."""
    switch(name, 1)
    cpus = int(guest(name, "nproc"))
    for turn in range(3):  # a call does not outlive the restore: this one stays in the guest
        guest(name, f"echo > {STATS}; rm -f /tmp/pid; "
                    "(setsid sh -c \"echo \\$\\$ > /tmp/pid; "
                    f"echo '{LOCK} irqs=1 ms=600000' > {TEST}\" > /dev/null 2>&1 &); sleep 0.5")
        save_restore(name, 400)
        guest(name, f"sleep {SECONDS}; kill -9 $(cat /tmp/pid)")  # they are still at it
        result = parse(guest(name, f"cat {TEST}"))
        sound(name, result)
        check(stats(name)["mode"] == MODES[MODE], str(stats(name)))
        wait_for("a channel each CPU", lambda: stats(name)["channels"] >= cpus, 30)
        torture(name, LOCK + " hold=5000 pause=5000")
        check(MODE != "pv" or stats(name)["polls"] > 0, f"nobody slept after it: {stats(name)}")


# ---- beside others

def probes(name, symbols):
    """kprobe events, switched on."""
    guest(name, f"cd {TRACING} && " + " && ".join(
        f"echo p:xpv/n{index} {symbol} >> kprobe_events" for index, symbol in enumerate(symbols)) +
        " && echo 1 > events/xpv/enable")


def no_probes(name):
    guest(name, f"cd {TRACING}; echo 0 > events/xpv/enable; echo > kprobe_events; echo > trace",
          ok=False)


def hits(name):
    return [int(line.split()[1]) for line in
            guest(name, f"cat {TRACING}/kprobe_profile").splitlines()]


def kprobes(name):
    """On another function and on the one that is taken over: they count as ever, there before
    kernel=1 or after it, and do no harm."""
    for first in ("probes", "kernel=1"):
        anew(name)
        if first == "kernel=1":
            switch(name, 1)
        probes(name, ["ksys_write", SLOW[MODE]])
        try:
            torture(name, LOCK)  # switches it on
            waited = sum(stats(name)[key] for key in ("contended", "at_once"))
            seen = hits(name)
            say(f"{first} first: {seen} hits, {waited} came")
            # A few count twice: who came to wait and then took it in its turn.
            check(seen[0] > 0 and seen[1] > 0.95 * waited > 0, f"{seen} hits, {waited} came")
            switches(name, IRQS, 4)
        finally:
            no_probes(name)
        torture(name, LOCK)


def tracers(name):
    """The function tracer and the function graph tracer on the functions that are taken
    over."""
    switch(name, 1)
    functions = f"{SLOW[MODE]} queued_write_lock_slowpath vfs_write"
    for tracer in ("function", "function_graph"):
        guest(name, f"cd {TRACING} && echo 64 > buffer_size_kb && echo {functions} > "
                    f"set_ftrace_filter && echo {tracer} > current_tracer")
        try:
            torture(name, LOCK)
            torture(name, RWLOCK)
            switches(name, IRQS, 4)
            seen = guest(name, f"grep -c {SLOW[MODE]} {TRACING}/trace", ok=False).strip()
            say(f"{tracer}: {seen} lines of it in the trace")
            check(int(seen) > 0, f"{tracer} sees nothing of {SLOW[MODE]}")
        finally:
            guest(name, f"cd {TRACING}; echo nop > current_tracer; echo > set_ftrace_filter; "
                        "echo > trace")


def refuses(name, command):
    said = guest(name, f"({command}) 2>&1 || echo refused", ok=False)
    check("refused" in said, f"{command}: {said}")


def nothing_left(name):
    now = stats(name)
    check(now["mode"] == "off" and now["hooks"] == 0, str(now))
    check(guest(name, f"cat {KNOBS}/kernel").strip() == "0", "sysfs says 1")


def rivals(name):
    """Somebody else's direct call on the last of the functions: all or nothing; and none for
    others while they are ours."""
    anew(name)
    guest(name, f"echo queued_write_lock_slowpath > {RIVAL}")
    refuses(name, f"echo 1 > {KNOBS}/kernel")
    log = last_words(name)
    check("kernel=1 refused: queued_write_lock_slowpath is somebody else's" in log, log)
    nothing_left(name)
    check(hooked(name) == "1", f"{hooked(name)} functions are hooked, not the rival's alone")
    guest(name, f"echo > {RIVAL}")
    for on in (1, 0):
        switch(name, on)
        refuses(name, f"echo queued_write_lock_slowpath > {RIVAL}")
    torture(name, RWLOCK)


def harm(name):
    """Not a number; ftrace switched off while waiters go through it, or before."""
    anew(name)
    refuses(name, f"echo 2 > {KNOBS}/kernel")
    guest(name, "echo 0 > /proc/sys/kernel/ftrace_enabled")
    refuses(name, f"echo 1 > {KNOBS}/kernel")
    check("kernel=1 refused: ftrace is off" in last_words(name), last_words(name))
    nothing_left(name)
    guest(name, "echo 1 > /proc/sys/kernel/ftrace_enabled")
    for on in (1, 0):
        switch(name, on)
        refuses(name, "echo 0 > /proc/sys/kernel/ftrace_enabled")
    torture(name, LOCK)


def reloads(name):
    """Unloaded while it is in charge, and loaded with kernel=1."""
    for _ in range(3):
        switch(name, 1)
        guest(name, "rmmod xpv-pvlock-test; rmmod xpv-pvlock")
        check(hooked(name) == "0", "a function leads to a module that is gone")
        guest(name, "modprobe xpv-pvlock kernel=1")
        check(stats(name)["mode"] == MODES[MODE], str(stats(name)))
        load(name)
    torture(name, LOCK)


def fixed(name):
    """A kernel that was built without direct calls: one line, the lock type is there."""
    for command in (f"echo 1 > {KNOBS}/kernel", None):
        guest(name, "dmesg -c > /dev/null")
        if command:
            refuses(name, command)
        else:
            guest(name, "rmmod xpv-pvlock-test; rmmod xpv-pvlock; modprobe xpv-pvlock kernel=1")
            load(name)
        log = guest(name, "dmesg | grep refused")
        say(log.strip())
        check(log.count("\n") == 1 and "kernel=1 refused: this kernel was built with" in log, log)
        nothing_left(name)
    check(figures(name, "threads=4", SECONDS)["exact"] == 1, "the lock type does not count")


TESTS = {
    "says": (says,),
    "short": (torture, LOCK),
    "long": (torture, LOCK + " hold=5000 pause=5000"),
    "irqs": (torture, IRQS),
    "rwlock": (torture, RWLOCK),
    "nmis": (nmis,),
    "files": (crowd, "files"),
    "messages": (crowd, "messages"),
    "switches-lock": (switches, LOCK),
    "switches-irqs": (switches, IRQS),
    "switches-rwlock": (switches, RWLOCK),
    "switches-files": (switches_crowd, "files"),
    "switches-messages": (switches_crowd, "messages"),
    "locktorture": (locktorture,),
    "hotplug": (hotplug,),
    "kprobes": (kprobes,),
    "tracers": (tracers,),
    "rivals": (rivals,),
    "harm": (harm,),
    "reloads": (reloads,),
    "saves": (saves,),
}


def main():
    global MODE, SECONDS, SWITCHES
    MODE, *rest = sys.argv[1:]
    SECONDS = float(rest.pop(0)) if rest and rest[0][0].isdigit() else SECONDS
    SWITCHES = int(rest.pop(0)) if rest and rest[0].isdigit() else SWITCHES
    name = (guests() or ["dom0"])[0]
    tests = {"fixed": (fixed,)} if MODE == "fixed" else TESTS
    report = Report()
    report.test("loads", prepare, name)
    for test in rest or tests:
        body, *arguments = tests[test]
        if test != "saves" or name != "dom0":
            report.test(test, body, name, *arguments)
        if report.failed:
            print("# " + "\n# ".join(guest(name, f"dmesg | tail -30; cat {STATS}", ok=False)
                                     .splitlines()), flush=True)
            break
    report.finish()


if __name__ == "__main__":
    main()
