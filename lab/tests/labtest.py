# SPDX-License-Identifier: GPL-2.0-only
"""What the test scripts that run in dom0 share: KTAP results, commands with a
time limit, guests, and counts of everything a driver could leave behind."""

import os
import re
import subprocess
import sys
import time
import traceback


class Failed(Exception):
    """A test's own verdict; the text goes into the result."""


class Report:
    """KTAP on standard output: one line a test, as it ends."""

    def __init__(self):
        self.done = 0
        self.failed = 0
        print("KTAP version 1", flush=True)

    def test(self, name, body, *args):
        """Run body(*args): it passes unless it raises."""
        start = time.time()
        try:
            body(*args)
            verdict, why = "ok", ""
        except Failed as error:
            verdict, why = "not ok", str(error)
        except subprocess.TimeoutExpired as error:
            verdict, why = "not ok", f"no end within {error.timeout:.0f} s: {error.cmd}"
        except Exception:  # a fault of the test itself is a failure, with its place
            verdict, why = "not ok", traceback.format_exc()
        self.done += 1
        self.failed += verdict != "ok"
        print(f"{verdict} {self.done} {name} # {time.time() - start:.1f} s", flush=True)
        for line in why.splitlines():
            print(f"# {line}", flush=True)

    def finish(self):
        """Print the plan and leave with a status that tells the truth."""
        print(f"1..{self.done}", flush=True)
        sys.exit(1 if self.failed or not self.done else 0)


def check(condition, text):
    if not condition:
        raise Failed(text)


def call(command, timeout, stdin=None, **how):
    """Status and output of a program. One that does not end in time is killed, but not
    waited for: it may be stuck in the kernel, and we shall not be."""
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                               errors="replace", **how)
    try:
        output, _ = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, output


def run(command, timeout=120, stdin=None, ok=True):
    """Output of a shell command in dom0; Failed when it fails (unless ok is False)."""
    ended, output = call(command, timeout, stdin, shell=True)
    if ok and ended != 0:
        raise Failed(f"`{command}` ended with {ended}: {output.strip()[-2000:]}")
    return output


def status(command, timeout=120):
    """Exit status of a shell command in dom0."""
    return call(command, timeout, shell=True)[0]


def guest(name, command, timeout=120, ok=True):
    """Output of a shell command in a guest, by the lab's own channel."""
    ended, output = call(["guest", name, "sh", "-c", command], timeout)
    if ok and ended != 0:
        raise Failed(f"{name}: `{command}` ended with {ended}: {output.strip()[-2000:]}")
    return output


def start(command):
    """A shell command in dom0 that goes on in the background."""
    return subprocess.Popen(command, shell=True, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def guest_start(name, command):
    return subprocess.Popen(["guest", name, "sh", "-c", command], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process, timeout=120):
    """Wait for a background command: its output; Failed when it failed."""
    output, _ = process.communicate(timeout=timeout)
    check(process.returncode == 0, f"{process.args}: ended with {process.returncode}: {output}")
    return output


def wait_for(what, condition, timeout=60):
    """Poll condition() until it is true."""
    end = time.time() + timeout
    while not condition():
        check(time.time() < end, f"{what}: not within {timeout} s")
        time.sleep(0.3)


def guests():
    return os.environ.get("LAB_GUESTS", "").split()


def number(name):
    return int(name[1:])


def address(name):
    """IPv4 address of dom0 or a guest on the lab's bridge."""
    return "10.77.0.1" if name == "dom0" else f"10.77.0.{number(name) + 1}"


def address6(name):
    return "fd77::1" if name == "dom0" else f"fd77::{number(name) + 1}"


def domid(name):
    return int(run(f"xl domid {name}").strip())


def vif(name, handle=0):
    return f"vif{domid(name)}.{handle}"


def ping(name, count=3, size=56, timeout=60):
    run(f"ping -c {count} -i 0.2 -W 5 -s {size} {address(name)}", timeout=timeout)


def online(name, timeout=90):
    """Wait until a guest answers ping."""
    wait_for(f"{name} answers ping",
             lambda: status(f"ping -c 1 -W 1 {address(name)}") == 0, timeout)


def answers(name, timeout=300):
    """Wait until a guest's agent does."""
    run(f"guest-wait {name} {timeout}", timeout=timeout + 30)


# ---- saved and restored. The file lies on a disk: dom0's memory would miss it ------

def save_restore(name, timeout=300):
    """Into a file and out of it; the domain id is another one afterwards, and calls of the
    lab's channel have ended."""
    run(f"xl save {name} /var/tmp/{name}.save && xl restore /var/tmp/{name}.save; "
        f"status=$?; rm -f /var/tmp/{name}.save; exit $status", timeout=timeout)
    answers(name)


def save_and_go_on(name, timeout=300):
    run(f"xl save -c {name} /var/tmp/{name}.save; status=$?; rm -f /var/tmp/{name}.save; exit $status",
        timeout=timeout)
    answers(name)


# ---- counts of what a driver could leave behind ------------------------------

def xen_grants():
    """Active grant entries, by granting domain, as Xen itself counts them."""
    run("xl dmesg -c")
    run("xl debug-keys g")
    text = run("xl dmesg")
    counts = {}
    current = None
    for line in text.splitlines():
        found = re.search(r"grant-table for remote d(?:om)?(\d+)", line)
        if found:
            current = int(found.group(1))
        elif current is not None and re.search(r"\[\s*0x[0-9a-f]+\]", line):
            counts[current] = counts.get(current, 0) + 1
    return counts


def event_channels(domain=0):
    return len(run(f"/usr/lib/xen-4.17/bin/lsevtchn {domain}").splitlines())


def vif_interrupts():
    """Lines of dom0's /proc/interrupts that belong to vifs: ours are called xpv-netback, all
    of them, Linux's by vif and queue."""
    return int(run("grep -cE 'xpv-netback|vif[0-9]' /proc/interrupts", ok=False))


def census():
    """Everything countable in dom0 that belongs to vifs."""
    return {
        "grants mapped": xen_grants(),
        "event channels": event_channels(),
        "netdevs": sorted(os.listdir("/sys/class/net")),
        "xenstore nodes": sorted(line.split(" = ")[0] for line in
                                 run("xenstore-ls -f").splitlines()
                                 if "/vif/" in line and not line.startswith("/libxl")),
        "interrupts": vif_interrupts(),
    }


def same(before, after):
    for key, value in before.items():
        check(after[key] == value, f"{key}: {value} before, {after[key]} after")


def memory_leaks(where):
    """None of ours, says kmemleak, in a kernel that has it; where() runs a command there."""
    where("[ -e /sys/kernel/debug/kmemleak ] || mount -t debugfs none /sys/kernel/debug")
    for _ in range(2):  # the second scan sees what the first one only suspected
        where("echo scan > /sys/kernel/debug/kmemleak; sleep 6")
    found = where("cat /sys/kernel/debug/kmemleak")
    check("xpv" not in found, found[:3000])
