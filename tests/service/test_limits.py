"""How much a client may ask for, and what is turned away while Kafka is slow.
Callbacks pass whatever the clients have used up."""

import hashlib
import signal
import threading

import pytest

from tests.harness.broker import KafkaBroker
from tests.harness.place import wait_for
from tests.harness.settings import CLIENTS, PATIENT

WINDOW_S = QUOTA = 120  # one request per second, far fewer than a test sends


def order(world, **more):
    return {"msisdn": world.new_phone(), "amount": 10, "reference": "LIMIT1",
            "shortcode": "174379", **more}


def until_limited(upstream, ident):
    """Asks until 429; how many came through, and the refusal."""
    for n in range(2 * QUOTA):
        answer = upstream.get(ident)
        if answer.status == 429:
            return n, answer
    raise AssertionError("never limited")


@pytest.fixture(scope="module")
def narrow(make_shared_world):
    return make_shared_world(settings={
        **PATIENT, "limits.client_rate": 1,
        "limits.window_s": WINDOW_S}).start()


def test_a_client_at_its_limit(narrow):
    world = narrow
    world.sim.profile({"decide_ms": 1000})
    bills, shop = world.upstream("bills"), world.upstream()
    first = bills.submit(order(world))
    assert first.status == 202
    policy = f'"client";q={QUOTA};w={WINDOW_S}'
    assert first.headers["RateLimit-Policy"] == policy
    assert first.headers["RateLimit"].startswith(f'"client";r={QUOTA - 1};t=')
    ident = first.body["id"]
    n, refused = until_limited(bills, ident)
    assert n + 1 >= QUOTA
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.body["code"] == "rate_limited"
    wait_s = int(refused.headers["Retry-After"])
    assert 0 < wait_s == refused.body["retry_after"] <= WINDOW_S + 2
    assert refused.headers["RateLimit"] == f'"client";r=0;t={wait_s}'
    assert bills.submit(order(world)).status == 429
    limited = 'foleni_limited_total{by="client"}'
    assert world.api.metrics()[limited] >= 2
    # neither another client nor the callback is concerned
    other = shop.submit(order(world))
    assert other.status == 202
    assert shop.wait_final(other.body["id"])["status"] == "succeeded"
    world.wait_settled()
    assert {r["state"] for r in world.query("SELECT state FROM payments")} \
        == {6}


def test_an_address_at_its_limit(narrow):
    """Counted before anybody looks at the key."""
    world = narrow
    world.api.stop()
    world.api.sets |= {"limits.address_rate": 1, "limits.client_rate": 0}
    world.start_api()
    world.api.wait_ready()
    shop = world.upstream()
    n = 0
    while shop.request("GET", "/v1/payments/x", None,
                       {"Authorization": "Bearer wrong"}).status == 401:
        n += 1
        assert n <= 2 * QUOTA
    assert n >= QUOTA
    assert shop.get("5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e01").status == 429
    assert world.api.metrics()['foleni_limited_total{by="address"}'] >= 2


def hang_up(world, says):
    for program in (world.api, world.worker):
        before = len(program.said())
        program.process.send_signal(signal.SIGHUP)
        wait_for(f"{program.name} says {says}", lambda p=program, n=before:
                 says in p.said()[n:].decode(), 60)


def test_clients_and_limits_are_read_again(make_world):
    """One may ask for more, one has another key, one has gone; and a bad file
    changes nothing, which /health tells until a good one is taken."""
    world = make_world(settings={
        **PATIENT, "limits.client_rate": 1, "limits.window_s": WINDOW_S})
    world.start()
    shop, bills = world.upstream(), world.upstream("bills")
    ident = shop.submit(order(world)).body["id"]
    until_limited(shop, ident)
    good = world.config.read_text()
    world.config.write_text("clients = {")
    hang_up(world, "reload_refused")
    for program in (world.api, world.worker):
        told = program.health()["dependencies"]["settings"]
        assert not told["ok"] and "refused" in told["note"]
        assert program.metrics()['foleni_reloads_total{end="refused"}'] == 1
    world.config.write_text(good.replace("signing-bills", "signing-shop"))
    hang_up(world, "changes with a restart only")
    assert shop.get(ident).status == 429
    assert bills.submit(order(world)).status == 202

    def digest(key):
        return hashlib.sha256(key.encode()).hexdigest()
    bills_key = CLIENTS["bills"]["key"]
    world.config.write_text(
        good.replace("client_rate = 1;", "client_rate = 10;")
        .replace(digest(bills_key), digest("another-key-of-the-bills")))
    hang_up(world, "reloaded")
    assert "settings" not in world.api.health()["dependencies"]
    assert shop.get(ident).status == 200
    assert shop.get(ident).headers["RateLimit-Policy"] == \
        f'"client";q={10 * QUOTA};w={WINDOW_S}'
    assert bills.submit(order(world)).status == 401
    answer = bills.request("GET", f"/v1/payments/{ident}", None,
                           {"Authorization": "Bearer another-key-of-the-bills"})
    assert answer.status == 404, "known, and the payment is another's"
    world.wait_settled()


def test_kafka_slow(run_directory, make_world):
    """Low requests are turned away at once, with nothing queued; what was on
    its way is answered when Kafka is quick again."""
    broker = KafkaBroker(run_directory / "limits-kafka")
    broker.start()
    try:
        world = make_world(broker=broker, settings={
            **PATIENT, "limits.slow_ms": 300,
            "kafka.publish_timeout_ms": 30000}).start()
        shop, other = world.upstream(), world.upstream()
        answers = []
        thread = threading.Thread(
            daemon=True,
            target=lambda: answers.append(
                shop.insist(order(world, priority="high"))))
        broker.freeze()
        try:
            thread.start()
            shed = 'foleni_shed_total{priority="low"}'
            wait_for("the high one waits", lambda: world.api.metrics()
                     ["foleni_kafka_queue_records"] >= 1)

            def turned_away():
                try:
                    low = other.request("POST", "/v1/payments", low_body,
                                        other.headers("low"), timeout_s=3)
                except OSError:
                    return None  # it came too early, and waits too
                return low if world.api.metrics()[shed] else None
            low_body = ('{"msisdn": "%s", "amount": 10, "reference": "LOW1", '
                        '"shortcode": "174379", "priority": "low"}'
                        % world.new_phone())
            low = wait_for("low ones are shed", turned_away, 90)
            assert low.status == 503 and low.body["code"] == "not_queued"
            assert low.body["payment_id"] and low.headers["Retry-After"]
        finally:
            broker.thaw()
        thread.join(90)
        assert answers and answers[0].status == 202
        wait_for("low ones are taken again", lambda: other.submit(
            order(world, priority="low")).status == 202, 60)
        world.wait_settled(90)
        world.stop()
    finally:
        broker.stop()
