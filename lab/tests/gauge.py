#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""xpv-gauged beside real guests: whose node it is, how it follows the host's memory, and
what is left when it is stopped, killed, started again, or a guest writes rubbish.

Guests: g1 and g2, any kind. Xen needs some 200 MB that no domain has.
"""

import json
import os
import re
import signal
import subprocess
import time

from labtest import Report, check, domid, guest, guest_start, guests, run, status, wait_for

GAUGED = "/lab/bin/xpv-gauged"
CONFIG = "/tmp/gauged.conf"
WORD = re.compile(r"1 ([01]\.\d{3}) (\d+) (\d+)")
A, B = "g1", "g2"


def node(name):
    return f"/local/domain/{domid(name)}/memory/xpv-gauge"


def word(name):
    """Level, sequence and TTL; None without a node."""
    text = run(f"xenstore-read {node(name)} 2>/dev/null", ok=False).strip()
    if not text:
        return None
    found = WORD.fullmatch(text)
    check(found, f"{name}: the node says {text!r}")
    return float(found[1]), int(found[2]), int(found[3])


def free_mib():
    return int(re.search(r"free_memory\s*: (\d+)", run("xl info"))[1])


def eater(size):
    """A domain that takes so many MiB and does nothing."""
    with open(f"/lab/xen/{A}.cfg", encoding="utf-8") as file:
        config = re.sub(r"(?m)^(name|memory|maxmem|vif|disk) = .*\n", "", file.read())
    with open("/tmp/eater.cfg", "w", encoding="utf-8") as file:
        file.write(config + f'name = "eater"\nmemory = {size}\nmaxmem = {size}\n')
    run("xl create -p /tmp/eater.cfg")


class Daemon:
    """One that runs, with so much of a configuration."""

    def __init__(self, config=""):
        with open(CONFIG, "w", encoding="utf-8") as file:
            file.write(config)
        self.out = open("/tmp/gauged.json", "w", encoding="utf-8")
        self.err = open("/tmp/gauged.err", "w", encoding="utf-8")
        self.process = subprocess.Popen([GAUGED, "--json", "--config", CONFIG], stdout=self.out,
                                        stderr=self.err)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.end(signal.SIGTERM)

    def end(self, how):
        self.process.send_signal(how)
        return self.process.wait(30)

    def look(self):
        """Its last whole line, checked to be JSON."""
        with open("/tmp/gauged.json", encoding="utf-8", errors="strict") as file:
            lines = [line for line in file.read().splitlines(True) if line.endswith("\n")]
        check(lines, "it says nothing")
        return json.loads(lines[-1])

    def said(self):
        with open("/tmp/gauged.err", encoding="utf-8") as file:
            return file.read()


def bad_config():
    with open(CONFIG, "w", encoding="utf-8") as file:
        file.write("[host]\nband = 99%\n")
    for option in ("--check-config", "--once"):
        text = run(f"{GAUGED} {option} --config {CONFIG}; echo status $?")
        check(f"{CONFIG}:2: band = 99%: must be 2% to 50%" in text and "status 2" in text, text)
    check(status(f"{GAUGED} --config /nowhere") == 2, "a file that is not there is no error")
    check(status(f"{GAUGED} rubbish") == 2, "an argument is no error")


def dry_run():
    text = run(f"{GAUGED} --once --dry-run")
    check(A in text and B in text, text)
    check(word(A) is None and word(B) is None, "--dry-run has written")
    line = json.loads(run(f"{GAUGED} --once --dry-run --json"))
    check(abs(line["free_kib"] / 1024 - free_mib()) < 2, f"{line} and {free_mib()} MiB")
    check([one["name"] for one in line["guests"]] == [A, B], line)


def nodes_and_rights():
    with Daemon() as daemon:
        wait_for("both have nodes", lambda: word(A) and word(B))
        check("goes on with" not in daemon.said(), daemon.said())
        for name, other in ((A, B), (B, A)):
            listed = run(f"xenstore-ls -p /local/domain/{domid(name)}/memory")
            rights = re.search(r"xpv-gauge = .*\((.*)\)", listed)
            check(rights and rights[1] == f"n0,r{domid(name)}", listed)
            mine = guest(name, "xenstore-read memory/xpv-gauge").strip()
            check(WORD.fullmatch(mine), mine)
            for command in (f"xenstore-read {node(other)}",
                            "xenstore-write memory/xpv-gauge '1 0.000 9 60'",
                            "xenstore-rm memory/xpv-gauge"):
                text = guest(name, f"{command}; echo status $?")
                check("status 0" not in text, f"{name} may `{command}`: {text}")
        check(status(f"{GAUGED} --once") == 1, "a second one is let in")
        check(daemon.end(signal.SIGTERM) == 0, daemon.said())
    check(word(A) is None and word(B) is None, "nodes are left after SIGTERM")


def scale(free, band):
    """A configuration in which so much free memory is a pressure of five sevenths."""
    return f"[host]\nlow = {free - band * 2 // 7}M\nband = {band}M\ninterval = 1\njitter = 1\n"


def follows():
    """50 MiB are two levels here; Linux's own balloon in g2 moves them."""
    free = free_mib()
    with Daemon(scale(free, 175)) as daemon:
        wait_for("5/7", lambda: word(A) and word(A)[0] == 0.714)
        run(f"xl mem-set {B} 206")
        wait_for("3/7", lambda: word(A)[0] == 0.429)
        wait_for("3/7 for both", lambda: word(B)[0] == 0.429)
        run(f"xl mem-set {B} 256")
        wait_for("5/7 again", lambda: word(A)[0] == 0.714)
        # The scale moves under it: SIGHUP. A broken file changes nothing.
        with open(CONFIG, "w", encoding="utf-8") as file:
            file.write("[host]\nlow = 0%\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for("it complains", lambda: "must be 1% to 20%" in daemon.said())
        with open(CONFIG, "w", encoding="utf-8") as file:
            file.write(scale(free, 175) + f"[guest {B}]\nfloor = 1G\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for("g2 is spared", lambda: word(B)[0] == 0.429)
        check(word(A)[0] == 0.714, f"g1: {word(A)}")


def at_once():
    """A domain that takes what there is."""
    with Daemon("[host]\ninterval = 20\njitter = 0\nttl = 120\n"):
        wait_for("both have nodes", lambda: word(A) and word(B))
        before = word(A)[0]
        check(before < 1, f"there is nothing free already: {free_mib()} MiB")
        eater(free_mib() - 45)
        try:
            wait_for("1.000, before the interval is over",
                     lambda: word(A)[0] == 1 and word(B)[0] == 1, 10)
        finally:
            run("xl destroy eater")
        wait_for("and back", lambda: word(A)[0] < 1)


def killed():
    with Daemon() as daemon:
        wait_for("both have nodes", lambda: word(A) and word(B))
        daemon.end(signal.SIGKILL)
        last = word(A)
        check(last and last[2] == 60, f"the dead one's word: {last}")
        time.sleep(25)  # it would have spoken within 21
        check(word(A) == last, f"nobody runs, and {last} became {word(A)}")
    with Daemon():
        wait_for("the new one speaks", lambda: word(A) != last)
        check(word(A)[1] > last[1], f"an old sequence: {last}, then {word(A)}")
        first = word(A)
        wait_for("and repeats itself", lambda: word(A)[1] > first[1], 25)
    with Daemon() as daemon:
        wait_for("both have nodes", lambda: word(A) and word(B))
        daemon.end(signal.SIGKILL)
        run(f"{GAUGED} --remove")  # what the unit does then
        check(word(A) is None and word(B) is None, "--remove leaves nodes")


RUBBISH = """
big=$(head -c 3000 /dev/zero | tr '\\0' x)
for i in $(seq 300); do xenstore-write data/xpv-balloon/x$i "$big" 2>/dev/null || break; done
xenstore-write data/xpv-balloon/features 'gauge-1 order9' data/xpv-balloon/held 262144 || true
i=0
while [ $i -lt 400 ]; do
  xenstore-write data/xpv-balloon/features "$big" data/xpv-balloon/held 1e9 data/xpv-balloon/floor "-$i"
  i=$((i + 1))
done
"""


def flooded():
    with Daemon("[host]\ninterval = 1\njitter = 1\nttl = 9\n") as daemon:
        wait_for("both have nodes", lambda: word(A) and word(B))
        guest(A, "xenstore-write data/xpv-balloon/features 'gauge-1 order9' data/xpv-balloon/held 262144")

        def says():
            return daemon.look()["guests"][0].get("says", {})

        wait_for("it hears", lambda: says().get("held_kib") == 262144, 20)
        check(says()["features"] == "gauge-1 order9" and says()["refused"] == 0, says())
        flood = guest_start(A, RUBBISH)
        seen, refused = word(B)[1], 0
        for _ in range(8):
            wait_for("g2 is told in time", lambda seen=seen: word(B)[1] > seen, 8)
            seen = word(B)[1]
            refused = max(refused, says().get("refused", 0))
        flood.wait(300)
        wait_for("the rubbish is refused", lambda: says().get("refused") == 3, 20)
        check(says()["features"] == "" and "held_kib" not in says(), says())
        check(daemon.process.poll() is None, daemon.said())
        check(len(daemon.said()) < 300, daemon.said()[:1000])
        with open(f"/proc/{daemon.process.pid}/status", encoding="utf-8") as file:
            resident = int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])
        check(resident < 32768, f"it has {resident} KiB")


def view():
    """The live view, what it records, and the picture of that."""
    with Daemon():
        wait_for("both have nodes", lambda: word(A) and word(B))
        text = run(f"xpv-gauge-view --gauged {GAUGED} --plain --seconds 3 --record /tmp/record")
        check(re.search(rf"{domid(A)}  {A} .*{word(A)[0]:.3f}  does not listen", text), text)
        with open("/tmp/record", encoding="utf-8") as file:
            looks = [json.loads(line) for line in file]
        check(len(looks) >= 2 and all(len(seen["guests"]) == 2 for seen in looks), looks)
        run("xpv-gauge-view --svg /tmp/record.svg /tmp/record")
        with open("/tmp/record.svg", encoding="utf-8") as file:
            check(f">{A}</text>" in file.read(), "the picture does not name g1")


def comes_and_goes():
    with Daemon():
        wait_for("both have nodes", lambda: word(A) and word(B))
        old = domid(B)
        run(f"xl destroy {B}")
        wait_for("nothing is left of it", lambda: status(f"xenstore-exists /local/domain/{old}") != 0)
        time.sleep(12)  # a whole interval
        check(status(f"xenstore-exists /local/domain/{old}") != 0, "a node of a dead domain came back")
        run(f"xl create /lab/xen/{B}.cfg", timeout=300)
        check(domid(B) != old, "its number is the same")
        wait_for("the new one has a node", lambda: word(B), 10)
        kept = run(f"xenstore-ls -p /local/domain/{domid(B)}/memory")
        check(f"(n0,r{domid(B)})" in kept, kept)


def main():
    report = Report()
    check(guests()[:2] == [A, B], "two guests")
    check(os.path.exists(GAUGED), "no xpv-gauged was handed in: make gauged")
    for name, body in (("a bad configuration says where", bad_config), ("dry run", dry_run),
                       ("nodes and rights", nodes_and_rights),
                       ("the level follows the host's memory", follows),
                       ("nothing left is said at once", at_once),
                       ("killed, and started again", killed),
                       ("flooded with rubbish", flooded),
                       ("the view", view),
                       ("a guest comes and goes", comes_and_goes)):
        report.test(name, body)
    report.finish()


if __name__ == "__main__":
    main()
