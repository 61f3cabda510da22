"""Counts over the rounds, and the one table at the end."""

import time
from collections import Counter

from tests.harness import oracle

ORPHAN = 10  # consumer/flow.def


def why_unresolved(pushes):
    """What the provider's journal says of it."""
    if not pushes:
        return "no push was received"
    last = pushes[-1]
    if not last.accepted:
        return "its answer did not say whether it was accepted"
    return "accepted; answer or id lost, and callback lost"


class Tally:
    def __init__(self, options):
        self.options = options
        self.began = time.monotonic()
        self.rounds = 0
        self.struck = Counter()
        self.took = []      # seconds from a death to its rows in hand
        self.hindered = []  # the same while Postgres was away, too
        self.late = ""
        self.audit = ""
        self.impossible = []  # what could not be done here, and why
        self.numbers = {}
        self._deaths = 0
        self._last_s = 0
        self._why = {}  # of an unresolved payment

    def add(self, n, field, witness, found, seconds, nemesis):
        self.rounds, self._last_s = n, seconds
        self.struck = nemesis.struck
        self._takeovers(field, witness)
        for ident, row in found.rows.items():
            self._why.pop(ident, None)
            if row["status"] == "unresolved":
                self._why[ident] = why_unresolved(found.pushes.get(ident, ()))
        pushes = witness.pushes.values()
        double = set(oracle.double_pushes(found)) | set(
            oracle.double_debits(found))
        states = oracle.states(field)
        self.numbers = {
            "promised (202)": len(field.promised),
            "payments": sum(states.values()),
            "pushes": len(pushes),
            "debits": sum(bool(p.receipt) for p in pushes),
            "pushed or debited twice": len(double),
            "202 and lost": len(list(oracle.lost(found))),
            "stuck": sum(n for s, n in states.items()
                         if s not in oracle.AT_END),
            "unresolved": states.get("unresolved", 0),
            **{f"  {why}": n for why, n in Counter(
                self._why.values()).most_common()},
        }

    def _takeovers(self, field, witness):
        """From a death to the first look of another at each of its rows."""
        for death in field.deaths[self._deaths:]:
            for ident in death.had:
                at = [row["at"] for row in witness.causes.get(ident, ())
                      if row["at"] > death.at and row["cause"] == ORPHAN]
                if not at:
                    continue
                away = any(death.at - 1 < b < at[0]
                           for b in field.postgres_began)
                (self.hindered if away else self.took).append(
                    at[0] - death.at)
        self._deaths = len(field.deaths)

    def line(self):
        n = self.numbers
        took = self.took
        worst = f", takeover max {max(took):.1f} s" if took else ""
        return (f"round {self.rounds:4} {self._last_s:5.1f} s: "
                f"{n['payments']} payments, {n['pushes']} pushes, "
                f"{n['debits']} debits, "
                f"{n['pushed or debited twice']} twice, "
                f"{n['202 and lost']} lost, {n['stuck']} open, "
                f"{n['unresolved']} unresolved, "
                f"{sum(self.struck.values())} faults{worst}")

    def _quantiles(self, values):
        if not values:
            return "none"
        v = sorted(values)
        p99 = v[min(len(v) - 1, int(len(v) * 0.99))]
        return (f"p50 {v[len(v) // 2]:.2f} s, p99 {p99:.2f} s, "
                f"max {v[-1]:.2f} s ({len(v)} payments)")

    def table(self):
        rows = [("commit", self.options.commit), ("seed", self.options.seed),
                ("environment", ",".join(sorted(self.options.env))),
                ("rounds", f"{self.rounds} in "
                 f"{time.monotonic() - self.began:.0f} s"),
                *self.numbers.items(),
                ("takeover", self._quantiles(self.took)),
                ("takeover, Postgres away too",
                 self._quantiles(self.hindered)),
                ("faults", sum(self.struck.values()))]
        rows += [(f"  {name}", n) for name, n in sorted(self.struck.items())]
        if self.audit:
            rows.append(("audit trail", self.audit))
        rows += [("not possible here", what) for what in self.impossible]
        if self.late:
            rows.append(("late", self.late))
        wide = max(len(name) for name, _ in rows)
        return "\n".join(["", "torture"] + [f"  {name:{wide}}  {value}"
                                            for name, value in rows])
