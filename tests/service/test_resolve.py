"""`foleni resolve`: what only a person can decide, and what they may not."""

import json
import os
import signal
import subprocess

import pytest

from tests.harness import wire
from tests.harness.place import build_directory, wait_for
from tests.harness.upstream import payment_id
from tests.service.test_notices import (eat, notice, order, receipt_of, row,
                                        submit, tell, wait_state)

USAGE, DATA, NOT_FOUND, AGAIN, DENIED = 64, 65, 66, 75, 77
PERSON, C2B = 2, 5
UNKNOWN, SUCCEEDED, FAILED = 4, 6, 7
NEVER = {"answer": "rst_before"}  # lost, and it never rang
WHY = ("--why", "seen in the portal", "--who", "amina")


@pytest.fixture(scope="module")
def world(make_shared):
    return make_shared(workers=2, settings={
        "payments.unresolved_after_ms": 600000,
        "worker.heartbeat_ms": 100, "worker.heartbeat_trust_ms": 500,
        "worker.heartbeat_dead_ms": 1000}).start()


def resolve(world, *arguments):
    return subprocess.run(
        [build_directory() / "foleni", "resolve", "-c", world.config,
         *arguments], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=120)


def fine(world, *arguments):
    done = resolve(world, *arguments, *WHY, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(world, code, *arguments):
    done = resolve(world, *arguments)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stdout == ""
    return done.stderr


def unknown(world, *steps, **more):
    ident = submit(world, order(world, **more), *steps)
    wait_state(world, ident, UNKNOWN)
    return ident


def actions(world, payment):
    return world.query("SELECT * FROM operator_actions WHERE subject = %s "
                       "ORDER BY id", payment)


def test_paid(world):
    ident = unknown(world, NEVER, reference="RPAID")
    done = fine(world, ident, "--paid", "RSLVPAID01", "--paid-at",
                "2026-11-20T07:46:00Z")
    assert done["status"] == "succeeded"
    paid = row(world, ident)
    assert (paid["receipt"], paid["evidence"]) == ("RSLVPAID01", PERSON)
    assert paid["paid_at"].isoformat() == "2026-11-20T07:46:00+00:00"
    action, = actions(world, ident)
    assert action["id"] == done["operator_action"]
    assert (action["action"], action["who"]) == ("resolve.paid", "amina")
    assert action["before"]["status"] == "unknown"
    assert action["after"]["receipt"] == "RSLVPAID01"
    # then M-Pesa's own word outranks it: the same payment, once
    tell(world, wire.c2b_body("RSLVPAID01", reference="RPAID", at=eat(),
                              msisdn=str(paid["msisdn"])))
    wait_for("C2B's word counts", lambda: row(world, ident)["evidence"] == C2B,
             30)
    assert row(world, ident)["receipt"] == "RSLVPAID01"


def test_not_paid(world):
    ident = unknown(world, NEVER)
    assert fine(world, ident, "--not-paid")["status"] == "failed"
    assert row(world, ident)["evidence"] == PERSON
    told = world.upstream().wait_final(ident)
    assert told["status"] == "failed"
    assert told["result"]["evidence"] == "person"
    assert [a["action"] for a in actions(world, ident)] == ["resolve.not_paid"]


def test_again(world):
    ident = unknown(world, NEVER, {"fate": "pay"})
    assert fine(world, ident, "--again")["decision"] == "again"
    wait_state(world, ident, SUCCEEDED)
    assert row(world, ident)["attempt"] >= 2
    assert receipt_of(world, ident)


def give_owner(world, payment, incarnation):
    world.query("UPDATE payments SET owner = %s WHERE id = %s RETURNING id",
                incarnation, payment)


def incarnation(world):
    return world.query("SELECT max(incarnation) AS n FROM workers "
                       "WHERE settled_at IS NULL")[0]["n"]


def test_again_while_its_worker_lives(world):
    ident = unknown(world, NEVER, {"fate": "pay"})
    give_owner(world, ident, incarnation(world))
    for word in "--again", "--not-paid":
        text = refused(world, DENIED, ident, word, *WHY, "--yes")
        assert "lives" in text and "--force" in text
    assert row(world, ident)["state"] == UNKNOWN
    assert actions(world, ident) == []
    fine(world, ident, "--again", "--force")
    wait_state(world, ident, SUCCEEDED)
    assert actions(world, ident)[0]["after"]["forced"] is True


def test_again_while_its_worker_is_frozen(world):
    """Its heart has stopped, and it may be in the middle of its push."""
    frozen = world.workers[1]
    pid = frozen.process.pid
    mine = world.query("SELECT incarnation FROM workers WHERE pid = %s "
                       "ORDER BY 1 DESC", pid)[0]["incarnation"]
    ident = unknown(world, NEVER)
    os.kill(pid, signal.SIGSTOP)
    try:
        give_owner(world, ident, mine)
        wait_for("it is dead to the others", lambda: world.query(
            "SELECT heartbeat_at < clock_timestamp() - interval '2 s' AS dead "
            "FROM workers WHERE incarnation = %s", mine)[0]["dead"], 30)
        for word in "--again", "--not-paid":
            text = refused(world, DENIED, ident, word, *WHY, "--yes")
            assert "frozen" in text
        assert row(world, ident)["state"] == UNKNOWN
    finally:
        os.kill(pid, signal.SIGCONT)
    give_owner(world, ident, None)
    fine(world, ident, "--not-paid")


def test_decision_about_what_has_changed(world):
    """Between the look and the decision something else was learnt: a worker
    refuses what it says of a version that is gone."""
    ident = unknown(world, NEVER)
    world.query(
        "INSERT INTO notices (source, next_look_at, payment, attempt, version,"
        " decision, who, why) SELECT 2, now(), id, attempt, version - 1, 2, "
        "'x', 'y' FROM payments WHERE id = %s RETURNING id", ident)
    wait_for("it is refused", lambda: world.query(
        "SELECT outcome FROM notices WHERE payment = %s",
        ident)[0]["outcome"], 30)
    assert row(world, ident)["state"] == UNKNOWN
    fine(world, ident, "--not-paid")


def test_receipt_of_another_payment(world):
    one = submit(world, order(world), {"fate": "pay"})
    wait_for("it is paid by its callback",
             lambda: row(world, one).get("receipt"), 60)
    two = unknown(world, NEVER)
    text = refused(world, DENIED, two, "--paid", row(world, one)["receipt"],
                   *WHY, "--yes")
    assert one in text
    assert row(world, two)["state"] == UNKNOWN
    fine(world, two, "--not-paid")


def test_receipt_of_which_a_notice_says_otherwise(world):
    ident = unknown(world, NEVER)
    tell(world, wire.c2b_body("RSLVOTHER1", amount=5, reference="X", at=eat()))
    wait_for("it is kept", lambda: notice(world, "RSLVOTHER1"), 30)
    text = refused(world, DENIED, ident, "--paid", "RSLVOTHER1", *WHY, "--yes")
    assert "KES 5" in text
    fine(world, ident, "--not-paid")


def test_final_payment(world):
    ident = submit(world, order(world), {"fate": "cancel"})
    wait_state(world, ident, FAILED)
    text = refused(world, DENIED, ident, "--not-paid", *WHY, "--yes")
    assert "is failed" in text


@pytest.mark.parametrize("code, arguments", [
    (NOT_FOUND, (payment_id("shop", "nobody's"), "--not-paid", *WHY, "--yes")),
    (USAGE, ("not-an-id", "--not-paid", *WHY, "--yes")),
    (USAGE, (payment_id("shop", "x"), *WHY, "--yes")),
    (USAGE, (payment_id("shop", "x"), "--again", "--not-paid", *WHY)),
    (USAGE, (payment_id("shop", "x"), "--not-paid", "--yes")),
    (USAGE, (payment_id("shop", "x"), "--paid", "no receipt!", *WHY)),
    (USAGE, (payment_id("shop", "x"), "--paid", "R1", "--paid-at", "now",
             *WHY)),
    (USAGE, (payment_id("shop", "x"), "--paid", "R1", "--paid-at",
             "2126-01-01T00:00:00Z", *WHY)),
    (USAGE, (payment_id("shop", "x"), "--again", "--paid-at",
             "2026-01-01T00:00:00Z", *WHY)),
])
def test_refused_command_line(world, code, arguments):
    assert refused(world, code, *arguments).startswith("foleni: ")


def test_without_a_terminal(world):
    ident = unknown(world, NEVER)
    assert "--yes" in refused(world, USAGE, ident, "--not-paid", *WHY)
    assert actions(world, ident) == []
    fine(world, ident, "--not-paid")


def test_no_worker(world):
    """It is written and will be applied when one comes."""
    ident = unknown(world, NEVER)
    for worker in world.workers:
        os.kill(worker.process.pid, signal.SIGSTOP)
    try:
        asked = subprocess.Popen(
            [build_directory() / "foleni", "resolve", "-c", world.config,
             ident, "--not-paid", *WHY, "--yes"], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for("it is written", lambda: world.query(
            "SELECT id FROM notices WHERE payment = %s", ident), 30)
        text = refused(world, AGAIN, ident, "--not-paid", *WHY, "--yes")
        assert "another decision" in text
    finally:
        for worker in world.workers:
            os.kill(worker.process.pid, signal.SIGCONT)
    out, err = asked.communicate(timeout=120)
    assert asked.returncode == 0, err
    assert "is failed" in out


def test_alarms_wait_for_a_person(world):
    ident = unknown(world, NEVER)
    number = world.query(
        "INSERT INTO alarms (kind, payment, attempt, receipt) VALUES "
        "('possible_double_charge', %s, 1, 'RSLVALARM1') RETURNING id",
        ident)[0]["id"]
    listed = json.loads(world.foleni("alarms", "list", "--json"))["alarms"]
    mine, = [a for a in listed if a["payment"] == ident]
    assert mine["alarm"] == str(number)
    assert "RSLVALARM1" in world.foleni("alarms", "list")
    world.foleni("alarms", "seen", str(number), *WHY, "--yes")
    assert "RSLVALARM1" not in world.foleni("alarms", "list")
    action, = actions(world, ident)
    assert action["action"] == "alarms.seen"
    with pytest.raises(RuntimeError, match="is open"):
        world.foleni("alarms", "seen", str(number), *WHY, "--yes")
    fine(world, ident, "--not-paid")


def test_notices_are_listed(world):
    tell(world, wire.c2b_body("RSLVLIST01", amount=7, reference="LISTED",
                              at=eat()))
    wait_for("it is kept", lambda: notice(world, "RSLVLIST01"), 30)
    listed = json.loads(world.foleni("notices", "list", "--json"))["notices"]
    mine, = [n for n in listed if n["receipt"] == "RSLVLIST01"]
    assert (mine["amount"], mine["reference"], mine["source"]) == (
        "7", "LISTED", "c2b")
