# SPDX-License-Identifier: GPL-2.0-only
"""The command line of `lab run` and `lab shell`: parsed, checked, made into a plan."""

import argparse
import os
import re
from dataclasses import dataclass, field

import disks
from common import KERNELS, usage_error

STATUSES = """
exit status of run:
  SCRIPT's own, except that
  2    an option or a value is wrong (nothing was started)
  120  a splat: a kernel or Xen complained; it is quoted, and SCRIPT's status told
  121  the host went down before SCRIPT ended (Xen or dom0 panicked, QEMU ended)
  124  --timeout passed; the last lines of the consoles are quoted
  125  the lab did not get as far as SCRIPT (a package, a module, a guest is missing)
  130  Ctrl-C

in dom0, for SCRIPT:
  guest [-n] [-w S] gK CMD...  run in guest K: output, exit status (255: no way to run it)
                        one word is a line for the guest's shell, several are exact
  guest-wait gK [S]     until its agent answers
  /etc/xen/gK.cfg       for xl create; $LAB_GUESTS holds the names
  /lib/modules/xpv/     our modules, in guests too; modprobe finds them by name
  /dev/lab/gK-xvda      the medium of a --disk; those of null_blk (ram, null, power) are
                        /sys/kernel/config/nullb/gK-xvda, whose power file cuts a power
                        disk off by 0 and then 1; $LAB_DISKS holds the disks of a guest
  /share                --share's folder; in guests, lab-ifup eth0 gives the addresses back
  dom0 is 10.77.0.1 and fd77::1 on xenbr0, guest K 10.77.0.(K+1) and fd77::(K+1) on eth0
"""

MAX_GUESTS = 8
RANGES = {  # of numbers: least, greatest
    "guests": (0, MAX_GUESTS), "vcpus": (1, 16), "memory": (64, 8192),
    "timeout": (1, 7 * 86400), "dom0-vcpus": (1, 16), "dom0-memory": (256, 8192),
    "cpus": (1, 16),
}


@dataclass
class Guest:
    name: str
    number: int
    type: str
    kernel: str
    netfront: str
    blkfront: str
    vcpus: int
    memory: int
    cmdline: str = ""


@dataclass
class Plan:
    """All that a run needs to know."""
    command: str
    dom0_kernel: str
    netback: str
    guests: list
    disks: list
    vif: str
    params: list
    timeout: int
    log: str | None
    share: str | None
    modules: str | None
    guest_root: str
    icount: bool
    thread: str
    cpus: int
    dom0_vcpus: int
    dom0_memory: int
    dom0_cmdline: str
    xen_cmdline: str
    verbose: bool
    qemu_plugin: str | None = None
    script: str | None = None
    arguments: list = field(default_factory=list)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise usage_error(f"{message} (see scripts/lab --help)")


def number(name):
    low, high = RANGES[name]

    def parse(text):
        if not re.fullmatch(r"-?[0-9]+", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
        return int(text)
    return parse


def param(text):
    if not re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_]+=[^\s]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not MODULE.NAME=VALUE")
    return text


def parser():
    main = Parser(prog="lab", description="Real Xen on QEMU: one dom0, up to eight guests.",
                  epilog=STATUSES, formatter_class=argparse.RawDescriptionHelpFormatter,
                  allow_abbrev=False)
    verbs = main.add_subparsers(dest="command", metavar="COMMAND")
    setup = verbs.add_parser("setup", help="install missing packages, fill the cache",
                             allow_abbrev=False)
    setup.add_argument("kernels", nargs="*", metavar="KERNEL",
                       help=f"kernels to prepare: {', '.join(KERNELS)} (default 6.1 6.12)")
    verbs.add_parser("clean", help="remove the lab's cache", allow_abbrev=False)
    kdir = verbs.add_parser("kdir", help="print the KDIR of a kernel, for building modules",
                            allow_abbrev=False)
    kdir.add_argument("kernel", metavar="|".join(KERNELS))
    for name, text in (("shell", "a console of dom0, guests up"),
                       ("run", "run SCRIPT in dom0, guests up")):
        verb = verbs.add_parser(name, help=text, allow_abbrev=False, epilog=STATUSES,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
        host_options(verb)
        if name == "run":
            verb.add_argument("script", metavar="SCRIPT", help="any executable file")
            verb.add_argument("arguments", metavar="ARGS", nargs=argparse.REMAINDER)
    return main


def host_options(verb):
    def add(name, text, **more):
        verb.add_argument(name, help=text, **more)

    def choice(name, choices, text, **more):
        verb.add_argument(name, choices=choices, help=text, **more)
    kernels = "|".join(KERNELS)
    choice("--kernel", KERNELS, f"dom0 and guests: {kernels} (6.1)", metavar="K", default="6.1")
    choice("--dom0-kernel", KERNELS, "dom0 only", metavar="K")
    choice("--guest-kernel", KERNELS, "guests only", metavar="K")
    choice("--guest", ("pv", "pvh"), "type of the guests: pv|pvh (pv)", metavar="T", default="pv")
    add("--guests", f"how many (1; 0 to {MAX_GUESTS})", metavar="N", type=number("guests"))
    add("--vcpus", "of each guest (2)", metavar="N", type=number("vcpus"), default=2)
    add("--memory", "of each guest, in MB (256; 512 for the debug kernel and Debian guests)", metavar="MB",
        type=number("memory"))
    choice("--netfront", ("xpv", "linux"), "in guests: xpv|linux (xpv)", metavar="D", default="xpv")
    choice("--netback", ("xpv", "linux"), "in dom0: xpv|linux (xpv)", metavar="D", default="xpv")
    choice("--blkfront", ("xpv", "linux"), "in guests with disks: xpv|linux (xpv)", metavar="D",
           default="xpv")
    add("--disk", "of each guest, xvda and on: KIND[,size=MB][,sector=512|4096][,ro]"
        "[,backend=blkback|qdisk][,count=N]; KIND is file, ram, null (no medium) or power (ram with "
        "a cache, can be cut off)", metavar="DISK", type=disks.parse, action="append", default=[])
    choice("--guest-root", ("initramfs", "debian"), "initramfs|debian (initramfs): a few programs in "
           "memory, or a Debian guest with systemd on xvda1; its other disks are xvdb and on",
           metavar="R", default="initramfs")
    add("--icount", "counted instructions in one thread, the same at every run", action="store_true")
    choice("--thread", ("single", "multi"), "of the emulator, for all processors or each: single|multi "
           "(single; with multi a kernel now and then dies of an int3)", metavar="T", default="single")
    add("--guest-spec", "one guest that differs: type=,kernel=,netfront=,blkfront=,vcpus=,memory=",
        metavar="SPEC", action="append", default=[])
    add("--vif", "appended to xl's vif entry (rate=..., mtu=..., script=...)", metavar="EXTRA",
        action="append", default=[])
    add("--param", "a module parameter, dom0 and guests: MODULE.NAME=VALUE", metavar="P",
        type=param, action="append", default=[])
    add("--timeout", "seconds of real time for the whole run (600)", metavar="S",
        type=number("timeout"), default=600)
    add("--log", "where to write consoles, dmesg and xl dmesg", metavar="DIR")
    add("--share", "a folder that SCRIPT finds, and may write, as /share", metavar="DIR")
    add("--modules", "take .ko from here instead of build/<kernel>", metavar="DIR")
    add("--cpus", "processors of the emulated machine (2; 1 with --icount or a PVH guest)", metavar="N",
        type=number("cpus"))
    add("--dom0-vcpus", "(2; 1 with --icount or a PVH guest)", metavar="N",
        type=number("dom0-vcpus"))
    add("--dom0-memory", "in MB (768; 1280 for the debug kernel)", metavar="MB",
        type=number("dom0-memory"))
    add("--dom0-cmdline", "appended to dom0's kernel command line", metavar="TEXT", default="")
    add("--guest-cmdline", "appended to the guests' kernel command line", metavar="TEXT", default="")
    add("--xen-cmdline", "appended to Xen's command line", metavar="TEXT", default="")
    add("--qemu-plugin", "what QEMU's -plugin takes, for scripts/bench --account", metavar="P")
    add("--verbose", "dom0's console to stderr as it comes", action="store_true")


SPEC = {
    "type": ("pv", "pvh"), "kernel": KERNELS, "netfront": ("xpv", "linux"),
    "blkfront": ("xpv", "linux"), "vcpus": number("vcpus"), "memory": number("memory"),
}


def spec(text):
    """One --guest-spec as a dictionary."""
    found = {}
    for item in text.split(","):
        key, equals, value = item.partition("=")
        if key not in SPEC or not equals:
            raise usage_error(f"argument --guest-spec: {item!r} in {text!r} is not one of "
                              f"{', '.join(key + '=' for key in SPEC)}")
        allowed = SPEC[key]
        if callable(allowed):
            try:
                found[key] = allowed(value)
            except argparse.ArgumentTypeError as error:
                raise usage_error(f"argument --guest-spec: {key}: {error}") from error
        elif value not in allowed:
            raise usage_error(f"argument --guest-spec: {key}: {value!r} is not one of "
                              f"{', '.join(allowed)}")
        else:
            found[key] = value
    return found


def guests_of(args):
    specs = [spec(text) for text in args.guest_spec]
    count = args.guests if args.guests is not None else len(specs) or 1
    if len(specs) > MAX_GUESTS:
        raise usage_error(f"argument --guest-spec: {len(specs)} guests are more than {MAX_GUESTS}")
    if count < len(specs):
        raise usage_error(f"argument --guests: {count} is less than the {len(specs)} of --guest-spec")
    guests = []
    for index in range(count):
        own = specs[index] if index < len(specs) else {}
        kernel = own.get("kernel", args.guest_kernel or args.kernel)
        guests.append(Guest(
            name=f"g{index + 1}", number=index + 1, type=own.get("type", args.guest), kernel=kernel,
            netfront=own.get("netfront", args.netfront),
            blkfront=own.get("blkfront", args.blkfront), vcpus=own.get("vcpus", args.vcpus),
            memory=own.get("memory", args.memory or
                           (512 if kernel == "debug" or args.guest_root == "debian" else 256)),
            cmdline=args.guest_cmdline))
    return guests


def all_disks(args):
    root = [[disks.Disk(disks.ROOT)]] if args.guest_root == "debian" else []
    try:
        return disks.flat(root + args.disk)
    except argparse.ArgumentTypeError as error:
        raise usage_error(f"argument --disk: {error}") from error


def check_root(guests):
    """What the packages do not put in place is not in a Debian guest."""
    for guest in guests:
        if guest.kernel == "debug":
            raise usage_error("argument --guest-root: debian does not go with the debug kernel")
        if (guest.netfront, guest.blkfront) != ("xpv", "xpv"):
            raise usage_error("argument --guest-root: debian goes with our frontends alone, not with "
                              f"--netfront {guest.netfront} --blkfront {guest.blkfront}")


def check_folder(name, path, make=False):
    if path is None:
        return None
    if make:
        os.makedirs(path, exist_ok=True)
    if not os.path.isdir(path):
        raise usage_error(f"argument {name}: {path!r} is not a folder")
    return os.path.realpath(path)


def parse(arguments):
    """The parsed command line; a Plan for run and shell."""
    args = parser().parse_args(arguments)
    if args.command is None:
        raise usage_error("no command: setup, shell, clean, kdir or run (see scripts/lab --help)")
    for kernel in getattr(args, "kernels", []) + ([args.kernel] if args.command == "kdir" else []):
        if kernel not in KERNELS:
            raise usage_error(f"kernel {kernel!r} is not one of {', '.join(KERNELS)}")
    if args.command not in ("run", "shell"):
        return args
    if args.icount and args.thread != "single":
        raise usage_error(f"argument --thread: {args.thread!r} does not go with --icount")
    dom0_kernel = args.dom0_kernel or args.kernel
    guests = guests_of(args)
    if args.guest_root == "debian":
        check_root(guests)
    # With several processors the emulator loses PVH guests by triple faults; on one counted
    # processor two vCPUs of dom0 do not come through their boot.
    one = args.icount or any(guest.type == "pvh" for guest in guests)
    plan = Plan(
        command=args.command, dom0_kernel=dom0_kernel, netback=args.netback,
        guests=guests, disks=all_disks(args), vif=",".join(args.vif), params=args.param,
        timeout=args.timeout, guest_root=args.guest_root,
        log=args.log, share=check_folder("--share", args.share),
        modules=check_folder("--modules", args.modules), icount=args.icount,
        thread=args.thread, cpus=args.cpus or (1 if one else 2),
        dom0_vcpus=args.dom0_vcpus or (1 if one else 2),
        dom0_memory=args.dom0_memory or (1280 if dom0_kernel == "debug" else 768),
        dom0_cmdline=args.dom0_cmdline, xen_cmdline=args.xen_cmdline, verbose=args.verbose,
        qemu_plugin=args.qemu_plugin)
    if args.command == "run":
        plan.script, plan.arguments = args.script, args.arguments
        if not os.path.isfile(plan.script):
            raise usage_error(f"SCRIPT {plan.script!r} is not a file")
        if not os.access(plan.script, os.X_OK):
            raise usage_error(f"SCRIPT {plan.script!r} is not executable")
    try:
        plan.log = check_folder("--log", plan.log, make=True)
    except OSError as error:
        raise usage_error(f"argument --log: {plan.log!r}: {error.strerror}") from error
    return plan
