"""What the provider posts to the API: kept byte for byte before it hears 200,
or refused without a trace."""

import hashlib

import pytest

from tests.harness import wire
from tests.harness.topics import header

C2B = "foleni_c2b_notices_total"


def post(world, path, body):
    return world.upstream().request("POST", path, body,
                                    {"Content-Type": "application/json"})


def records_of(world, body):
    return [r for r in world.topics.read("payments.callbacks")
            if r.value() == body]


# --- C2B confirmations ---

def test_c2b_notice_is_kept_as_it_came(world):
    body = wire.c2b_body("SERVICE001", FirstName="Wanjik\u0169")
    answer = post(world, wire.c2b_path(), body)
    assert answer.status == 200
    assert answer.body == {"ResultCode": 0, "ResultDesc": "Accepted"}
    record, = records_of(world, body)
    assert record.key() == b"SERVICE001"
    assert header(record, "foleni-kind") == "c2b"
    assert header(record, "foleni-source") == "127.0.0.1"
    assert header(record, "foleni-mac") == wire.c2b_mac(body)
    assert header(record, "foleni-payment-id") is None


@pytest.mark.parametrize("body", [
    b"", b"<html>502</html>", b'{"TransID":"CUT', b"\xff\xfe\0",
    wire.c2b_body("SERVICE002")[:-3], wire.c2b_body("R" * 60)])
def test_c2b_notice_that_cannot_be_read_is_kept_too(world, body):
    assert post(world, wire.c2b_path(), body).status == 200
    records = [r for r in world.topics.read("payments.callbacks")
               if (r.value() or b"") == body]
    assert records[0].key().decode() == hashlib.sha256(body).hexdigest()


def test_c2b_notice_without_the_secret(world):
    before = world.api.metrics().get(f'{C2B}{{end="forged"}}', 0)
    body = wire.c2b_body("SERVICE003")
    paths = [wire.c2b_path("another-secret-of-the-c2b-path"),
             wire.c2b_path() + "0", wire.c2b_path()[:-1]]
    for path in paths:
        answer = post(world, path, body)
        assert (answer.status, answer.body["code"]) == (404, "not_found")
    for path in ("/c2b/confirmation/", "/c2b/confirmation",
                 wire.c2b_path() + "/x"):
        assert post(world, path, body).status == 404
    assert world.upstream().request("GET", wire.c2b_path()).status == 405
    assert records_of(world, body) == []
    counted = world.api.metrics()[f'{C2B}{{end="forged"}}']
    assert counted == before + len(paths)


def test_c2b_notice_that_is_too_large(world):
    body = wire.c2b_body("SERVICE004", LastName="x" * 70000)
    answer = post(world, wire.c2b_path(), body)
    assert (answer.status, answer.body["code"]) == (413, "body_too_large")
    assert records_of(world, body) == []
