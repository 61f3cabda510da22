"""The whole way of payments: HTTP, Kafka, worker, provider, callback, Postgres,
status topic, with the real binaries, a real broker and a real database."""

import threading
import uuid

import pytest

from tests.harness import oracle, wire
from tests.harness.place import wait_for
from tests.harness.upstream import payment_id

pytestmark = pytest.mark.sanitized


def order(world, **more):
    """A good payment for a phone of its own."""
    return {"msisdn": world.new_phone(), "amount": 100, "reference": "ORDER1",
            "shortcode": "174379", **more}


def test_one_payment_is_paid(world):
    shop = world.upstream()
    asked = order(world, amount=250, description="Blue socks",
                  metadata={"cart": "77"})
    accepted = shop.submit(asked, "one")
    assert accepted.status == 202
    assert accepted.body["id"] == payment_id("shop", "one")
    assert accepted.body["status"] == "queued"
    assert accepted.body["final"] is False

    shop.wait_final(accepted.body["id"])
    # on a slow machine a query is first to say so, without a receipt
    paid = wait_for("its callback", lambda: (
        d := shop.get(accepted.body["id"]).body)["result"]["receipt"] and d,
        60)
    push, = world.sim.pushes(asked["msisdn"])
    debit, = [r for r in world.sim.journal()
              if r["t"] == "debit" and r["n"] == push["n"]]
    assert paid["status"] == "succeeded"
    assert paid["attempts"] == 1
    assert paid["result"]["class"] == "paid"
    assert paid["result"]["receipt"] == debit["receipt"]
    assert paid["result"]["evidence"] == "callback"
    assert paid["request"]["amount"] == 250 == push["amount"]
    assert paid["request"]["description"] == "Blue socks"
    assert paid["request"]["metadata"] == {"cart": "77"}
    assert push["payment"] == accepted.body["id"]


@pytest.mark.parametrize("written", [
    "0712{}", "+254712{}", "254712{}", "712{}", "0112{}"])
def test_phone_numbers_are_stored_canonically(world, written):
    shop = world.upstream()
    digits = f"{len(written):03d}{uuid.uuid4().int % 1000:03d}"
    asked = order(world, msisdn=written.format(digits))
    done = shop.wait_final(shop.submit(asked).body["id"])
    canonical = "254" + written.format(digits).lstrip("+0").removeprefix("254")
    assert done["request"]["msisdn"] == canonical
    assert world.sim.pushes(canonical)


# Steps of the handset's script; the end of the payment and its class.
FATES = {
    "pays": ([{"fate": "pay"}], "succeeded", "paid"),
    "cancels": ([{"fate": "cancel"}], "failed", "cancelled_by_customer"),
    "wrong pin": ([{"fate": "wrong_pin"}], "failed", "wrong_pin"),
    "pin locked": ([{"fate": "pin_locked"}], "failed", "wrong_pin"),
    "no funds": ([{"fate": "no_funds"}], "failed", "insufficient_funds"),
    "no answer": ([{"fate": "no_answer"}], "failed", "no_answer"),
    "callback lost": ([{"fate": "pay", "callback": "lost"}],
                      "succeeded", "paid"),
    "callback lost, cancelled": ([{"fate": "cancel", "callback": "lost"}],
                                 "failed", "cancelled_by_customer"),
    "callback twice": ([{"fate": "pay", "callback": "twice"}],
                       "succeeded", "paid"),
    "callback early": ([{"fate": "pay", "callback": "early"}],
                       "succeeded", "paid"),
    "callback garbage": ([{"fate": "pay", "callback": "garbage"}],
                         "succeeded", "paid"),
    "answer reset": ([{"fate": "pay", "answer": "rst_after"}],
                     "succeeded", "paid"),
    "answer cut": ([{"fate": "pay", "answer": "truncated_after"}],
                   "succeeded", "paid"),
    "answer is a page": ([{"fate": "pay", "answer": "html_after"}],
                         "succeeded", "paid"),
    "answer never": ([{"fate": "pay", "answer": "stall_after"}],
                     "succeeded", "paid"),
    "answer lost, cancelled": ([{"fate": "cancel", "answer": "503_after"}],
                               "failed", "cancelled_by_customer"),
    "busy, yet it rang": ([{"fate": "pay", "answer": "busy_after"}],
                          "succeeded", "paid"),
    "throttled first": ([{"answer": "spike"}, {"fate": "pay"}],
                        "succeeded", "paid"),
    "quota first": ([{"answer": "quota"}, {"fate": "pay"}],
                    "succeeded", "paid"),
    "phone locked first": ([{"answer": "lock"}, {"fate": "pay"}],
                           "succeeded", "paid"),
    "token refused first": ([{"answer": "token"}, {"fate": "pay"}],
                            "succeeded", "paid"),
    "bad request": ([{"answer": "invalid"}], "failed", "request"),
    "both lost": ([{"fate": "pay", "answer": "rst_after",
                    "callback": "lost"}], "unresolved", None),
    "never received": ([{"answer": "rst_before"}], "unresolved", None),
}


@pytest.fixture(scope="module")
def fates(world):
    """Every fate three times, all submitted at once; settled when it returns:
    {name: [(asked, document)]}."""
    shop = world.upstream()
    asked = {}
    for name, (steps, _, _) in FATES.items():
        for n in range(3):
            payment = order(world, amount=10 + n,
                            priority=("high", "normal", "low")[n])
            world.sim.script(payment["msisdn"], *steps)
            asked.setdefault(name, []).append(
                (payment, f"{name} {n}"))
    threads = [threading.Thread(target=shop.insist, args=pair)
               for pairs in asked.values() for pair in pairs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    world.wait_settled()
    return {name: [(payment, shop.get(payment_id("shop", key)).body)
                   for payment, key in pairs]
            for name, pairs in asked.items()}


@pytest.mark.parametrize("name", FATES)
def test_fate(fates, name):
    _, status, result = FATES[name]
    for payment, document in fates[name]:
        assert document["status"] == status, document
        assert document["final"] == (status != "unresolved")
        if result:
            assert document["result"]["class"] == result
        assert document["request"]["priority"] == payment["priority"]


def test_all_memories_agree(world, fates):
    found = oracle.check(world, oracle.ALWAYS + oracle.SETTLED + oracle.CALM)
    for pairs in fates.values():
        for _, document in pairs:
            last = found.events[document["id"]][-1]["data"]
            assert document == last
            assert found.rows[document["id"]]["version"] == document["version"]


def test_unresolved_is_announced_and_not_pushed_again(world, fates):
    for name in ("both lost", "never received"):
        for payment, _ in fates[name]:
            assert len(world.sim.pushes(payment["msisdn"])) == 1


def test_garbage_callbacks_are_kept_raw(world, fates):
    ids = {document["id"] for _, document in fates["callback garbage"]}
    rows = world.query("SELECT payment::text, body FROM stray_callbacks")
    assert ids <= {row["payment"] for row in rows}
    assert all(row["body"] for row in rows)


def test_same_key_same_payment(world):
    shop = world.upstream()
    asked = order(world)
    first = shop.submit(asked, "again")
    second = shop.submit(asked, "again")
    quoted = shop.request(
        "POST", "/v1/payments",
        '{"msisdn":"%s","amount":100,"reference":"ORDER1",'
        '"shortcode":174379}' % asked["msisdn"],
        shop.headers('"again"'))
    assert first.headers.get("Idempotent-Replayed") is None
    for answer in (second, quoted):
        assert answer.status == 202
        assert answer.headers["Idempotent-Replayed"] == "true"
        assert answer.body["id"] == first.body["id"]
    shop.wait_final(first.body["id"])
    assert len(world.sim.pushes(asked["msisdn"])) == 1


def test_same_key_at_once_is_one_payment(world):
    shop = world.upstream()
    asked = order(world)
    answers = []
    threads = [threading.Thread(
        target=lambda: answers.append(shop.submit(asked, "stampede")))
        for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {a.status for a in answers} == {202}
    assert {a.body["id"] for a in answers} == {payment_id("shop", "stampede")}
    shop.wait_final(answers[0].body["id"])
    assert len(world.sim.pushes(asked["msisdn"])) == 1


def test_same_key_of_another_client_is_another_payment(world):
    shop, bills = world.upstream("shop"), world.upstream("bills")
    ids = {u.submit(order(world), "shared").body["id"] for u in (shop, bills)}
    assert ids == {payment_id("shop", "shared"), payment_id("bills", "shared")}


def test_same_key_other_body_is_refused(world):
    shop = world.upstream()
    asked = order(world)
    shop.submit(asked, "changed")
    answer = shop.submit(dict(asked, amount=101), "changed")
    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["code"] == "key_conflict"
    done = shop.wait_final(payment_id("shop", "changed"))
    assert done["request"]["amount"] == 100
    assert len(world.sim.pushes(asked["msisdn"])) == 1


def test_status_waits_for_a_change(world):
    shop = world.upstream()
    asked = order(world)
    world.sim.script(asked["msisdn"], {"fate": "pay", "decide_ms": 700})
    ident = shop.submit(asked).body["id"]
    document = shop.get(ident, wait="10s").body
    assert document["final"] and document["status"] == "succeeded"


def test_status_stops_waiting_in_time(world):
    shop = world.upstream()
    asked = order(world)
    world.sim.script(asked["msisdn"], {"fate": "pay", "decide_ms": 3000})
    ident = shop.submit(asked).body["id"]
    answer = shop.get(ident, wait="1s")
    assert answer.status == 200 and not answer.body["final"]
    assert shop.wait_final(ident)["status"] == "succeeded"


def test_status_is_its_clients_only(world):
    shop, bills = world.upstream("shop"), world.upstream("bills")
    ident = shop.submit(order(world)).body["id"]
    assert shop.get(ident).status == 200
    assert bills.get(ident).status == 404
    assert shop.get(uuid.uuid4()).status == 404
    assert shop.get("not-a-uuid").status in (400, 404)


def test_one_open_prompt_per_phone(world):
    shop = world.upstream()
    phone = world.new_phone()
    world.sim.script(phone, {"fate": "pay", "decide_ms": 500}, repeat=True)
    ids = [shop.submit(order(world, msisdn=phone, amount=20 + n)).body["id"]
           for n in range(4)]
    for ident in ids:
        assert shop.wait_final(ident)["status"] == "succeeded"
    rows = [r for r in world.sim.journal() if r.get("n") in
            {p["n"] for p in world.sim.pushes(phone)}]
    kinds = [r["t"] for r in rows if r["t"] in ("accept", "debit")]
    assert kinds == ["accept", "debit"] * 4


def test_expired_before_the_push_is_rejected(world):
    shop = world.upstream()
    asked = order(world)
    key, value, headers = wire.request_record(asked, "too-late",
                                              at_ms=1_600_000_000_000)
    world.topics.write("payments.requests.normal", key, value, headers)
    ident = payment_id("shop", "too-late")
    wait_for("the old record is rejected", lambda: world.query(
        "SELECT 1 FROM payments WHERE id = %s AND state = 8", ident))
    assert world.sim.pushes(asked["msisdn"]) == []
    assert shop.wait_final(ident)["status"] == "rejected"


# --- callbacks ---

def test_forged_callback_is_refused(world):
    shop = world.upstream()
    asked = order(world)
    world.sim.script(asked["msisdn"], {"fate": "cancel", "decide_ms": 1500})
    ident = shop.submit(asked).body["id"]
    wait_for("the push", lambda: world.sim.pushes(asked["msisdn"]))
    body = wire.callback_body("ws_CO_forged", items={
        "Amount": 100, "MpesaReceiptNumber": "FORGED0001",
        "PhoneNumber": int(asked["msisdn"])})
    good = wire.callback_mac(ident, 1)
    refused = world.api.metrics().get("foleni_callbacks_total"
                                      '{end="forged"}', 0)
    bad = [wire.callback_mac(ident, 1, "another-key-of-16-bytes"), "0" * 32,
           good[:-1], good + "0", "zz" + good[2:],
           wire.callback_mac(ident, 2)]
    for mac in bad:
        path = wire.callback_path(ident, 1, mac)
        assert shop.request("POST", path, body).status == 404, path
    assert shop.wait_final(ident)["status"] == "failed"
    assert not [r for r in world.topics.read("payments.callbacks")
                if b"FORGED0001" in r.value()]
    counted = world.api.metrics()['foleni_callbacks_total{end="forged"}']
    assert counted == refused + len(bad)


def test_callback_of_an_unknown_payment_is_kept(world):
    shop = world.upstream()
    ident = str(uuid.uuid4())
    body = wire.callback_body("ws_CO_stray", 1032, "cancelled")
    path = wire.callback_path(ident, 1)
    assert shop.request("POST", path, body).status == 200
    row = wait_for("the stray callback", lambda: world.query(
        "SELECT body, why FROM stray_callbacks WHERE payment = %s", ident))
    assert bytes(row[0]["body"]) == body


def test_callback_again_and_again_changes_nothing(world):
    shop = world.upstream()
    asked = order(world)
    ident = shop.submit(asked).body["id"]
    paid = shop.wait_final(ident)
    checkout = world.query("SELECT checkout_id FROM payments WHERE id = %s",
                           ident)[0]["checkout_id"]
    body = wire.callback_body(checkout, items={
        "Amount": asked["amount"], "PhoneNumber": int(asked["msisdn"]),
        "MpesaReceiptNumber": paid["result"]["receipt"]})
    for _ in range(20):
        assert shop.request("POST", wire.callback_path(ident, 1),
                            body).status == 200
    # A failure told later does not undo a payment either.
    shop.request("POST", wire.callback_path(ident, 1),
                 wire.callback_body(checkout, 1032, "cancelled"))
    marker = shop.submit(order(world)).body["id"]
    shop.wait_final(marker)
    assert shop.get(ident).body == paid


# --- records that services write to Kafka themselves ---

def test_signed_record_is_paid(world):
    shop = world.upstream()
    asked = order(world)
    key, value, headers = wire.request_record(asked, "direct")
    world.topics.write("payments.requests.normal", key, value, headers)
    ident = payment_id("shop", "direct")
    wait_for("its row", lambda: world.query(
        "SELECT 1 FROM payments WHERE id = %s", ident))
    assert shop.wait_final(ident)["status"] == "succeeded"


def bad_records():
    """{error code: (key, value, headers)}: no payment can be made of these."""
    good = {"msisdn": "254799000001", "amount": 100, "reference": "DIRECT",
            "shortcode": "174379"}
    key, value, headers = wire.request_record(good, "bad")
    stamp = headers[1][1]

    def signed(text, with_key=key):
        return [("foleni-client", headers[0][1]), ("foleni-time", stamp),
                ("foleni-signature",
                 wire.signature("shop", stamp, with_key, text))]

    def changed(**more):
        k, v, h = wire.request_record(dict(good, **more), "bad")
        return k, v, h

    stranger = [("foleni-client", str(uuid.UUID(int=5))), *headers[1:]]
    return {
        "unsigned": (key, value, headers[:2]),
        "unknown_client-none": (key, value, []),
        "bad_signature": (key, value.replace(b"100", b"101"), headers),
        "unknown_client": (key, value, stranger),
        "invalid_json": (key, b'{"amount":', signed(b'{"amount":')),
        "invalid_json-utf8": (key, b'{"a":"\xff"}', signed(b'{"a":"\xff"}')),
        "unknown_version": wire.request_record(good, "bad", version=9),
        "bad_key": ("254799000002", value, signed(value, "254799000002")),
        "wrong_topic": changed(priority="high"),
        "invalid_field": changed(amount=0),
        "unknown_field": changed(colour="red"),
        "bad_time": wire.request_record(good, "bad", at_ms=4_000_000_000_000),
        "empty": (key, b"", signed(b"")),
        "zeros": (key, bytes(300), [("odd", b"\x00\xff\x7f")]),
    }


def test_hopeless_records_become_dead_letters(world):
    records = bad_records()
    for key, value, headers in records.values():
        world.topics.write("payments.requests.normal", key, value, headers,
                           partition=0)
    letters = wait_for("their letters", lambda: _letters(world, records))
    for name, (key, value, headers) in records.items():
        letter = letters[name]
        assert letter.value() == value
        assert letter.key() == key.encode()
        kept = [h for h in letter.headers()
                if not h[0].startswith("foleni-") or
                h[0] in ("foleni-client", "foleni-time", "foleni-signature")]
        assert kept == [(k, v if isinstance(v, bytes) else v.encode())
                        for k, v in headers]
        told = dict(letter.headers())
        assert told["foleni-source-topic"].decode() == \
            world.prefix + "payments.requests.normal"
        assert told["foleni-source-partition"] == b"0"
        assert told["foleni-error-message"]
        if name not in ("empty", "zeros"):
            assert told["foleni-error-code"].decode() == \
                name.partition("-")[0]


def _letters(world, records):
    """{name: letter} once each of the records has its own."""
    found = {}
    for letter in world.topics.read("payments.dead"):
        for name, (key, value, headers) in records.items():
            kept = {k for k, _ in letter.headers()} & {"foleni-client", "odd"}
            if letter.value() == value and letter.key() == key.encode() \
                    and name not in found and \
                    bool(kept) == bool(headers) and \
                    _same_client(letter, headers):
                found[name] = letter
                break
    return found if len(found) == len(records) else None


def _same_client(letter, headers):
    mine = dict(headers).get("foleni-client")
    theirs = dict(letter.headers()).get("foleni-client")
    return mine is None or theirs == mine.encode()


def test_offsets_move_on_past_hopeless_records(world):
    shop = world.upstream()
    for _ in range(5):
        world.topics.write("payments.requests.normal", "x", b"nonsense", (),
                           partition=1)
    asked = order(world)
    key, value, headers = wire.request_record(asked, "after-nonsense")
    world.topics.write("payments.requests.normal", key, value, headers,
                       partition=1)
    ident = payment_id("shop", "after-nonsense")
    wait_for("the good one's row", lambda: world.query(
        "SELECT 1 FROM payments WHERE id = %s", ident))
    assert shop.wait_final(ident)["status"] == "succeeded"
    _, end = world.topics.ends("payments.requests.normal")[1]
    wait_for("the intake passed them", lambda: world.query(
        "SELECT 1 FROM intake WHERE topic = %s AND partition = 1"
        " AND next_offset = %s", world.prefix + "payments.requests.normal",
        end))


def test_conflicting_body_is_a_dead_letter(world):
    asked = order(world)
    for amount in (100, 200):
        record = wire.request_record(dict(asked, amount=amount), "conflict")
        world.topics.write("payments.requests.normal", *record, partition=2)
    letter = wait_for("the conflict's letter", lambda: [
        r for r in world.topics.read("payments.dead")
        if dict(r.headers()).get("foleni-error-code") == b"key_conflict"])
    assert b'"amount":200' in letter[0].value()
    rows = world.query("SELECT amount FROM payments WHERE id = %s",
                       payment_id("shop", "conflict"))
    assert [r["amount"] for r in rows] == [100]
    wait_for("the first is paid", lambda: world.query(
        "SELECT 1 FROM payments WHERE id = %s AND state = 6",
        payment_id("shop", "conflict")))


# --- last: everything that this module did, together ---

def test_nothing_contradicts_itself_at_the_end(world):
    world.wait_settled()
    oracle.check(world)
    for program in (world.api, world.worker):
        health = program.health()
        assert health["status"] in ("ok", "up", "healthy", "pass"), health
