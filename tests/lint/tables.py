"""Settings and metrics stand in their tables once, say what they are, and are
used by somebody."""

import re

_ROW = re.compile(r"^(?:CLIENT_|SHORTCODE_)?(?:INTEGER|BOOLEAN|TEXTS?|CHOICE|"
                  r"SECRET)\s*\((.*)\)\s*$")
_STRING = re.compile(r'"((?:\\.|[^"\\])*)"')
_METRIC = re.compile(r'^METRIC\((\w+),\s*\w+,\s*(\w+),\s*"(\w+)",\s*'
                     r'"(.*?)",\s*"((?:\\.|[^"\\])*)"\)\s*$')


def _uses(tree, suffix):
    return "\n".join(tree.text(n) for n in tree.files(suffix)
                     if not n.startswith("tests/unit/"))


def _settings(tree, name, code):
    faults, seen = [], set()
    for n, line in tree.lines(name):
        match = _ROW.match(line)
        if not match:
            continue
        args = match.group(1)
        kind = line.partition("(")[0]
        path = _STRING.match(args).group(1)
        field = args.split(",")[1].strip()
        sentence = _STRING.findall(args)[-1]
        if (kind, path) in seen:
            faults.append(f"{name}:{n}: {path} stands there twice")
        seen.add((kind, path))
        if len(sentence.split()) < 3:
            faults.append(f"{name}:{n}: {path} has no sentence")
        if not re.search(rf"(->|\.){field}\b", code):
            faults.append(f"{name}:{n}: nobody reads {path} ({field})")
    return faults


def _metrics(tree, name, code):
    faults, helped = [], set()
    for n, line in tree.lines(name):
        if not line.startswith("METRIC("):
            continue
        match = _METRIC.match(line)
        if not match:
            faults.append(f"{name}:{n}: not a METRIC row as the table has it")
            continue
        ident, kind, metric, _, sentence = match.groups()
        if sentence:
            helped.add(metric)
        elif metric not in helped:
            faults.append(f"{name}:{n}: {metric} has no help")
        if kind == "COUNTER" and not metric.endswith("_total"):
            faults.append(f"{name}:{n}: counter {metric} needs _total")
        if not re.search(rf"\b{ident}\b", code):
            faults.append(f"{name}:{n}: nobody moves {ident}")
    return faults


def check(tree):
    faults = []
    code = _uses(tree, ".c")
    for name in tree.files("config.def"):
        faults += _settings(tree, name, code)
    for name in tree.files("metrics.def"):
        faults += _metrics(tree, name, code)
    return faults


_C = "void f(void)\n{\n    use(cfg->one);\n    metric_add(M_ONE, 1);\n}\n"
_SET = 'TEXT("a.one", one, "", 64, 0, "the first of them all")\n'
_MET = 'METRIC(M_ONE, MG_COMMON, COUNTER, "one_total", "", "What it counts")\n'
GOOD = {"common/config.def": _SET, "common/metrics.def": _MET, "a.c": _C}
BAD = [
    ({"common/config.def": _SET + _SET, "a.c": _C}, "twice"),
    ({"common/config.def": _SET, "a.c": ""}, "nobody reads"),
    ({"common/config.def": _SET.replace("the first of them all", ""),
      "a.c": _C}, "no sentence"),
    ({"common/metrics.def": _MET, "a.c": ""}, "nobody moves"),
    ({"common/metrics.def": _MET.replace("one_total", "one"), "a.c": _C},
     "needs _total"),
    ({"common/metrics.def": _MET.replace("What it counts", ""), "a.c": _C},
     "no help"),
]
