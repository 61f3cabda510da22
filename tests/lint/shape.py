#!/usr/bin/python3
"""The shape of the C code: sizes of files and functions, branches, comments.

A picture to think with, not a gate (the gate is the rule `size`). Calm C has a
median function of 11-19 lines with 2-4 paths, files of 100-500 lines, and
nothing beyond 60 lines."""

import re
import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent))
sys.dont_write_bytecode = True

import size  # noqa: E402  (after the path)
from tree import Tree, bare_c  # noqa: E402

BRANCH = re.compile(r"\b(?:if|for|while|case)\b|&&|\|\||\?")
ROOMS = ("common", "producer", "consumer", "tools", "tests/daraja",
         "tests/unit")
LONGEST = 10


def share(values, part):
    ordered = sorted(values) or [0]
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def measure(tree):
    """[(room, function, file, line, lines, paths)]"""
    bare = {n: bare_c(tree.text(n)).split("\n") for n in tree.files(".c")}
    rows = []
    for name, path, at, n in size.functions(tree):
        if path not in bare:
            continue
        body = "\n".join(bare[path][at - 1:at - 1 + n])
        rows.append((path.rpartition("/")[0], name, path, at, n,
                     1 + len(BRANCH.findall(body))))
    return rows


def main():
    tree = Tree(Path(__file__).resolve().parents[2])
    rows = measure(tree)
    print(f"{'':14}{'files':>6}{'lines':>8}{'largest':>9}{'functions':>11}"
          f"{'lines med/p90/max':>20}{'paths med/p90':>15}")
    for room in ROOMS:
        files = [n for n in tree.files(".c", ".h")
                 if n.rpartition("/")[0] == room]
        lines = [tree.text(n).count("\n") for n in files]
        mine = [r for r in rows if r[0] == room]
        if not mine:
            continue
        sizes, paths = [r[4] for r in mine], [r[5] for r in mine]
        spread = f"{median(sizes):.0f}/{share(sizes, .9)}/{max(sizes)}"
        branches = f"{median(paths):.0f}/{share(paths, .9)}"
        print(f"{room:14}{len(files):6}{sum(lines):8}{max(lines):9}"
              f"{len(mine):11}{spread:>20}{branches:>15}")
    print("\nthe longest functions of the product")
    product = [r for r in rows if r[0] != "tests/unit"]
    for _, name, path, at, n, paths in sorted(
            product, key=lambda r: -r[4])[:LONGEST]:
        print(f"  {n:4} lines {paths:3} paths  {name} ({path}:{at})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
