# SPDX-License-Identifier: GPL-2.0-only
"""The debug kernel: linux-source-6.1, tinyconfig and debug.config, built once.

The entry is the build tree itself, so that modules can be built against it.
"""

import os
import re
import shutil
import subprocess
import sys

import cache
import packages
from common import HERE, LabError, output, read, say, write

FRAGMENT = os.path.join(HERE, "debug.config")
SOURCE = "/usr/src/linux-source-6.1.tar.xz"
OBJECTS = 2200  # of a whole build, for the percentage only


# KASAN is in effect in PVH guests. Linux 6.1 cannot map its shadow in a PV domain, nor
# touch it in the first functions of a PVH one: so each check asks whether there is a
# shadow, which mm/kasan knows how to do for architectures that say so.
EDITS = (
    ("arch/x86/include/asm/kasan.h", "void __init kasan_init(void);\n",
     "void __init kasan_init(void);\nextern bool kasan_has_shadow;\n"
     "#define kasan_arch_is_ready() kasan_has_shadow\n"),
    ("arch/x86/mm/kasan_init_64.c", "void __init kasan_early_init(void)\n",
     "bool kasan_has_shadow __read_mostly;\n\nvoid __init kasan_early_init(void)\n"),
    ("arch/x86/mm/kasan_init_64.c", "	kasan_map_early_shadow(init_top_pgt);\n}",
     "	kasan_map_early_shadow(init_top_pgt);\n	kasan_has_shadow = true;\n}"),
    ("arch/x86/kernel/setup.c", "	kasan_init();\n",
     "#ifdef CONFIG_KASAN\n	if (kasan_has_shadow)\n#endif\n		kasan_init();\n"),
    ("mm/kasan/init.c", "	shadow_start = kasan_mem_to_shadow(start);\n",
     "	if (!kasan_arch_is_ready())\n		return 0;\n"
     "	shadow_start = kasan_mem_to_shadow(start);\n"),
    ("mm/kasan/init.c", "	addr = (unsigned long)kasan_mem_to_shadow(start);\n",
     "	if (!kasan_arch_is_ready())\n		return;\n"
     "	addr = (unsigned long)kasan_mem_to_shadow(start);\n"),
    # gcc writes the shadow of a stack without asking.
    ("lib/Kconfig.kasan", "	default y if CC_IS_GCC\n", "	default n\n"),
    # Its ioctl takes this lock before mmap_lock, its mmap after: lockdep says so when the
    # first guest comes up, and then no more.
    ("drivers/xen/gntdev.c", "	mutex_init(&priv->lock);\n",
     "	mutex_init(&priv->lock);\n	lockdep_set_novalidate_class(&priv->lock);\n"),
    # A watch by a program takes this lock before xs_watch_rwsem, a suspend in between after.
    ("drivers/xen/xenbus/xenbus_dev_frontend.c", "	mutex_init(&u->msgbuffer_mutex);\n",
     "	mutex_init(&u->msgbuffer_mutex);\n	lockdep_set_novalidate_class(&u->msgbuffer_mutex);\n"),
)


def key():
    packages.require(packages.DEBUG)
    return cache.key_of(packages.installed_version("linux-source-6.1"),
                        output(["gcc", "-dumpfullversion"]), ("file", FRAGMENT),
                        ("file", os.path.realpath(__file__)))


def tree():
    """The folder to give as KDIR."""
    return os.path.join(cache.entry("debug", key(), build, "the debug kernel (about ten minutes)"),
                        "linux")


def build(work):
    log = os.path.join(cache.folder(), "debug.log")
    # Out-of-tree builds write absolute paths down, so the tree is where it will stay.
    linux = os.path.join(work, "linux")
    os.makedirs(linux)
    output(["tar", "-xJf", SOURCE, "-C", linux, "--strip-components=1",
            "--exclude=*/Documentation/[a-z]*/*", "--exclude=*/tools/testing/*"])
    for name, old, new in EDITS:
        edit(os.path.join(linux, name), old, new)
    make = ["make", "-C", linux, f"-j{os.cpu_count()}", "KBUILD_BUILD_USER=xpv",
            "KBUILD_BUILD_HOST=lab", "KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970"]
    with open(log, "w", encoding="utf-8") as stream:
        configure(linux, make, stream)
        compile_all([*make, "bzImage", "modules"], log, stream)
    slim(linux)


def edit(path, old, new):
    text = read(path)
    if text.count(old) != 1:
        raise LabError(f"{path} is not as expected: {old.strip()!r} is there {text.count(old)} times")
    write(path, text.replace(old, new))


def configure(linux, make, log):
    for step in ([*make, "tinyconfig"],
                 [os.path.join(linux, "scripts/kconfig/merge_config.sh"), "-m", "-O", linux,
                  os.path.join(linux, ".config"), FRAGMENT],
                 [*make, "olddefconfig"]):
        if subprocess.run(step, stdout=log, stderr=log, cwd=linux, check=False).returncode != 0:
            raise LabError(f"{step[0]} {step[-1]} failed; whole log: {log.name}")
    have = set(read(os.path.join(linux, ".config")).splitlines())
    lost = [line for line in read(FRAGMENT).splitlines()
            if line.startswith("CONFIG_") and line not in have]
    if lost:
        raise LabError(f"the debug kernel's source does not take {', '.join(lost)}")


def compile_all(command, log, stream):
    """make, with a percentage on stderr and the rest in the log."""
    start = stream.tell()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        done, shown = 0, -1
        try:
            for line in process.stdout:
                stream.write(line)
                done += bool(re.match(r"\s+(CC|AS|LD|AR)\b", line))
                percent = min(99, done * 100 // OBJECTS)
                if percent != shown and (percent % 10 == 0 or sys.stderr.isatty()):
                    shown = percent
                    end = "\r" if sys.stderr.isatty() else "\n"
                    print(f"lab: debug kernel: {percent} %", file=sys.stderr, end=end, flush=True)
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        stream.flush()
        with open(log, encoding="utf-8", errors="replace") as text:
            text.seek(start)
            for line in text.read().splitlines()[-15:]:
                say(f"  {line}")
        raise LabError(f"the debug kernel does not build; whole log: {log}")


def slim(linux):
    """Objects are no use to module builds; the source's other architectures neither."""
    keep = ("scripts", "tools")
    for base, folders, files in os.walk(linux):
        top = os.path.relpath(base, linux).split(os.sep)[0]
        if top in keep:
            continue
        for name in files:
            if re.search(r"(\.o|\.a|\.cmd|\.mod\.c)$", name):
                os.unlink(os.path.join(base, name))
    for name in os.listdir(os.path.join(linux, "arch")):
        path = os.path.join(linux, "arch", name)
        if name != "x86" and os.path.isdir(path):
            shutil.rmtree(path)
    for name in ("sound", "Documentation", "samples"):
        shutil.rmtree(os.path.join(linux, name), ignore_errors=True)
