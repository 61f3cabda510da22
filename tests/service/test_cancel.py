"""Cancels (rule S21): what waits is never pushed once its client was told so,
wherever it waits; what may have gone out is not called cancelled. The
simulator's journal knows what went out."""

import random
import threading
import time
import uuid

import pytest

from tests.fault.crowd import LIVENESS_S, orders
from tests.harness import oracle
from tests.harness.place import wait_for
from tests.harness.postgres import SUPERUSER
from tests.harness.proxy import PostgresProxy
from tests.harness.settings import PATIENT
from tests.harness.upstream import payment_id

N = 60
CANCEL = 18  # FLOW_CANCEL in timeline.cause
SLOW = {"fate": "pay", "decide_ms": 3000}


@pytest.fixture(scope="module")
def proxied(make_shared, postgres):
    """(world, proxy): the API reaches Postgres through a proxy."""
    world = make_shared(settings=PATIENT)
    proxy = PostgresProxy(world.directory / "pg", postgres)
    world.api.sets["database.conninfo"] = proxy.conninfo(
        world.database).replace(f"user={SUPERUSER}", "user=api")
    yield world.start(), proxy


@pytest.fixture
def world(proxied):
    return proxied[0]


def cancel(upstream, ident):
    return upstream.request("POST", f"/v1/payments/{ident}/cancel", "",
                            upstream.headers())


def submit(world, shop, key=None, **more):
    payment = orders(world, 1, **more)[0]
    answer = shop.submit(payment, key)
    assert answer.status == 202
    return answer.body["id"], payment


def told(world, ident):
    """(cause, text) of its last change."""
    rows = world.query("SELECT cause, text FROM timeline WHERE payment = %s "
                       "ORDER BY version DESC LIMIT 1", ident)
    return rows[0]["cause"], rows[0]["text"]


def is_cancelled(world, shop, ident, payment):
    document = shop.wait_final(ident, LIVENESS_S)
    assert document["status"] == "cancelled"
    assert document["result"]["class"] == "withdrawn"
    assert document["result"]["text"] == "cancelled by its client, shop"
    assert not world.sim.pushes(payment["msisdn"])
    return document


def test_what_waits_in_kafka_is_found_cancelled_by_its_claim(world):
    shop, bills = world.upstream(), world.upstream("bills")
    world.worker.stop()
    ident, payment = submit(world, shop)
    other, others = submit(world, shop)
    assert cancel(bills, ident).status == 404
    for _ in range(2):
        answer = cancel(shop, ident)
        assert (answer.status, answer.body["status"]) == (202, "queued")
        assert answer.headers["Location"].endswith(ident)
    world.start_worker(world.worker)
    document = is_cancelled(world, shop, ident, payment)
    assert document["version"] == 1 and document["attempts"] == 0
    assert told(world, ident) == (1, "cancelled by its client, shop")
    assert shop.wait_final(other)["status"] == "succeeded"
    answer = cancel(shop, ident)
    assert (answer.status, answer.body["status"]) == (200, "cancelled")
    answer = cancel(shop, other)
    assert (answer.status, answer.body["code"]) == (409, "not_cancellable")
    assert answer.body["payment_id"] == other


def test_what_waits_in_the_ledger_is_cancelled(world):
    shop, bills = world.upstream(), world.upstream("bills")
    phone = world.new_phone()
    world.sim.script(phone, SLOW)
    first, _ = submit(world, shop, msisdn=phone)
    wait_for("the prompt", lambda: world.sim.pushes(phone), LIVENESS_S)
    second, _ = submit(world, shop, msisdn=phone)
    wait_for("it waits", lambda: shop.get(second).body["status"] == "waiting",
             LIVENESS_S)
    assert cancel(bills, second).status == 404
    answer = cancel(shop, first)
    assert (answer.status, answer.body["code"]) == (409, "not_cancellable")
    answer = cancel(shop, second)
    assert (answer.status, answer.body["status"]) == (200, "cancelled")
    assert told(world, second) == (CANCEL, "cancelled by its client, shop")
    assert shop.wait_final(first, LIVENESS_S)["status"] == "succeeded"
    assert len(world.sim.pushes(phone)) == 1
    wait_for("nothing is left of the cancel", lambda: not world.query(
        "SELECT 1 FROM cancels WHERE payment = %s", second), LIVENESS_S)


def test_an_id_that_nobody_knows_is_its_clients_to_cancel(world):
    shop, bills = world.upstream(), world.upstream("bills")
    keys = [f"later-{uuid.uuid4()}" for _ in range(2)]
    idents = [payment_id("shop", key) for key in keys]
    assert cancel(shop, "no-id").status == 404
    assert cancel(shop, idents[0]).status == 202
    assert cancel(bills, idents[1]).status == 202
    taken, payment = submit(world, shop, keys[0])
    free, _ = submit(world, shop, keys[1])
    assert [taken, free] == idents
    is_cancelled(world, shop, taken, payment)
    assert shop.wait_final(free, LIVENESS_S)["status"] == "succeeded"


@pytest.mark.parametrize("committed", [True, False])
def test_the_answer_of_its_commit_is_lost(proxied, committed):
    world, proxy = proxied
    shop = world.upstream()
    world.worker.stop()
    ident, payment = submit(world, shop)
    proxy.lose("ask_cancel", committed)
    answer = cancel(shop, ident)
    assert (answer.status, answer.body["code"]) == (503, "maybe_cancelled")
    assert int(answer.headers["Retry-After"]) > 0
    again = wait_for("the API is back", lambda: next(
        (a for a in [cancel(shop, ident)] if a.status != 503), None),
        LIVENESS_S)
    assert again.status == 202
    world.start_worker(world.worker)
    is_cancelled(world, shop, ident, payment)


def insist(shop, ident, answers):
    """Until it is said what became of it; each answer is kept."""
    end = time.monotonic() + LIVENESS_S
    while time.monotonic() < end:
        answers.append(cancel(shop, ident).status)
        if answers[-1] != 503:
            return
        time.sleep(0.05)


def test_cancels_race_with_claims_retries_and_deaths(world):
    """Each payment is cancelled by two at once while it is claimed, waits for
    its phone, or is taken; the worker is killed in between."""
    shop, dice = world.upstream(), random.Random(7)
    payments = orders(world, N)
    for first, second in zip(payments[::3], payments[1::3]):
        second["msisdn"] = first["msisdn"]
    answers = {}

    def one(payment):
        ident = shop.insist(payment).body["id"]
        mine = answers[ident] = [[], []]
        time.sleep(dice.random() * 0.3)
        pair = [threading.Thread(target=insist, args=(shop, ident, a))
                for a in mine]
        for thread in pair:
            thread.start()
        for thread in pair:
            thread.join()

    threads = [threading.Thread(target=one, args=(p,)) for p in payments]
    for n, thread in enumerate(threads):
        thread.start()
        if n in (N // 3, 2 * N // 3):
            world.worker.kill9()
            world.start_worker(world.worker)
    for thread in threads:
        thread.join(2 * LIVENESS_S)
    world.wait_settled(LIVENESS_S)
    found = oracle.check(world)
    assert len(answers) == N
    ends = set()
    for ident, mine in answers.items():
        row, pushes = found.rows[ident], found.pushes.get(ident, [])
        last = {one[-1] for one in mine}
        ends |= last
        assert last <= {200, 202, 409}
        if last & {200, 202}:
            assert row["status"] == "cancelled" and not pushes, (last, row)
        else:
            assert row["status"] != "cancelled", (last, row)
    assert ends & {200, 202} and 409 in ends
