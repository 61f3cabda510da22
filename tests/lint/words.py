"""Words that do not belong in a finished file: marks of unfinished work,
paths of somebody's machine, documents that are not here."""

import re

MARKS = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
PLACES = re.compile(r"(?<![\w.$}/-])/(?:work|home|Users|root)/\w")
DOCUMENT = re.compile(r"(?<![\w/.*-])((?:[\w-]+/)*[\w-]+\.md)\b")
ELSEWHERE = {"CONFIGURATION.md", "STATISTICS.md"}  # librdkafka's
SKIP = (".png", ".svg", ".pem")


def check(tree):
    faults = []
    bases = {n.rpartition("/")[2] for n in tree.files(".md")} | ELSEWHERE
    for name in tree.names:
        if name.endswith(SKIP):
            continue
        for n, line in tree.lines(name):
            for what, pattern in (("mark", MARKS), ("place", PLACES)):
                match = pattern.search(line)
                if match:
                    faults.append(f"{name}:{n}: {what} {match.group()!r}")
            for document in DOCUMENT.findall(line):
                if document.rpartition("/")[2] not in bases:
                    faults.append(f"{name}:{n}: there is no {document}")
    return faults


GOOD = {"MAP" ".md": "x\n", "a.c": "/* MAP" ".md says it. */\n",
        "b.sh": "cd $HOME/wo" "rk/x; ls /var/lib\n"}
BAD = [
    ({"a.c": "/* TO" "DO: more */\n"}, "mark"),
    ({"a.py": "x = '/wo" "rk/main'\n"}, "place"),
    ({"a.c": "/* see secret" ".md */\n"}, "there is no"),
]
