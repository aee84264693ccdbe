# SPDX-License-Identifier: GPL-2.0-only
"""Writes initramfs archives (cpio "newc"); the kernel takes several in a row."""

import os
import stat


class Archive:
    def __init__(self, path):
        self.stream = open(path, "wb")
        self.inode = 0
        self.seen = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._entry("TRAILER!!!", 0, b"")
        self._pad(512)
        self.stream.close()

    def _pad(self, to):
        self.stream.write(bytes(-self.stream.tell() % to))

    def _entry(self, name, mode, data, rdev=(0, 0)):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(encoded), 0)
        self.stream.write(b"070701" + b"".join(b"%08x" % field for field in fields) + encoded)
        self._pad(4)
        self.stream.write(data)
        self._pad(4)

    def folder(self, name, mode=0o755):
        """A folder and those above it, once."""
        name = name.strip("/")
        if not name or name in self.seen:
            return
        self.folder(os.path.dirname(name))
        self.seen.add(name)
        self._entry(name, stat.S_IFDIR | mode, b"")

    def link(self, name, target):
        name = name.strip("/")
        if name in self.seen:
            return
        self.folder(os.path.dirname(name))
        self.seen.add(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name, kind, major, minor):
        self.folder(os.path.dirname(name))
        self._entry(name.strip("/"), kind | 0o600, b"", (major, minor))

    def data(self, name, data, mode=0o644):
        name = name.strip("/")
        if name in self.seen:
            return
        self.folder(os.path.dirname(name))
        self.seen.add(name)
        self._entry(name, stat.S_IFREG | mode, data)

    def file(self, name, source):
        with open(source, "rb") as stream:
            self.data(name, stream.read(), stat.S_IMODE(os.stat(source).st_mode))

    def tree(self, source, under=""):
        """A folder of the host with all that is in it."""
        for base, folders, files in os.walk(source):
            folders.sort()
            at = os.path.join(under, os.path.relpath(base, source)).replace("/.", "/")
            for name in sorted(files) + [f for f in folders if os.path.islink(os.path.join(base, f))]:
                path, inside = os.path.join(base, name), os.path.normpath(os.path.join(at, name))
                if os.path.islink(path):
                    self.link(inside, os.readlink(path))
                else:
                    self.file(inside, path)
