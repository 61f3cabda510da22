"""Another prompt after one that nobody answered: only where the client allowed
it, only after a query said the same, and never beside a payment."""

NO_ANSWER = {"fate": "no_answer"}


# The callback's word comes before two queries could end the payment, and two
# minutes between equal amounts are long for a test.
CALM = {"payments.query_agree_age_ms": 60000,
        "payments.prompt_timeout_ms": 60000,
        "payments.unresolved_after_ms": 90000}


def order(world, **more):
    return {"msisdn": world.new_phone(), "amount": 100, "reference": "ORDER1",
            "shortcode": "174379", **more}


def timeline(world, ident):
    return world.query("SELECT cause, state, waits, attempt, code, text "
                       f"FROM timeline WHERE payment = '{ident}' "
                       "ORDER BY version")


def test_asked_again_as_often_as_allowed(make_world):
    """One handset ignores the first prompt and pays the second, the other one
    ignores them all."""
    world = make_world(settings=CALM, profile={"same_amount_ms": 0}).start()
    shop = world.upstream()
    pays, never = order(world, ask_again=1), order(world, ask_again=1)
    world.sim.script(pays["msisdn"], NO_ANSWER, {"fate": "pay"})
    world.sim.script(never["msisdn"], NO_ANSWER, repeat=True)
    accepted = [shop.submit(asked).body["id"] for asked in (pays, never)]
    paid, unpaid = [shop.wait_final(ident) for ident in accepted]

    assert (paid["status"], paid["attempts"]) == ("succeeded", 2)
    assert (unpaid["status"], unpaid["attempts"]) == ("failed", 2)
    assert unpaid["result"]["class"] == "no_answer"
    for asked, done in (pays, paid), (never, unpaid):
        assert len(world.sim.pushes(asked["msisdn"])) == 2
        told = [(r["waits"], r["cause"]) for r in timeline(world, done["id"])]
        # waits for proof after a callback, then a query gives it
        assert told.index((3, 7)) + 1 == told.index((1, 8))


def test_late_payment_stops_the_second_prompt(make_world):
    """Told as 1037 and paid all the same, before the customer is asked anew:
    the debit wins and no second prompt goes out."""
    slow = {**CALM,
            "payments.busy_phone_min_ms": 20000,
            "payments.busy_phone_max_ms": 20000}
    world = make_world(settings=slow, profile={"late_ms": 1000}).start()
    shop = world.upstream()
    asked = order(world, ask_again=2)
    world.sim.script(asked["msisdn"], {"fate": "late_pay"}, repeat=True)
    done = shop.wait_final(shop.submit(asked).body["id"])
    assert (done["status"], done["attempts"]) == ("succeeded", 1)
    assert len(world.sim.pushes(asked["msisdn"])) == 1
    assert [r for r in timeline(world, done["id"]) if r["waits"] == 3]
