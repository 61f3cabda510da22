"""Long polls: GET /v1/payments/{id}?wait=."""

import time


def test_a_poll_outlives_the_cached_document(make_world):
    """The cache forgets the document while the poll waits: the answer is the
    ledger's, not a 503."""
    world = make_world(settings={"cache.ttl_ms": 200}).start()
    shop = world.upstream()
    phone = world.new_phone()
    world.sim.script(phone, {"fate": "pay", "decide_ms": 4000})
    ident = shop.submit({"msisdn": phone, "amount": 100, "reference": "ORDER1",
                         "shortcode": "174379"}).body["id"]
    while True:
        prompted = shop.get(ident)
        if prompted.status == 200 and prompted.body["status"] == "prompted":
            break
    began = time.monotonic()
    answer = shop.get(ident, wait="1s")
    assert answer.status == 200, answer
    assert answer.body["status"] == "prompted"
    assert time.monotonic() - began >= 1
    assert shop.wait_final(ident)["status"] == "succeeded"
