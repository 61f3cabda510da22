"""What the checker holds the memories against, beyond the oracle's rules. Each
yields one line per contradiction; a line begins with the payment's id."""

from collections import defaultdict
from datetime import datetime

from tests.harness import oracle
from tests.torture.clients import TOLD

# ARCHITECTURE.md, "States, and what causes each arrow". What is not announced
# may be skipped by nobody: the timeline has every version.
UNKNOWN = {"prompted", "waiting", "unresolved", "succeeded", "failed", "dead",
           "unknown"}
MOVES = {
    "sending": {"prompted", "waiting", "unknown", "succeeded", "failed",
                "dead"},
    "prompted": {"unknown", "waiting", "succeeded", "failed", "dead"},
    "waiting": {"sending", "waiting", "succeeded", "failed", "rejected",
                "cancelled", "superseded"},
    "unknown": UNKNOWN,
    "unresolved": UNKNOWN,
    "succeeded": {"succeeded", "unknown"},
    "failed": {"succeeded", "waiting", "superseded"},
    "rejected": {"succeeded"}, "cancelled": {"succeeded"},
    "superseded": {"succeeded"}, "dead": {"succeeded", "superseded"},
}
# When a person has said "again", and the push before it had left after all.
AFTER_AGAIN = {"prompted", "unknown"}
HOLD_S = 3  # payments.phone_hold_ms of these runs
# A push whose worker died within so long may have lost its answer's id.
ANSWER_S = 8
# Heartbeats carry the clock; without a fresh one nothing goes out. The provider
# may have slept besides.
NOTICED_S = 6


def seconds(text):
    """The journal's time as a number."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Rules:
    """`deaths`: when workers died or froze. An answer is read after a freeze
    as well, unless the call's time is over then (`freezes_lose`)."""

    def __init__(self, witness, deaths, freezes_lose=True, clock=None):
        self.witness = witness
        self.deaths = deaths
        self.freezes_lose = freezes_lose
        self.clock = clock
        self.shaken = set()  # of which Postgres may have forgotten something
        self._forgets = 0

    def look(self, open_, forgets):
        """Each time that Postgres forgets, it is of what was open then."""
        if forgets != self._forgets:
            self._forgets = forgets
            self.shaken |= open_

    def always(self):
        return (oracle.double_pushes, oracle.double_debits,
                self.unknown_pushes,
                self.one_prompt_per_phone, self.legal_moves,
                self.same_event_same_words, self.again_only_after_its_end,
                self.nothing_by_a_step)

    def settled(self, at_last=False):
        """What has to hold of payments at their ends; `at_last`: of a world
        that has come to its end, too."""
        more = (self.pull_ignored,) if at_last else ()
        return (*more, oracle.lost, oracle.unfinished,
                oracle.money_against_states, self.evidence_ignored,
                self.events_against_rows, oracle.versions,
                oracle.letters_against_rows)

    def _steady(self, found):
        """What Postgres never forgot anything of."""
        return self.witness.part(found, (
            found.rows.keys() | found.pushes.keys() | found.events.keys())
            - self.shaken)

    def unknown_pushes(self, found):
        """What was pushed and forgotten is known again; of its attempts the
        first, since nobody remembers the others."""
        yield from oracle.unknown_pushes(self._steady(found))
        for ident in found.pushes.keys() & self.shaken:
            if ident not in found.rows:
                yield f"{ident}: pushed, and Postgres does not know"

    def events_against_rows(self, found):
        """Of what was forgotten an event may tell more than Postgres knows,
        but what Postgres says is told."""
        yield from oracle.events_against_rows(self._steady(found))
        for ident in found.rows.keys() & self.shaken:
            now = found.rows[ident]
            if not any((e["data"]["version"], e["data"]["status"])
                       == (now["version"], now["status"])
                       for e in found.events.get(ident, ())):
                yield f"{ident}: {now['status']}, and no event tells"

    def one_prompt_per_phone(self, found):
        """Of one phone a second payment's push goes out only after the first
        one's end, or when its hold after a lost answer is over."""
        phones = {p.msisdn for ps in self._steady(found).pushes.values()
                  for p in ps}
        for phone in phones:
            pushes = [p for p in self.witness.by_phone[phone] if p.accepted]
            for first, second in zip(pushes, pushes[1:]):
                ended = first.ended_at or first.debited_at
                if (not ended or ended > second.at) and \
                        seconds(second.at) - seconds(first.at) < HOLD_S:
                    yield (f"{second.payment}: pushed to a phone that has an "
                           f"open prompt of {first.payment}")

    def again_only_after_its_end(self, found):
        """A person says "again" only where the journal has the end of what
        was sent before, so then the next push is late enough, too."""
        for ident in found.by_person:
            pushes = found.pushes.get(ident, ())
            for first, second in zip(pushes, pushes[1:]):
                if not first.proven_over(second.at) and first.accepted and (
                        first.receipt or not first.end_code
                        or first.ended_at > second.at):
                    yield (f"{ident}: attempt {second.attempt} was pushed "
                           f"after a person's word, before the end of "
                           f"attempt {first.attempt}")

    def nothing_by_a_step(self, found):
        """While the database's clock is off nothing goes out, and nobody's
        deadline, a quarter of an hour away, passes by it."""
        if not self.clock:
            return
        for ident, row in found.rows.items():
            if row["status"] == "rejected":
                yield f"{ident}: expired by a step of the clock"
        for ident, pushes in found.pushes.items():
            for push in pushes:
                at = seconds(push.at)
                if any(from_ + NOTICED_S < at < to
                       for from_, to in self.clock.doubted):
                    yield f"{ident}: pushed while the clock was off"

    def legal_moves(self, found):
        for ident, rows in self.witness.causes.items():
            for one, other in zip(rows, rows[1:]):
                from_, to = oracle.STATE[one["state"]], \
                    oracle.STATE[other["state"]]
                if ident in found.by_person and from_ == "waiting" and \
                        to in AFTER_AGAIN:
                    continue
                if to not in MOVES[from_]:
                    yield f"{ident}: went from {from_} to {to}"

    def same_event_same_words(self, found):
        for ident, events in self._steady(found).events.items():
            words = defaultdict(set)
            for event in events:
                words[event["id"]].add(event["hash"])
            for name, told in words.items():
                if len(told) > 1:
                    yield f"{ident}: event {name} was told in two ways"

    def pull_ignored(self, found):
        """Where Pull shows what was paid, nothing that was stays unresolved;
        for the end, since Pull takes its time."""
        for ident, row in found.rows.items():
            if row["status"] == "unresolved" and \
                    str(row["shortcode"]) == TOLD and \
                    any(p.receipt for p in found.pushes.get(ident, ())):
                yield f"{ident}: unresolved, and Pull shows its receipt"

    def _answer_may_be_lost(self, push):
        at = seconds(push.at)
        return any(-ANSWER_S < death.at - at < ANSWER_S
                   for death in self.deaths
                   if death.killed or self.freezes_lose)

    def _said_lost(self, ident, attempt):
        """Whether the attempt's worker has said that no answer came."""
        return any(row["code"] == "lost_answer" and row["attempt"] == attempt
                   for row in self.witness.causes.get(ident, ()))

    def evidence_ignored(self, found):
        """`unresolved` only where nobody told us anything: no callback was
        accepted, and the answer with the id never came (which its worker
        says), or died with the worker that had it. With the id a query is
        asked; in these shrunk windows it may come too late."""
        for ident, row in found.rows.items():
            pushes = found.pushes.get(ident)
            if row["status"] != "unresolved" or not pushes:
                continue
            for push in pushes:
                if push.acknowledged and push.callback != "garbage" and \
                        (push is pushes[-1] or push.receipt):
                    yield f"{ident}: unresolved, and its callback was accepted"
                if push.confirmed:
                    yield f"{ident}: unresolved, and C2B's notice was accepted"
            last = pushes[-1]
            told = last.answer == "ok" and not row["checkout_id"] \
                if last.accepted else last.proven_over("")
            # Busy with what, after a person's "again"? Perhaps with the very
            # push that was believed not to have left.
            if last.answer == "lock" and ident in found.by_person:
                continue
            if told and not self._said_lost(ident, last.attempt) and \
                    ident not in self.shaken and \
                    not self._answer_may_be_lost(last):
                yield (f"{ident}: unresolved, though the provider answered "
                       f"({last.answer}) and the worker lived")
