# SPDX-License-Identifier: GPL-2.0-only
"""Debian's packages: what the host needs, and what the lab takes apart."""

import glob
import os
import re
import shutil
import subprocess

import cache
from common import LabError, output, say

# On the host: to run the lab, and to build what it boots.
HOST = ("qemu-system-x86", "mmdebstrap", "e2fsprogs", "kmod", "gcc", "libc6-dev", "libxen-dev",
        "xz-utils")
# On the host: for the debug kernel only.
DEBUG = ("linux-source-6.1", "make", "flex", "bison", "bc", "libelf-dev", "libssl-dev")

# In dom0. Guests get a few of their files (see root.py).
DOM0 = ("xen-utils-4.17", "xenstore-utils", "bridge-utils", "iproute2", "ethtool", "iperf3",
        "iputils-ping", "fio", "tcpdump", "netcat-openbsd", "socat", "kmod", "python3",
        "busybox-static", "procps", "util-linux", "mount", "hostname",
        "qemu-system-xen",  # serves what is not blkback's: --disk ...,backend=qdisk
        "e2fsprogs", "xfsprogs", "btrfs-progs",
        "dmsetup")  # media that are late
XEN = "xen-hypervisor-4.17-amd64"
META = {"6.1": "linux-image-amd64", "6.12": "linux-image-6.12-amd64"}

SANDBOX = ["-o", "APT::Sandbox::User=root"]  # the cache is not open to apt's own user


def missing(names):
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    there = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in there]


def installed_version(name):
    """Version of an installed package, empty when it is not."""
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout


def require(names):
    absent = missing(names)
    if absent:
        raise LabError(f"not installed: {' '.join(absent)}: run scripts/lab setup as root, "
                       f"or apt-get install --no-install-recommends {' '.join(absent)}")


def have_lists():
    return bool(glob.glob("/var/lib/apt/lists/*_Packages*"))


def install(names):
    """Install what is missing; does nothing at all when nothing is."""
    absent = missing(names)
    if not absent:
        return
    if os.geteuid() != 0:
        raise LabError(f"installing {' '.join(absent)} needs root")
    say(f"installing {' '.join(absent)}")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *absent]
    if have_lists() and subprocess.run(command, env=environment, stdin=subprocess.DEVNULL,
                                       stdout=2, check=False).returncode == 0:
        return
    update()
    if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=2,
                      check=False).returncode != 0:
        raise LabError(f"{' '.join(command)} failed")


def update():
    if os.geteuid() != 0:
        raise LabError("apt-get update needs root")
    if subprocess.run(["apt-get", "update", "-q"], stdin=subprocess.DEVNULL, stdout=2,
                      check=False).returncode != 0:
        raise LabError("apt-get update failed")


def versions(names):
    """Candidate version of each package, remembered as long as apt's state is the same."""
    if not have_lists():
        raise LabError("apt has no package lists: run scripts/lab setup, or apt-get update")
    state = cache.key_of(*names, *(os.stat(path).st_mtime_ns for path in
                                   ("/var/lib/apt/lists", "/var/lib/dpkg/status")))
    memo = os.path.join(cache.folder(), f".versions-{state}")
    if not os.path.exists(memo):
        text = output(["apt-cache", "policy", *names], env=dict(os.environ, LC_ALL="C"))
        found = dict(re.findall(r"^(\S+):\n  Installed: .*\n  Candidate: (\S+)$", text, re.M))
        absent = [name for name in names if found.get(name, "(none)") == "(none)"]
        if absent:
            raise LabError(f"Debian 12's archive has no {' '.join(absent)} here: "
                           "check apt's sources and run apt-get update")
        os.makedirs(cache.folder(), exist_ok=True)
        for old in glob.glob(os.path.join(glob.escape(cache.folder()), ".versions-*")):
            if len(glob.glob(os.path.join(glob.escape(cache.folder()), ".versions-*"))) > 20:
                os.unlink(old)
        with open(memo + f".{os.getpid()}", "w", encoding="utf-8") as stream:
            stream.write("".join(f"{name}={found[name]}\n" for name in names))
        os.rename(memo + f".{os.getpid()}", memo)
    with open(memo, encoding="utf-8") as stream:
        return stream.read().split()


def extract(package, into):
    """Download a package and unpack it, without installing it."""
    folder = os.path.join(into, ".deb")
    os.makedirs(folder)
    output(["apt-get", *SANDBOX, "download", "-q", package], cwd=folder)
    for name in os.listdir(folder):
        output(["dpkg-deb", "-x", os.path.join(folder, name), into])
    shutil.rmtree(folder)


def release(series):
    """The Debian kernel of a series: that of the newest headers installed, since
    modules are built against those, else the archive's newest."""
    installed = [os.path.basename(os.path.dirname(path))
                 for path in glob.glob("/lib/modules/*/build")]
    there = [name for name in installed if re.match(re.escape(series) + r"[.-]", name)
             and not re.search(r"-(rt|cloud)-", name)]
    if there:
        return max(there, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])
    text = output(["apt-cache", "depends", META[series]], env=dict(os.environ, LC_ALL="C"))
    found = re.search(r"Depends: linux-image-(\S+)", text)
    if not found:
        raise LabError(f"Debian 12's archive has no {META[series]}: run apt-get update")
    return found.group(1)


def sources():
    """Lines for mmdebstrap: the Debian archives that this host uses."""
    text = output(["apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
                   "Created-By: Packages", "Origin: Debian"])
    return sorted({line for line in text.splitlines() if " bookworm" in line})
