"""No function of the product grows beyond 60 lines, no file beyond 700."""

import json
import subprocess

LINES_MAX = 60
TEST_LINES_MAX = 90  # a table of cases in a unit test may be longer
FILE_MAX = 700


def functions(tree):
    """(name, file, first line, lines) of every C function."""
    names = tree.files(".c", ".h")
    if not names:
        return []
    out = subprocess.run(
        ["ctags", "--output-format=json", "--fields=+ne", "--kinds-C=f", "-f",
         "-", *names],
        capture_output=True, text=True, check=True, cwd=tree.root).stdout
    tags = [json.loads(line) for line in out.splitlines()]
    return [(t["name"], t["path"], t["line"], t["end"] - t["line"] + 1)
            for t in tags if "end" in t]


def check(tree):
    faults = []
    for name, path, at, n in functions(tree):
        limit = TEST_LINES_MAX if "tests/unit/" in path else LINES_MAX
        if n > limit:
            faults.append(f"{path}:{at}: {name}() has {n} lines, {limit} are "
                          "the limit")
    for name in tree.files(".c"):
        n = tree.text(name).count("\n")
        if n > FILE_MAX and "tests/unit/" not in name:
            faults.append(f"{name}:1: {n} lines, {FILE_MAX} are the limit")
    return faults


GOOD = {"a.c": "int f(void)\n{\n    return 1;\n}\n"}
BAD = [
    ({"a.c": "int f(int x)\n{\n" + "    x++;\n" * 60 + "    return x;\n}\n"},
     "f() has"),
    ({"a.c": "\n" * 701}, "lines"),
]
