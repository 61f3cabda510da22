"""Each transition of a model names the functions that it stands for, and these
exist; or it is what the world does."""

import re

from tree import bare_c

_STEP = re.compile(r"^\s*:: (?:d_step|atomic) \{(.*)$")
_SAYS = re.compile(r"^ /\* (.+) \*/$")
_NAME = re.compile(r"\b([a-z]\w+)\(\)")
_DEFINED = re.compile(r"^(?:[a-z][\w\s*]*[\s*])?([a-z]\w+)\(", re.M)


def _defined(tree):
    names = set()
    for name in tree.files(".c"):
        if not name.startswith("tests/"):
            names |= set(_DEFINED.findall(bare_c(tree.text(name))))
    return names


def _step(place, words, defined):
    says = _SAYS.match(words)
    if not says:
        return [f"{place}: a transition without a comment of its own"]
    text = says.group(1)
    named = _NAME.findall(text)
    if not named and not text.startswith("world: "):
        return [f"{place}: names no function, and is not the world's"]
    return [f"{place}: there is no function {n}()" for n in named
            if n not in defined]


def check(tree):
    faults, defined = [], _defined(tree)
    for name in tree.files(".pml"):
        steps = 0
        for n, line in tree.lines(name):
            match = _STEP.match(line)
            if match:
                steps += 1
                faults += _step(f"{name}:{n}", match.group(1), defined)
        if not steps:
            faults.append(f"{name}:1: no transition that can be read")
    return faults


_C = "static void flow_due(struct step *s)\n{\n    flow_past(s);\n}\n"
_PML = ("    :: d_step { /* flow_due(): it is time */\n"
        "    :: d_step { /* world: rain */\n")
GOOD = {"consumer/a.c": _C, "tests/model/a.pml": _PML}
BAD = [
    ({"consumer/a.c": _C, "tests/model/a.pml":
      _PML.replace("flow_due", "flow_past")}, "no function flow_past()"),
    ({"consumer/a.c": "", "tests/model/a.pml": _PML},
     "no function flow_due()"),
    ({"consumer/a.c": "/* void flow_due(void) */\n",
      "tests/model/a.pml": _PML}, "no function flow_due()"),
    ({"consumer/a.c": _C, "tests/model/a.pml": _PML.replace("world: ", "")},
     "names no function"),
    ({"consumer/a.c": _C, "tests/model/a.pml":
      _PML + "    :: d_step { alive[w] -> skip }\n"}, "without a comment"),
    ({"consumer/a.c": _C, "tests/model/a.pml": "init { skip }\n"},
     "no transition"),
]
