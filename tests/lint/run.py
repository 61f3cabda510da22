#!/usr/bin/python3
"""Runs every rule over the repository, each after a test of the rule itself.

A rule is a module with check(tree) -> ["file:line: what"], a GOOD tree that it
must let pass, and BAD trees with the word that its complaint must hold: a rule
that can no longer fail is noticed.

Usage: tests/lint/run.py [RULE...]
"""

import importlib
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.dont_write_bytecode = True

from tree import Tree  # noqa: E402  (after the path)

RULES = ["layers", "banned", "alone", "format", "size", "tables", "words",
         "model", "interfaces"]


def grow(files, directory):
    for name, text in files.items():
        path = Path(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(directory)


def self_test(rule):
    faults = []
    with tempfile.TemporaryDirectory() as directory:
        for said in rule.check(grow(rule.GOOD, directory)):
            faults.append(f"refuses its good sample: {said}")
    for files, word in rule.BAD:
        with tempfile.TemporaryDirectory() as directory:
            said = rule.check(grow(files, directory))
        if not any(word in line for line in said):
            faults.append(f"lets a bad sample pass ({word!r}): {files}")
    return [f"tests/lint/{rule.__name__}.py:1: {f}" for f in faults]


def main():
    tree = Tree(Path(__file__).resolve().parents[2])
    bad = 0
    for name in sys.argv[1:] or RULES:
        began = time.monotonic()
        rule = importlib.import_module(name)
        faults = self_test(rule) + rule.check(tree)
        for fault in faults:
            print(fault)
        end = "passed" if not faults else f"{len(faults)} faults"
        seconds = time.monotonic() - began
        print(f"lint: {name:8} {end} ({len(rule.BAD)} bad samples caught, "
              f"{seconds:.1f} s)" if not faults else
              f"lint: {name:8} {end} ({seconds:.1f} s)")
        bad += len(faults)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
