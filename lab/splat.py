# SPDX-License-Identifier: GPL-2.0-only
"""Finds what no healthy kernel or hypervisor says, in any console or log."""

import re

# One alternative a kind of report. A first line is enough: what follows is quoted.
PATTERN = re.compile(r"""
    \bBUG:\ | \bkernel\ BUG\ at | \bBUG\ at\ | \bXen\ BUG | \bBUG:?\ sleeping
  | \bWARNING:\ (?!.*deprecated)
  | \bOops:\ | \bOops\b.*\[\# | general\ protection\ fault | \bKASAN:\ | \bKCSAN:\ | \bKFENCE:\ | \bUBSAN:\ | \bKMSAN:\ 
  | possible\ recursive\ locking | inconsistent\ lock\ state | possible\ circular\ locking
  | circular\ locking\ dependency | suspicious\ RCU\ usage | possible\ irq\ lock\ inversion
  | -safe\ ->\ .*-unsafe\ lock | lock\ held\ when\ returning | bad\ unlock\ balance
  | invalid\ wait\ context | held\ lock\ freed | Nested\ lock\ was\ not\ taken | DEBUG_LOCKS_WARN_ON
  | blocked\ for\ more\ than\ \d+\ seconds | scheduling\ while\ atomic
  | sleeping\ function\ called\ from\ invalid\ context
  | [Uu]nable\ to\ handle\ (kernel|page)
  | self-detected\ stall | detected\ stalls | detected\ expedited\ stalls | rcu.*\ stall
  | soft\ lockup | hard\ LOCKUP | workqueue\ lockup
  | kmemleak:\ [1-9]\d*\ new\ suspected
  | refcount_t:\ | list_(add|del)\ corruption | slab.*corruption | ODEBUG:
  | Kernel\ panic | page\ allocation\ failure | Bad\ page\ state | Bad\ rss-counter
  | unregister_netdevice:\ waiting\ for | NETDEV\ WATCHDOG | Call\ Trace: | hw\ csum\ failure
  | too\ many\ wait\ (?:loops|events) | Out\ of\ memory: | nobody\ cared
  | \(XEN\).*(Assertion|FATAL|Panic\ on\ CPU|domain_crash|domain\ crash|crashed\ on\ cpu
      |DOUBLE\ FAULT|Triple\ fault|Unhandled\ (page|invalid)|watchdog\ timer|fatal\ trap|Hardware\ Dom0\ (crashed|shutdown))
  | \#\#\#\ lab-splat\ \#\#\#
""", re.X)

# Debian's own harmless lines that the pattern would hit.
HARMLESS = re.compile(r"""
    traps:\ .*\ ip: # a program's fault, not the kernel's
  | Spectre | spectre_v2 | RETBleed | MDS: | Speculative | Vulnerable | mitigation
  | WARNING:\ (The\ |kernel\ command\ line)
  | lockdep: | [Ll]ock\ dependency\ validator | rcu.*stall_timeout | RCU\ CPU\ stall\ warnings
  | Command\ line: | Unknown\ kernel\ command\ line | Panic\ on\ oops
  | \(XEN\).*(WARNING:\ (CPU|SPEC)|\[VT-D\])
""", re.X)

BEFORE, AFTER = 3, 40  # lines quoted around the first line
# After a splat, lines that belong to it do not count as another.
SAME_SPLAT = 60


def plain(line):
    """A line without timestamp and level: the same report in a console and in dmesg."""
    line = re.sub(r"^\(XEN\) \[[^]]*\] ", "(XEN) ", line)
    line = re.sub(r"^(<\d+>)?\[ *\d+\.\d+\]( ?\[ *[TC]\d+\])? ?", "", line)
    return line.strip()


def find(text):
    """Each splat of a text as (first line, quotation)."""
    lines = text.replace("\r", "").splitlines()
    found, until = [], -1
    for index, line in enumerate(lines):
        if index < until or not PATTERN.search(line) or HARMLESS.search(line):
            continue
        end = min(len(lines), index + AFTER)
        for at in range(index + 1, end):
            if re.search(r"---\[ end trace|={20}$", lines[at]) and at > index + 5:
                end = at + 1
                break
        found.append((plain(line), "\n".join(lines[max(0, index - BEFORE):end])))
        until = max(end, index + 1) if end > index + 1 else index + SAME_SPLAT
    return found


class Watch:
    """Splats of all sources, each told once."""

    def __init__(self):
        self.texts = {}

    def add(self, source, text):
        self.texts[source] = self.texts.get(source, "") + text

    def splats(self):
        """(source, first line, quotation), without the repeats of dmesg and xl dmesg."""
        seen, result = set(), []
        for source, text in self.texts.items():
            for first, quotation in find(text):
                if (self.where(source), first) not in seen:
                    seen.add((self.where(source), first))
                    result.append((source, first, quotation))
        return result

    @staticmethod
    def where(source):
        """Dom0's and Xen's share a serial line."""
        name = source.split(".")[0]
        return "host" if name in ("dom0", "host", "xl-dmesg") else name
