"""Schemas, examples, vectors and the C codecs say the same.

Every example goes through the judge (schemas and the rules on bytes, in
Python) and through the C decoder; both must agree. Everything the C encoders
write goes through the judge, which then also refuses what no schema names.
"""

import hashlib
import hmac
import itertools
import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.contract import judge
from tests.contract.judge import EXAMPLES, SCHEMAS, compact

BUILD = Path(os.environ.get("FOLENI_BUILD", "build"))
SHOP = uuid.UUID("5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e01")
PHONE = "254712345678"
TOPICS = {"high": 0, "normal": 1, "low": 2}
AT_US = 1795248000000000  # 2026-11-21T08:00:00Z
DOCUMENTS = [n for n in judge.NAMES if n != "common"]
READ_BY_C = ["http-request", "request-event", "callback", "c2b-confirmation",
             "status-event"]


class Driver:
    """build/contract: one command in, one answer out."""

    def __init__(self):
        self.process = subprocess.Popen(
            [BUILD / "contract"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)

    def __call__(self, op, **command):
        line = compact({"op": op, **command}).encode() + b"\n"
        self.process.stdin.write(line)
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the driver died of {line!r}"
        return json.loads(answer)

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(10) == 0


@pytest.fixture(scope="module")
def c():
    driver = Driver()
    yield driver
    driver.end()


def examples(kind, names, prefix=""):
    paths = [p for n in names for p in sorted((EXAMPLES / kind / n).iterdir())
             if p.name.startswith(prefix)]
    return pytest.mark.parametrize(
        "path", paths, ids=[f"{p.parent.name}/{p.stem}" for p in paths])


def vectors(name):
    rows = json.loads((SCHEMAS / "vectors" / f"{name}.json").read_text())
    return pytest.mark.parametrize("v", rows["vectors"])


# --- reading ---

def _topic_of(path):
    try:
        value = judge.load(path.read_bytes(), strict=True)
        return TOPICS[value.get("priority", "normal")]
    except (judge.Refused, AttributeError, KeyError, TypeError):
        return TOPICS["normal"]


def _phone_of(path):
    # one example asks for the other kind of number
    return "254112345678" if "01" in path.stem.split("-") else PHONE


def _event_headers(data):
    try:
        document = json.loads(data)["data"]
        version, final = document["version"], document["final"]
    except (ValueError, KeyError, TypeError):
        version, final = 1, False
    return {"foleni-client": str(SHOP), "foleni-fingerprint": "00" * 16,
            "foleni-version": str(version), "foleni-final": str(int(final))}


def read(c, path):
    """What the C decoder says of the example."""
    kind, file = path.parent.name, str(path.resolve())
    if kind == "http-request":
        return c("body", file=file, key="order-42")
    if kind == "request-event":
        return c("record", file=file, key=_phone_of(path),
                 topic=_topic_of(path))
    if kind == "callback":
        return c("callback", file=file)
    if kind == "c2b-confirmation":
        return c("c2b", file=file)
    return c("event", file=file, key="56a65011-60fd-5202-ba6a-d40d0d945844",
             headers=_event_headers(path.read_bytes()))


def test_every_schema_is_a_schema():
    for name in judge.NAMES:
        schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
        judge.Validator.check_schema(schema)
        assert schema["$id"].endswith(f"/{name}.schema.json")


def test_every_document_has_examples_of_both_kinds():
    for kind in "valid", "invalid":
        assert sorted(p.name for p in (EXAMPLES / kind).iterdir()) == DOCUMENTS
        for name in DOCUMENTS:
            assert any((EXAMPLES / kind / name).iterdir())


@examples("valid", DOCUMENTS)
def test_judge_takes(path):
    assert judge.complaint(path.parent.name, path.read_bytes()) is None


@examples("invalid", DOCUMENTS)
def test_judge_refuses(path):
    assert judge.complaint(path.parent.name, path.read_bytes()) is not None


@examples("valid", READ_BY_C)
def test_decoder_takes(c, path):
    answer = read(c, path)
    assert answer["ok"], answer


@examples("invalid", ["http-request", "request-event", "callback",
                      "c2b-confirmation"])
def test_decoder_refuses(c, path):
    answer = read(c, path)
    assert not answer["ok"], answer


# The reader of events looks at layout and headers only: events are our own.
@examples("invalid", ["status-event"], "layout-")
def test_event_of_another_layout_is_refused(c, path):
    answer = read(c, path)
    assert not answer["ok"], answer


@examples("invalid", ["http-request", "request-event"])
def test_fault_names_the_member_of_the_file_name(c, path):
    answer = read(c, path)
    words = path.stem.replace("ask-again", "ask_again").replace(
        "expires-at", "expires_at").split("-")
    field = answer["field"].split(".")[0]
    if path.stem == "bytes-metadata-1025-bytes":
        assert (answer["code"], field) == ("invalid_field", "metadata")
    elif words[0] in ("bytes", "array", "number", "null"):
        # a record's version is looked for before anything else
        assert answer["code"] == "invalid_json" and field == ""
    elif words[0] == "unknown":
        assert answer["code"] == "unknown_field"
        assert field.lower().startswith(words[1])
    elif words[0] == "version" and path.parent.name == "request-event":
        assert answer["code"] == "unknown_version"
    else:
        missing = words[-1] == "missing"
        assert answer["code"] == ("missing_field" if missing
                                  else "invalid_field")
        assert field == {"key": "idempotency_key"}.get(words[0], words[0])


# --- what reading gives ---

@examples("valid", ["http-request"])
def test_api_and_worker_read_the_same(c, path):
    body = read(c, path)
    record = body["record"]
    assert judge.complaint("request-event", record.encode(), True) is None
    assert judge.complaint("payment-document", body["document"].encode(),
                           True) is None
    value = json.loads(record)
    again = c("record", text=record, key=value["msisdn"],
              topic=TOPICS[value["priority"]])
    assert again["ok"], again
    assert again["id"] == body["id"]
    assert again["fingerprint"] == body["fingerprint"]
    # the record is canonical: written again it has the same bytes
    assert json.loads(again["record"]) == {**value, "idempotency_key": ""}
    # and as lenient a body in a record is the same request
    loose = c("record", key=value["msisdn"], topic=TOPICS[value["priority"]],
              text=compact({"version": 1, "idempotency_key": "order-42",
                            **judge.load(path.read_bytes(), True)}))
    assert (loose["id"], loose["fingerprint"]) == (body["id"],
                                                   body["fingerprint"])


def test_record_on_a_wrong_place(c):
    path = EXAMPLES / "valid" / "request-event" / "smallest.json"
    for key, topic, code in [(PHONE, 0, "wrong_topic"),
                             (PHONE, 2, "wrong_topic"),
                             ("254712345679", 1, "bad_key"),
                             ("0712345678", 1, "bad_key"),
                             ("+254712345678", 1, "bad_key"),
                             ("", 1, "bad_key")]:
        answer = c("record", file=str(path), key=key, topic=topic)
        assert (answer["ok"], answer.get("code")) == (False, code)


def test_callback_by_name(c):
    def callback(name):
        return read(c, EXAMPLES / "valid" / "callback" / f"{name}.json")

    paid = {"ok": True, "merchant_id": "96657-188398728-1",
            "checkout_id": "ws_CO_10122023133400273708374149",
            "result_code": "0", "receipt": "RLA0X1Y2Z3", "amount": 1,
            "result_text": "The service request is processed successfully.",
            "msisdn": 254708374149, "paid_at": 1702204456000000}
    nothing = {"receipt": "", "amount": 0, "msisdn": 0, "paid_at": 0}
    for name in ("paid", "paid-without-balance", "paid-other-order",
                 "paid-texts-for-numbers", "paid-amount-with-fraction"):
        assert callback(name) == paid, name
    assert callback("paid-masked-phone") == {**paid, "msisdn": 0}
    for name in ("paid-without-metadata", "metadata-of-another-form",
                 "items-of-another-form", "unknown-members"):
        assert callback(name) == {**paid, **nothing}, name
    assert callback("checkout-id-too-long") == {**paid, **nothing,
                                                "checkout_id": ""}
    assert callback("code-of-letters")["result_code"] == "SFC_IC0003"
    assert callback("description-not-text")["result_text"] == ""
    assert callback("bytes-name-twice")["result_text"] == "a"
    assert callback("bytes-not-utf-8")["result_text"] == "Jos\ufffd"


def test_c2b_by_name(c):
    def notice(name):
        return read(c, EXAMPLES / "valid" / "c2b-confirmation" /
                    f"{name}.json")

    paid = {"ok": True, "receipt": "RKTQDM7W6S", "shortcode": 600638,
            "amount": 10, "paid_at": 1574393925000000,
            "reference": "INV0000042", "msisdn": "25470****149"}
    for name in ("paybill", "amount-with-zero-cents", "unknown-members",
                 "bytes-not-utf-8", "bytes-name-twice",
                 "bytes-byte-order-mark"):
        assert notice(name) == paid, name
    assert notice("till-without-reference") == {
        **paid, "reference": "", "msisdn": "2547 ***** 126"}
    assert notice("hashed-phone") == {
        **paid, "msisdn": hashlib.sha256(b"254708374149").hexdigest()}
    assert notice("plain-phone-and-numbers") == {
        **paid, "msisdn": "254708374149"}
    assert notice("reference-too-long") == {**paid, "reference": ""}
    assert notice("time-no-such-day") == {**paid, "paid_at": 0}
    for name in ("amount-with-cents", "amount-negative"):
        assert notice(name) == {**paid, "amount": 0}, name
    assert notice("smallest") == {
        "ok": True, "receipt": "R", "shortcode": 1, "amount": 0, "paid_at": 0,
        "reference": "", "msisdn": ""}


# --- writing ---

def payment(**more):
    return {"id": "56a65011-60fd-5202-ba6a-d40d0d945844", "msisdn": int(PHONE),
            "amount": 1500, "shortcode": 174379, "priority": 1,
            "reference": "INV0000042", "description": "Order 42",
            "created_at": AT_US, "updated_at": AT_US + 17250000,
            "deadline_at": AT_US + 900000000, "version": 3, "attempt": 1,
            **more}


WAITING, SUCCEEDED, PAID = 3, 6, 1
REQUESTS = [
    {},
    {"priority": 0, "ask_again": 2, "expires_at": AT_US + 1,
     "metadata": '{"colour":"blue","order":"42"}'},
    {"priority": 2, "msisdn": 254112345678, "amount": 250000,
     "shortcode": 12345, "reference": "a", "description": "a .,_/-"},
]
TEXTS = ["", "x" * 160, "a \"b\" \\ \b\f\n\r\t\x01\x1f\x7f",
         "Wanjik\u0169 \U0001f981 \u2028"]


def every_payment():
    """Every state with every class, then every odd text and request."""
    for state, result in itertools.product(range(1, 12), range(17)):
        if (state == SUCCEEDED) != (result == PAID):
            continue
        waits = range(1, 5) if state == WAITING else [0]
        for w in waits:
            yield payment(state=state, **{"class": result}, waits=w, code="17",
                          text="done")
    for evidence in range(7):
        yield payment(state=SUCCEEDED, **{"class": PAID}, code="0",
                      text="done", evidence=evidence)
    for text, request in itertools.product(TEXTS, REQUESTS):
        yield payment(state=SUCCEEDED, **{"class": PAID}, code="0", text=text,
                      receipt="RLA0X1Y2Z3", paid_at=AT_US, **request)


def test_encoders_write_what_the_schemas_say(c):
    announced = set()
    for p in every_payment():
        answer = c("write", **p)
        document = answer["document"]
        assert judge.complaint("payment-document", document.encode(),
                               True) is None, document
        value = json.loads(document)
        assert value["status"] == answer["state"]
        assert compact(value) == document
        if not answer["announced"]:
            continue
        announced.add(value["status"])
        event = answer["event"]
        assert judge.complaint("status-event", event.encode(), True) is None
        assert json.loads(event)["data"] == value
        read_back = c("event", text=event, key=p["id"],
                      headers=_event_headers(event))
        assert read_back["document"] == value
        assert (read_back["payment"], read_back["client"]) == (p["id"],
                                                               str(SHOP))
        assert (read_back["version"], read_back["final"]) == (
            value["version"], value["final"])
    schema = json.loads((SCHEMAS / "status-event.schema.json").read_text())
    types = schema["properties"]["type"]["enum"]
    assert sorted(types) == sorted(f"foleni.payment.{s}" for s in announced)


def test_words_of_the_schemas_are_those_of_the_code(c):
    common = json.loads((SCHEMAS / "common.schema.json").read_text())["$defs"]
    states = [c("write", **payment(state=n))["state"] for n in range(12)]
    assert common["status"]["enum"] == states
    results = [json.loads(c("write", **payment(state=7, **{"class": n}))
                          ["document"])["result"]["class"]
               for n in range(1, 18)]
    assert common["result_class"]["enum"] == results
    words = [json.loads(c("write", **payment(state=7, **{"class": 1},
                                             evidence=n))
                        ["document"])["result"]["evidence"]
             for n in range(7)]
    assert words == [None, *common["evidence"]["enum"]]


def test_document_of_a_payment_says_what_it_is(c):
    answer = c("write", **payment(
        state=SUCCEEDED, **{"class": PAID}, code="0", text="done", attempt=2,
        receipt="RLA0X1Y2Z3", paid_at=AT_US + 16000000, evidence=5,
        **REQUESTS[1]))
    assert json.loads(answer["document"]) == {
        "id": "56a65011-60fd-5202-ba6a-d40d0d945844", "status": "succeeded",
        "final": True, "version": 3, "attempts": 2,
        "result": {"class": "paid", "code": "0", "text": "done",
                   "receipt": "RLA0X1Y2Z3",
                   "paid_at": "2026-11-21T08:00:16.000Z",
                   "evidence": "c2b"},
        "created_at": "2026-11-21T08:00:00.000Z",
        "updated_at": "2026-11-21T08:00:17.250Z",
        "deadline_at": "2026-11-21T08:15:00.000Z",
        "request": {"msisdn": PHONE, "amount": 1500, "currency": "KES",
                    "reference": "INV0000042", "description": "Order 42",
                    "shortcode": "174379", "priority": "high", "ask_again": 2,
                    "expires_at": "2026-11-21T08:00:00.000Z",
                    "metadata": {"colour": "blue", "order": "42"}}}


@pytest.mark.parametrize("more", [
    {}, {"title": "Request cannot be used"}, {"detail": 'a "b"\n\u00e9'},
    {"field": "metadata.colour"}, {"retry_after": 3},
    {"payment_id": "56a65011-60fd-5202-ba6a-d40d0d945844"}])
def test_problems(c, more):
    said = {"status": 400, "code": "invalid_field", **more}
    text = c("problem", **said)["problem"]
    assert judge.complaint("problem", text.encode(), True) is None
    assert json.loads(text) == {"type": "about:blank", **said}


# --- vectors: computed here, and in C ---

@vectors("payment-id")
def test_payment_id(c, v):
    assert str(uuid.uuid5(uuid.UUID(v["client"]), v["key"])) == v["payment"]
    answer = c("payment_id", client=v["client"], key=v["key"])
    assert answer["payment"] == v["payment"]


@vectors("record-signature")
def test_record_signature(c, v):
    text = "\n".join([v["client"], v["time"], v["key"], v["value"]])
    mac = hmac.new(v["secret"].encode(), text.encode(), hashlib.sha256)
    assert mac.hexdigest() == v["signature"]
    del (given := dict(v))["signature"]
    assert c("signature", **given)["signature"] == v["signature"]


@vectors("callback-mac")
def test_callback_mac(c, v):
    text = f"{v['payment']}/{v['attempt']}"
    mac = hmac.new(v["key"].encode(), text.encode(), hashlib.sha256)
    assert mac.hexdigest()[:32] == v["mac"]
    del (given := dict(v))["mac"]
    assert c("mac", **given)["mac"] == v["mac"]


@vectors("c2b-mac")
def test_c2b_mac(c, v):
    mac = hmac.new(v["key"].encode(), b"c2b\n" + v["body"].encode(),
                   hashlib.sha256)
    assert mac.hexdigest()[:32] == v["mac"]
    answer = c("c2b_mac", key=v["key"], body=v["body"])
    assert answer["mac"] == v["mac"]


@vectors("fingerprint")
def test_fingerprint(c, v):
    digest = hashlib.sha256(v["canonical"].encode()).hexdigest()[:32]
    assert digest == v["fingerprint"]
    answer = c("body", text=compact(v["body"]), key="order-42")
    assert answer["ok"], answer
    assert answer["fingerprint"] == v["fingerprint"]
    head = '{"version":1,"idempotency_key":"order-42",'
    assert answer["record"] == head + v["canonical"][1:]
