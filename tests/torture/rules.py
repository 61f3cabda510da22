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


def seconds(text):
    """The journal's time as a number."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Rules:
    """`deaths`: when workers died or froze. An answer is read after a freeze
    as well, unless the call's time is over then (`freezes_lose`)."""

    def __init__(self, witness, deaths, freezes_lose=True):
        self.witness = witness
        self.deaths = deaths
        self.freezes_lose = freezes_lose

    def always(self):
        return (*oracle.ALWAYS, self.one_prompt_per_phone, self.legal_moves,
                self.same_event_same_words, self.again_only_after_its_end)

    def settled(self, at_last=False):
        """What has to hold of payments at their ends; `at_last`: of a world
        that has come to its end, too."""
        more = (self.pull_ignored,) if at_last else ()
        return (*more, oracle.lost, oracle.unfinished,
                oracle.money_against_states, self.evidence_ignored,
                oracle.events_against_rows, oracle.versions,
                oracle.letters_against_rows)

    def one_prompt_per_phone(self, found):
        """Of one phone a second payment's push goes out only after the first
        one's end, or when its hold after a lost answer is over."""
        phones = {p.msisdn for ps in found.pushes.values() for p in ps}
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
        for ident, events in found.events.items():
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
            if told and not self._said_lost(ident, last.attempt) and \
                    not self._answer_may_be_lost(last):
                yield (f"{ident}: unresolved, though the provider answered "
                       f"({last.answer}) and the worker lived")
