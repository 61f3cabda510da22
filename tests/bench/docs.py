"""make bench-docs: takes the cases of build/bench.json over into
docs/benchmarks.json, where each keeps the commit and the machine that it was
measured at, and writes the tables of docs/benchmarks.md from it."""

import json
import sys

from tests.bench.bench import shown
from tests.bench.cases import CASES
from tests.harness.place import REPO, build_directory

KEPT = REPO / "docs" / "benchmarks.json"
PAGE = REPO / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures: make bench-docs -->\n", "<!-- end of figures -->\n"


def merge(kept, told):
    """The cases of a run in place of older ones of the same key."""
    of_run = {"machine": told["machine"], "versions": told["versions"]}
    cases = {c["key"]: c for c in kept}
    cases.update({c["key"]: {**c, **of_run} for c in told["cases"]})
    order = [c.key for c in CASES]
    return sorted((c for k, c in cases.items() if k in order),
                  key=lambda c: order.index(c["key"]))


def summary(cases):
    """How many goals there are, and how many are met."""
    rows = [r for c in cases for r in c["figures"] if "met" in r]
    missed = [r for r in rows if not r["met"]]
    return (f"{len(rows) - len(missed)} of {len(rows)} goals are met. There "
            "was no double push and no lost 202: a case with one fails.\n")


def place_of(case):
    """Machine and versions, in two lines."""
    m = case["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in case["versions"].items())
    return (f"{m['cores']} cores ({m['cpu']}), {m['memory_gib']} GiB, "
            f"{m['system']}, Linux {m['kernel']}; {versions}.\n")


def table(case):
    lines = [f"\n### {case['key']}: {case['name']}\n",
             f"\n{case['measures'][0].upper()}{case['measures'][1:]}.\n\n",
             "| | measured | goal | |\n", "|---|---:|---:|---|\n"]
    marks = {True: "met", False: "**not met**", None: ""}
    for row in case["figures"]:
        unit = "µs" if row["unit"] == "us" else row["unit"]
        lines.append(f"| {row['name']} | {shown(row['value'])} {unit} | "
                     f"{row.get('goal', '')} | {marks[row.get('met')]} |\n")
    noise = "" if case["quiet"] else \
        f"; not a quiet machine: others took {case['others_cores']} cores"
    changed = " with changes" if case["changed"] else ""
    lines.append(f"\n{case['at']}, commit {case['commit']}{changed}{noise}.\n")
    return "".join(lines)


def write(cases):
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        sys.exit(f"{PAGE}: the place for the figures is gone")
    places = dict.fromkeys(place_of(c) for c in cases)
    body = "\n".join([*places, summary(cases)]) + "".join(map(table, cases))
    PAGE.write_text(head + BEGIN + "\n" + body + "\n" + END + tail)


def main():
    told = json.loads((build_directory() / "bench.json").read_text())
    if told["form"] != "full":
        sys.exit(f"bench-docs: the last run was a {told['form']} one")
    failed = [c["key"] for c in told["cases"] if c["faults"]]
    if failed:
        sys.exit(f"bench-docs: failed: {', '.join(failed)}")
    kept = json.loads(KEPT.read_text())["cases"] if KEPT.exists() else []
    cases = merge(kept, told)
    KEPT.write_text(json.dumps({"cases": cases}, indent=1) + "\n")
    write(cases)


if __name__ == "__main__":
    main()
