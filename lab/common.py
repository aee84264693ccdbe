# SPDX-License-Identifier: GPL-2.0-only
"""What every part of the lab shares: places, exit statuses, messages, commands."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))  # lab/
TOP = os.path.dirname(HERE)                         # the checkout

# Exit statuses of the lab's own; every other one is SCRIPT's.
USAGE = 2          # an option or a value is wrong; nothing was started
SPLAT = 120        # a console or a log holds a kernel's or Xen's complaint
CRASHED = 121      # the host (Xen, dom0 or QEMU) ended before SCRIPT did
TIMEOUT = 124      # --timeout passed
CANNOT = 125       # the lab could not get as far as SCRIPT
INTERRUPTED = 130  # Ctrl-C

KERNELS = ("6.1", "6.12", "debug")


class LabError(Exception):
    """Ends the lab with one clear line."""

    def __init__(self, text, status=CANNOT):
        super().__init__(text)
        self.status = status


def usage_error(text):
    return LabError(text, USAGE)


def say(text):
    """Progress and verdicts go to stderr: stdout is SCRIPT's."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def write(path, text, mode=None):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    if mode is not None:
        os.chmod(path, mode)


def output(command, **options):
    """Standard output of a command that has to succeed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors="replace", check=False, **options)
    if done.returncode != 0:
        tail = " | ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-4:])
        raise LabError(f"{' '.join(command)}: failed with status {done.returncode}: {tail}")
    return done.stdout


def logged(command, log, **options):
    """Run a long command into a log file; the log is named when it fails."""
    with open(log, "a", encoding="utf-8") as stream:
        stream.write(f"+ {' '.join(command)}\n")
        stream.flush()
        done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, check=False, **options)
    if done.returncode != 0:
        for line in read(log).splitlines()[-15:]:
            say(f"  {line}")
        raise LabError(f"{command[0]} failed with status {done.returncode}; whole log: {log}")
