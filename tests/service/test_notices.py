"""Money that is learnt of outside of callbacks: C2B notices, matched to the one
payment that they fit, or kept and shown; receipts that two payments claim."""

import time

import pytest

from tests.harness import wire
from tests.harness.place import wait_for

NOTICES = "foleni_notices_total"
APPLIED, UNMATCHED, AMBIGUOUS = 1, 3, 4
CALLBACK, C2B = 6, 5

# Both ways of hearing of the payment are gone: its answer and its callback.
LOST = {"answer": "rst_after", "callback": "lost"}


@pytest.fixture(scope="module")
def notified(make_shared):
    """A world whose shortcode is registered for C2B confirmations."""
    made = make_shared(
        settings={"payments.unresolved_after_ms": 600000}).start()
    made.sim.register_c2b(
        174379, f"http://127.0.0.1:{made.api.port}{wire.c2b_path()}")
    return made


def order(world, **more):
    return {"msisdn": world.new_phone(), "amount": 100, "reference": "ORDER1",
            "shortcode": "174379", **more}


def submit(world, asked, *steps):
    if steps:
        world.sim.script(asked["msisdn"], *steps)
    return world.upstream().submit(asked).body["id"]


def row(world, payment):
    rows = world.query("SELECT * FROM payments WHERE id = %s", payment)
    return rows[0] if rows else {"state": 0}


def wait_state(world, payment, state):
    wait_for(f"{payment} is in state {state}",
             lambda: row(world, payment)["state"] == state, 60)


def causes(world, payment):
    return [r["cause"] for r in world.query(
        "SELECT cause FROM timeline WHERE payment = %s ORDER BY version",
        payment)]


def notice(world, receipt):
    rows = world.query("SELECT * FROM notices WHERE receipt = %s", receipt)
    return rows[0] if rows else None


def receipt_of(world, payment):
    """The debit's, once there is one."""
    def found():
        return [r["receipt"] for r in world.sim.journal()
                if r["t"] == "debit" and r["payment"] == payment]
    wait_for(f"{payment} is debited", found, 60)
    return found()[0]


def eat(seconds_ago=0):
    return time.strftime("%Y%m%d%H%M%S",
                         time.gmtime(time.time() - seconds_ago + 3 * 3600))


def tell(world, body):
    answer = world.upstream().request("POST", wire.c2b_path(), body, {
        "Content-Type": "application/json"})
    assert answer.status == 200


def metric(world, end):
    return world.worker.metrics().get(f'{NOTICES}{{end="{end}"}}', 0)


def test_answer_and_callback_lost(notified):
    asked = order(notified, reference="LOSTBOTH")
    ident = submit(notified, asked, {"fate": "pay", "c2b": "once", **LOST})
    wait_state(notified, ident, 6)
    paid = row(notified, ident)
    assert paid["receipt"] == receipt_of(notified, ident)
    assert paid["evidence"] == C2B
    assert paid["attempt"] == 1
    wait_for("the notice is applied",
             lambda: notice(notified, paid["receipt"])["disposition"] ==
             APPLIED, 30)
    assert str(notice(notified, paid["receipt"])["payment"]) == ident
    notified.upstream().wait_final(ident)
    assert len(notified.sim.pushes(asked["msisdn"])) == 1


def test_two_payments_that_it_fits(notified):
    phone = notified.new_phone()
    asked = order(notified, msisdn=phone, reference="TWICE")
    first = submit(notified, asked, {"answer": "rst_before"},
                   {"fate": "pay", "c2b": "once", **LOST})
    wait_state(notified, first, 4)
    second = submit(notified, asked)
    receipt = receipt_of(notified, second)
    wait_for("the notice is ambiguous", lambda: (
        notice(notified, receipt) or {}).get("disposition") == AMBIGUOUS, 30)
    looks = notice(notified, receipt)["looks"]
    wait_for("it was looked at again",
             lambda: notice(notified, receipt)["looks"] > looks, 60)
    assert row(notified, first)["state"] == row(notified, second)["state"] == 4
    wait_for("it is counted", lambda: notified.worker.metrics()[
        'foleni_notices{disposition="ambiguous"}'] >= 1, 30)


def test_told_by_callback_and_by_c2b(notified):
    before = metric(notified, "known")
    ident = submit(notified, order(notified, reference="BOTHWAYS"),
                   {"fate": "pay", "c2b": "twice", "c2b_ms": 1})
    wait_state(notified, ident, 6)
    receipt = row(notified, ident)["receipt"]
    wait_for("its notice is known", lambda: metric(notified, "known") >=
             before + 1 and not notice(notified, receipt), 30)
    assert row(notified, ident)["evidence"] == CALLBACK
    assert causes(notified, ident).count(7) == 1
    assert 12 not in causes(notified, ident)


def test_late_callback_after_c2b(notified):
    notified.sim.profile({"late_ms": 3000})
    ident = submit(notified, order(notified, reference="LATE"), {
        "fate": "pay", "answer": "rst_after", "callback": "late",
        "c2b": "once", "c2b_ms": 1})
    wait_for("C2B says that it is paid",
             lambda: row(notified, ident).get("evidence") == C2B, 30)
    receipt = row(notified, ident)["receipt"]
    wait_for("its callback says so too",
             lambda: row(notified, ident)["evidence"] == CALLBACK, 30)
    assert row(notified, ident)["receipt"] == receipt
    assert row(notified, ident)["state"] == 6
    alarms = notified.worker.metrics()
    assert not alarms.get(
        'foleni_alarms_total{kind="possible_double_charge"}', 0)


def test_money_for_nobody(notified):
    notified.sim.pay(174379, notified.new_phone(), 100, "NOBODY",
                     receipt="SRVNOBODY1", age_ms=3600000)
    wait_for("it is kept", lambda: (
        notice(notified, "SRVNOBODY1") or {}).get("disposition") == UNMATCHED,
        30)
    wait_for("it is counted", lambda: notified.worker.metrics()[
        'foleni_notices{disposition="unmatched"}'] >= 1, 30)


@pytest.mark.parametrize("body", [
    b"", b"\xff\xfe", b"{" * 5000, b'{"TransID":"SRVX","TransAmount":[]}',
    wire.c2b_body("SRVBAD1", BusinessShortCode="many"),
    wire.c2b_body("SRVBAD2")[:-9]])
def test_hostile_notice_is_kept_raw(notified, body):
    before = metric(notified, "unreadable")
    tell(notified, body)
    wait_for("it is kept raw", lambda: notified.query(
        "SELECT count(*) AS n FROM stray_callbacks WHERE body = %s",
        body)[0]["n"] > 0, 30)
    assert metric(notified, "unreadable") > before


def test_forged_record_is_refused(notified):
    before = metric(notified, "forged")
    body = wire.c2b_body("SRVFORGED1", at=eat())
    notified.topics.write("payments.callbacks", b"SRVFORGED1", body, [
        ("foleni-kind", b"c2b"), ("foleni-mac", b"0" * 32)])
    wait_for("it is counted",
             lambda: metric(notified, "forged") == before + 1, 30)
    assert notice(notified, "SRVFORGED1") is None


def test_receipt_that_a_callback_claims_later(notified):
    """S15: C2B gave it to one payment, the callback of another has it."""
    notified.sim.profile({"late_ms": 5000})
    first = order(notified, reference="CLASH1", amount=77)
    second = order(notified, reference="CLASH2", amount=78)
    one = submit(notified, first, {"answer": "rst_before"})
    wait_state(notified, one, 4)
    two = submit(notified, second, {"fate": "pay", "callback": "late",
                                    "c2b": "lost"})
    receipt = receipt_of(notified, two)
    tell(notified, wire.c2b_body(
        receipt, amount=77, reference="CLASH1", at=eat(),
        msisdn=str(row(notified, one)["msisdn"])))
    wait_state(notified, one, 6)
    assert row(notified, one)["receipt"] == receipt
    wait_for("its callback has come",
             lambda: row(notified, two)["receipt"] == receipt, 30)
    assert row(notified, one)["state"] == 4
    assert row(notified, one)["receipt"] is None
    assert causes(notified, one)[-1] == 15
    assert notified.worker.metrics()[
        'foleni_alarms_total{kind="receipt_taken"}'] == 1
    alarm, = notified.query("SELECT * FROM alarms WHERE payment = %s", one)
    assert (alarm["kind"], alarm["receipt"]) == ("receipt_taken", receipt)
    assert alarm["seen_at"] is None
    wait_for("it is counted",
             lambda: notified.worker.metrics()["foleni_alarms_open"] >= 1, 30)


def test_worker_dies_with_a_notice_in_hand(make_world):
    """It is in the ledger, and whoever comes next applies it."""
    made = make_world(settings={"payments.unresolved_after_ms": 600000,
                                "notices.first_look_ms": 4000}).start()
    made.sim.register_c2b(
        174379, f"http://127.0.0.1:{made.api.port}{wire.c2b_path()}")
    ident = submit(made, order(made), {"fate": "pay", "c2b": "once", **LOST})
    receipt = receipt_of(made, ident)
    wait_for("its notice is stored", lambda: notice(made, receipt), 30)
    made.worker.kill9()
    made.start_worker(made.worker)
    wait_state(made, ident, 6)
    assert row(made, ident)["receipt"] == receipt
    assert len(made.sim.pushes()) == 1
