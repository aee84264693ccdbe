# SPDX-License-Identifier: GPL-2.0-only
"""A guest that is destroyed in the middle of traffic and back from an image a moment
later: it was saved while it sent, and sends from where it was. A boot takes minutes in a
debug kernel, this takes seconds."""

import os
import socket
import threading
import time

from churn import Readers, Traffic, forget, known_id, vifs
from labtest import address, guest, run, start, status, wait_for

BLOCK = b"xpv" * 5000


class Resident(Traffic):
    """TCP, echoes and readers whose ends in the guest are programs of its own: they are
    saved with it and find their peer again. A call would not outlive it."""

    def __init__(self, name):
        super().__init__(name)
        self.sockets = []
        self.listener = socket.create_server((address("dom0"), 0))
        threading.Thread(target=self.accept, daemon=True).start()
        port = self.listener.getsockname()[1]
        # busybox's setsid would take its own shell for "sh", and that one its own nc.
        guest(name, f"""head -c 15000 /dev/urandom > /tmp/resident.data
            echo 'while :; do while cat /tmp/resident.data; do sleep 0.05; done |
                nc {address('dom0')} {port} > /dev/null; sleep 0.2; done' > /tmp/resident.sh
            setsid /usr/bin/sh /tmp/resident.sh > /dev/null 2>&1 &
            setsid ping -q -i 0.05 -s 1400 {address('dom0')} > /dev/null 2>&1 &""")
        self.ping = start(f"exec nice -n 10 ping -q -i 0.05 -s 1400 {address(name)} >/dev/null 2>&1")

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.sockets.append(sock)
            for work in (self.send, self.drain):
                threading.Thread(target=work, args=(sock,), daemon=True).start()

    @staticmethod
    def send(sock):
        try:
            while True:
                sock.sendall(BLOCK)
                time.sleep(0.05)
        except OSError:
            pass

    @staticmethod
    def drain(sock):
        try:
            while sock.recv(1 << 16):
                pass
        except OSError:
            pass

    def hang_up(self):
        """The guest is gone: what its image still sends over these meets nobody."""
        while self.sockets:
            sock = self.sockets.pop()
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def stop(self):
        self.listener.close()
        self.hang_up()
        self.ping.kill()
        self.ping.wait(30)
        # The loop first, which would begin the others again.
        guest(self.name, "kill $(pgrep -f resident.sh); killall nc ping", ok=False)


def destroyed(name, count, say):
    """Destroyed under traffic so many times, and restored."""
    image = f"/var/tmp/{name}.image"  # on a disk: dom0's memory would miss it
    traffic = Resident(name)
    readers = Readers(name)  # the one in the guest ends with its first life
    try:
        wait_for(f"{name} sends and receives", lambda: traffic.flows(20), 120)
        run(f"xl save -c {name} {image}", timeout=600)
        for turn in range(1, count + 1):
            begun = time.time()
            wait_for(f"{name} sends and receives, before turn {turn}", lambda: traffic.flows(5), 120)
            readers.keep()
            flows = time.time()
            device, domain = vifs(name)[0], known_id(name)
            run(f"xl destroy {name}", timeout=300)
            forget(name)
            traffic.hang_up()
            wait_for(f"{device} is gone", lambda: not os.path.exists(f"/sys/class/net/{device}"))
            wait_for(f"domain {domain} is gone", lambda: status(f"xl domid {name}") != 0)
            gone = time.time()
            # libxl gives a hotplug script 40 s, which a machine that is busy may need.
            if status(f"xl restore {image}", 300) != 0:
                run(f"xl destroy {name}", ok=False)
                run(f"xl restore {image}", timeout=300)
            run(f"guest-wait {name} 300", timeout=330)
            if turn % 20 == 0 or turn == count:
                say(f"{time.strftime('%H:%M:%S')} {name} destroyed {turn} times; this time traffic "
                    f"after {flows - begun:.1f} s, gone after {gone - flows:.1f} s, there again "
                    f"after {time.time() - gone:.1f} s")
    finally:
        readers.stop()
        traffic.stop()
        run(f"rm -f {image}")
