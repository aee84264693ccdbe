# SPDX-License-Identifier: GPL-2.0-only
"""Xen's own trace of PV hypercalls, in dom0: how many there were of which kind."""

import array
import os
import signal
import subprocess

from labtest import wait_for

PAGES = 1024       # a processor's trace buffer; xentrace empties it ten times a second
FILE = "/tmp/hypercalls.trace"
MASK = "0x203000"  # TRC_PV_ENTRY and TRC_PV_SUBCALL of xen/trace.h

LOST_RECORDS, HYPERCALL, SUBCALL = 0x1f001, 0x20100d, 0x20200e
GRANT_TABLE_OP, EVENT_CHANNEL_OP = 20, 32  # __HYPERVISOR_*
MEMORY = (1, 3, 12, 26)  # mmu_update, update_va_mapping, memory_op, mmuext_op
GNTTABOP = {0: "map", 1: "unmap", 5: "copy"}


class Trace:
    """Trace what runs inside the with, of all domains."""

    def __init__(self):
        self.lost = 0
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(["xentrace", "-D", "-e", MASK, "-S", str(PAGES), FILE],
                                        stderr=subprocess.PIPE, text=True)
        wait_for("the first trace records", lambda: os.path.exists(FILE) and os.path.getsize(FILE))
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=300)
        if self.process.returncode != 0:
            raise OSError(f"xentrace ended with {self.process.returncode}: {said}")

    def counts(self, path=FILE):
        """How many of each; a multicall's parts count one by one. Notifications are all
        event channel operations: Xen does not record which, and in traffic drivers do
        nothing but send (scripts/bench --account counts evtchn_send)."""
        words = array.array("I")
        with open(path, "rb") as stream:
            words.frombytes(stream.read())
        os.unlink(path)
        found = {"notifications": 0, "memory-calls": 0, "grant-calls": 0, "grant-ops": 0,
                 **{f"{name}-{what}": 0 for name in GNTTABOP.values() for what in ("calls", "ops")}}
        at, end = 0, len(words)
        while at < end:
            head = words[at]
            data = at + (3 if head >> 31 else 1)  # some carry the time
            at = data + (head >> 28 & 7)
            event = head & 0x0fffffff
            if event in (HYPERCALL, SUBCALL):
                number = words[data] & 0xfffff
                if number == EVENT_CHANNEL_OP:
                    found["notifications"] += 1
                elif number in MEMORY:
                    found["memory-calls"] += 1
                elif number == GRANT_TABLE_OP and words[data + 1] in GNTTABOP:
                    kind, count = GNTTABOP[words[data + 1]], words[data + 2]
                    for name in ("grant", kind):
                        found[f"{name}-calls"] += 1
                        found[f"{name}-ops"] += count
            elif event == LOST_RECORDS:
                self.lost += words[data]
        return found
