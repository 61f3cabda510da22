"""`foleni doctor`: all is well on a sound installation, and each fault is seen
by its own line, whatever is away."""

import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import uuid
from pathlib import Path

import pytest

from tests.harness.place import build_directory, wait_for
from tests.harness.settings import MAC_KEY, PATIENT

FINE, FAILS, WARNS = 0, 65, 75
SQL = Path(__file__).parents[2] / "schemas" / "sql"
AWAY_S = 120  # generous: what is away is said within seconds


def run(world, *arguments):
    return subprocess.run(
        [build_directory() / "foleni", "-c", world.config, "doctor",
         *arguments], capture_output=True, text=True, timeout=AWAY_S)


def doctor(world, *arguments):
    """(exit code, {check: line})"""
    done = run(world, "--json", *arguments)
    assert done.stdout, done.stderr
    lines = json.loads(done.stdout)["checks"]
    return done.returncode, {line["check"]: line for line in lines}


def not_well(lines):
    return {c: x["found"] for c, x in lines.items() if x["grade"] != "ok"}


@pytest.fixture(scope="module")
def sound(make_shared):
    """A world with one payment whose callback is still to come."""
    world = make_shared(settings={**PATIENT, "worker.anchor_ms": 100,
                                  "spool.kbytes_max": 1024}).start()
    shop = world.upstream()
    asked = {"msisdn": world.new_phone(), "amount": 100, "reference": "O1",
             "shortcode": "174379"}
    world.sim.script(asked["msisdn"], {"fate": "pay", "callback": "lost"})
    world.ident = shop.submit(asked).body["id"]
    wait_for("the prompt", lambda: shop.get(world.ident).body["status"] ==
             "prompted", 60)
    wait_for("another shortcode's token is the same one", lambda: world.query(
        "SELECT FROM tokens WHERE version > 0"))
    return world


def test_all_is_well(sound):
    code, lines = doctor(sound)
    assert not_well(lines) == {}
    assert code == FINE
    for name in ("settings", "keys", "spool", "recorder", "daraja", "kafka",
                 "topics", "postgres", "migrations", "clock", "workers",
                 "callback_keys", "stuck", "untold", "unresolved", "alarms",
                 "notices", "strays", "stopped", "audit"):
        assert lines[name]["found"], name
    tokens = sound.query("SELECT sum(version) AS v FROM tokens")
    told = run(sound)
    assert told.returncode == FINE and not told.stderr
    assert {line.split()[0] for line in told.stdout.splitlines()} == {"ok"}
    assert sound.query("SELECT sum(version) AS v FROM tokens") == tokens


# --- settings and this host ---

@pytest.mark.parametrize("sets, check, grade, word", [
    (["kafka.brokers=127.0.0.1:1"], "kafka", "fail", "could not reach kafka"),
    (["kafka.brokers=127.0.0.1:1"], "topics", "warn", "kafka is away"),
    (["kafka.prefix=nobodys."], "topics", "fail", "is absent"),
    (["topics.partitions=7"], "topics", "warn", "partitions"),
    (["topics.min_insync=2", "topics.replication=2"], "topics", "warn",
     "replication"),
    (["database.conninfo=host=127.0.0.1 port=1"], "postgres", "fail",
     "could not reach postgres"),
    (["database.conninfo=host=127.0.0.1 port=1"], "alarms", "warn",
     "postgres is away"),
    (["spool.directory=/nowhere/at/all"], "spool", "warn", "No such file"),
    (["spool.directory="], "settings", "warn", "no spool"),
    (["recorder.enabled=false"], "settings", "warn", "recorder"),
    (["callbacks.mac_key_id=7"], "callback_keys", "fail", "use key 1 of"),
])
def test_a_fault_of_settings(sound, sets, check, grade, word):
    code, lines = doctor(sound, *[x for s in sets for x in ("--set", s)])
    assert lines[check]["grade"] == grade, lines[check]
    assert word in lines[check]["found"]
    if check not in ("topics", "alarms") or grade == "fail":
        assert lines[check]["todo"]
    assert code == (FAILS if "fail" in {x["grade"] for x in lines.values()}
                    else WARNS)


def test_what_never_answers_is_said_too(sound):
    """A host that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        code, lines = doctor(
            sound, "--set", f"kafka.brokers=127.0.0.1:{port}",
            "--set", f"database.conninfo=host=127.0.0.1 port={port}")
    assert code == FAILS
    assert lines["kafka"]["grade"] == lines["postgres"]["grade"] == "fail"
    assert lines["settings"]["grade"] == "ok"


def test_a_server_that_freezes_amid_it_is_said(sound):
    """Locks are as good as a freeze: the statement's answer does not come."""
    holder = sound.postgres.connect(sound.database)
    holder.autocommit = False
    with holder.cursor() as cursor:
        cursor.execute("LOCK TABLE alarms")
        began = time.monotonic()
        code, lines = doctor(sound)
        assert time.monotonic() - began < AWAY_S
    holder.rollback()
    holder.close()
    assert code == WARNS
    assert lines["stuck"]["grade"] == "ok"
    assert "no answer within" in lines["alarms"]["found"]
    assert lines["audit"]["found"].startswith("not judged")


def test_keys_that_are_open_or_old(sound):
    key = sound.directory / "secrets" / "mac-key"
    key.chmod(0o644)
    code, lines = doctor(sound)
    assert code == FAILS and "everybody may read" in lines["keys"]["found"]
    key.chmod(0o600)
    old = time.time() - 400 * 86400
    os.utime(key, (old, old))
    code, lines = doctor(sound)
    assert code == WARNS
    assert "callbacks.mac_key is 400 days old" in lines["keys"]["found"]
    os.utime(key)


def test_torn_spool_files(sound):
    torn = sound.directory / "spool" / "1.spool.bad"
    torn.write_bytes(b"x")
    code, lines = doctor(sound)
    torn.unlink()
    assert code == WARNS and "1 torn files" in lines["spool"]["found"]


def test_migrations_that_are_not_applied(sound, tmp_path):
    shutil.copytree(SQL, tmp_path / "sql")
    newest = max(int(p.name[:4]) for p in SQL.glob("*.sql"))
    (tmp_path / "sql" / f"{newest + 1:04}_more.sql").write_text("SELECT 1;\n")
    code, lines = doctor(sound, "--dir", tmp_path / "sql")
    assert code == FAILS
    assert "1 migrations are not applied" in lines["migrations"]["found"]
    assert lines["migrations"]["todo"] == "foleni migrate"


# --- what the tables say ---

NOBODY = str(uuid.uuid4())
STATES = {
    "workers": (
        "UPDATE workers SET heartbeat_at = now() - interval '5 min'",
        None, "fail", "no worker has a heartbeat"),
    "clock": (
        "UPDATE workers SET settled_at = NULL, heartbeat_at = "
        "clock_timestamp(), host_at = clock_timestamp() + interval '9 s'",
        "UPDATE workers SET host_at = heartbeat_at", "fail", "host"),
    "stuck": (
        "UPDATE payments SET next_action_at = now() - interval '5 min'",
        "UPDATE payments SET next_action_at = now() + interval '1 h'",
        "warn", "1 payments are overdue"),
    "untold": (
        "UPDATE payments SET next_action_at = now() - interval '20 min', "
        "published_version = 0, updated_at = now() - interval '20 min'",
        "UPDATE payments SET next_action_at = now() + interval '1 h', "
        "published_version = version, updated_at = now()",
        "fail", "1 payments have an event that is not told"),
    "alarms": (
        "INSERT INTO alarms (kind, payment, attempt) SELECT 'paid_late', id, "
        "1 FROM payments", "DELETE FROM alarms", "warn", "paid_late 1"),
    "notices": (
        "INSERT INTO notices (source, disposition, next_look_at) "
        "VALUES (5, 4, now() + interval '1 day')", "DELETE FROM notices",
        "warn", "1 notices"),
    "strays": (
        f"INSERT INTO stray_callbacks (payment, attempt, why, body) VALUES "
        f"('{NOBODY}', 1, 'unreadable', '')", "DELETE FROM stray_callbacks",
        "warn", "unreadable"),
    "stopped": (
        "UPDATE pools SET paused = true WHERE priority = 2",
        "UPDATE pools SET paused = false", "warn", "pool low paused"),
    "audit": (
        "UPDATE timeline SET state = 7 WHERE version = 1",
        "UPDATE timeline SET state = 1 WHERE version = 1", "fail", "broken at"),
}


@pytest.fixture(scope="module")
def still(make_shared):
    """One payment that is prompted, and its worker is killed: nobody mends
    what a test does to the tables."""
    world = make_shared(settings={**PATIENT, "worker.anchor_ms": 100,
                                  "spool.kbytes_max": 1024}).start()
    shop = world.upstream()
    asked = {"msisdn": world.new_phone(), "amount": 100, "reference": "O1",
             "shortcode": "174379"}
    world.sim.script(asked["msisdn"], {"fate": "pay", "callback": "lost"})
    ident = shop.submit(asked).body["id"]
    wait_for("its event is told", lambda: world.query(
        "SELECT FROM payments WHERE state = 2 AND published_version = version"
        " AND id::text = %s", ident), 60)
    world.worker.stop()
    return world


@pytest.mark.parametrize("check", STATES)
def test_a_state_of_the_tables(still, check):
    spoil, mend, grade, word = STATES[check]
    still.query(spoil + "; SELECT 1")
    code, lines = doctor(still)
    if mend:
        still.query(mend + "; SELECT 1")
    assert lines[check]["grade"] == grade, lines[check]
    assert word in lines[check]["found"]
    assert lines[check]["todo"]
    assert code in (WARNS, FAILS)


def test_daraja_is_asked_where_the_fleet_has_no_token(still):
    still.query("UPDATE tokens SET expires_at = now(); SELECT 1")
    _, lines = doctor(still)
    assert lines["daraja"] == {"check": "daraja", "grade": "ok",
                               "found": "tokens of 2 shortcodes, 2 asked for"}
    still.sim.stop()
    code, lines = doctor(still)
    assert code == FAILS and lines["daraja"]["grade"] == "fail"
    assert "174379 at" in lines["daraja"]["found"]


# --- where real money is moved ---

def test_production_says_what_a_test_world_lacks(sound):
    code, lines = doctor(sound, "--production")
    assert code == FAILS
    assert set(not_well(lines)) == {
        "callback_url", "daraja_url", "kafka_copies", "postgres_standby",
        "secrets", "alerts"}
    assert lines["kafka_copies"]["found"].startswith(sound.prefix)
    assert "1 replicas" in lines["kafka_copies"]["found"]
    assert MAC_KEY not in json.dumps(lines)


@pytest.mark.parametrize("sets, check, grade", [
    (["callbacks.base_url=https://pay.example.com"], "callback_url", "ok"),
    (["callbacks.base_url=https://127.0.0.1"], "callback_url", "fail"),
    (["database.failover=false"], "postgres_standby", "ok"),
    (["api.listen=0.0.0.0:8080"], "api_tls", "fail"),
    (["api.admin_listen=0.0.0.0:9080"], "admin_listeners", "warn"),
    (["kafka.brokers=10.255.255.1:9092"], "kafka_tls", "fail"),
])
def test_production_settings(sound, sets, check, grade):
    _, lines = doctor(sound, "--production",
                      *[x for s in sets for x in ("--set", s)])
    assert lines[check]["grade"] == grade, lines[check]


def test_production_wants_commits_on_disk(sound):
    database = sound.database
    sound.query(f"ALTER DATABASE {database} SET synchronous_commit = off; "
                "SELECT 1")
    try:
        _, lines = doctor(sound, "--production")
    finally:
        sound.query(f"ALTER DATABASE {database} RESET synchronous_commit; "
                    "SELECT 1")
    assert lines["postgres_commits"]["grade"] == "fail"
    assert "synchronous_commit is off" in lines["postgres_commits"]["found"]


class Rules(http.server.BaseHTTPRequestHandler):
    text = ""

    def do_GET(self):
        body = self.text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def test_production_looks_for_alerts(sound):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Rules)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"alerts.url=http://127.0.0.1:{server.server_port}"
    try:
        _, none = doctor(sound, "--production", "--set", url)
        Rules.text = '{"data":{"groups":[{"query":"foleni_alarms_open > 0"}]}}'
        _, some = doctor(sound, "--production", "--set", url)
    finally:
        server.shutdown()
    assert none["alerts"]["grade"] == "fail"
    assert some["alerts"]["grade"] == "ok"
