# SPDX-License-Identifier: GPL-2.0-only
"""The benchmark's figures as SVG."""

import math
import re

NOT_IN_CHART = ("1/packet", "1/io", "1/page", "1/contended")


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else sum(ordered[middle - 1:middle + 1]) / 2


def ratios(cases):
    """Horizontal bars of the ratio; the line at 1 is Linux's own drivers."""
    cases = [case for case in cases if case["unit"] not in NOT_IN_CHART
             and not overcommitted(case)]
    width, left, row = 860, 260, 26
    height = row * len(cases) + 50
    widest = max([2.0] + [case["ratio"] for case in cases])
    scale = (width - left - 60) / widest
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
             'font-family="sans-serif" font-size="13">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             f'<text x="{left}" y="18">xpv against Linux, counted instructions '
             '(1 = Linux, longer is better)</text>']
    for index, case in enumerate(cases):
        y = 32 + index * row
        colour = "#2a7" if case["ratio"] >= 1 else "#c44"
        parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{case["name"]}</text>')
        parts.append(f'<rect x="{left}" y="{y}" width="{case["ratio"] * scale:.1f}" height="18" '
                     f'fill="{colour}"/>')
        parts.append(f'<text x="{left + case["ratio"] * scale + 6:.1f}" y="{y + 14}">'
                     f'{case["ratio"]:.2f}</text>')
    one = left + scale
    parts.append(f'<line x1="{one:.1f}" y1="26" x2="{one:.1f}" y2="{height - 14}" '
                 'stroke="black" stroke-dasharray="4 3"/>')
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def overcommitted(case):
    """One of the other locks', which have a chart of their own."""
    return case["name"].startswith("pvlock/") and "/over-" in case["name"]


def overcommit(cases):
    """Throughput of each lock over the number of threads, both axes by doubling."""
    lines = {}  # (section, lock): {threads: figure}
    for case in cases:
        found = re.fullmatch(r"pvlock/(\w+)-(\d+)(?:/over-(\w+))?", case["name"])
        if found:
            section, threads, other = found[1], int(found[2]), found[3] or "PV spinlock"
            lines.setdefault((section, other), {})[threads] = median(case["linux"])
            lines.setdefault((section, "xpv"), {})[threads] = median(case["xpv"])
    colours = {"xpv": "#2a7", "PV spinlock": "#26c", "nopvspin": "#c44", "tas": "#999"}
    sections = list(dict.fromkeys(section for section, _ in lines))
    wide, high, top, left = 330, 300, 50, 70
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{(wide + left) * len(sections) + 30}" '
             f'height="{high + top + 50}" font-family="sans-serif" font-size="13">',
             '<rect width="100%" height="100%" fill="white"/>']
    for column, section in enumerate(sections):
        mine = {lock: line for (where, lock), line in lines.items() if where == section}
        threads = sorted({count for line in mine.values() for count in line})
        values = [value for line in mine.values() for value in line.values() if value > 0]
        low, most = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        x0 = left + column * (wide + left)

        def x(count, x0=x0, threads=threads):
            return x0 + threads.index(count) * wide * 0.75 / max(1, len(threads) - 1)

        def y(value, low=low, most=most):
            return top + high * (most - math.log10(max(value, 10 ** low))) / max(1, most - low)
        parts.append(f'<text x="{x0}" y="20">{section} sections: acquisitions a second</text>')
        for power in range(low, most + 1):
            parts.append(f'<line x1="{x0}" y1="{y(10 ** power):.0f}" x2="{x0 + wide * 0.75:.0f}" '
                         f'y2="{y(10 ** power):.0f}" stroke="#ddd"/><text x="{x0 - 6}" '
                         f'y="{y(10 ** power) + 4:.0f}" text-anchor="end">1e{power}</text>')
        for count in threads:
            parts.append(f'<text x="{x(count):.0f}" y="{top + high + 20}" text-anchor="middle">'
                         f'{count / 2:g}:1</text>')
        parts.append(f'<text x="{x0 + wide * 0.375:.0f}" y="{top + high + 42}" '
                     'text-anchor="middle">busy vCPUs to processors</text>')
        for lock, line in mine.items():
            points = " ".join(f"{x(count):.1f},{y(line[count]):.1f}" for count in sorted(line))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colours[lock]}" '
                         f'stroke-width="2"/>')
        for index, lock in enumerate(mine):
            parts.append(f'<text x="{x0 + wide * 0.75 + 8:.0f}" y="{top + 14 + 18 * index}" '
                         f'fill="{colours[lock]}">{lock}</text>')
    parts.append("</svg>")
    return "\n".join(parts) + "\n"
