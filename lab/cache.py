# SPDX-License-Identifier: GPL-2.0-only
"""The lab's cache: folders named by kind and by a hash of all that goes into them.

An entry is built in a temporary folder beside its place and renamed into it, under
a lock, so that an entry that is there is whole. Losing the cache costs time only.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time

from common import LabError, say

# Other entries of a kind go when they have not been used for so long.
UNUSED_DAYS = 14
UNUSED_DAYS_OF = {"debian": 1}  # there is a new one with every build of the modules
NEEDED_GB = {"tree": 2, "root": 1, "kernel": 1, "xen": 1, "debug": 6,
             "debiantree": 3, "debian": 3, "debroot": 2}


def folder():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "xpv", "lab")


def key_of(*parts):
    """Hash of strings and of the contents of files, given as ("file", path)."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, tuple):
            with open(part[1], "rb") as stream:
                data = stream.read()
        else:
            data = str(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:16]


def find(kind, key):
    """The entry if it is there, else None."""
    path = os.path.join(folder(), f"{kind}-{key}")
    if not os.path.isdir(path):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return path


@contextlib.contextmanager
def lock(name):
    """One builder at a time; says so when it has to wait."""
    os.makedirs(folder(), exist_ok=True)
    with open(os.path.join(folder(), f".{name}.lock"), "w", encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another lab that builds {name}")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def entry(kind, key, build, what):
    """The folder of an entry; build(temporary folder) makes it when it is missing.

    Kind is a word, `-` and more to tell series apart ("kernel-6.1").
    """
    path = find(kind, key)
    if path:
        return path
    with lock(kind):
        path = find(kind, key)
        if path:
            return path
        need_space(folder(), NEEDED_GB.get(kind.split("-")[0], 1), what)
        say(f"building {what} (once; kept in {folder()})")
        start = time.time()
        clear_leftovers(kind)
        work = tempfile.mkdtemp(prefix=f".{kind}-", dir=folder())
        try:
            os.chmod(work, 0o755)
            build(work)
            path = os.path.join(folder(), f"{kind}-{key}")
            os.rename(work, path)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        prune(kind, path)
        say(f"built {what} in {time.time() - start:.0f} s")
    return path


def clear_leftovers(kind):
    """What a build that was killed left behind; we hold the lock of its kind."""
    for name in os.listdir(folder()):
        if name.startswith(f".{kind}-"):
            shutil.rmtree(os.path.join(folder(), name), ignore_errors=True)


def prune(kind, keep):
    days = UNUSED_DAYS_OF.get(kind.split("-")[0], UNUSED_DAYS)
    for name in os.listdir(folder()):
        path = os.path.join(folder(), name)
        if name.rpartition("-")[0] == kind and path != keep:
            with contextlib.suppress(OSError):
                if time.time() - os.stat(path).st_mtime > days * 86400:
                    shutil.rmtree(path, ignore_errors=True)


def need_space(path, gigabytes, what):
    os.makedirs(path, exist_ok=True)
    free = shutil.disk_usage(path).free / 2**30
    if free < gigabytes:
        raise LabError(f"{what} needs {gigabytes} GB of disk in {path}, {free:.1f} GB are free")


def clean():
    """Remove the lab's cache, and nothing else."""
    path = folder()
    if os.path.isdir(path):
        shutil.rmtree(path)
        say(f"removed {path}")
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(path))
