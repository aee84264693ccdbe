# SPDX-License-Identifier: GPL-2.0-only
"""Where the instructions of a case go: blocks of code as count.c counted them, told
apart by domain, named by the kernels' and Xen's own symbols."""

import array
import bisect
import collections
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
XEN = range(0xffff800000000000, 0xffff880000000000)  # what Xen keeps for itself, of PV guests
USER_END = 1 << 47
DOMAINS = ("Xen", "dom0 kernel", "dom0 user", "guest kernel", "guest user")
KERNELS = ("guest kernel", "dom0 kernel", "Xen")
FRONTENDS = ("[xen_netfront]", "[xpv_netfront]", "[xen_blkfront]", "[xpv_blkfront]")
BACKENDS = ("[xen_netback]", "[xpv_netback]", "[xen_blkback]")
CALLS = (("Xen", "evtchn_send"), ("Xen", "do_grant_table_op"), ("Xen", "do_iret"),
         ("Xen", "context_switch"), ("dom0 kernel", "notify_remote_via_irq"),
         ("guest kernel", "notify_remote_via_irq"))
TOP = 25           # functions of a list
LEAST = 1          # instructions a packet that a function must differ by
MUCH_SURPLUS = 0.01


def build(folder):
    """The plugin, compiled when it is older than its source."""
    source, path = os.path.join(HERE, "count.c"), os.path.join(folder, "count.so")
    if not os.path.exists(path) or os.stat(path).st_mtime < os.stat(source).st_mtime:
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden",
                        "-o", path, source], check=True)
    return path


def prepare(out, tests):
    """Folders of a run: where the plugin writes, and the share. The lab's arguments."""
    folder = os.path.realpath(os.path.join(out, "account"))
    if re.search("[,=]", folder):
        sys.exit(f"bench: --out: QEMU's plugins take no folder with , or = in its name: {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tests, os.path.join(folder, "share"))
    os.makedirs(os.path.join(folder, "share", "account"))
    os.makedirs(os.path.join(folder, "counts"))
    return folder, f"file={build(out)},dir={folder}/counts"


class Symbols:
    """Names of code by address, as in /proc/kallsyms."""

    def __init__(self, path):
        found = []
        with open(path) as lines:
            for line in lines:
                address, kind, name, *module = line.split()
                if kind in "tTwW":
                    found.append((int(address, 16), name + " ".join(["", *module])))
        if not found or not found[-1][0]:
            sys.exit(f"bench: {path} has no addresses")
        found.sort()
        self.addresses = [address for address, _ in found]
        self.names = [name for _, name in found]

    def name(self, address):
        at = bisect.bisect(self.addresses, address) - 1
        return self.names[at] if at >= 0 else hex(address)

    def starts(self, address):
        """The name of what begins here."""
        at = bisect.bisect_left(self.addresses, address)
        there = at < len(self.addresses) and self.addresses[at] == address
        return self.names[at] if there else None


class Machine:
    """Whose code is where; of one stack."""

    def __init__(self, share, stack):
        self.owner = {}
        for file in os.listdir(share):
            kind, _, name = file.partition(".")
            if kind == "frames":
                with open(os.path.join(share, file)) as lines:
                    for frame in re.findall(r"mfn=0x([0-9a-f]+)", lines.read()):
                        self.owner[int(frame, 16)] = name
        if not self.owner:
            sys.exit(f"bench: no frames of guests in {share}")
        self.xen = Symbols(os.path.join(share, "symbols.xen"))
        self.kernels = {name: Symbols(os.path.join(share, f"symbols.{stack}.{name}"))
                        for name in ("dom0", *set(self.owner.values()))}

    def domain(self, virtual, physical):
        """Whose code it is; and the symbols, of a kernel."""
        owner = self.owner.get(physical >> 12 if physical is not None else None, "dom0")
        side = "dom0" if owner == "dom0" else "guest"
        if virtual < USER_END:
            return f"{side} user", None
        return f"{side} kernel", self.kernels[owner]

    def account(self, path):
        """Instructions by (domain, function), and how often functions were entered."""
        words = array.array("Q")
        with open(path, "rb") as stream:
            words.frombytes(stream.read())
        ram, ram_end, surplus, _ = words[:4]
        spent, calls = collections.Counter(), collections.Counter()
        for at in range(4, len(words), 4):
            virtual, host, instructions, runs = words[at:at + 4]
            if virtual in XEN:
                domain, symbols = "Xen", self.xen
            else:
                domain, symbols = self.domain(virtual, host - ram if ram <= host < ram_end else None)
            spent[domain, symbols.name(virtual) if symbols else "user"] += instructions
            if symbols and symbols.starts(virtual) is not None:
                calls[domain, symbols.starts(virtual)] += runs
        if surplus > MUCH_SURPLUS * sum(spent.values()):
            sys.exit(f"bench: {surplus} instructions of {path} found no place in the plugin's table")
        return spent, calls


class Case:
    """What one case cost with one stack, for each packet."""

    def __init__(self, machine, counts, said):
        spent, calls = machine.account(os.path.join(counts, str(said["file"])))
        packets = said["packets"]
        self.functions = collections.Counter({key: n / packets for key, n in spent.items()})
        self.calls = {" ".join(call): calls[call] / packets for call in CALLS if calls[call]}
        self.domains = {domain: sum(n for (where, _), n in self.functions.items() if where == domain)
                        for domain in DOMAINS}
        self.idle = max(0, said["seconds"] * 1e9 / packets - sum(self.domains.values()))

    def modules(self, names):
        return sum(n for (_, name), n in self.functions.items() if name.endswith(names))


def number(value):
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"


def summary(cases):
    rows = ["| case | pair | " + " | ".join(DOMAINS) + " | sum | frontend | backend | idle |",
            "|---" * (len(DOMAINS) + 6) + "|"]
    for name, stacks in cases.items():
        for stack, case in stacks.items():
            rows.append("| " + " | ".join([
                name, stack, *(number(case.domains[domain]) for domain in DOMAINS),
                number(sum(case.domains.values())), number(case.modules(FRONTENDS)),
                number(case.modules(BACKENDS)), number(case.idle)]) + " |")
    return rows


def differences(linux, xpv):
    """The functions that differ most, kernel by kernel."""
    rows = []
    for domain in KERNELS:
        names = {name for where, name in (*linux.functions, *xpv.functions) if where == domain}
        listed = sorted(((xpv.functions[domain, name] - linux.functions[domain, name], name)
                         for name in names), key=lambda row: -abs(row[0]))
        rows += ["", f"{domain}: {xpv.domains[domain] - linux.domains[domain]:+,.0f}", "",
                 "| function | linux | xpv | difference |", "|---|---|---|---|"]
        rows += [f"| {name} | {number(linux.functions[domain, name])} | "
                 f"{number(xpv.functions[domain, name])} | {difference:+.0f} |"
                 for difference, name in listed[:TOP] if abs(difference) >= LEAST]
    return rows


def tops(case):
    rows = []
    for domain in KERNELS:
        listed = [(n, name) for (where, name), n in case.functions.items() if where == domain]
        rows += ["", f"{domain}: " + ", ".join(f"{name} {number(n)}" for n, name in
                                              sorted(listed, reverse=True)[:TOP])]
    return rows


def report(folder, said):
    """The whole account as Markdown: said is what dom0 printed, a case and stack each."""
    share = os.path.join(folder, "share", "account")
    machines, cases = {}, {}
    for line in said:
        stack = line["stack"]
        if stack not in machines:
            machines[stack] = Machine(share, stack)
        case = Case(machines[stack], os.path.join(folder, "counts"), line)
        cases.setdefault(line["name"], {})[stack] = case
    with open(os.path.join(folder, "cases.json"), "w") as out:
        json.dump(said, out, indent=1)
    text = ["<!-- SPDX-License-Identifier: GPL-2.0-only -->", "# Instructions for each packet", "",
            "A packet: a UDP datagram or an echo that arrived, or 1448 bytes of TCP; of blk an I/O.",
            "All of the case is in it, iperf3's or fio's start as well. Frontend and backend are the drivers' own",
            "modules, part of the kernels' figures; idle is in nanoseconds, one per instruction.", ""]
    text += summary(cases)
    for name, stacks in cases.items():
        text += ["", f"## {name}"]
        for stack, case in stacks.items():
            text += ["", f"{stack}, calls: " + ", ".join(f"{call} {count:.3f}"
                                                         for call, count in case.calls.items())]
        if len(stacks) == 2:
            text += differences(*stacks.values())
        for stack, case in stacks.items():
            text += ["", f"### {name}, {stack}: most instructions", *tops(case)]
    return "\n".join(summary(cases)) + "\n", demangled("\n".join(text) + "\n")


def demangled(text):
    done = subprocess.run(["c++filt", "-p"], input=text, text=True, stdout=subprocess.PIPE,
                          check=False)
    return done.stdout if done.returncode == 0 else text
