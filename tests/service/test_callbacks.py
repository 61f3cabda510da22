"""What the provider posts to the API: kept byte for byte before it hears 200,
or refused without a trace."""

import hashlib
import json
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import oracle, wire
from tests.harness.broker import KafkaBroker
from tests.harness.place import wait_for
from tests.harness.postgres import Postgres
from tests.harness.settings import PATIENT
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


def order(world, **more):
    return {"msisdn": world.new_phone(), "amount": 100, "reference": "ORDER1",
            "shortcode": "174379", **more}


def paid_body(world, asked):
    """The callback that the provider would send of a paid one."""
    n = world.sim.pushes(asked["msisdn"])[0]["n"]
    debit = wait_for("the debit", lambda: [
        row for row in world.sim.journal()
        if row["t"] == "debit" and row["n"] == n])[0]
    return wire.callback_body(debit["checkout"], items={
        "Amount": asked["amount"], "PhoneNumber": int(asked["msisdn"]),
        "MpesaReceiptNumber": debit["receipt"]})


# --- again, late, cut, too large, not as asked ---

def lost(world):
    """A paid payment whose callback was lost: its request and its id."""
    shop = world.upstream()
    asked = order(world)
    world.sim.script(asked["msisdn"], {"fate": "pay", "callback": "lost"})
    ident = shop.submit(asked).body["id"]
    wait_for("the prompt", lambda: world.query(
        "SELECT FROM payments WHERE id = %s AND state = 2", ident))
    return asked, ident


def events_of(world, ident):
    return [json.loads(r.value())["type"].rpartition(".")[2]
            for r in world.topics.read("payments.status")
            if r.key().decode() == ident]


def test_a_hundred_callbacks_at_once(patient):
    asked, ident = lost(patient)
    body, path = paid_body(patient, asked), wire.callback_path(ident, 1)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: post(patient, path, body).status,
                                range(100)))
    assert answers == [200] * 100
    document = patient.upstream().wait_final(ident)
    assert document["status"] == "succeeded"
    later = order(patient)  # behind all of them
    marker = patient.upstream().submit(later).body["id"]
    patient.upstream().wait_final(marker)
    wait_for("all were read", lambda: patient.worker.metrics()
             ["foleni_callbacks_read_total"] >= 101)
    assert patient.upstream().get(ident).body == document
    assert events_of(patient, ident).count("succeeded") == 1
    assert patient.query("SELECT FROM alarms WHERE payment = %s",
                         ident) == []


def test_callback_that_is_cut_or_too_large(patient):
    """Kept for people, or refused; the whole one counts all the same."""
    asked, ident = lost(patient)
    body, path = paid_body(patient, asked), wire.callback_path(ident, 1)
    assert post(patient, path, body[:-7]).status == 200
    stray = wait_for("it is kept", lambda: patient.query(
        "SELECT body, why FROM stray_callbacks WHERE payment = %s", ident))
    assert (bytes(stray[0]["body"]), stray[0]["why"]) == (body[:-7],
                                                          "unreadable")
    answer = post(patient, path, body + b" " * 70000)
    assert (answer.status, answer.body["code"]) == (413, "body_too_large")
    shop = patient.upstream()
    assert shop.get(ident).body["status"] == "prompted"
    assert post(patient, path, body).status == 200
    assert shop.wait_final(ident)["status"] == "succeeded"


def test_callback_of_another_amount_or_phone(patient):
    """Paid is paid; that it is not what was asked, a person hears."""
    asked, ident = lost(patient)
    body = paid_body(patient, {**asked, "amount": asked["amount"] + 1,
                               "msisdn": asked["msisdn"]})
    name = 'foleni_alarms_total{kind="paid_not_as_asked"}'
    before = patient.worker.metrics()[name]
    assert post(patient, wire.callback_path(ident, 1), body).status == 200
    assert patient.upstream().wait_final(ident)["status"] == "succeeded"
    patient.worker.wait_metric(name, before + 1)


def test_callbacks_from_elsewhere(make_world):
    """The second line: a right path from a wrong place is refused."""
    world = make_world(settings={
        "callbacks.networks": ["10.0.0.0/8", "2001:db8::/32"]}).start()
    asked, ident = lost(world)
    body, path = paid_body(world, asked), wire.callback_path(ident, 1)
    assert post(world, path, body).status == 404
    assert post(world, wire.c2b_path(), wire.c2b_body("ELSE000001")).status \
        == 404
    metrics = world.api.metrics()
    assert metrics['foleni_callbacks_total{end="elsewhere"}'] == 1
    assert metrics[f'{C2B}{{end="elsewhere"}}'] == 1
    assert world.topics.read("payments.callbacks") == []
    world.wait_settled()  # by query


# --- the spool: Kafka is away ---

SPOOLED = "foleni_callbacks_spooled_total"


@pytest.fixture
def own_kafka(run_directory):
    """One that a test may stop: the others' stays."""
    broker = KafkaBroker(run_directory / "callbacks-kafka")
    broker.start()
    yield broker
    broker.stop()


def prompted(world, n):
    """n payments that wait for their callbacks, which the simulator sends
    late; queries tell nothing meanwhile."""
    shop = world.upstream()
    world.sim.profile({"decide_ms": 4000})
    orders = [order(world) for _ in range(n)]
    for asked in orders:
        assert shop.submit(asked).status == 202
    wait_for("all are pushed", lambda: len(world.sim.pushes()) >= n)
    return orders


def kafka_away(world):
    return not world.api.health()["dependencies"]["kafka"]["ok"]


def spool_files(world):
    return sorted((world.directory / "spool").iterdir())


def acknowledged(world):
    return world.sim.metrics()['daraja_sim_callbacks_total{end="acked"}']


def test_callbacks_while_kafka_is_away(own_kafka, make_world):
    """Answered 200, kept through a kill -9, applied once Kafka is back."""
    world = make_world(broker=own_kafka, settings=PATIENT).start()
    n = 30
    prompted(world, n)
    own_kafka.kill9()
    wait_for("the API says so", lambda: kafka_away(world))
    wait_for("every callback was answered 200",
             lambda: acknowledged(world) == n)
    notice = wire.c2b_body("SPOOLED001")
    assert post(world, wire.c2b_path(), notice).status == 200
    assert world.api.metrics()[SPOOLED] == n + 1
    assert spool_files(world)
    world.api.kill9()
    world.start_api()
    own_kafka.start()
    world.api.wait_ready()
    world.wait_settled(90)
    found = oracle.check(world)
    assert found.count("succeeded") == n
    causes = world.query("SELECT DISTINCT evidence FROM payments")
    assert [c["evidence"] for c in causes] == [6], "by callbacks, not queries"
    wait_for("the spool is empty", lambda: not spool_files(world))
    assert len(records_of(world, notice)) == 1


def test_callbacks_while_kafka_is_frozen(own_kafka, make_world):
    """A broker that takes bytes and confirms nothing: the spool is the
    second to be asked, and both having it changes nothing."""
    world = make_world(broker=own_kafka, settings={"spool.after_ms": 100})
    world.start()
    n = 10
    prompted(world, n)
    own_kafka.freeze()
    try:
        wait_for("every callback was answered 200",
                 lambda: acknowledged(world) == n)
        assert world.api.metrics()[SPOOLED] == n
    finally:
        own_kafka.thaw()
    world.wait_settled(90)
    found = oracle.check(world)
    assert found.count("succeeded") == n
    wait_for("the spool is empty", lambda: not spool_files(world))


def test_callbacks_of_a_full_spool(own_kafka, make_world):
    """Beyond its bound they get 503, and the alarm came before."""
    world = make_world(broker=own_kafka,
                       settings={"spool.kbytes_max": 64}).start()
    own_kafka.kill9()
    wait_for("the API says so", lambda: kafka_away(world))
    statuses = [post(world, wire.c2b_path(),
                     wire.c2b_body(f"FULL{i:06}", LastName="x" * 4000)).status
                for i in range(20)]
    full = statuses.index(503)
    assert statuses == [200] * full + [503] * (20 - full) and full > 10
    metrics = world.api.metrics()
    assert metrics['foleni_spool_alarms_total'] == 1
    assert metrics['foleni_spool_records_total{end="full"}'] == 20 - full
    assert metrics[f'{C2B}{{end="not_durable"}}'] == 20 - full
    assert not world.api.health()["dependencies"]["spool"]["ok"]
    own_kafka.start()
    wait_for("the spool is empty", lambda: not spool_files(world), 60)
    names = {json.loads(r.value())["TransID"]
             for r in world.topics.read("payments.callbacks")}
    assert names == {f"FULL{i:06}" for i in range(full)}


def test_torn_spool_file_is_set_aside(own_kafka, make_world):
    """What can be read of it goes to Kafka, the file stays for people."""
    world = make_world(broker=own_kafka).start()
    own_kafka.kill9()
    wait_for("the API says so", lambda: kafka_away(world))
    for i in range(3):
        assert post(world, wire.c2b_path(),
                    wire.c2b_body(f"TORN{i:06}")).status == 200
    world.api.kill9()
    path, = spool_files(world)
    data = bytearray(path.read_bytes())
    data[data.index(b"TORN000001")] ^= 1
    path.write_bytes(bytes(data[:-10]))
    world.start_api()
    own_kafka.start()
    world.api.wait_metric("foleni_spool_files_bad_total", 1, 60)
    assert [p.name for p in spool_files(world)] == [path.name + ".bad"]
    assert b"file_set_aside" in world.api.said()
    names = [json.loads(r.value())["TransID"]
             for r in world.topics.read("payments.callbacks")]
    assert names == ["TORN000000"]


# --- keys change while payments are open ---

NEW_KEY = "test-key-of-the-callback-paths-2"
OLD = {"callbacks.mac_key_file": "mac-key", "callbacks.mac_key_id": 1}
NEW = {"callbacks.mac_key_file": "new-mac-key", "callbacks.mac_key_id": 2}


def second(keys):
    return {k.replace(".mac_key", ".second_mac_key"): v
            for k, v in keys.items()}


def reload(world, settings, says, programs=None):
    """New settings, SIGHUP, and what each has to say of it."""
    secrets = world.directory / "secrets"
    (secrets / "new-mac-key").write_text(NEW_KEY + "\n")
    for name in [n for n in world.settings if n.startswith("callbacks.")]:
        del world.settings[name]
    world.settings |= {k: secrets / v if isinstance(v, str) else v
                       for k, v in settings.items()}
    world.write_config(world.sim.url)
    if programs is None:
        programs = (world.api, world.worker)
    for program in programs:
        hang_up(program, says)


def hang_up(program, says):
    before = len(program.said())
    program.process.send_signal(signal.SIGHUP)
    wait_for(f"{program.name} says {says}",
             lambda: says in program.said()[before:].decode())


def test_keys_change_while_payments_are_open(make_world):
    world = make_world(settings=PATIENT).start()
    shop = world.upstream()
    old = order(world)
    world.sim.script(old["msisdn"], {"fate": "pay", "callback": "lost"})
    ident = shop.submit(old).body["id"]
    wait_for("the push", lambda: world.sim.pushes(old["msisdn"]))

    # at no moment may the key that signs be gone
    reload(world, NEW, "has to stay as the second one")
    reload(world, OLD | second(NEW), "reloaded")
    reload(world, NEW | second(OLD), "reloaded")
    fresh = shop.submit(order(world)).body["id"]
    assert shop.wait_final(fresh)["status"] == "succeeded"
    keys = world.query("SELECT id::text, mac_key FROM payments")
    assert {r["id"]: r["mac_key"] for r in keys} == {ident: 1, fresh: 2}

    # a payment is open that the old one signed
    reload(world, NEW, "open attempts use it")
    world.config.write_text("callbacks = {")
    for program in (world.api, world.worker):
        hang_up(program, "reload_refused")
    body = paid_body(world, old)
    assert post(world, wire.callback_path(ident, 1), body).status == 200
    assert shop.wait_final(ident)["status"] == "succeeded"
    world.wait_settled()

    # now nothing stands against it
    reload(world, NEW, "reloaded")
    assert post(world, wire.callback_path(ident, 1), body).status == 404
    mac = wire.callback_mac(ident, 1, NEW_KEY)
    assert post(world, wire.callback_path(ident, 1, mac), body).status == 200
    assert world.api.running() and world.worker.running()


def test_a_worker_without_a_key_that_is_used_says_so(make_world):
    """Nobody can refuse a start as a reload is refused: the worker is not
    ready and an alarm stays, until it has the key again."""
    world = make_world(settings=PATIENT).start()
    shop = world.upstream()
    old = order(world)
    world.sim.script(old["msisdn"], {"fate": "pay", "callback": "lost"})
    ident = shop.submit(old).body["id"]
    wait_for("the push", lambda: world.sim.pushes(old["msisdn"]), 60)
    world.worker.stop()
    reload(world, NEW, "", ())
    world.start_worker(world.worker)
    missing = "foleni_callback_keys_missing"
    world.worker.wait_metric(missing, 1)
    assert not world.worker.ready()
    row = world.worker.health()["dependencies"]["callback_keys"]
    assert not row["ok"] and "key 1 " in row["note"]
    early = paid_body(world, old) + b" "
    assert post(world, wire.callback_path(ident, 1), early).status == 200
    kept = wait_for("it is kept as it came", lambda: world.query(
        "SELECT body, why FROM stray_callbacks WHERE payment = %s", ident))
    assert [(bytes(k["body"]), k["why"]) for k in kept] == [
        (early, "its key is not in the settings")]
    world.worker.stop()
    world.start_worker(world.worker)
    world.worker.wait_metric(missing, 1)
    alarms = world.query("SELECT kind, payment::text, text, seen_at "
                         "FROM alarms")
    assert alarms == [{"kind": "key_missing", "payment": ident,
                       "text": "key 1 of callback paths", "seen_at": None}]
    reload(world, NEW | second(OLD), "reloaded", [world.worker])
    world.worker.wait_ready()
    assert world.worker.metrics()[missing] == 0
    body = paid_body(world, old)
    assert post(world, wire.callback_path(ident, 1), body).status == 200
    assert shop.wait_final(ident)["status"] == "succeeded"


def test_an_api_without_a_key_that_is_used_loses_no_callback(make_world):
    """It cannot tell whose they are, so it keeps them for a worker that can;
    what the ledger knows to be of no payment is forged all the same."""
    world = make_world(settings=PATIENT).start()
    shop = world.upstream()
    old = order(world)
    world.sim.script(old["msisdn"], {"fate": "pay", "callback": "lost"})
    ident = shop.submit(old).body["id"]
    wait_for("the push", lambda: world.sim.pushes(old["msisdn"]), 60)
    world.api.stop()
    reload(world, NEW, "", ())
    world.start_api()
    missing = "foleni_callback_keys_missing"
    world.api.wait_metric(missing, 1)
    assert not world.api.ready()
    row = world.api.health()["dependencies"]["callback_keys"]
    assert not row["ok"] and "key 1 " in row["note"]
    body = paid_body(world, old)
    nobody = wire.callback_path(str(uuid.uuid4()), 1)
    assert post(world, nobody, body).status == 404
    forged = wire.callback_path(ident, 1, "0" * 32)
    assert post(world, forged, body).status == 200
    world.worker.wait_metric(
        'foleni_callbacks_bad_total{why="mac"}', 1)
    assert post(world, wire.callback_path(ident, 1), body).status == 200
    assert shop.wait_final(ident)["status"] == "succeeded"
    assert world.api.metrics()['foleni_callbacks_total{end="unproven"}'] == 2
    world.wait_settled()
    reload(world, NEW | second(OLD), "reloaded", [world.api])
    world.api.wait_ready()
    assert world.api.metrics()[missing] == 0
    assert post(world, forged, body).status == 404


def test_a_key_is_not_dropped_while_the_ledger_is_away(run_directory,
                                                       make_world):
    server = Postgres(run_directory / "callbacks-pg").start()
    try:
        world = make_world(postgres=server).start()
        reload(world, OLD | second(NEW), "reloaded")
        server.stop()
        wait_for("the worker says so", lambda: not world.worker.ready())
        reload(world, OLD, "could not ask whether key 2 is used")
        server.start()
        world.worker.wait_ready()
        for program in (world.api, world.worker):
            wait_for("its connection", lambda p=program: p.health()[
                "dependencies"]["postgres"]["ok"])
            hang_up(program, "reloaded")
        world.stop()
    finally:
        server.destroy()
