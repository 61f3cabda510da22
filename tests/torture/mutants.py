"""make torture-mutants: builds whose safety is broken on purpose; the same run
that an unbroken build passes has to catch each.

They run alone: neither C2B nor Pull nor a person makes good what they spoil.
A mutant is an exact text that occurs once in a file, and what stands there
instead. It is built in a copy of the clone, on the objects of build/torture."""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field

from tests.harness import place

TORTURE = place.REPO / "build" / "torture"
LIMIT_S = 400  # of one run


@dataclass
class Mutant:
    name: str
    edits: list            # (file, text, what stands there instead)
    caught_by: set         # rules of which one has to complain
    environ: dict = field(default_factory=dict)
    rounds: int = 5        # it has to be caught by then


MUTANTS = [
    Mutant(
        "claim is not waited for",
        [("consumer/store_claim.c",
          """    if (err) {
        finish(c, err);
        return;
    }
    must(n == 2);
""",
          """    if (err && err->code == ERR_UNSURE) {
        c->now_at = c->rows[0]->deadline_at - 60000000;
        for (size_t i = 0; i < c->n; i++)
            inserted(c, c->rows[i], CLAIM_GO);
        finish(c, NULL);
        return;
    }
    if (err) {
        finish(c, err);
        return;
    }
    must(n == 2);
""")],
        {"double_pushes", "double_debits", "unknown_pushes", "lost"},
        {"FAULTS": "pg-lose,kill-worker", "STATEMENTS": "go",
         "COMMITTED": "0"}),
    Mutant(
        "time-out is a failure",
        [("consumer/flow_push.c",
          """    step_result(s, RESULT_LOST, EVIDENCE_ANSWER, "lost_answer", """
          """s->e->why.text);
    end_unknown(s);
""",
          """    step_result(s, RESULT_LOST, EVIDENCE_ANSWER, "lost_answer", """
          """s->e->why.text);
    step_finish(s, PAYMENT_FAILED);
""")],
        {"money_against_states"},
        {"FAULTS": "sim-answers,sim-callbacks", "LOST": "0.5"}),
    Mutant(
        "stale version is accepted",
        [("consumer/store_sql.c",
          '"WHERE p.id = r.id AND p.version = r.seen "',
          '"WHERE p.id = r.id "')],
        {"double_pushes", "double_debits", "money_against_states",
         "same_event_same_words", "events_against_rows", "versions",
         "legal_moves", "crash"},
        {"FAULTS": "window-worker", "WINDOWS": "step_unsent:stop:0.3"}),
    Mutant(
        "living process' recorder is trusted",
        [("consumer/recorder.c",
          "    if (fd < 0 || !flock(fd, LOCK_EX | LOCK_NB))\n",
          "    if (fd < 0 || !flock(fd, LOCK_EX | LOCK_NB) ||\n"
          "        errno == EWOULDBLOCK)\n")],
        {"double_pushes", "double_debits"},
        {"FAULTS": "window-worker", "WINDOWS": "push_unmarked:stop:0.3"}),
    Mutant(
        "answer after takeover is dropped",
        [("consumer/flow_push.c",
          "    if (step_open_push(s->p))\n        by_kind",
          "    if (s->p->state == PAYMENT_UNKNOWN)\n        return;\n"
          "    if (step_open_push(s->p))\n        by_kind")],
        {"evidence_ignored"},
        {"FAULTS": "window-worker", "LOST": "0.5",
         "WINDOWS": "answer_uncommitted:stop:0.1",
         "SETTINGS": "gate.total_timeout_ms=20000,"
                     "worker.drain_timeout_ms=25000"}),
]


def copy_of(mutant):
    """A clone's copy with the mutation, built; its build directory."""
    root = place.REPO / "build" / "torture-mutants" / \
        re.sub(r"\W+", "-", mutant.name)
    place.remove(root)
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], check=True,
        capture_output=True, text=True, cwd=place.REPO).stdout.splitlines()
    for name in names:
        if (place.REPO / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(place.REPO / name, root / name)
    shutil.copytree(TORTURE, root / "build" / "torture",
                    copy_function=shutil.copy2)
    for name, text, instead in mutant.edits:
        path = root / name
        whole = path.read_text()
        if whole.count(text) != 1:
            raise SystemExit(f"mutant \"{mutant.name}\": its text occurs "
                             f"{whole.count(text)} times in {name}")
        path.write_text(whole.replace(text, instead))
    subprocess.run(["make", "-s", "--no-print-directory",
                    "BUILD=build/torture", "EXTRA= -DFOLENI_WINDOWS",
                    f"-j{os.cpu_count()}", "all"], check=True, cwd=root)
    return root / "build" / "torture"


def torture(build, environ, rounds, seed):
    """(exit code, what it printed)"""
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.torture"],
        capture_output=True, text=True, cwd=place.REPO, timeout=LIMIT_S,
        env={**os.environ, "FOLENI_BUILD": str(build), "SEED": str(seed),
             "ROUNDS": str(rounds), "KEEP": "", "FORGET": "1", "ALONE": "1",
             **environ})
    return done.returncode, done.stdout + done.stderr


def rules_of(said):
    """The rules that complained."""
    _, _, story = said.partition("\nCONTRADICTION")
    return set(re.findall(r"^(\w+): ", story, re.M))


def caught(mutant, seed):
    """None, or what went otherwise."""
    code, said = torture(copy_of(mutant), mutant.environ, mutant.rounds, seed)
    rules = rules_of(said)
    match = re.search(r"CONTRADICTION in round (\d+)", said)
    if code == 0 or not match:
        return f"was not caught:\n{said[-3000:]}"
    if not rules & mutant.caught_by:
        return f"was caught by {sorted(rules)}:\n{said[-3000:]}"
    print(f"  in round {match.group(1)} by "
          f"{', '.join(sorted(rules & mutant.caught_by))}", flush=True)
    code, said = torture(TORTURE, mutant.environ, int(match.group(1)) + 1,
                         seed)
    if code:
        return f"the unbroken build does not pass its run:\n{said[-6000:]}"
    return None


def main():
    seed = int(os.environ.get("SEED") or 1)
    wanted = os.environ.get("MUTANT", "")
    failed = 0
    for mutant in MUTANTS:
        if wanted not in mutant.name:
            continue
        began = time.monotonic()
        print(f"mutant: {mutant.name}", flush=True)
        fault = caught(mutant, seed)
        print(f"  {fault or 'caught'}, {time.monotonic() - began:.0f} s",
              flush=True)
        failed += fault is not None
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
