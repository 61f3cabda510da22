"""The operator with M-Pesa's statement on the table: decides some unresolved
payments by what the journal says, which is always true. Where the journal does
not know yet, no decision is made."""

import json
import random
import subprocess
import threading
from collections import Counter

AGE_S = 10  # a push so old is in the journal, or reached nobody
PER_ROUND = 6
# refused: it is settled meanwhile, its worker may live, a server is away, ...
REFUSED = (65, 69, 74, 75, 77)


def decision(dice, pushes):
    """Arguments of `foleni resolve` that are true, or None."""
    receipts = [p.receipt for p in pushes if p.receipt]
    if receipts:
        return ["--paid", receipts[0]]
    if any(p.accepted and not p.end_code for p in pushes):
        return None  # its prompt is open
    return [dice.choice(("--not-paid", "--not-paid", "--again"))]


class Person:
    """`done` counts what was decided, `faults` what should not have been
    answered. Decides in a thread of its own, so that the nemesis strikes
    meanwhile."""

    def __init__(self, field, seed):
        self.field = field
        self.done = Counter()
        self.faults = []
        self._dice = random.Random(f"person:{seed}")
        self._thread = None

    def sit_down(self, witness):
        """Begins to decide some of those that are unresolved now."""
        if self.busy():
            return
        old = {r["id"] for r in self.field.query(
            "SELECT id::text FROM payments WHERE state = 5 AND (pushed_at IS "
            "NULL OR pushed_at < now() - %s * interval '1 s')", AGE_S)}
        unresolved = sorted(
            i for i, s in witness.statuses.items()
            if s == "unresolved" and i in old)
        some = self._dice.sample(unresolved, min(PER_ROUND, len(unresolved)))
        cases = [(i, decision(self._dice, witness.by_payment.get(i, ())))
                 for i in some]
        self._thread = threading.Thread(
            target=self._decide, args=([c for c in cases if c[1]],),
            daemon=True)
        self._thread.start()

    def busy(self):
        return self._thread is not None and self._thread.is_alive()

    def _decide(self, cases):
        for ident, what in cases:
            try:
                code, said, why = self.field.operate(
                    "resolve", ident, *what, "--why", "as in the statement",
                    "--who", "operator", "--yes", "--json")
            except subprocess.TimeoutExpired:
                self.done["resolve: not heard of"] += 1
                continue
            if code == 0 and json.loads(said)["operator_action"]:
                self.done[f"resolve {what[0]}"] += 1
            elif code in REFUSED:
                self.done["resolve: refused"] += 1
            else:
                self.faults.append(f"{ident}: resolve {' '.join(what)} ended "
                                   f"with {code}: {said}{why}")
