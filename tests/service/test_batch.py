"""Batches: each payment as if it had come alone, an answer for each."""

import json
import uuid

from tests.fault.crowd import LIVENESS_S, orders
from tests.harness.upstream import payment_id

MOST = 500


def items(world, n, name=None):
    name = name or uuid.uuid4().hex[:12]
    return [dict(payment, idempotency_key=f"{name}-{i}")
            for i, payment in enumerate(orders(world, n))]


def post(shop, body, **headers):
    """The answer; what was answered 202 is promised."""
    if not isinstance(body, str):
        body = json.dumps({"payments": body}, separators=(",", ":"))
    answer = shop.request("POST", "/v1/payments/batch", body,
                          {**shop.headers(), **headers})
    return answer


def promise(shop, sent, answer):
    for payment, item in zip(sent, answer.body["items"]):
        if item["status"] == 202:
            shop.promised.setdefault(item["payment"]["id"], payment)


def test_each_is_accepted_and_paid(world):
    shop = world.upstream()
    sent = items(world, 20)
    answer = post(shop, sent)
    assert answer.status == 200
    promise(shop, sent, answer)
    got = answer.body["items"]
    assert [i["status"] for i in got] == [202] * 20
    assert [i["payment"]["id"] for i in got] == [
        payment_id("shop", s["idempotency_key"]) for s in sent]
    assert [i["payment"]["request"]["msisdn"] for i in got] == [
        s["msisdn"] for s in sent]
    assert not any(i["replayed"] for i in got)
    for item in got:
        assert shop.wait_final(item["payment"]["id"],
                               LIVENESS_S)["status"] == "succeeded"
    again = post(shop, sent)
    assert [i["replayed"] for i in again.body["items"]] == [True] * 20
    assert {len(world.sim.pushes(s["msisdn"])) for s in sent} == {1}


def test_a_bad_one_spoils_no_other(world):
    shop = world.upstream()
    good = items(world, 3)
    other = dict(good[0], amount=good[0]["amount"] + 1)
    no_key = {k: v for k, v in good[1].items() if k != "idempotency_key"}
    texts = [json.dumps(good[0]), json.dumps(dict(good[1], amount=0)),
             '{"amount": "' + "}],[{" + '\\""}', "17", "", "[1, 2]",
             json.dumps(no_key), json.dumps(dict(good[1], colour="red")),
             '{"amount": 1, "amount": 2}', '{"reference": "\\ud800"}',
             json.dumps(other), json.dumps(good[2])]
    answer = post(shop, '{ "payments" : [' + " , ".join(texts) + "]}\n")
    assert answer.status == 200
    got = answer.body["items"]
    assert [i["status"] for i in got] == [202] + [400] * 9 + [409, 202]
    codes = [i["problem"]["code"] for i in got[1:-1]]
    assert codes == ["invalid_field", "unknown_field", "invalid_json",
                     "invalid_json", "invalid_json", "missing_field",
                     "unknown_field", "invalid_json", "invalid_json",
                     "key_in_use"] or codes[1:] and codes[0] == "invalid_field"
    assert got[1]["problem"]["field"] == "amount"
    assert got[6]["problem"]["field"] == "idempotency_key"
    for item, payment in ((got[0], good[0]), (got[-1], good[2])):
        shop.promised[item["payment"]["id"]] = payment
        assert shop.wait_final(item["payment"]["id"],
                               LIVENESS_S)["status"] == "succeeded"
    answer = post(shop, [other])
    assert answer.body["items"][0]["problem"]["code"] == "key_conflict"


def test_what_is_no_batch_is_refused(world):
    shop = world.upstream()
    good = items(world, 1)
    many = ["{}"] * (MOST + 1)
    for body, code in [
            ("", "invalid_json"), ("{}", "invalid_json"),
            ("[]", "invalid_json"), ('{"payments": {}}', "invalid_json"),
            ('{"payments": []}', "invalid_field"),
            ('{"payments": [{}]', "invalid_json"),
            ('{"payments": [{}}]}', "invalid_json"),
            ('{"payments": [{"a": "]}', "invalid_json"),
            ('{"payments": [{}], "more": 1}', "invalid_json"),
            ('{"payments": [' + ",".join(many) + "]}", "invalid_field")]:
        answer = post(shop, body)
        assert (answer.status, answer.body["code"]) == (400, code), body[:40]
    answer = post(shop, '{"payments": [' + " " * 70000 + "{}]}")
    assert (answer.status, answer.body["code"]) == (413, "body_too_large")
    answer = post(shop, good, **{"Idempotency-Key": "k"})
    assert (answer.status, answer.body["field"]) == (400, "Idempotency-Key")
    answer = shop.request("POST", "/v1/payments/batch", "{}", {})
    assert answer.status == 401
    assert not world.sim.pushes(good[0]["msisdn"])


def test_the_most_there_may_be(world):
    shop = world.upstream()
    sent = items(world, MOST)
    answer = post(shop, sent)
    promise(shop, sent, answer)
    assert [i["status"] for i in answer.body["items"]] == [202] * MOST
    world.wait_settled(2 * LIVENESS_S)
    assert shop.get(payment_id("shop", sent[-1]["idempotency_key"])
                    ).body["status"] == "succeeded"


def test_each_payment_counts_against_the_limits(make_world):
    world = make_world(settings={"limits.client_rate": 1,
                                 "limits.window_s": 5}).start()
    shop = world.upstream()
    sent = items(world, 8)
    answer = post(shop, sent)
    promise(shop, sent, answer)
    got = answer.body["items"]
    assert [i["status"] for i in got] == [202] * 5 + [429] * 3
    assert got[-1]["problem"]["retry_after"] > 0
    assert post(shop, sent).status == 429
