# SPDX-License-Identifier: GPL-2.0-only
"""Which shared libraries a program needs, read from its ELF dynamic section."""

import os
import struct

LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib", "usr/lib64")
DT_NEEDED, DT_STRTAB = 1, 5


def needed(path):
    """Names in DT_NEEDED, and the interpreter; empty for what is not dynamic ELF."""
    with open(path, "rb") as stream:
        data = stream.read()
    if data[:5] != b"\x7fELF\x02":
        return []
    offset, size, count = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQQQ", data, offset + i * size) for i in range(count)]
    names, strings, found = [], 0, []
    for kind, _, at, _, _, length, _, _ in segments:
        if kind == 3:  # PT_INTERP
            found.append(os.path.basename(data[at:at + length].rstrip(b"\0").decode()))
        if kind == 2:  # PT_DYNAMIC
            for place in range(at, at + length, 16):
                tag, value = struct.unpack_from("<QQ", data, place)
                if tag == DT_NEEDED:
                    names.append(value)
                if tag == DT_STRTAB:
                    strings = value
    for kind, _, at, start, _, length, _, _ in segments:
        if kind == 1 and start <= strings < start + length:  # PT_LOAD with the strings
            base = strings - start + at
            found += [data[base + n:data.index(b"\0", base + n)].decode() for n in names]
    return found


def libraries(root, programs, stubs=()):
    """All libraries below root that these programs need, by file name; those in
    stubs are left to the caller."""
    todo, done = list(programs), {}
    while todo:
        for name in needed(os.path.join(root, todo.pop())):
            if name in done or name in stubs:
                continue
            for folder in LIBRARIES:
                path = os.path.join(folder, name)
                if os.path.exists(os.path.join(root, path)):
                    done[name] = path
                    todo.append(path)
                    break
            else:
                raise FileNotFoundError(f"{name} is not below {root}")
    return done
