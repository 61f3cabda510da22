"""Counts over the rounds, and the one table at the end."""

import resource
import time
from collections import Counter
from contextlib import contextmanager

from tests.harness import oracle

WORDS = {"audit": "audit trail", "impossible": "not possible here",
         "late": "late"}
ORPHAN = 10  # consumer/flow.def
EVIDENCE = {8: "by a query", 12: "by C2B or Pull",
            13: "Pull has nothing: unresolved", 14: "by a person"}
LATE_S = 15  # after a death; then its rows have been taken over


def why_unresolved(pushes):
    """What the provider's journal says of it."""
    if not pushes:
        return "no push was received"
    last = pushes[-1]
    if not last.accepted:
        return "its answer did not say whether it was accepted"
    return "accepted; answer or id lost, and callback lost"


def rss_mb():
    """What this process has in memory now."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize() / 1e6


class Tally:
    """Of one world. Nothing in it but values: it is handed on as a pickle."""

    def __init__(self, options):
        self.seed, self.wanted = options.seed, options.rounds
        self.began = time.monotonic()
        self.rounds = 0
        self.struck = Counter()
        self.settled = Counter()  # changes, by what made them
        self.took = []      # seconds from a death to its rows in hand
        self.hindered = []  # the same while Postgres was away, too
        self.late, self.audit = [], []
        self.impossible = []  # what could not be done here, and why
        self.numbers = {}
        self.spent = Counter()  # seconds, by part of a round
        self.rates = []     # of each round: (when it ended, our MB)
        self._last_s = 0
        self._why = {}  # of an unresolved payment

    @contextmanager
    def spends(self, part):
        began = time.monotonic()
        try:
            yield
        finally:
            self.spent[part] += time.monotonic() - began

    def add(self, n, field, witness, found, ended, seconds, nemesis):
        """A round: what was `found`, and the part of it that was at its end."""
        self.rounds, self._last_s = n, seconds
        self.struck = nemesis.struck
        self.rates.append((time.monotonic() - self.began, rss_mb()))
        self.takeovers(field, time.time() - LATE_S)
        for ident, row in found.rows.items():
            self._why.pop(ident, None)
            if row["status"] == "unresolved":
                self._why[ident] = why_unresolved(found.pushes.get(ident, ()))
        double = set(oracle.double_pushes(found)) | set(
            oracle.double_debits(found))
        states, count = witness.states(), witness.count
        self.numbers = {
            "promised (202)": count["promised"] + len(field.promised),
            "payments": witness.payments(),
            "pushes": count["pushes"],
            "debits": count["debits"],
            "pushed or debited twice": len(double),
            "202 and lost": len(list(oracle.lost(ended))),
            "stuck": sum(n for s, n in states.items()
                         if s not in oracle.AT_END),
            "unresolved": states["unresolved"],
            **{f"  {why}": n for why, n in Counter(
                self._why.values()).most_common()},
        }

    def evidence(self, field, person):
        """At the end: what settled what answer and callback did not."""
        for row in field.query(
                "SELECT cause, count(*) AS n FROM timeline "
                "WHERE cause = ANY(%s) GROUP BY cause", list(EVIDENCE)):
            self.settled[EVIDENCE[row["cause"]]] += row["n"]
        self.settled.update(person.done)

    def forgotten(self, recovered):
        """What Postgres forgot, and an operator entered."""
        self.numbers["forgotten by Postgres, recovered"] = recovered

    def takeovers(self, field, until):
        """From a death to the first look of another at each of its rows; by
        the clock of Postgres, where it can be trusted. Those during which
        Postgres was restarted, frozen or read-only count apart: nobody could
        have taken anything over."""
        if field.clock:
            return
        for death in field.deaths:
            if not death.had or death.at > until:
                continue
            for row in field.query(
                    "SELECT extract(epoch FROM min(at))::float8 AS at "
                    "FROM timeline WHERE payment = ANY(%s::uuid[]) AND "
                    "cause = %s AND at > to_timestamp(%s) GROUP BY payment",
                    list(death.had), ORPHAN, death.at):
                away = any(death.at - 1 < b < row["at"]
                           for b in field.postgres_back)
                (self.hindered if away else self.took).append(
                    row["at"] - death.at)
            death.had.clear()

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

    def eta(self):
        return eta(self.rounds, self.wanted, time.monotonic() - self.began)

    def growth(self):
        """The first and the last tenth of the rounds: (s a round, MB)."""
        tenth = len(self.rates) // 10
        if not tenth:
            return None
        (a, _), (b, early), (c, _), (d, late) = (
            self.rates[i] for i in (0, tenth, -1 - tenth, -1))
        return ((b - a) / tenth, early), ((d - c) / tenth, late)


def eta(done, rounds, seconds):
    """What is still to come, for people."""
    left = seconds / done * (rounds - done)
    return f"{done} of {rounds}, {left / 60:.0f} min to go"


def _quantiles(values):
    if not values:
        return "none"
    v = sorted(values)
    p99 = v[min(len(v) - 1, int(len(v) * 0.99))]
    return (f"p50 {v[len(v) // 2]:.2f} s, p99 {p99:.2f} s, "
            f"max {v[-1]:.2f} s ({len(v)} payments)")


def _sum(counters):
    total = Counter()
    for counter in counters:
        total.update(counter)
    return total


def _flow(tallies):
    """What a round takes, and whether it takes more in the end."""
    n = max(1, sum(t.rounds for t in tallies))
    spent = _sum(t.spent for t in tallies)
    yield "a round's seconds", ", ".join(
        f"{part} {s / n:.1f}" for part, s in spent.items())
    for t in tallies:
        if t.growth():
            (s, mb), (s1, mb1) = t.growth()
            yield "first and last tenth", (
                f"{s:.1f} and {s1:.1f} s a round, {mb:.0f} and {mb1:.0f} MB")


def table(options, tallies, seconds):
    """One of all worlds together."""
    numbers = _sum(t.numbers for t in tallies)
    struck = _sum(t.struck for t in tallies)
    rows = [("commit", options.commit), ("seed", options.seed),
            ("environment", ",".join(sorted(options.env))),
            ("worlds", ", ".join(f"{t.rounds} rounds of seed {t.seed}"
                                 for t in tallies)),
            ("rounds", f"{sum(t.rounds for t in tallies)} in {seconds:.0f} s"),
            *numbers.items(),
            ("takeover", _quantiles([s for t in tallies for s in t.took])),
            ("takeover, Postgres away too",
             _quantiles([s for t in tallies for s in t.hindered])),
            ("faults", sum(struck.values()))]
    rows += [(f"  {name}", n) for name, n in sorted(struck.items())]
    settled = _sum(t.settled for t in tallies)
    rows += [("changes in doubt", sum(n for name, n in settled.items()
                                      if name in EVIDENCE.values()))]
    rows += [(f"  {name}", n) for name, n in sorted(settled.items())]
    rows += _flow(tallies)
    for name in ("audit", "impossible", "late"):
        rows += [(WORDS[name], what) for t in tallies
                 for what in getattr(t, name)]
    wide = max(len(name) for name, _ in rows)
    return "\n".join(["", "torture"] + [f"  {name:{wide}}  {value}"
                                        for name, value in rows])
