"""Runs the cases and prints what they found; build/bench.json has it too.

    make bench                 every case in its full size
    make bench QUICK=1         a few in small, within 45 s on a quiet machine
    make bench ONLY=a,c,k      some of them

Exit code 1 = a contradiction (a double push, a lost 202), or a case that could
not be measured. A goal that is not met is no failure: it is marked."""

import argparse
import ast
import json
import os
import sys
import time
import traceback

from tests.bench import machine
from tests.bench.case import Figures
from tests.bench.cases import CASES, QUICK
from tests.bench.meter import Bystanders
from tests.bench.stage import Stage, remove_leftovers
from tests.harness import place

NOISY_CORES = 0.2  # of other processes: figures are worth less beyond it


def shown(value):
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.1f}"


def print_row(row):
    mark = {True: "met", False: "NOT met"}.get(row.get("met"), "")
    print(f"  {row['name']:46}{shown(row['value']):>12} {row['unit']:10}"
          f"{row.get('goal', ''):>12} {mark}".rstrip(), flush=True)


def run_case(stage, case, sizes):
    """One case; whatever goes wrong in it stands in its faults."""
    print(f"\n{case.key}  {case.name}: {case.measures}", flush=True)
    figures, began = Figures(case.goals), time.monotonic()
    bystanders = Bystanders()
    try:
        case.run(stage, figures, sizes)
        figures.faults += stage.judge()
        if sizes is case.full:
            figures.faults += [f"nothing was measured for the goal of {name!r}"
                               for name in figures.unmeasured()]
    except Exception:
        figures.faults.append(traceback.format_exc())
        stage.close(hard=True)
    for row in figures.rows:
        print_row(row)
    took_s = time.monotonic() - began
    others_cores = bystanders.cores()
    quiet = others_cores <= NOISY_CORES
    print(f"  {took_s:.0f} s; others took {others_cores:.2f} cores"
          + ("" if quiet else ": NOT a quiet machine"))
    for fault in figures.faults:
        print(f"  CONTRADICTION: {fault}")
    return {"key": case.key, "name": case.name, "measures": case.measures,
            "sizes": sizes, **machine.measured_at(),
            "took_s": round(took_s, 1), "quiet": quiet,
            "others_cores": round(others_cores, 2),
            "figures": figures.rows, "faults": figures.faults}


def chosen(options):
    """[(case, sizes)], in the order of the table."""
    keys = options.only.split(",") if options.only else \
        list(QUICK) if options.quick else [c.key for c in CASES]
    unknown = set(keys) - {c.key for c in CASES}
    if unknown:
        sys.exit(f"bench: there is no case {', '.join(sorted(unknown))}")
    return [(c, resized(c, c.quick if options.quick else c.full, options.size))
            for c in CASES if c.key in keys]


def resized(case, sizes, given):
    """The sizes with those in place that were given as KEY.NAME=VALUE."""
    for text in given:
        name, _, value = text.partition("=")
        key, _, name = name.partition(".")
        if key != case.key:
            continue
        if name not in sizes:
            sys.exit(f"bench: case {key} has no size {name!r}, it has "
                     f"{', '.join(sizes)}")
        sizes = {**sizes, name: ast.literal_eval(value)}
    return sizes


def main():
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", help="keys of cases, with commas")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--size", action="append", default=[],
                        metavar="KEY.NAME=VALUE",
                        help="as f.away_s=60; --list shows what there is")
    options = parser.parse_args()
    cases = chosen(options)
    if options.list:
        for case, sizes in cases:
            print(f"{case.key}  {case.name}: {case.measures} {sizes}")
        return 0
    directory = place.run_directory(f"bench-{os.getpid()}")
    form = "quick" if options.quick else "resized" if options.size else "full"
    told = {"form": form,
            "machine": machine.machine(), "versions": machine.versions(),
            "cases": []}
    print(", ".join(f"{k} {v}" for k, v in told["machine"].items()))
    remove_leftovers(directory)
    stage, began = Stage(directory), time.monotonic()
    try:
        stage.start()
        for case, sizes in cases:
            told["cases"].append(run_case(stage, case, sizes))
            write(told)
    finally:
        stage.end()
        place.remove(directory)
    print(f"\n{time.monotonic() - began:.0f} s in all")
    return 1 if any(c["faults"] for c in told["cases"]) else 0


def write(told):
    """After each case: a run that is broken off has left what it found."""
    path = place.build_directory() / "bench.json"
    path.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
