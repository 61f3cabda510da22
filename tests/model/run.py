#!/usr/bin/python3
"""Checks the models of the protocol with Spin, and that they can fail.

Each run goes through every state of a model under some faults. Each mutant is
the model with one rule taken away: Spin has to find what goes wrong then. At
the end every transition must have been gone through by some run.

Usage: tests/model/run.py [--runs | --mutants] [--show] [NAME...]
  --show   prints how a mutant goes wrong, transition by transition
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutants import MUTANTS

HERE = Path(__file__).resolve().parent
NONE = {"CRASHES": 0, "STALLS": 0, "CUTS": 0, "REPLAYS": 0, "DOUBLES": 0,
        "PERSONS": 0}
# name, model, faults, whether it is the run that shows that none is endless
RUNS = [
    ("forgotten", "payment", {"FORGETS": 1}, False),
    ("forgotten, two hosts", "payment", {"FORGETS": 1, "TWO_HOSTS": 1}, False),
    ("deaths", "payment", {"CRASHES": 2, "STALLS": 1}, False),
    ("endless", "payment", {"CRASHES": 1, "STALLS": 1}, True),
    ("lost commits", "payment", {"CRASHES": 1, "STALLS": 1, "CUTS": 1}, False),
    ("read again", "payment", {"CRASHES": 1, "CUTS": 1, "REPLAYS": 1,
                               "DOUBLES": 1}, False),
    ("frozen", "payment", {"STALLS": 2, "CUTS": 1, "DOUBLES": 1}, False),
    ("a person", "payment", {"CRASHES": 1, "PERSONS": 1}, False),
    ("a lost host", "payment", {"CRASHES": 1, "STALLS": 1, "TWO_HOSTS": 1},
     False),
    ("one phone", "phone", {"CRASHES": 1, "STALLS": 2}, False),
    ("phone, endless", "phone", {"CRASHES": 1, "STALLS": 1}, True),
]
MEMORY_MB = 1000
SECONDS = 600
TRANSITION = re.compile(r"^\s*:: d_step \{ /\* (.+?) \*/$")


class Found:
    def __init__(self, text, seconds):
        def number(pattern):
            match = re.search(pattern, text)
            return float(match.group(1)) if match else 0
        self.states = int(number(r"([\de+.]+) states, stored"))
        self.depth = int(number(r"depth reached (\d+)"))
        self.memory = number(r"([\d.]+)\s+total actual memory")
        self.errors = int(number(r"errors: (\d+)")) if "errors:" in text else -1
        self.what = "; ".join(re.findall(r"^pan:\d+: (.*) \(at depth", text,
                                         re.M))
        self.whole = "Search not completed" not in text and \
            "max search depth too small" not in text and \
            "out of memory" not in text
        self.hits = {int(n) for n in re.findall(r"^hit (\d+)$", text, re.M)}
        self.trail = [(int(p), name, int(line)) for p, name, line in re.findall(
            r"proc +(\d+) \((\w+)\).*\[D_STEP(\d+)\]", text)]
        self.seconds = seconds


def transitions(text):
    return {n: match.group(1) for n, line in enumerate(text.split("\n"), 1)
            if (match := TRANSITION.match(line))}


def with_hits(text):
    """Each transition says, when it is gone through, on which line it stands.
    Lines stay where they are."""
    out, at = [], 0
    for n, line in enumerate(text.split("\n"), 1):
        if TRANSITION.match(line):
            at = n
        if at and "->" in line and not line.lstrip().startswith("#"):
            # the first arrow that is not of a conditional expression
            line = line.replace("->", "-> c_code { hit[%d] = 1; };" % at, 1)
            at = 0
        out.append(line)
    text = "\n".join(out)
    head = ("c_decl { \\#include <stdlib.h>\n"
            "static unsigned char hit[4096]; static void tell(void) { int i; "
            "for (i = 0; i < 4096; i++) if (hit[i]) "
            "printf(\"hit %d\\n\", i); } } ")
    return text, head


def check(text, faults, endless=False, show=False):
    began = time.monotonic()
    text = text.replace("init\n{\n    atomic {",
                        "init\n{\n    atomic { c_code { atexit(tell); };", 1)
    text, head = with_hits(text)
    flags = [f"-D{k}={v}" for k, v in faults.items()]
    build = ["-O1", "-w", "-DNOCLAIM" if not endless else "-DNP",
             f"-DMEMLIM={MEMORY_MB}", "-DCOLLAPSE", "-DNOREDUCE"]
    if not endless:
        build.append("-DSAFETY")
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "m.pml").write_text(text + "\n" + head)
        for command in (["spin", "-a", *flags, "m.pml"],
                        ["gcc", *build, "-o", "pan", "pan.c"]):
            done = subprocess.run(command, cwd=place, capture_output=True,
                                  text=True)
            if done.returncode or "Error" in done.stdout:
                sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        run = ["./pan", "-m100000", "-w22"] + (["-l"] if endless else [])
        out = subprocess.run(run, cwd=place, capture_output=True, text=True,
                             timeout=SECONDS).stdout
        if show and (Path(place) / "m.pml.trail").exists():
            out += subprocess.run(["./pan", "-r"], cwd=place, text=True,
                                  capture_output=True).stdout
    return Found(out, time.monotonic() - began)


def mutate(text, changes):
    for old, new in changes:
        if text.count(old) != 1:
            sys.exit(f"a mutant's text stands there {text.count(old)} times, "
                     f"not once:\n{old}")
        text = text.replace(old, new)
    return text


def story(found, text):
    steps = transitions(text)
    return "\n".join(f"      {name} {p}: {steps.get(line, line)}"
                     for p, name, line in found.trail)


def main():
    words = [a for a in sys.argv[1:] if not a.startswith("--")]
    wanted = {a for a in sys.argv[1:] if a.startswith("--")}
    texts = {n: (HERE / f"{n}.pml").read_text() for n in ("payment", "phone")}
    jobs = []
    if "--mutants" not in wanted:
        for name, model, faults, endless in RUNS:
            if not words or name in words:
                jobs.append((name, model, texts[model], faults, endless, False))
    if "--runs" not in wanted:
        for name, model, faults, changes in MUTANTS:
            if not words or name in words:
                jobs.append((name, model, mutate(texts[model], changes),
                             faults, False, True))
    began, bad, hits = time.monotonic(), 0, {n: set() for n in texts}
    print(f"{'':30}{'states':>10}{'depth':>7}{'MB':>6}{'s':>7}")

    def work(job):
        name, model, text, faults, endless, mutant = job
        faults = {**NONE, **faults} if model == "payment" else faults
        return job, check(text, faults, endless, "--show" in wanted or
                          not mutant)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for job, found in pool.map(work, jobs):
            name, model, text, _, endless, mutant = job
            fine = found.errors == 0 and found.whole
            if mutant:
                end = f"caught: {found.what[:40]}" if found.errors > 0 else \
                    "NOT CAUGHT"
                good = found.errors > 0
            else:
                end = "holds" if fine else f"FAILS: {found.what or 'cut off'}"
                good = fine
                hits[model] |= found.hits
            bad += not good
            print(f"{('without ' if mutant else '') + name:30}"
                  f"{found.states:10}{found.depth:7}{found.memory:6.0f}"
                  f"{found.seconds:7.1f}  {end}", flush=True)
            if found.trail and (not good or "--show" in wanted):
                print(story(found, text))
    if not words and "--mutants" not in wanted:
        for model, text in texts.items():
            for line, what in transitions(text).items():
                if line not in hits[model]:
                    bad += 1
                    print(f"tests/model/{model}.pml:{line}: never gone "
                          f"through: {what}")
    print(f"model: {len(jobs)} checks, {time.monotonic() - began:.0f} s, "
          + (f"{bad} FAILED" if bad else "all as they should be"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
