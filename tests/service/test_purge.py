"""`foleni purge`: what is over for long leaves the ledger, and nothing else;
the audit trail goes on to verify; and what Kafka brings again of a payment that
is gone pushes nothing."""

import json
import subprocess
import time

import psycopg2
import pytest

from tests.harness.place import build_directory, wait_for
from tests.harness.topics import header
from tests.harness.wire import request_record

pytestmark = pytest.mark.sanitized

BROKEN, AGAIN = 65, 75
N = 12
WHY = ("--yes", "--why", "the records policy")

# Everything of the trail took place 400 days earlier; its chains hold.
AGE = """
DO $$ DECLARE t timeline; a anchors; h bytea; p uuid; BEGIN
FOR t IN SELECT * FROM timeline ORDER BY payment, version LOOP
    IF p IS DISTINCT FROM t.payment THEN
        SELECT record_send(ROW(q.client, q.fingerprint, q.msisdn, q.amount,
            q.shortcode, q.priority, q.ask_again, q.reference, q.description,
            q.metadata, q.requested_at, q.expires_at,
            q.source_topic, q.source_partition, q.source_offset)) INTO h
            FROM payments q WHERE q.id = t.payment;
    END IF;
    p := t.payment;
    t.at := t.at - interval '400 days';
    h := sha256(record_send(ROW(h, t.payment, t.version, t.at, t.state, t.waits,
        t.attempt, t.cause, t.code, t.text, t.evidence, t.receipt, t.worker)));
    UPDATE timeline SET at = t.at, hash = h
        WHERE payment = t.payment AND version = t.version;
    UPDATE payments SET updated_at = t.at, hash = h WHERE id = t.payment;
END LOOP;
h := '';
FOR a IN SELECT * FROM anchors ORDER BY number LOOP
    a.at := a.at - interval '400 days';
    SELECT d.hash INTO a.timeline_hash
        FROM timeline_digest(a.from_tx, a.to_tx) d;
    h := sha256(record_send(ROW(h, a.number, a.at, a.from_tx, a.to_tx,
        a.timeline_n, a.timeline_hash, a.actions_n, a.actions_hash)));
    UPDATE anchors SET at = a.at, timeline_hash = a.timeline_hash, hash = h
        WHERE number = a.number;
END LOOP;
END $$
"""


def command(world, *arguments):
    return subprocess.run(
        [build_directory() / "foleni", "-c", world.config, *arguments,
         "--json"], capture_output=True, text=True, timeout=120)


def answer(world, *arguments):
    done = command(world, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def execute(world, sql):
    connection = world.postgres.connect(world.database)
    with connection.cursor() as cursor:
        cursor.execute(sql)
    connection.close()


def ids(world):
    return [str(r["id"]) for r in world.query("SELECT id FROM payments "
                                              "ORDER BY id")]


@pytest.fixture(scope="module")
def old(make_shared):
    """A world whose payments are over since 400 days; only its servers run."""
    world = make_shared(settings={"worker.anchor_ms": 100})
    world.start()
    shop = world.upstream()
    for n in range(N):
        shop.submit({"msisdn": world.new_phone(), "amount": 100 + n,
                     "reference": "ORDER1", "shortcode": "174379"})
    world.wait_settled()
    wait_for("all of it is anchored", lambda: not answer(
        world, "doctor", "audit")["anchors"]["rows_not_anchored"])
    world.stop()
    execute(world, AGE)
    assert answer(world, "doctor", "audit")["ok"]
    return world


def spoilt(world, sql):
    """What the audit says of what a superuser did, which is then undone."""
    connection = world.postgres.connect(world.database)
    tables = ("payments", "timeline", "operator_actions", "purges")
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"CREATE TEMP TABLE old_{table} AS TABLE {table}")
        cursor.execute(sql)
        done = command(world, "doctor", "audit")
        purge = command(world, "purge", *WHY)
        for table in tables:
            cursor.execute(f"TRUNCATE {table}; INSERT INTO {table} "
                           f"SELECT * FROM old_{table}")
    connection.close()
    assert done.returncode == BROKEN
    return done.stderr, purge


def test_nothing_is_gone_before_it_is_meant(old):
    found = answer(old, "purge", "--dry-run")
    assert found["found"] == N and found["purged"] == 0
    assert set(found["kept"].values()) == {0}
    assert command(old, "purge").returncode == 64
    assert command(old, "purge", "--why", "no terminal").returncode == 64
    young = answer(old, "purge", *WHY, "--set", "database.retention_h=9700")
    assert young["found"] == young["purged"] == 0
    assert len(ids(old)) == N
    assert answer(old, "doctor", "audit")["actions"]["n"] == 0


def test_refused_while_records_outlive_rows(old):
    done = command(old, "purge", *WHY, "--set", "database.retention_h=160",
                   "--set", "topics.requests_retention_h=150")
    assert done.returncode == AGAIN, done.stderr
    assert "retention.ms 604800000" in done.stderr
    assert len(ids(old)) == N


def test_a_stolen_payment_does_not_pass_as_purged(old):
    gone = ids(old)[3]
    said, purge = spoilt(old, f"DELETE FROM timeline WHERE payment = '{gone}';"
                              f"DELETE FROM payments WHERE id = '{gone}'")
    assert "broken at anchor" in said
    assert purge.returncode != 0
    assert "trail is broken at anchor" in purge.stderr
    assert len(ids(old)) == N


def test_what_is_not_over_stays(old):
    """Then the rest goes, and the audit knows what was left."""
    unresolved, open_, untold, alarmed, noticed, late, *rest = ids(old)
    execute(old, f"""
        CREATE TEMP TABLE kept AS TABLE payments;
        UPDATE payments SET state = 5 WHERE id = '{unresolved}';
        UPDATE payments SET next_action_at = now() WHERE id = '{open_}';
        UPDATE payments SET published_version = 1 WHERE id = '{untold}';
        INSERT INTO alarms (kind, payment, attempt)
            VALUES ('paid_late', '{alarmed}', 1);
        INSERT INTO notices (source, payment, next_look_at)
            VALUES (2, '{noticed}', now());
        UPDATE payments SET updated_at = now() WHERE id = '{late}'""")
    found = answer(old, "purge", *WHY)
    assert found["kept"] == {"open": 2, "untold": 1, "disputed": 2,
                             "not_anchored": 0}
    assert found["found"] == found["purged"] == len(rest)
    assert ids(old) == sorted([unresolved, open_, untold, alarmed, noticed,
                               late])
    execute(old, f"""
        UPDATE payments SET state = 6, next_action_at = NULL,
            published_version = version,
            updated_at = (SELECT max(at) FROM timeline WHERE payment = id);
        UPDATE alarms SET seen_at = now();
        DELETE FROM notices""")
    audit = answer(old, "doctor", "audit")
    assert audit["ok"] and audit["payments"]["n"] == N - len(rest)
    assert audit["purges"]["n"] >= 1
    left = old.query("SELECT count(*) AS n FROM timeline")[0]["n"]
    assert audit["anchors"]["rows"] <= left + audit["actions"]["n"]
    done = old.query("SELECT action, why, before FROM operator_actions")
    assert {(d["action"], d["why"]) for d in done} == {
        ("purge", "the records policy")}
    assert sum(d["before"]["payments"] for d in done) == len(rest)


@pytest.mark.parametrize("sql, where", [
    ("UPDATE purges SET timeline_n = 0 WHERE number = 1", "purge 1: "),
    ("DELETE FROM purges", "purge "),
    ("DELETE FROM purges WHERE number = (SELECT max(number) FROM purges)",
     "purge "),
    ("INSERT INTO purges SELECT max(number) + 1, now(), 1, 1, 0, '', "
     "(SELECT hash FROM purges ORDER BY number DESC LIMIT 1), '' FROM purges",
     "purge "),
    ("UPDATE operator_actions SET after = '{}'", "action 1: "),
    ("DELETE FROM timeline WHERE payment = (SELECT min(id::text)::uuid "
     "FROM payments); DELETE FROM payments WHERE id = "
     "(SELECT min(id::text)::uuid FROM payments)", "anchor "),
])
def test_what_is_spoilt_after_a_purge_is_named(old, sql, where):
    assert where in spoilt(old, sql)[0]


def test_only_operators_purge_and_nobody_what_is_young(old):
    rights = old.query(
        "SELECT r, has_function_privilege(r, 'purge_payments(bigint, "
        "timestamptz, integer, text, text)', 'EXECUTE') AS may, "
        "has_table_privilege(r, 'purges', 'INSERT, UPDATE, DELETE') AS forge "
        "FROM unnest(ARRAY['foleni_worker', 'foleni_operator', "
        "'foleni_reader', 'public']) AS r WHERE r <> 'public'")
    assert {(r["r"], r["may"], r["forge"]) for r in rights} == {
        ("foleni_worker", False, False), ("foleni_operator", True, False),
        ("foleni_reader", False, False)}
    with pytest.raises(psycopg2.errors.InvalidParameterValue):
        execute(old, "SELECT purge_payments(1, now(), 10, 'ann', 'why')")


def test_records_of_purged_payments_push_nothing(old):
    """All records of the topics once more, into a ledger that knows of none of
    them: they are past their deadlines. So is a record that is dated back; one
    from the future is no payment at all."""
    assert answer(old, "purge", *WHY)["purged"] == 6
    assert ids(old) == []
    assert answer(old, "doctor", "audit")["ok"]
    old.settings["payments.ttl_ms"] = 1000
    old.start_simulator()
    old.start_api()
    old.start_worker(old.worker)
    pushes = len(old.sim.pushes())
    for record in old.topics.read("payments.requests.normal"):
        old.topics.write("payments.requests.normal", record.key(),
                         record.value(), record.headers())
    now_ms = int(time.time() * 1000)
    order = {"msisdn": old.new_phone(), "amount": 5, "reference": "OLD",
             "shortcode": "174379"}
    old.topics.write("payments.requests.normal",
                     *request_record(order, "back-dated",
                                     at_ms=now_ms - 3600000))
    order["msisdn"] = old.new_phone()
    old.topics.write("payments.requests.normal",
                     *request_record(order, "post-dated",
                                     at_ms=now_ms + 3600000))

    def states():
        return {r["state"]: r["n"] for r in old.query(
            "SELECT state, count(*) AS n FROM payments GROUP BY state")}
    wait_for("all are refused", lambda: states() == {8: N + 1}, 60)
    dead = wait_for("the one from the future is set aside", lambda: [
        r for r in old.topics.read("payments.dead")
        if b"post-dated" in r.value()], 60)
    assert len(dead) == 1 and header(dead[0], "foleni-error-code") == "bad_time"
    assert len(old.sim.pushes()) == pushes
    old.stop()  # the oracle knows of no purge
