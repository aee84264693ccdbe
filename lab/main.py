# SPDX-License-Identifier: GPL-2.0-only
"""The verbs of scripts/lab."""

import os

import cache
import debugkernel
import kernels
import options
import packages
import root
import runner
from common import INTERRUPTED, LabError, say


def setup(names):
    """Install what is missing, then build every image that runs will want."""
    names = names or ["6.1", "6.12"]
    packages.install([*packages.HOST, *(packages.DEBUG if "debug" in names else ())])
    if not packages.have_lists():
        packages.update()
    root.root()
    kernels.xen()
    for name in names:
        kernels.kernel(name)
    say(f"ready: {cache.folder()} holds images for {' '.join(names)}")
    return 0


def kdir(name):
    """Where modules for a kernel are built."""
    path = debugkernel.tree() if name == "debug" else \
        os.path.join("/lib/modules", packages.release(name), "build")
    if not os.path.exists(os.path.join(path, "Makefile")):
        raise LabError(f"no headers of Linux {name} are installed "
                       f"({packages.META[name].replace('image', 'headers')})")
    print(path)
    return 0


def main(arguments):
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # mke2fs and depmod, for those who are not root
    try:
        args = options.parse(arguments)
        if args.command == "setup":
            return setup(args.kernels)
        if args.command == "clean":
            cache.clean()
            return 0
        if args.command == "kdir":
            return kdir(args.kernel)
        return runner.run(args) if args.command == "run" else runner.shell(args)
    except LabError as error:
        say(str(error))
        return error.status
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
