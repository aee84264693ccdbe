#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What the network drivers have to bear besides plain traffic and their own comings and
goings, in parts that share a host.

usage: net.py PART[/WORD]...    parts: users, stall, context; WORD: of the tests' names

g1 runs our frontend, g2 Linux's, our backend serves both.
"""

import sys

import net_context
import net_stall
import net_users
from labtest import Report, guests, online, ping

PARTS = {"users": net_users, "stall": net_stall, "context": net_context}


class Some(Report):
    """Only the tests whose name has a word in it."""

    word = ""

    def test(self, name, body, *args):
        if self.word in name:
            super().test(name, body, *args)


def main():
    report = Some()
    names = guests()[:2]
    for name in names:
        report.test(f"{name}: is on line", online, name)
    for argument in sys.argv[1:]:
        part, _, report.word = argument.partition("/")
        PARTS[part].tests(report, names)
    report.word = ""
    for name in names:
        report.test(f"{name}: still on line", ping, name)
    report.finish()


main()
