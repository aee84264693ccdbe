#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""The PV lock's measurements in dom0: ours, the kernel's with PV spinlocks, the kernel's
without (nopvspin), and test-and-set, in turn on one host; and the kernel's own locks with
their slow paths taken over and not (pvlock/kernel-...). Guest g1 runs an ordinary
kernel, g2 the same with nopvspin, as many vCPUs as the most threads. One thread a
vCPU over two processors: 2 threads are 1:1, 16 are 8:1. In a lab without guests the
vCPUs are dom0's, and nopvspin is left out. Prints one JSON line a figure:
{"stack": "xpv", "name": "pvlock/short-4", "unit": "1/s", "value": 1.0, "round": 1}.

usage: pvlock_bench.py ROUNDS SECONDS PREFIX [THREADS...]     of the cases' names, or ''
"""

import json
import sys

from labtest import Failed, guests, run
from pvlock import KNOBS, STATS, figures, guest, load, parse, stats

ROUNDS, SECONDS, PREFIX = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
THREADS = [int(text) for text in sys.argv[4:]] or [2, 4, 8, 16]
SECTIONS = {"short": "hold=20 pause=20", "long": "hold=5000 pause=5000"}
# stack, guest, lock
STACKS = [("xpv", "g1", "xpv"), ("linux", "g1", "kernel"), ("nopvspin", "g2", "kernel"),
          ("tas", "g1", "tas")]
if not guests():
    STACKS = [(stack, "dom0", lock) for stack, name, lock in STACKS if name == "g1"]


def emit(stack, name, unit, value, turn):
    print(json.dumps({"stack": stack, "name": name, "unit": unit, "value": value,
                      "round": turn}), flush=True)


def without_pv_spinlocks(name):
    """The same guest again, its kernel told nopvspin."""
    path = f"/etc/xen/{name}.cfg"
    with open(path) as config:
        lines = config.read().splitlines()
    for index, line in enumerate(lines):
        if line.replace(" ", "").startswith("extra="):
            quote = line.rstrip()[-1]
            lines[index] = line.rstrip()[:-1] + " nopvspin" + quote
    with open(path, "w") as config:
        config.write("\n".join(lines) + "\n")
    run(f"xl destroy {name}; xl create {path}", timeout=300)
    run(f"guest-wait {name} 300", timeout=320)
    if "nopvspin" not in guest(name, "cat /proc/cmdline"):
        sys.exit(f"pvlock_bench: {name} does not run with nopvspin")


def pairs(turn):
    """lock and unlock with nobody about: instructions a pair."""
    count = 20000
    for stack, name, lock in STACKS:
        if stack not in ("linux", "xpv"):
            continue
        found = figures(name, f"lock={lock} pairs={count}", 1)
        emit(stack, "pvlock/uncontended", "instructions", found["ticks"] / count, turn)


def kernel_calls(name, options):
    """Hypercalls of the kernel's PV lock for each entry into its slow path, by probes.
    They slow it down, so this is a run of its own."""
    trace = "/sys/kernel/tracing"
    # The last one makes one kick each time; xen_qlock_kick cannot be probed.
    probes = ("__pv_queued_spin_lock_slowpath", "xen_poll_irq",
              "__pv_queued_spin_unlock_slowpath")
    guest(name, f"set -e; [ -e {trace}/kprobe_events ] || mount -t tracefs tracefs {trace}; "
                f"cd {trace}; echo 0 > tracing_on; " +
          "".join(f"echo p:pvlock/n{index} {symbol} >> kprobe_events; "
                  for index, symbol in enumerate(probes)) +
          "echo 1 > events/pvlock/enable")
    try:
        figures(name, f"lock=kernel {options}", 0.2)
        hits = dict(line.split()[:2] for line in
                    guest(name, f"cat {trace}/kprobe_profile").splitlines())
    finally:
        guest(name, f"cd {trace}; echo 0 > events/pvlock/enable; echo > kprobe_events")
    entered, polls, kicks = (int(hits[f"n{index}"]) for index in range(len(probes)))
    print(f"# the kernel's slow path with probes: {entered} entries, {polls} polls, "
          f"{kicks} kicks", flush=True)
    return (polls + kicks) / max(1, entered)


def contended(turn):
    for section, options in SECTIONS.items():
        for threads in THREADS:
            case = f"pvlock/{section}-{threads}"
            if not wanted(case):
                continue
            rates = {}
            for stack, name, lock in STACKS:
                # Processors that only spin are very slow to emulate: once, and not with
                # 16 vCPUs, which takes minutes. Test-and-set tells enough in a fifth of
                # the time; without PV spinlocks all goes well until the first vCPU is
                # preempted, so that a short time flatters.
                dear = stack in ("nopvspin", "tas")
                if dear and (turn > 1 or threads > 8):
                    continue
                if lock == "xpv":
                    guest(name, f"echo > {STATS}")
                found = figures(name, f"lock={lock} threads={threads} {options}",
                                max(0.2, SECONDS / 5) if stack == "tas" else SECONDS)
                if found["exact"] != 1:
                    sys.exit(f"pvlock_bench: {case}, {stack}: a counter is wrong: {found}")
                rates[stack] = found["count"] * 1e9 / found["ns"]
                if stack in ("linux", "xpv"):
                    emit(stack, case + "/fairness", "fewest/most",
                         found["fewest"] / max(1, found["most"]), turn)
                if stack == "linux" and turn == 1:
                    try:
                        emit(stack, case + "/hypercalls", "1/contended",
                             kernel_calls(name, f"threads={threads} {options}"), turn)
                    except Failed as error:  # a kernel without probes
                        print(f"# {case}: {error}", flush=True)
                if lock != "xpv":
                    continue
                now = stats(name)
                calls = now["yields"] + now["polls"] + now["kicks"] + now["repends"]
                emit(stack, case + "/hypercalls", "1/contended",
                     calls / max(1, now["contended"] + now["at_once"]), turn)
                print(f"# {case}: " + ", ".join(
                    f"{key} {now[key]}" for key in (
                        "acquired", "at_once", "contended", "queued", "yields", "polls", "kicks",
                        "spurious", "timeouts", "rescued")), flush=True)
            # Each of the others is somebody's "linux", so that each has its ratio.
            for stack, rate in rates.items():
                name = case + ("" if stack == "linux" else "/over-" + stack)
                if stack != "xpv":
                    emit("linux", name, "1/s", rate, turn)
                    emit("xpv", name, "1/s", rates["xpv"], turn)


# The kernel's own locks, by the test module,
KERNEL = {"short": f"lock=kernel {SECTIONS['short']}", "long": f"lock=kernel {SECTIONS['long']}",
          "rwlock-short": f"lock=rwlock {SECTIONS['short']}",
          "rwlock-long": f"lock=rwlock {SECTIONS['long']}"}
CROWDS = ("files", "messages")  # ... and by programs


def wanted(case):
    return (case + "/").startswith(PREFIX) or PREFIX.startswith(case + "/")


def measured(name, kind, threads):
    """For half the time: there are many of them."""
    if kind in CROWDS:
        return parse(guest(name, f"lab-crowd {kind} {threads} {int(SECONDS * 500)}",
                           timeout=300 + 120 * SECONDS))
    return figures(name, f"{KERNEL[kind]} threads={threads}", SECONDS / 2)


def taken_over(turn):
    """The kernel's own locks, their slow paths taken over (xpv) and not (linux), the latter
    first: then nothing is hooked yet."""
    for name in dict.fromkeys(name for _, name, _ in STACKS):
        slow = ("nopvspin", name, "kernel") in STACKS
        cases = [(f"pvlock/kernel-{kind}-{threads}", kind, threads)
                 for kind in (*KERNEL, *CROWDS) for threads in THREADS
                 if wanted(f"pvlock/kernel-{kind}-{threads}") and
                 # As above: once, not with 16 vCPUs, and what tells most.
                 not (slow and (turn > 1 or threads > 8 or kind in ("rwlock-long", "messages")))]
        alone = "pvlock/kernel-uncontended".startswith(PREFIX) and not slow
        if not cases and not alone:
            continue
        guest(name, "rmmod xpv-pvlock-test; rmmod xpv-pvlock")
        load(name)
        for stack, on in (("linux", 0), ("xpv", 1)):
            if on:
                guest(name, f"echo 1 > {KNOBS}/kernel")
            for lock in ("kernel", "rwlock") * alone:
                found = figures(name, f"lock={lock} pairs=20000", 1)
                emit(stack, "pvlock/kernel-uncontended" + ("/rwlock" if lock == "rwlock" else ""),
                     "instructions", found["ticks"] / 20000, turn)
            for case, kind, threads in cases:
                found = measured(name, kind, threads)
                if found["exact"] != 1:
                    sys.exit(f"pvlock_bench: {case}, {stack}: a counter is wrong: {found}")
                end = "/nopvspin" if slow else ""
                emit(stack, case + end, "1/s", found["count"] * 1e9 / found["ns"], turn)
                emit(stack, case + end + "/fairness", "fewest/most",
                     found["fewest"] / max(1, found["most"]), turn)
        guest(name, f"echo 0 > {KNOBS}/kernel")
        now = parse(guest(name, "cat /sys/kernel/debug/xpv-pvlock/kernel"))
        print(f"# {name}: {now}", flush=True)
        if now["rescued"] or now["timeouts"]:
            sys.exit(f"pvlock_bench: the safety net was used: {now}")


def main():
    for name in dict.fromkeys(name for _, name, _ in STACKS):
        if name == "g2":
            without_pv_spinlocks(name)
        load(name)
    for turn in range(1, ROUNDS + 1):
        if "pvlock/uncontended".startswith(PREFIX):
            pairs(turn)
        contended(turn)
        taken_over(turn)


if __name__ == "__main__":
    main()
