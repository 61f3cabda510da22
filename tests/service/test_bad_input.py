"""What a client may get wrong: each a 4xx problem+json that names the field,
and nothing happens: no record, no row, no push."""

import json
import re
import socket
import uuid

import pytest

from tests.harness.settings import CLIENTS

pytestmark = pytest.mark.sanitized

NAMED = re.compile(r'"([^"]+)"')  # what a problem's detail quotes
GOOD = {"msisdn": "254711000001", "amount": 777, "reference": "ORDER1",
        "shortcode": "174379"}


def without(name):
    return {k: v for k, v in GOOD.items() if k != name}


def raw(text):
    return text.encode() if isinstance(text, str) else text


# name: (body, status, field that the problem names; "" = the whole)
BODIES = {
    "no amount": (without("amount"), 400, "amount"),
    "no msisdn": (without("msisdn"), 400, "msisdn"),
    "no reference": (without("reference"), 400, "reference"),
    "amount 0": (dict(GOOD, amount=0), 400, "amount"),
    "amount -1": (dict(GOOD, amount=-1), 400, "amount"),
    "amount 250001": (dict(GOOD, amount=250001), 400, "amount"),
    "amount 1.5": (dict(GOOD, amount=1.5), 400, "amount"),
    "amount 01": (raw(json.dumps(GOOD).replace("777", "01")), 400, None),
    "amount huge": (dict(GOOD, amount=9007199254740993), 400, "amount"),
    "amount 10^400": (raw(json.dumps(GOOD).replace("777", "1" + "0" * 400)),
                      400, None),
    "amount text": (dict(GOOD, amount="777"), 400, "amount"),
    "amount null": (dict(GOOD, amount=None), 400, "amount"),
    "amount list": (dict(GOOD, amount=[777]), 400, "amount"),
    "msisdn short": (dict(GOOD, msisdn="07123"), 400, "msisdn"),
    "msisdn long": (dict(GOOD, msisdn="25471100000111"), 400, "msisdn"),
    "msisdn foreign": (dict(GOOD, msisdn="255711000001"), 400, "msisdn"),
    "msisdn landline": (dict(GOOD, msisdn="0201234567"), 400, "msisdn"),
    "msisdn letters": (dict(GOOD, msisdn="07110000O1"), 400, "msisdn"),
    "msisdn spaces": (dict(GOOD, msisdn="0711 000 001"), 400, "msisdn"),
    "msisdn empty": (dict(GOOD, msisdn=""), 400, "msisdn"),
    "msisdn object": (dict(GOOD, msisdn={}), 400, "msisdn"),
    "reference long": (dict(GOOD, reference="A" * 13), 400, "reference"),
    "reference empty": (dict(GOOD, reference=""), 400, "reference"),
    "reference sign": (dict(GOOD, reference="A-1"), 400, "reference"),
    "reference umlaut": (dict(GOOD, reference="Bücher"), 400, "reference"),
    "description long": (dict(GOOD, description="x" * 14), 400,
                         "description"),
    "description sign": (dict(GOOD, description="<b>"), 400, "description"),
    "currency": (dict(GOOD, currency="USD"), 400, "currency"),
    "shortcode unknown": (dict(GOOD, shortcode="999999"), 400, "shortcode"),
    "shortcode words": (dict(GOOD, shortcode="shop"), 400, "shortcode"),
    "priority": (dict(GOOD, priority="urgent"), 400, "priority"),
    "ask_again 3": (dict(GOOD, ask_again=3), 400, "ask_again"),
    "ask_again -1": (dict(GOOD, ask_again=-1), 400, "ask_again"),
    "expires past": (dict(GOOD, expires_at="2020-01-01T00:00:00Z"), 400,
                     "expires_at"),
    "expires odd": (dict(GOOD, expires_at="tomorrow"), 400, "expires_at"),
    "expires 31 Feb": (dict(GOOD, expires_at="2099-02-31T00:00:00Z"), 400,
                       "expires_at"),
    "metadata text": (dict(GOOD, metadata="x"), 400, "metadata"),
    "metadata number": (dict(GOOD, metadata={"a": 1}), 400, "metadata.a"),
    "metadata nested": (dict(GOOD, metadata={"a": {"b": "c"}}), 400,
                        "metadata.a"),
    "metadata many": (dict(GOOD, metadata={f"k{i}": "v" for i in range(17)}),
                      400, "metadata"),
    "metadata long": (dict(GOOD, metadata={"a": "x" * 257}), 400,
                      "metadata.a"),
    "unknown member": (dict(GOOD, colour="red"), 400, "colour"),
    "other case": (dict(GOOD, Amount=5), 400, "Amount"),
    "id sent": (dict(GOOD, id=str(uuid.uuid4())), 400, "id"),
    "twice": (raw(json.dumps(GOOD)[:-1] + ',"amount":5}'), 400, "amount"),
    "not JSON": (raw("hello"), 400, None),
    "cut off": (raw(json.dumps(GOOD)[:-1]), 400, None),
    "garbage behind": (raw(json.dumps(GOOD) + "}"), 400, None),
    "two values": (raw(json.dumps(GOOD) * 2), 400, None),
    "list": (raw("[1]"), 400, None),
    "text": (raw('"x"'), 400, None),
    "null": (raw("null"), 400, None),
    "empty": (raw(""), 400, None),
    "NaN": (raw(json.dumps(GOOD).replace("777", "NaN")), 400, None),
    "not UTF-8": (json.dumps(GOOD).encode().replace(b"ORDER1", b"OR\xff\xfe"),
                  400, None),
    "overlong UTF-8": (json.dumps(GOOD).encode().replace(b"ORDER1",
                                                         b"OR\xc0\xaf"),
                       400, None),
    "NUL": (raw(json.dumps(GOOD).replace("ORDER1", "OR\\u0000")), 400, None),
    "control sign": (raw(json.dumps(GOOD).replace("ORDER1", "OR\n")), 400,
                     None),
    "byte order mark": (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), 400,
                        None),
    "deep": (raw('{"a":' * 500 + "1" + "}" * 500), 400, None),
    "too large": (raw(json.dumps(dict(GOOD, reference="A" * 70000))), 413,
                  None),
}


def is_problem(answer, status):
    assert answer.status == status, answer
    kind = answer.headers["Content-Type"]
    assert kind.startswith("application/problem+json"), kind
    assert answer.body["status"] == status
    assert answer.body["code"] and answer.body["title"]
    assert answer.body["type"]


@pytest.mark.parametrize("name", BODIES)
def test_body(world, name):
    body, status, field = BODIES[name]
    shop = world.upstream()
    if not isinstance(body, bytes):
        body = json.dumps(body)
    answer = shop.request("POST", "/v1/payments", body,
                          shop.headers(f"bad {name}"))
    is_problem(answer, status)
    if field:
        assert field in (answer.body.get("field"), *NAMED.findall(
            answer.body["detail"])), answer.body


@pytest.mark.parametrize("key, status", [
    (None, 400), ("", 400), ('""', 400), ("x" * 256, 400),
    ('"open', 400), ("a\tb", 400)])
def test_idempotency_key(world, key, status):
    shop = world.upstream()
    answer = shop.request("POST", "/v1/payments", json.dumps(GOOD),
                          shop.headers(key))
    is_problem(answer, status)
    assert "dempotency" in json.dumps(answer.body)


@pytest.mark.parametrize("authorization", [
    None, "", "Bearer", "Bearer ", "Bearer wrong-key",
    f"Basic {CLIENTS['shop']['key']}", CLIENTS["shop"]["key"],
    f"Bearer {CLIENTS['shop']['key']}x",
    f"Bearer {CLIENTS['shop']['key'][:-1]}"])
def test_authorization(world, authorization):
    shop = world.upstream()
    headers = shop.headers("bad key")
    del headers["Authorization"]
    if authorization is not None:
        headers["Authorization"] = authorization
    for method, path, body in (
            ("POST", "/v1/payments", json.dumps(GOOD)),
            ("GET", f"/v1/payments/{uuid.uuid4()}", None)):
        answer = shop.request(method, path, body, headers)
        is_problem(answer, 401)
        assert "Bearer" in answer.headers["WWW-Authenticate"]


def test_paths_and_methods(world):
    shop = world.upstream()
    for method, path, statuses in (
            ("GET", "/", (404,)), ("GET", "/v1/payment", (404,)),
            ("GET", "/metrics", (404,)), ("GET", "/health", (404,)),
            ("POST", "/health/cache/clear", (404,)),
            ("GET", "/v1/payments/x/y/z", (404,)),
            ("GET", "/callbacks/a/b/c", (404, 405)),
            ("DELETE", "/v1/payments", (404, 405, 501)),
            ("PUT", "/v1/payments", (404, 405, 501))):
        answer = shop.request(method, path, None, shop.headers())
        assert answer.status in statuses, (method, path, answer)


def talk(port, data):
    """Raw bytes there, everything that comes back until the end."""
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(data)
        s.settimeout(3)
        answer = b""
        try:
            while chunk := s.recv(65536):
                answer += chunk
                if b"\r\n\r\n" in answer:
                    break
        except TimeoutError:
            pass
        return answer


def head(world, *lines, body=b""):
    key = CLIENTS["shop"]["key"]
    text = "".join(f"{line}\r\n" for line in (
        f"Authorization: Bearer {key}", "Idempotency-Key: raw",
        "Content-Type: application/json", *lines))
    return b"POST /v1/payments HTTP/1.1\r\n" + text.encode() + b"\r\n" + body


@pytest.mark.parametrize("name, lines", [
    ("two lengths", ["Host: a", "Content-Length: 5", "Content-Length: 6"]),
    ("same length twice", ["Host: a", "Content-Length: 5",
                           "Content-Length: 5"]),
    ("signed length", ["Host: a", "Content-Length: +5"]),
    ("no host", ["Content-Length: 5"]),
    ("NUL in a header", ["Host: a", "Content-Length: 5", "X-A: b\0c"]),
    ("length and chunks", ["Host: a", "Content-Length: 5",
                           "Transfer-Encoding: chunked"]),
    ("odd transfer coding", ["Host: a", "Transfer-Encoding: xchunked"]),
    ("large header", ["Host: a", "Content-Length: 5", "X-A: " + "b" * 65536]),
])
def test_smuggled_heads_are_refused(world, name, lines):
    answer = talk(world.api.port, head(world, *lines, body=b"hello"))
    status = answer.split(b" ", 2)[1:2]
    assert status == [] or status[0] in (b"400", b"413", b"431"), answer[:200]


def test_nothing_came_of_any_of_it(world):
    """Last in this module: no record, no row, no push of all the above."""
    assert world.query("SELECT count(*) AS n FROM payments")[0]["n"] == 0
    for priority in ("high", "normal", "low"):
        assert world.topics.read(f"payments.requests.{priority}") == []
    assert world.sim.pushes() == []
