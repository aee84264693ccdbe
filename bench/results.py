# SPDX-License-Identifier: GPL-2.0-only
"""bench/RESULTS.md: a section and a chart for each family of cases and kernel, each as the
command wrote it when it was measured last, with the commit that it measured."""

import os
import re
import subprocess

import charts

HEAD = """<!-- SPDX-License-Identifier: GPL-2.0-only -->
# Results

Written by `scripts/bench --record`. Counted instructions on one emulated processor: figures
repeat, and only their ratio counts; above 1 ours is better. What the cases are:
`scripts/bench --help`.
"""


def commit(top):
    """The tree that was measured, with a + for changes that are in no commit."""
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=top, capture_output=True, text=True,
                              check=False).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short=12", "HEAD") or "no repository") + "+" * bool(changed)


def sections(text):
    """{title: section without it}."""
    parts = re.split(r"^## (.*)\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def record(folder, family, kernel, cases, table, rounds, seconds):
    """Put what was measured of a family into folder's RESULTS.md."""
    path = os.path.join(folder, "RESULTS.md")
    title = f"{family}, Linux {kernel}"
    picture = f"{family.replace('/', '-')}-{kernel}.svg"
    known = {}
    if os.path.exists(path):
        with open(path) as old:
            known = sections(old.read())
    known[title] = (f"\nCommit {commit(os.path.dirname(folder))}, `scripts/bench --record --only "
                    f"{family}/ --kernel {kernel} --rounds {rounds} --seconds {seconds}`.\n\n"
                    f"![{title}: ratios to Linux's drivers]({picture})\n\n{table}")
    with open(os.path.join(folder, picture), "w") as out:
        out.write(charts.ratios(cases))
    with open(path, "w") as out:
        out.write(HEAD + "".join(f"\n## {name}\n{known[name].rstrip()}\n" for name in sorted(known)))
