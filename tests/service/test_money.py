"""What says that a payment is paid, and does not fit what was asked: applied,
flagged, never dropped."""

import contextlib

from tests.harness import wire
from tests.harness.place import wait_for

READ = "foleni_callbacks_read_total"
ALARM = "foleni_alarms_total"
SILENT = {"fate": "pay", "callback": "lost", "answer": "rst_after"}


def order(world, **more):
    return {"msisdn": world.new_phone(), "amount": 100, "reference": "ORDER1",
            "shortcode": "174379", **more}


def alarms(world, kind):
    return world.worker.metrics().get(f'{ALARM}{{kind="{kind}"}}', 0)


def call_back(world, ident, **items):
    """As the provider would, whose own callback was lost."""
    body = wire.callback_body("ws_CO_1", items=items)
    answer = world.upstream().request(
        "POST", wire.callback_path(ident, 1), body,
        {"Content-Type": "application/json"})
    assert answer.status == 200


def debit_of(world, msisdn):
    """The journal's line, once the customer has paid."""
    numbers = {push["n"] for push in world.sim.pushes(msisdn)}
    return next((r for r in world.sim.journal()
                 if r["t"] == "debit" and r["n"] in numbers), None)


def unknown_payment(world, asked):
    """Pushed, paid, and nobody told us: only the journal has the receipt."""
    shop = world.upstream()
    world.sim.script(asked["msisdn"], SILENT)
    ident = shop.submit(asked).body["id"]
    debit = wait_for("a debit", lambda: debit_of(world, asked["msisdn"]), 30)
    wait_for("an unknown payment", lambda: shop.get(ident).body["status"] in
             ("unknown", "unresolved"), 30)
    return ident, debit["receipt"]


def test_paid_with_another_amount_and_phone(world):
    asked = order(world)
    before = alarms(world, "paid_not_as_asked")
    ident, receipt = unknown_payment(world, asked)
    call_back(world, ident, Amount=99, MpesaReceiptNumber=receipt,
              TransactionDate=20261121113000, PhoneNumber=254799000149)
    done = world.upstream().wait_final(ident)
    assert done["status"] == "succeeded"
    assert done["result"]["receipt"] == receipt
    assert "99 of 100" in done["result"]["text"]
    assert "149" in done["result"]["text"]
    assert "254799000149" not in done["result"]["text"]
    wait_for("the alarm", lambda: alarms(world, "paid_not_as_asked") ==
             before + 1, 30)


def test_second_receipt_is_told_once(world):
    asked = order(world)
    shop = world.upstream()
    done = shop.wait_final(shop.submit(asked).body["id"])
    assert done["status"] == "succeeded"
    before = alarms(world, "possible_double_charge")
    read = world.worker.metrics()[READ]
    for _ in range(2):
        call_back(world, done["id"], Amount=100,
                  MpesaReceiptNumber="RSECOND001")
    wait_for("both callbacks", lambda: world.worker.metrics()[READ] >=
             read + 2, 30)
    wait_for("the other receipt", lambda: "RSECOND001" in
             shop.get(done["id"]).body["result"]["text"], 30)
    again = shop.get(done["id"]).body
    assert again["status"] == "succeeded"
    assert again["result"]["receipt"] == done["result"]["receipt"]
    assert again["version"] == done["version"] + 1
    assert alarms(world, "possible_double_charge") == before + 1


def test_one_receipt_for_two_payments(world):
    """Both callbacks are as good: neither gives way, and a person hears."""
    shop = world.upstream()
    first = order(world)
    done = shop.wait_final(shop.submit(first).body["id"])
    receipt = wait_for("its receipt", lambda: shop.get(
        done["id"]).body["result"]["receipt"], 60)
    ident, _ = unknown_payment(world, order(world))
    before = alarms(world, "receipt_shared")
    for _ in range(2):
        call_back(world, ident, Amount=100, MpesaReceiptNumber=receipt)
    again = shop.wait_final(ident)
    assert (again["status"], again["result"]["receipt"]) == ("succeeded",
                                                             receipt)
    wait_for("the alarm", lambda: alarms(world, "receipt_shared") ==
             before + 1, 60)
    rung, = world.query("SELECT payment::text, receipt FROM alarms WHERE "
                        "kind = 'receipt_shared' AND receipt = %s", receipt)
    assert (rung["payment"], rung["receipt"]) == (ident, receipt)
    assert shop.get(done["id"]).body["status"] == "succeeded"


@contextlib.contextmanager
def broken(world, table, when):
    """The ledger refuses some rows, and says nothing of why."""
    name = "broken_" + table
    world.query(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION 'out of order' USING ERRCODE = 'XX000'; END $$;"
        f"CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW "
        f"WHEN ({when}) EXECUTE FUNCTION {name}(); SELECT 1")
    try:
        yield
    finally:
        world.query(f"DROP TRIGGER {name} ON {table}; "
                    f"DROP FUNCTION {name}; SELECT 1")


def rung(world, kind, ident):
    return world.query("SELECT FROM alarms WHERE kind = %s AND payment = %s "
                       "AND seen_at IS NULL", kind, ident)


def test_claim_that_the_ledger_refuses(world):
    """It may be the ledger's fault, so nothing is set aside: it is tried
    later and later, and a person hears of it."""
    shop = world.upstream()
    before = alarms(world, "claim_refused")
    payment = order(world, reference="BROKEN1")
    with broken(world, "payments", "NEW.reference = 'BROKEN1'"):
        ident = shop.submit(payment).body["id"]
        wait_for("the alarm", lambda: rung(world, "claim_refused", ident), 60)
        assert alarms(world, "claim_refused") == before + 1
        assert world.worker.metrics()["foleni_claim_refusals"] >= 5
    assert shop.wait_final(ident, 120)["status"] == "succeeded"
    assert world.worker.metrics()["foleni_claim_refusals"] == 0
    assert len(world.sim.pushes(payment["msisdn"])) == 1


def test_callback_that_cannot_even_be_kept(world):
    """Nothing else has its bytes: they are kept as soon as can be."""
    ident, _ = unknown_payment(world, order(world))
    before = alarms(world, "set_aside")
    with broken(world, "stray_callbacks", f"NEW.payment = '{ident}'"):
        answer = world.upstream().request(
            "POST", wire.callback_path(ident, 1), b"broken",
            {"Content-Type": "application/json"})
        assert answer.status == 200
        wait_for("the alarm", lambda: rung(world, "set_aside", ident), 60)
        assert alarms(world, "set_aside") == before + 1
        wait_for("it waits", lambda:
                 world.worker.metrics()["foleni_events_later"] >= 1)
    kept = wait_for("its bytes are kept", lambda: world.query(
        "SELECT body FROM stray_callbacks WHERE payment = %s", ident), 60)
    assert [bytes(k["body"]) for k in kept] == [b"broken"]


def test_callback_that_the_ledger_refuses(world):
    """It is tried again, then set aside with its bytes, and holds up nobody."""
    shop = world.upstream()
    ident, receipt = unknown_payment(world, order(world, reference="REFUSED1"))
    name = "refused_" + ident.replace("-", "")
    world.query(f"ALTER TABLE payments ADD CONSTRAINT {name} CHECK "
                f"(state <> 6 OR id <> '{ident}') NOT VALID; SELECT 1")
    try:
        before = alarms(world, "set_aside")
        call_back(world, ident, Amount=100, MpesaReceiptNumber=receipt)
        other, theirs = unknown_payment(world, order(world))
        call_back(world, other, Amount=100, MpesaReceiptNumber=theirs)
        assert shop.wait_final(other, 120)["status"] == "succeeded"
        stray = wait_for("its bytes are kept", lambda: world.query(
            "SELECT body, why FROM stray_callbacks WHERE payment = %s",
            ident), 60)
        assert receipt.encode() in bytes(stray[0]["body"])
        assert stray[0]["why"] == "refused by the ledger"
        wait_for("the alarm", lambda: world.query(
            "SELECT FROM alarms WHERE kind = 'set_aside' AND seen_at IS NULL "
            "AND payment = %s", ident), 60)
        assert alarms(world, "set_aside") > before
        assert shop.get(ident).body["status"] in ("unknown", "unresolved")
    finally:
        world.query(f"ALTER TABLE payments DROP CONSTRAINT {name}; "
                    "SELECT 1")
    call_back(world, ident, Amount=100, MpesaReceiptNumber=receipt)
    assert shop.wait_final(ident, 120)["status"] == "succeeded"
