"""The oracle itself: a clean history passes, and each way to break the promise
is named by the rule that stands for it. No service runs here."""

import copy

import pytest

from tests.harness import oracle

EVERY = oracle.ALWAYS + oracle.SETTLED + oracle.CALM
PAID = "11111111-1111-5111-8111-111111111111"
FAILED = "22222222-2222-5222-8222-222222222222"


def journal_rows(n, ident, attempt, answer="ok", receipt=None, end=None):
    at = f"2026-01-01T00:00:{n:02d}"
    rows = [{"t": "push", "at": f"{at}.000Z", "n": n, "payment": ident,
             "attempt": attempt, "msisdn": 254700000001, "amount": 100,
             "answer": answer}]
    if receipt or end:
        rows.append({"t": "accept", "at": f"{at}.001Z", "n": n,
                     "callback": "once"})
    if receipt:
        rows.append({"t": "debit", "at": f"{at}.500Z", "n": n,
                     "receipt": receipt})
    if end:
        rows.append({"t": "end", "at": f"{at}.500Z", "n": n, "code": end})
    return rows


def event(ident, version, status):
    final = status in oracle.FINAL
    return {"id": f"{ident}:{version}", "type": f"foleni.payment.{status}",
            "final_header": str(int(final)), "version_header": str(version),
            "data": {"version": version, "status": status, "final": final,
                     "result": None, "request": {"amount": 100}}}


def row(ident, status, version, attempt=1, receipt=None):
    return {"id": ident, "status": status, "version": version,
            "attempt": attempt, "msisdn": 254700000001, "amount": 100,
            "reference": "A1", "receipt": receipt, "holds_phone": False}


def pushes(*rows):
    found = {}
    for push in oracle.read_journal([r for rs in rows for r in rs]).values():
        found.setdefault(push.payment, []).append(push)
    return found


def clean():
    """One paid after a throttled attempt, one whose customer said no."""
    asked = {"msisdn": "0700000001", "amount": 100, "reference": "A1"}
    return oracle.Found(
        promised={PAID: asked, FAILED: asked},
        rows={PAID: row(PAID, "succeeded", 5, 2, "RCPT1"),
              FAILED: row(FAILED, "failed", 3)},
        timeline={PAID: [1, 2, 3, 4, 5], FAILED: [1, 2, 3]},
        pushes=pushes(journal_rows(1, PAID, 1, "spike"),
                      journal_rows(2, PAID, 2, receipt="RCPT1"),
                      journal_rows(3, FAILED, 1, end="1032")),
        events={PAID: [event(PAID, 2, "waiting"), event(PAID, 4, "prompted"),
                       event(PAID, 5, "succeeded")],
                FAILED: [event(FAILED, 3, "failed")]})


def test_clean_history_passes():
    assert oracle.contradictions(clean(), EVERY) == []


def repush(f):
    f.pushes[PAID] += pushes(journal_rows(9, PAID, 3, end="1"))[PAID]
    f.rows[PAID]["attempt"] = 3


def resend(f):
    f.pushes[FAILED] += pushes(journal_rows(9, FAILED, 1))[FAILED]


def after_lost_answer(f):
    f.pushes[PAID][0] = pushes(journal_rows(1, PAID, 1, "rst_before"))[PAID][0]


def after_busy(f):
    f.pushes[PAID][0] = pushes(journal_rows(1, PAID, 1, "busy"))[PAID][0]


def two_debits(f):
    f.pushes[PAID][0] = pushes(
        journal_rows(1, PAID, 1, receipt="RCPT0"))[PAID][0]


def forget_row(f):
    del f.rows[FAILED]


def other_amount(f):
    f.promised[FAILED] = dict(f.promised[FAILED], amount=101)


def still_open(f):
    f.rows[FAILED]["status"] = "prompted"


def keeps_phone(f):
    f.rows[FAILED]["holds_phone"] = True


def unknown_attempt(f):
    f.rows[PAID]["attempt"] = 1


def succeeded_unpaid(f):
    f.rows[FAILED]["status"] = "succeeded"


def failed_though_paid(f):
    f.rows[PAID]["status"] = "failed"


def other_receipt(f):
    f.rows[PAID]["receipt"] = "RCPT9"


def ignored_callback(f):
    f.rows[PAID]["status"] = "unresolved"
    f.pushes[PAID][1].acknowledged = True


def no_event(f):
    del f.events[FAILED]


def last_event_missing(f):
    f.events[PAID].pop()


def events_swapped(f):
    f.events[PAID].reverse()


def event_of_nothing(f):
    f.events["33333333-3333-5333-8333-333333333333"] = []


def wrong_header(f):
    f.events[FAILED][0]["final_header"] = "0"


def version_skipped(f):
    f.timeline[PAID] = [1, 2, 4, 5]


def dead_without_letter(f):
    f.rows[FAILED]["status"] = "dead"


@pytest.mark.parametrize("mutant, rule", [
    (repush, "double_pushes"),
    (resend, "double_pushes"),
    (after_lost_answer, "double_pushes"),
    (after_busy, "double_pushes"),
    (two_debits, "double_debits"),
    (forget_row, "lost"),
    (forget_row, "unknown_pushes"),
    (other_amount, "lost"),
    (still_open, "unfinished"),
    (keeps_phone, "unfinished"),
    (unknown_attempt, "unknown_pushes"),
    (succeeded_unpaid, "money_against_states"),
    (failed_though_paid, "money_against_states"),
    (other_receipt, "money_against_states"),
    (ignored_callback, "evidence_ignored"),
    (no_event, "events_against_rows"),
    (last_event_missing, "events_against_rows"),
    (events_swapped, "event_order"),
    (event_of_nothing, "events_against_rows"),
    (wrong_header, "events_against_rows"),
    (version_skipped, "versions"),
    (dead_without_letter, "letters_against_rows"),
])
def test_mutant_is_caught(mutant, rule):
    found = copy.deepcopy(clean())
    mutant(found)
    named = {fault.partition(":")[0] for fault in
             oracle.contradictions(found, EVERY)}
    assert rule in named


def test_prompt_that_ended_unpaid_may_be_followed():
    found = clean()
    found.pushes[PAID][0] = pushes(
        journal_rows(1, PAID, 1, end="1037"))[PAID][0]
    assert oracle.contradictions(found) == []
