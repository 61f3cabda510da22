"""The torture's checker itself: what it complains of, what it forgets, and what
its person decides. No service runs here."""

import random
from collections import defaultdict
from types import SimpleNamespace

from tests.harness import oracle
from tests.torture.clients import TOLD, UNTOLD
from tests.torture.docket import FORGET, Docket
from tests.torture.person import decision
from tests.torture.rules import Rules

PAYMENT = "11111111-1111-5111-8111-111111111111"


def push(attempt=1, **more):
    at = f"2026-01-01T00:00:0{attempt}.000Z"
    return oracle.Push(attempt, PAYMENT, attempt, 254700000001, 100,
                       **{"answer": "ok", "code": "", "at": at, **more})


def paid(**more):
    return push(accepted=True, receipt="RCPT1",
                debited_at="2026-01-01T00:00:01.500Z", **more)


def over(attempt=1, code="1032"):
    return push(attempt, accepted=True, end_code=code,
                ended_at=f"2026-01-01T00:00:0{attempt}.500Z")


def found(*pushes, status="unresolved", shortcode=TOLD, by_person=(),
          checkout_id="ws_1"):
    row = {"status": status, "shortcode": int(shortcode),
           "checkout_id": checkout_id}
    return oracle.Found({}, {PAYMENT: row}, {}, {PAYMENT: list(pushes)}, {},
                        by_person=set(by_person))


def rules(causes=None):
    return Rules(SimpleNamespace(causes=causes or {},
                                 by_phone=defaultdict(list)), [])


def test_a_docket_judges_each_once_and_again_when_it_changes():
    docket = Docket()
    docket.born(1, ["a", "b"])
    docket.touched(2, ["a", "c"])
    assert docket.open == {"a": 1, "b": 1, "c": 2}
    assert docket.until(1) == {"a", "b"}
    docket.judged(3, {"a", "b"})
    docket.born(4, ["a"])  # promised long since
    assert docket.open == {"c": 2}
    docket.touched(5, ["a"])
    assert docket.open == {"a": 5, "c": 2}


def test_a_docket_forgets_what_is_final_and_stayed_so():
    docket = Docket()
    docket.born(1, ["a", "b"])
    docket.judged(3, {"a", "b"})
    assert docket.forget(2 + FORGET, lambda _: True) == set()
    assert docket.forget(3 + FORGET, lambda i: i == "a") == {"a"}
    assert docket.forget(99, lambda _: True) == {"b"}


def test_a_person_decides_only_what_the_journal_shows():
    dice = random.Random(1)
    assert decision(dice, [over(), paid()]) == ["--paid", "RCPT1"]
    assert decision(dice, [push(accepted=True)]) is None
    said = {decision(dice, [over(), push(2, answer="rst_before")])[0]
            for _ in range(50)}
    assert said == {"--not-paid", "--again"}


def test_what_was_told_does_not_stay_unresolved():
    assert not list(rules().evidence_ignored(found(paid())))
    told = list(rules().evidence_ignored(found(paid(confirmed=True))))
    assert len(told) == 1 and "C2B" in told[0]
    assert list(rules().pull_ignored(found(paid())))
    assert not list(rules().pull_ignored(found(paid(), shortcode=UNTOLD)))
    assert not list(rules().pull_ignored(found(paid(), status="succeeded")))


def test_an_answer_that_came_is_not_lost():
    assert list(rules().evidence_ignored(found(paid(), checkout_id=None)))
    causes = {PAYMENT: [{"code": "lost_answer", "attempt": 1},
                        {"code": "not_found", "attempt": 1}]}
    assert not list(rules(causes).evidence_ignored(
        found(paid(), checkout_id=None)))


def test_again_comes_after_the_end():
    def complaints(*pushes):
        return list(rules().again_only_after_its_end(
            found(*pushes, by_person=[PAYMENT])))
    assert not complaints(over(), push(2))
    assert not complaints(push(answer="rst_before"), push(2))
    assert complaints(push(accepted=True), push(2))
    assert complaints(paid(), push(2))


def test_moves_after_a_person_said_again():
    states = {name: n for n, name in oracle.STATE.items()}
    causes = {PAYMENT: [{"state": states["waiting"]},
                        {"state": states["unknown"]}]}
    assert list(rules(causes).legal_moves(found()))
    assert not list(rules(causes).legal_moves(found(by_person=[PAYMENT])))
