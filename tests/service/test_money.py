"""What says that a payment is paid, and does not fit what was asked: applied,
flagged, never dropped."""

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
