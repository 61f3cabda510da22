"""Every header compiles alone, with gcc and with clang, and has its guard."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror",
            "-Wno-unused-function"]
PACKAGES = ["libevent_core", "openssl", "libcurl", "rdkafka", "libcjson",
            "libpq", "libconfig"]


def _flags():
    out = subprocess.run(["pkg-config", "--cflags", *PACKAGES],
                         capture_output=True, text=True, check=True).stdout
    return out.split()


def _compile(tree, compiler, name, flags):
    # Included twice: a guard that does not work shows.
    source = f'#include "{name}"\n#include "{name}"\n'
    done = subprocess.run(
        [compiler, "-std=gnu17", "-D_GNU_SOURCE", "-I.", *flags, *WARNINGS,
         "-fsyntax-only", "-x", "c", "-"],
        input=source, capture_output=True, text=True, cwd=tree.root)
    if done.returncode == 0:
        return []
    reason = re.search(r".*error.*", done.stderr)
    said = reason.group() if reason else done.stderr.strip()[:200]
    return [f"{name}:1: does not compile alone with {compiler}: {said}"]


def _guard(tree, name):
    want = "FOLENI_" + re.sub(r"\W", "_", name).upper()
    if f"#ifndef {want}\n#define {want}\n" in tree.text(name):
        return []
    return [f"{name}:1: its guard is not {want}"]


def check(tree):
    headers = tree.files(".h")
    flags = _flags()
    jobs = [(tree, compiler, name, flags) for name in headers
            for compiler in ("gcc", "clang")]
    with ThreadPoolExecutor() as pool:
        faults = [f for found in pool.map(lambda j: _compile(*j), jobs)
                  for f in found]
    return faults + [f for name in headers for f in _guard(tree, name)]


def _header(noun, body):
    guard = f"FOLENI_COMMON_{noun.upper()}_H"
    return f"#ifndef {guard}\n#define {guard}\n\n{body}\n\n#endif\n"


GOOD = {"common/a.h": _header("a", "int f(int x);")}
BAD = [
    ({"common/a.h": _header("a", "size_t f(void);")}, "compile alone"),
    ({"common/a.h": "struct x {\n    int y;\n};\n"}, "compile alone"),
    ({"common/a.h": _header("b", "int f(int x);")}, "its guard"),
]
