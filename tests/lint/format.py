"""C files look as clang-format writes them; every line has 80 columns."""

import re
import subprocess

# Tables are aligned by hand and as wide as their sentences.
WIDTH = 80
WIDE = re.compile(r"https?://\S{60,}")


def _clang_format(tree, names):
    if not names:
        return []
    done = subprocess.run(["clang-format", "--dry-run", "--Werror", *names],
                          capture_output=True, text=True, cwd=tree.root)
    at = re.findall(r"^(\S+?:\d+):\d+: error", done.stderr, re.M)
    seen, faults = set(), []
    for place in at:
        name = place.partition(":")[0]
        if name not in seen:
            seen.add(name)
            faults.append(f"{place}: not as clang-format has it (make format)")
    if done.returncode and not faults:
        faults.append(f".clang-format:1: {done.stderr.strip()[:200]}")
    return faults


def check(tree):
    faults = _clang_format(tree, tree.files(".c", ".h"))
    for name in tree.files(".c", ".h", ".py", ".sh"):
        for n, line in tree.lines(name):
            if len(line.expandtabs(8)) > WIDTH and not WIDE.search(line):
                faults.append(f"{name}:{n}: {len(line)} columns, {WIDTH} are "
                              "the limit")
            if line != line.rstrip():
                faults.append(f"{name}:{n}: white space at the end")
    return faults


STYLE = "BasedOnStyle: LLVM\nIndentWidth: 4\n"
GOOD = {".clang-format": STYLE, "a.c": "int x;\n"}
BAD = [
    ({".clang-format": STYLE, "a.c": "int   x ;\n"}, "clang-format"),
    ({".clang-format": STYLE, "a.c": "// " + "x" * 80 + "\n"}, "columns"),
    ({".clang-format": STYLE, "a.py": "x = 1 \n"}, "white space"),
]
