"""The audit trail: what programs may do to it, and what `foleni doctor audit`
says when the server's superuser did more."""

import json
import subprocess
import uuid

import psycopg2
import pytest

from tests.harness.place import build_directory, wait_for
from tests.harness.postgres import Postgres

BROKEN = 65
TABLES = ("payments", "timeline", "operator_actions", "anchors")

pytestmark = pytest.mark.sanitized


def order(world):
    return {"msisdn": world.new_phone(), "amount": 100, "reference": "ORDER1",
            "shortcode": "174379"}


@pytest.fixture(scope="module")
def trail(make_shared):
    """A world whose payments have come to their ends and are anchored, with
    what an operator did; stopped, so that nothing is added."""
    world = make_shared(settings={"worker.anchor_ms": 100})
    world.start()
    shop = world.upstream()
    for _ in range(8):
        shop.wait_final(shop.submit(order(world)).body["id"])
    world.wait_settled()
    for n in range(3):
        world.query("SELECT audit_operator('resolve', %s, 'ann', 'said so', "
                    "NULL, '{}')", f"payment {n}")
    wait_for("all of it is anchored", lambda: not audit(world)["anchors"][
        "rows_not_anchored"])
    world.stop()
    return world


@pytest.fixture
def spoilt(trail):
    """Runs statements as the superuser and undoes what they did."""
    connection = trail.postgres.connect(trail.database)
    cursor = connection.cursor()

    def spoil(sql, *arguments):
        cursor.execute(sql, arguments)
        return doctor(trail)

    for table in TABLES:
        cursor.execute(f"CREATE TEMP TABLE old_{table} AS TABLE {table}")
    yield spoil
    for table in TABLES:
        cursor.execute(f"TRUNCATE {table}; INSERT INTO {table} "
                       f"SELECT * FROM old_{table}")
    connection.close()
    assert audit(trail)["ok"]


def doctor(world, *arguments):
    """The exit code, the answer and what it said of an error."""
    done = subprocess.run(
        [build_directory() / "foleni", "-c", world.config, "doctor", "audit",
         "--json", "--set", f"database.conninfo={world.conninfo('api')}",
         *arguments],
        capture_output=True, text=True, timeout=120)
    return done.returncode, json.loads(done.stdout), done.stderr


def audit(world, *arguments):
    code, answer, said = doctor(world, *arguments)
    assert code == 0, said
    return answer


def names(found, part, where, what):
    """Whether the break is named, in its part of the trail and in the error."""
    code, answer, said = found
    broken = answer[part]["broken"]
    assert code == BROKEN and not answer["ok"]
    assert where in broken["where"], broken
    assert what in broken["what"], broken
    assert "the audit trail is broken at" in said
    return True


def one(world, sql="SELECT id::text AS id, version FROM payments "
                   "ORDER BY id OFFSET 4 LIMIT 1"):
    return world.query(sql)[0]


# --- a whole trail ---

def test_a_whole_trail_is_unbroken(trail):
    found = audit(trail)
    counts = one(trail, "SELECT count(*) AS n FROM timeline")
    assert found["ok"]
    assert found["payments"]["n"] == 8
    assert found["payments"]["rows"] == counts["n"]
    assert found["payments"]["rows_before_the_trail"] == 0
    assert found["actions"]["n"] == 3
    assert found["anchors"]["rows"] == counts["n"] + 3
    assert found["anchors"]["newest_age_s"] >= 0


def test_each_change_is_one_row_from_the_claim_on(trail):
    rows = trail.query(
        "SELECT p.version, array_agg(t.version ORDER BY t.version) AS there, "
        "min(t.cause) AS first FROM payments p JOIN timeline t "
        "ON t.payment = p.id GROUP BY p.id")
    assert rows
    for row in rows:
        assert row["there"] == list(range(1, row["version"] + 1))
        assert row["first"] == 1


def test_times_limit_it(trail):
    assert audit(trail, "--to", "2001-01-01")["payments"]["n"] == 0
    assert audit(trail, "--from", "2001-01-01")["payments"]["n"] == 8
    assert audit(trail, "--from", "2999-01-01")["anchors"]["n"] == 0
    code, said = 64, subprocess.run(
        [build_directory() / "foleni", "-c", trail.config, "doctor", "audit",
         "--from", "yesteryear"], capture_output=True, text=True)
    assert said.returncode == code
    assert "--from" in said.stderr


# --- what the superuser did ---

@pytest.mark.parametrize("column, value", [
    ("state", 7), ("text", "another"), ("worker", 99), ("attempt", 2),
    ("at", "2026-01-01"), ("cause", 3), ("code", "1"), ("receipt", "ZZZ"),
    ("evidence", 5)])
def test_an_altered_row_is_named(trail, spoilt, column, value):
    ident = one(trail)["id"]
    found = spoilt(f"UPDATE timeline SET {column} = %s "
                   "WHERE payment = %s AND version = 2", value, ident)
    assert names(found, "payments", f"payment {ident}, version 2",
                 "is not what was written")


def test_a_row_altered_with_its_hash_is_named(trail, spoilt):
    ident = one(trail)["id"]
    found = spoilt("UPDATE timeline SET hash = sha256('x') "
                   "WHERE payment = %s AND version = 1", ident)
    assert names(found, "payments", f"payment {ident}, version 1", "written")
    assert names(found, "anchors", "anchor ", "exchanged")


def test_a_deleted_row_is_named(trail, spoilt):
    ident = one(trail)["id"]
    found = spoilt("DELETE FROM timeline WHERE payment = %s AND version = 2",
                   ident)
    assert names(found, "payments", f"payment {ident}, version 3",
                 "version 2 is missing")
    assert names(found, "anchors", "anchor ", "rows of the timeline")


def test_a_deleted_end_is_named(trail, spoilt):
    last = one(trail)
    found = spoilt("DELETE FROM timeline WHERE payment = %s AND version = %s",
                   last["id"], last["version"])
    assert names(found, "payments",
                 f"payment {last['id']}, version {last['version'] - 1}",
                 f"is at version {last['version']}")


def test_a_payment_deleted_with_its_trail_shows_in_the_anchors(trail, spoilt):
    ident = one(trail)["id"]
    code, answer, _ = spoilt(
        "DELETE FROM payments WHERE id = %s; "
        "DELETE FROM timeline WHERE payment = %s", ident, ident)
    assert code == BROKEN
    assert "broken" not in answer["payments"]
    assert names((code, answer, "the audit trail is broken at"), "anchors",
                 "anchor ", "rows of the timeline")


def test_a_payment_deleted_alone_is_named(trail, spoilt):
    ident = one(trail)["id"]
    found = spoilt("DELETE FROM payments WHERE id = %s", ident)
    assert names(found, "payments", f"payment {ident}", "payment is missing")


def test_a_trail_deleted_alone_is_named(trail, spoilt):
    ident = one(trail)["id"]
    found = spoilt("DELETE FROM timeline WHERE payment = %s", ident)
    assert names(found, "payments", f"payment {ident}", "no rows")


def test_exchanged_rows_are_named(trail, spoilt):
    ident = one(trail)["id"]
    found = spoilt("; ".join(
        f"UPDATE timeline SET version = {to} WHERE payment = '{ident}' "
        f"AND version = {was}" for was, to in ((1, 99), (2, 1), (99, 2))))
    assert names(found, "payments", f"payment {ident}, version 1", "written")


@pytest.mark.parametrize("column, value, what", [
    ("amount", 99, "asked for"), ("msisdn", 254110000001, "asked for"),
    ("reference", "ELSE", "asked for"), ("receipt", "ZZZ", "receipt"),
    ("state", 7, "state"), ("hash", b"x", "another hash")])
def test_an_altered_payment_is_named(trail, spoilt, column, value, what):
    ident = one(trail)["id"]
    found = spoilt(f"UPDATE payments SET {column} = %s WHERE id = %s",
                   value, ident)
    assert names(found, "payments", f"payment {ident}", what)


@pytest.mark.parametrize("sql, where, what", [
    ("UPDATE operator_actions SET why = 'else' WHERE id = 2", "action 2",
     "not what was written"),
    ("UPDATE operator_actions SET who = 'bob' WHERE id = 3", "action 3",
     "not what was written"),
    ("DELETE FROM operator_actions WHERE id = 2", "action 3",
     "action 2 is missing"),
])
def test_a_spoilt_action_is_named(spoilt, sql, where, what):
    assert names(spoilt(sql), "actions", where, what)


def test_a_deleted_last_action_shows_in_the_anchors(spoilt):
    found = spoilt("DELETE FROM operator_actions WHERE id = 3")
    assert "broken" not in found[1]["actions"]
    assert names(found, "anchors", "anchor ", "actions of operators")


@pytest.mark.parametrize("sql, where, what", [
    ("UPDATE anchors SET timeline_n = timeline_n + 1 WHERE number = 2",
     "anchor 2 ", "not what was written"),
    ("UPDATE anchors SET to_tx = to_tx + 1 WHERE number = 2", "anchor 2 ",
     "not what was written"),
    ("DELETE FROM anchors WHERE number = 2", "anchor 3 ",
     "anchor 2 is missing"),
])
def test_a_spoilt_anchor_is_named(spoilt, sql, where, what):
    assert names(spoilt(sql), "anchors", where, what)


def test_a_row_put_in_later_is_named(spoilt):
    found = spoilt(
        "INSERT INTO timeline (payment, version, state, waits, attempt, "
        "cause, tx, hash) SELECT %s, 1, 1, 0, 1, 1, to_tx - 1, sha256('x') "
        "FROM anchors WHERE number = 1", str(uuid.uuid4()))
    assert names(found, "payments", "payment ", "payment is missing")
    assert names(found, "anchors", "anchor 1 ", "rows of the timeline")


# --- what programs may do ---

def refused(world, login, sql):
    connection = psycopg2.connect(world.conninfo(login))
    connection.autocommit = True
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), \
            connection.cursor() as cursor:
        cursor.execute(sql)
    connection.close()


@pytest.mark.parametrize("table", [*TABLES[1:], "purges"])
@pytest.mark.parametrize("login", ["worker", "operator", "api"])
def test_programs_only_append_to_the_trail(trail, login, table):
    refused(trail, login, f"UPDATE {table} SET hash = ''")
    refused(trail, login, f"DELETE FROM {table}")
    refused(trail, login, f"TRUNCATE {table}")
    refused(trail, login, f"DROP TABLE {table}")
    if (login, table) not in (("worker", "timeline"), ("worker", "anchors"),
                              ("operator", "timeline")):
        refused(trail, login, f"INSERT INTO {table} SELECT * FROM {table}")


def test_programs_remove_no_payment(trail):
    for login in ("worker", "operator"):
        refused(trail, login, "DELETE FROM payments")
        refused(trail, login, "UPDATE migrations SET number = 1")
    for login in ("worker", "api"):
        refused(trail, login, "SELECT purge_payments(1, now(), 1, 'a', 'b')")
    refused(trail, "api", "UPDATE payments SET version = 1")
    refused(trail, "api", "SELECT audit_operator('a', 'b', 'c', 'd', "
                          "NULL, NULL)")


def test_migrate_says_which_roles_it_may_not_make(trail, run_directory):
    server = Postgres(run_directory / "pg-roles").start()
    connection = server.connect("postgres")
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE plain LOGIN")
        cursor.execute("CREATE DATABASE small OWNER plain")
        sets = ("--set", "database.conninfo=" + server.conninfo(
            "small").replace("user=foleni", "user=plain"))
        migrate = [build_directory() / "foleni", "migrate", *sets]
        done = subprocess.run(migrate, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "CREATE ROLE foleni_worker NOLOGIN" in done.stderr
        cursor.execute(done.stderr.partition("run: ")[2].partition("\n")[0])
        done = subprocess.run(migrate, capture_output=True, text=True)
        assert done.returncode == 0
        assert done.stderr == ""
    connection.close()
    server.destroy()
