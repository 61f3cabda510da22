"""What a client reads of its payments: lists, page by page and by filter, and
the events of one, which are those of the topic."""

import json
import uuid
from urllib.parse import urlencode

import pytest

from tests.fault.crowd import LIVENESS_S, orders
from tests.harness.place import wait_for

MINE = 7


@pytest.fixture(scope="module")
def shop(world):
    """A client with payments that have come to their ends, by two phones, and
    another client's that look the same."""
    shop, bills = world.upstream(), world.upstream("bills")
    phones = [world.new_phone(), world.new_phone()]
    reference = "R" + uuid.uuid4().hex[:8]
    idents = []
    for n in range(MINE):
        payment = orders(world, 1, msisdn=phones[n % 2], amount=20 + n,
                         reference=reference if n < 3 else "OTHER")[0]
        if n == MINE - 1:
            world.sim.script(payment["msisdn"], {"fate": "no_funds"})
        idents.append(shop.submit(payment).body["id"])
        end = shop.wait_final(idents[-1], LIVENESS_S)["status"]
        assert end == ("failed" if n == MINE - 1 else "succeeded")
    other = bills.submit(orders(world, 1, msisdn=phones[0], amount=90,
                                reference=reference)[0]).body["id"]
    bills.wait_final(other, LIVENESS_S)
    shop.idents, shop.phones, shop.reference = idents, phones, reference
    shop.other = other
    return shop


def look(upstream, **filters):
    query = "?" + urlencode(filters) if filters else ""
    return upstream.request("GET", f"/v1/payments{query}", None,
                            upstream.headers())


def ids(answer):
    assert answer.status == 200, answer
    return [row["id"] for row in answer.body["payments"]]


def test_a_page_at_a_time(shop):
    newest = list(reversed(shop.idents))
    first = look(shop, limit=3)
    assert ids(first) == newest[:3]
    second = look(shop, limit=3, cursor=first.body["next"])
    assert ids(second) == newest[3:6]
    third = look(shop, limit=3, cursor=second.body["next"])
    assert ids(third)[:1] == newest[6:]
    everything = look(shop)
    assert ids(everything)[:MINE] == newest
    assert everything.body["next"] is None
    assert everything.body["payments"][0] == shop.get(newest[0]).body


def test_by_each_filter(shop):
    one = shop.get(shop.idents[3]).body
    assert ids(look(shop, reference=shop.reference)) == \
        list(reversed(shop.idents[:3]))
    assert set(ids(look(shop, msisdn="0" + shop.phones[1][3:]))) == \
        set(shop.idents[1::2])
    assert ids(look(shop, status="failed")) == shop.idents[-1:]
    assert ids(look(shop, status="unresolved")) == []
    assert ids(look(shop, ids=",".join([shop.idents[2], shop.other]))) == \
        [shop.idents[2]]
    assert shop.idents[3] in ids(look(shop, **{"from": one["created_at"]}))
    assert ids(look(shop, to=one["created_at"], reference=shop.reference)) == \
        list(reversed(shop.idents[:3]))
    assert ids(look(shop, reference="OTHER", status="succeeded",
                    msisdn=shop.phones[0])) == [shop.idents[4]]


def test_a_client_sees_its_own_only(world, shop):
    bills = world.upstream("bills")
    assert shop.other in ids(look(bills, reference=shop.reference))
    assert not set(shop.idents) & set(ids(look(bills)))
    assert ids(look(bills, ids=shop.idents[0])) == []


@pytest.mark.parametrize("query, code, field", [
    ("amount=100", "unknown_filter", "amount"),
    ("from=yesterday", "invalid_field", "from"),
    ("status=paid", "invalid_field", "status"),
    ("limit=0", "invalid_field", "limit"),
    ("limit=100000", "invalid_field", "limit"),
    ("cursor=abc", "invalid_field", "cursor"),
    ("limit=2&limit=3", "invalid_field", "limit"),
    ("ids=none", "invalid_field", "ids"),
])
def test_what_cannot_be_used_is_named(shop, query, code, field):
    answer = shop.request("GET", f"/v1/payments?{query}", None,
                          shop.headers())
    assert answer.status == 400
    assert (answer.body["code"], answer.body["field"]) == (code, field)


def test_nobody_lists_without_a_key(shop):
    assert shop.request("GET", "/v1/payments").status == 401


def events(upstream, ident, query=""):
    return upstream.request("GET", f"/v1/payments/{ident}/events{query}", None,
                            upstream.headers())


def test_events_are_those_of_the_topic(world, shop):
    for ident in (shop.idents[0], shop.idents[-1]):
        def told(ident=ident):
            rows = [json.loads(r.value())
                    for r in world.topics.read("payments.status")
                    if r.key().decode() == ident]
            # one may be told twice
            rows = list({r["data"]["version"]: r for r in rows}.values())
            return rows if rows and rows[-1]["data"]["final"] else None
        topic = wait_for("the last event", told, LIVENESS_S)
        answer = events(shop, ident)
        assert answer.status == 200
        assert answer.body == {"events": topic, "next": None}
        first = topic[0]["data"]["version"]
        answer = events(shop, ident, f"?after={first}")
        assert answer.body["events"] == topic[1:]


def test_events_of_nobody(world, shop):
    bills = world.upstream("bills")
    assert events(bills, shop.idents[0]).status == 404
    assert events(shop, uuid.uuid4()).status == 404
    assert events(shop, "none").status == 404
    assert events(shop, shop.idents[0], "?after=x").status == 400


def test_one_that_waits_in_kafka_has_none(world, shop):
    world.worker.stop()
    ident = shop.submit(orders(world, 1)[0]).body["id"]
    assert events(shop, ident).body == {"events": [], "next": None}
    world.start_worker(world.worker)
    shop.wait_final(ident, LIVENESS_S)
