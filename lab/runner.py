# SPDX-License-Identifier: GPL-2.0-only
"""One run: prepare, boot, relay what dom0 sends, judge how it ended."""

import contextlib
import fcntl
import glob
import os
import re
import selectors
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time

import cache
import kernels
import packages
import payload
import qemu
import root
import splat
from common import (CANNOT, CRASHED, INTERRUPTED, SPLAT, TIMEOUT, LabError, say, write)

STAGE, OUT, ERR, CONSOLE, FILE, FAILED, STATUS, DONE = range(8)  # as in dom0/link

# The host will not get any further after one of these on its serial line.
HOST_DOWN = re.compile(r"Panic on CPU|Hardware Dom0 (crashed|shutdown|halted)|"
                       r"Kernel panic - not syncing|lab-init: FAILED")
# The emulator's SVM now and then loses a PVH guest in its first moments; xl starts it
# again. Once SCRIPT runs, it is a splat.
TRIPLE = re.compile(r"\bd\d+v\d+ Triple fault.*")
LAST_WORDS = 3  # seconds of output to wait for after that


class Interrupted(Exception):
    pass


class Run:
    def __init__(self, plan, process, link):
        self.plan, self.process, self.link = plan, process, link
        self.consoles = {"host": bytearray()}  # and a guest each
        self.files = {}
        self.stage = "booting"
        self.status = self.failed = self.ended = None
        self.pending = bytearray()
        self.early_faults = []  # triple faults of guests that were still booting
        self.start = time.monotonic()
        self.progress = sys.stderr.isatty() or plan.verbose

    # ---- what comes in

    def frames(self, data):
        self.pending += data
        while len(self.pending) >= 5:
            kind, length = struct.unpack_from("<BI", self.pending)
            if len(self.pending) < 5 + length:
                return
            payload_ = bytes(self.pending[5:5 + length])
            del self.pending[:5 + length]
            self.frame(kind, payload_)

    def frame(self, kind, data):
        if kind == STAGE:
            self.stage = data.decode()
            if self.stage == "running":
                self.early_faults = TRIPLE.findall(self.host_text())
                for line in self.early_faults:
                    say(f"warning: a guest was started again: {line}")
            if self.progress or self.stage.startswith("warning"):
                say(f"{time.monotonic() - self.start:5.1f} s  {self.stage}")
        elif kind in (OUT, ERR):
            stream = sys.stdout.buffer if kind == OUT else sys.stderr.buffer
            stream.write(data)
            stream.flush()
        elif kind == CONSOLE:
            name, _, text = data.partition(b"\0")
            self.consoles.setdefault(name.decode(), bytearray()).extend(text)
        elif kind == FILE:
            name, _, text = data.partition(b"\0")
            self.files[name.decode()] = text
        elif kind == FAILED:
            self.failed = data.decode(errors="replace")
        elif kind == STATUS:
            self.status = data[0]
        elif kind == DONE:
            self.ended = "done"

    def serial(self, data):
        self.consoles["host"] += data
        if self.plan.verbose:
            sys.stderr.buffer.write(data)
            sys.stderr.flush()

    # ---- until it ends

    def relay(self):
        """Sets `ended`: done, timeout, crash or qemu."""
        deadline = self.start + self.plan.timeout
        peer = self.accept()
        if peer is None:
            self.ended = "qemu"
            return
        streams = selectors.DefaultSelector()
        streams.register(peer, selectors.EVENT_READ, self.frames)
        streams.register(self.process.stdout, selectors.EVENT_READ, self.serial)
        looked = 0
        pulse = qemu.Pulse(self.process)
        while not self.ended:
            left = deadline - time.monotonic()
            if left <= 0:
                self.ended = "crash" if HOST_DOWN.search(self.host_text()) else "timeout"
                break
            for key, _ in streams.select(min(left, 5)):
                data = os.read(key.fd, 1 << 16)
                if data:
                    key.data(data)
                else:
                    streams.unregister(key.fileobj)
            if not streams.get_map():
                self.ended = "qemu"
            with contextlib.suppress(OSError):  # it just ended
                if pulse.look(time.monotonic()):
                    say("warning: the emulator lost an interrupt; the machine was woken")
            host = self.consoles["host"]
            if len(host) > looked:
                text = host[max(0, looked - 200):].decode(errors="replace")
                looked = len(host)
                if HOST_DOWN.search(text):
                    deadline = min(deadline, time.monotonic() + LAST_WORDS)
        peer.close()

    def accept(self):
        """QEMU's connection, or None when QEMU ended instead."""
        self.link.settimeout(0.5)
        while self.process.poll() is None:
            try:
                return self.link.accept()[0]
            except TimeoutError:
                continue
        return None

    def host_text(self):
        return self.consoles["host"].decode(errors="replace")

    # ---- the verdict

    def splats(self):
        watch = splat.Watch()
        for name, data in self.consoles.items():
            watch.add(name, data.decode(errors="replace"))
        for name, data in self.files.items():
            if name.endswith("dmesg"):
                watch.add(name, data.decode(errors="replace"))
        return [found for found in watch.splats()
                if not any(line in found[1] for line in self.early_faults)]

    def tell(self):
        """Say how it ended, and return the exit status of the whole."""
        splats = self.splats()
        for source, first, quotation in splats:
            say(f"splat in {source}: {first}")
            print("\n".join(f"  | {line}" for line in quotation.splitlines()), file=sys.stderr)
        status = self.verdict()
        if splats:
            say(f"{len(splats)} splat(s); " + (f"SCRIPT's own status was {self.status}"
                if self.status is not None else "SCRIPT did not end"))
            status = SPLAT if self.ended == "done" else status
        return status

    def verdict(self):
        taken = f"after {time.monotonic() - self.start:.0f} s"
        if self.ended == "timeout":
            self.quote_all()
            say(f"timeout: --timeout {self.plan.timeout} passed while {self.stage}")
            return TIMEOUT
        if self.ended == "crash":
            self.quote("host", 40)
            say(f"the host went down {taken} while {self.stage}")
            return CRASHED if "lab-init: FAILED" not in self.host_text() else CANNOT
        if self.ended == "qemu":
            self.quote("host", 20)
            errors = self.process.stderr.read().decode(errors="replace").strip()
            say(f"QEMU ended {taken} while {self.stage}" + (f": {errors}" if errors else ""))
            return CRASHED
        if self.failed:
            self.quote_all(8)
            say(self.failed)
            return CANNOT
        return self.status

    def quote(self, name, count):
        lines = self.consoles[name].decode(errors="replace").replace("\r", "").splitlines()[-count:]
        say(f"last lines of {name}'s console:")
        print("\n".join(f"  | {line}" for line in lines), file=sys.stderr)

    def quote_all(self, count=15):
        for name in self.consoles:
            self.quote(name, count)

    def save(self):
        if not self.plan.log:
            return
        for name, data in self.consoles.items():
            write_bytes(os.path.join(self.plan.log, f"{name}.console"), data)
        for name, data in self.files.items():
            write_bytes(os.path.join(self.plan.log, name.replace("/", "_")), data)
        write(os.path.join(self.plan.log, "verdict"),
              f"ended {self.ended}\nstage {self.stage}\nstatus {self.status}\n"
              f"failed {self.failed}\nseconds {time.monotonic() - self.start:.1f}\n")


def write_bytes(path, data):
    with open(path, "wb") as stream:
        stream.write(data)


def work_folder():
    """A folder for one run and the lock that says it is in use; those of labs that
    were killed go."""
    for path in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), "xpv-lab.*")):
        with contextlib.suppress(OSError), open(os.path.join(path, "lock"), "rb") as old:
            fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    work = tempfile.mkdtemp(prefix="xpv-lab.")
    lock = open(os.path.join(work, "lock"), "wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return work, lock


def prepare(plan, work):
    """Everything that may be missing is said before anything is started."""
    packages.require(packages.HOST)
    payload.check_modules(plan)
    qemu.check_memory(plan)
    cache.need_space(work, 1, "a run")
    images = root.root()
    xen = kernels.xen()
    wanted = {name: kernels.kernel(name) for name in
              sorted({plan.dom0_kernel, *(guest.kernel for guest in plan.guests)})}
    dom0 = wanted[plan.dom0_kernel]
    guests = [wanted[name] for name in sorted({guest.kernel for guest in plan.guests})]
    roots = payload.debian_roots(plan, guests)
    image, initrd = payload.run_disk(plan, dom0, guests, images, roots, work)
    return qemu.command(plan, xen, dom0, images, image, initrd, roots, work)


def interrupted(*_):
    raise Interrupted


def run(plan):
    """`lab run`: the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    process, (work, lock) = None, work_folder()
    try:
        arguments = prepare(plan, work)
        with socket.socket(socket.AF_UNIX) as link:
            link.bind(os.path.join(work, "link"))
            link.listen(1)
            process = qemu.start(arguments, work)
            host = Run(plan, process, link)
            try:
                host.relay()
            except (Interrupted, BrokenPipeError):
                host.ended = "interrupted"
            finally:
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)
                qemu.stop(process)
            host.save()
            if host.ended == "interrupted":
                say(f"interrupted while {host.stage}")
                return INTERRUPTED
            return host.tell()
    except Interrupted:
        say("interrupted")
        return INTERRUPTED
    finally:
        if process:
            qemu.stop(process)
        shutil.rmtree(work, ignore_errors=True)
        lock.close()


def shell(plan):
    """`lab shell`: dom0's console on this terminal."""
    if not sys.stdin.isatty():
        raise LabError("shell needs a terminal")
    work, lock = work_folder()
    try:
        arguments = prepare(plan, work)
        say("dom0's console follows, its guests come up meanwhile; Ctrl-A X ends the machine")
        with socket.socket(socket.AF_UNIX) as link:
            link.bind(os.path.join(work, "link"))
            link.listen(1)
            process = qemu.start(arguments, work, interactive=True)
            try:
                peer, _ = link.accept()
                while peer.recv(1 << 16):
                    pass
                return 0
            except KeyboardInterrupt:
                return INTERRUPTED
            finally:
                qemu.stop(process)
                os.system("stty sane")
    finally:
        shutil.rmtree(work, ignore_errors=True)
        lock.close()


__all__ = ["run", "shell", "CANNOT"]
