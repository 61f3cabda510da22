"""The operator's command line against a real Postgres and a real Kafka."""

import hashlib
import json
import shutil
import subprocess
import threading

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource

from tests.harness.place import REPO, build_directory, wait_for

MIGRATIONS = REPO / "schemas/sql"
TABLES = {"payments", "timeline", "workers", "intake", "stray_callbacks",
          "migrations", "operator_actions", "anchors", "notices", "alarms",
          "pulls", "pull_passes", "purges", "tokens", "memory", "lines",
          "breakers", "pools", "parked", "replays", "replay_items",
          "discards", "cancels"}
USAGE, ODD, NOT_FOUND, AWAY, IO, AGAIN, CONFIG = 64, 65, 66, 69, 74, 75, 78

pytestmark = pytest.mark.sanitized


def foleni(*arguments, cwd=None):
    return subprocess.run([build_directory() / "foleni", *map(str, arguments)],
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, cwd=cwd)


def fine(*arguments, **options):
    done = foleni(*arguments, **options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def fails(code, *arguments):
    """What it says on standard error; a reason in each case."""
    done = foleni(*arguments)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stderr.startswith("foleni: ") or code == CONFIG
    return done.stderr


class Database:
    """An empty database of its own, and the command line on it."""

    def __init__(self, postgres, name):
        postgres.create(name)
        self.connection = postgres.connect(name)
        self.sets = ("--set",
                     f"database.conninfo={postgres.conninfo(name)}")

    def query(self, sql):
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    def execute(self, sql):
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def tables(self):
        return {name for (name,) in self.query(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}

    def migrate(self, *arguments):
        return fine("migrate", *self.sets, *arguments)

    def migrate_fails(self, code, *arguments):
        return fails(code, "migrate", *self.sets, *arguments)


@pytest.fixture
def database(postgres, request):
    made = Database(postgres, "cli_" + request.node.name[:50].rstrip("[]"))
    yield made
    made.connection.close()


@pytest.fixture
def directory(tmp_path):
    """A copy of the migrations, to be changed."""
    copy = tmp_path / "sql"
    shutil.copytree(MIGRATIONS, copy)
    return copy


def shipped():
    return sorted(MIGRATIONS.glob("*.sql"))


# --- help and usage


def test_help_names_every_command():
    said = fine("--help")
    for name in ("config show", "config defaults", "migrate", "topics create",
                 "topics list", "topics diff", "resolve", "alarms list",
                 "alarms seen", "notices list", "purge", "lag", "pause",
                 "pools", "resume"):
        assert name in said
        assert f"Usage: foleni {name}" in fine(*name.split(), "--help")
        assert "Examples:" in fine("--help", *name.split())
    assert "migrate" not in fine("topics", "--help")
    assert fine("--version").startswith("foleni ")
    assert all(len(line) <= 80 for line in said.splitlines())


@pytest.mark.parametrize("arguments, word", [
    ([], "which command?"),
    (["migrat"], 'did you mean "migrate"?'),
    (["topics"], "`topics create`"),
    (["migrate", "now"], "takes nothing like"),
    (["--jsn"], "did you mean --json?"),
    (["-x"], "no option -x"),
    (["config", "show", "--dry-run"], "takes no option --dry-run"),
    (["config", "show", "--json=yes"], "takes no value"),
    (["config", "show", "-c"], "needs its FILE"),
    (["nonsense", "--help"], "there is no command"),
    (["w"] * 9, "too many words"),
])
def test_usage(arguments, word):
    assert word in fails(USAGE, *arguments)


# --- settings


def test_config_show_says_where_from(tmp_path):
    path = tmp_path / "a.cfg"
    path.write_text("worker = {\n  slots = 77;\n};\n")
    lines = fine("-c", path, "config", "show", "--set",
                 "worker.ahead=5").splitlines()

    def line(setting):
        return next(x for x in lines if x.startswith(setting + " "))
    assert "= 77 " in line("worker.slots")
    assert f"{path}:2" in line("worker.slots")
    assert "--set" in line("worker.ahead")
    assert "default" in line("worker.batch_max")
    assert "(not set)" in line("database.password")
    rows = json.loads(fine("config", "show", "--json", "-c", path))["settings"]
    by_path = {r["path"]: r for r in rows}
    assert by_path["worker.slots"]["value"] == 77
    assert by_path["worker.slots"]["from"] == "file"
    assert len(by_path) == len(rows) == len(lines)


def test_config_defaults_is_the_shipped_file(tmp_path):
    said = fine("config", "defaults")
    assert said == (REPO / "config.cfg").read_text()
    path = tmp_path / "config.cfg"
    path.write_text(said)
    assert "fine" in fine("--check", "-c", path)


def test_every_fault_at_once_and_no_secret(tmp_path):
    path = tmp_path / "a.cfg"
    path.write_text('worker = { slots = 0; };\n'
                    'database = { password = "hunter2"; };\n')
    said = fails(CONFIG, "-c", path, "migrate", "--set",
                 "callbacks.mac_key=hunter2", "--set", "api.listne=x")
    assert f"{path}:1: worker.slots: is 0, must be" in said
    assert f"{path}:2: database.password: is a secret" in said
    assert "--set callbacks.mac_key: callbacks.mac_key: is a secret" in said
    assert "did you mean api.listen?" in said
    assert "hunter2" not in said
    assert said.endswith(f"foleni: 4 faults in {path}\n")


def test_nothing_is_lost_silently():
    with open("/dev/full", "w") as full:
        done = subprocess.run([build_directory() / "foleni", "config", "show"],
                              stdout=full, stderr=subprocess.PIPE, text=True,
                              timeout=60)
    assert done.returncode == IO
    assert "could not write" in done.stderr


# --- migrations


def test_migrate_makes_the_tables_once(database):
    said = database.migrate()
    assert "0001_payments: applied in" in said
    assert database.tables() == TABLES
    rows = database.query("SELECT number, name, checksum, applied_at <= now() "
                          "FROM migrations ORDER BY number")
    assert [(n, f"{n:04}_{name}.sql", c, ok) for n, name, c, ok in rows] == [
        (i, path.name, hashlib.sha256(path.read_bytes()).hexdigest(), True)
        for i, path in enumerate(shipped(), 1)]
    assert "0 applied now" in database.migrate()
    assert database.query("SELECT count(*) FROM migrations") == [
        (len(shipped()),)]


def test_migrate_leaves_statistics(database):
    database.migrate()
    # -1 = never analyzed
    assert database.query("SELECT count(*) FROM pg_class WHERE relkind = 'r' "
                          "AND relnamespace = 'public'::regnamespace "
                          "AND reltuples < 0") == [(0,)]


def test_migrate_dry_run_changes_nothing(database):
    said = database.migrate("--dry-run")
    assert "0001_payments: would be applied" in said
    assert database.tables() == set()
    database.migrate()
    assert "0001_payments: applied at 2" in database.migrate("--dry-run")


def test_migrate_json(database):
    before = json.loads(database.migrate("--json", "--dry-run"))
    assert before["directory"] == str(MIGRATIONS)
    assert {m["state"] for m in before["migrations"]} == {"pending"}
    after = json.loads(database.migrate("--json"))["migrations"]
    assert {m["state"] for m in after} == {"applied now"}
    again = json.loads(database.migrate("--json"))["migrations"]
    assert {m["state"] for m in again} == {"applied"}
    assert again[0]["applied_at"].endswith("Z")
    assert len(again) == len(shipped())


def test_migrate_applies_what_is_added(database, directory):
    number = len(shipped()) + 1
    database.migrate("--dir", directory)
    added = directory / f"{number:04}_more.sql"
    added.write_text("CREATE TABLE more (n integer); INSERT INTO more "
                     "VALUES (1);")
    said = database.migrate("--dir", directory)
    assert f"{number:04}_more: applied in" in said
    assert "0001_payments" not in said
    assert database.query("SELECT n FROM more") == [(1,)]


def test_migrate_stops_at_a_changed_file(database, directory):
    database.migrate("--dir", directory)
    changed = directory / shipped()[0].name
    changed.write_text(changed.read_text() + "-- a word more\n")
    said = database.migrate_fails(AGAIN, "--dir", directory)
    assert "0001_payments was changed after it was applied" in said


def test_migrate_stops_at_a_missing_file(database, directory):
    number = len(shipped()) + 1
    added = directory / f"{number:04}_more.sql"
    added.write_text("CREATE TABLE more (n integer)")
    database.migrate("--dir", directory)
    added.unlink()
    said = database.migrate_fails(AGAIN, "--dir", directory)
    assert f"{number:04}_more, but its file is missing" in said


def test_migrate_leaves_nothing_of_a_broken_file(database, directory):
    number = len(shipped()) + 1
    (directory / f"{number:04}_broken.sql").write_text(
        "CREATE TABLE half (n integer); SELECT no_such_column;")
    (directory / f"{number + 1:04}_later.sql").write_text(
        "CREATE TABLE later (n integer)")
    done = foleni("migrate", *database.sets, "--dir", directory)
    assert done.returncode not in (0, USAGE, CONFIG)
    assert f"could not apply {number:04}_broken.sql" in done.stderr
    assert "no_such_column" in done.stderr
    # What came before it stays, what comes after it was not tried.
    assert database.tables() == TABLES
    (directory / f"{number:04}_broken.sql").write_text("SELECT 1")
    database.migrate("--dir", directory)
    assert "later" in database.tables()


@pytest.mark.parametrize("name, word", [
    ("0003_gap.sql", "0002 is missing"),
    ("0001_again.sql", "0001 is there twice"),
    ("2_short.sql", "NNNN_name.sql"),
    ("0002-hyphen.sql", "NNNN_name.sql"),
    ("0002_.sql", "NNNN_name.sql"),
    ("0000_zero.sql", "NNNN_name.sql"),
])
def test_migrate_refuses_odd_files(tmp_path, name, word):
    (tmp_path / "0001_first.sql").write_text("SELECT 1")
    (tmp_path / "README.md").write_text("not ours")
    (tmp_path / name).write_text("SELECT 1")
    assert word in fails(65, "migrate", "--dir", tmp_path)


def test_migrate_without_its_directory_or_database(tmp_path):
    said = fails(NOT_FOUND, "migrate", "--dir", tmp_path / "none")
    assert str(tmp_path / "none") in said and "--dir" in said
    assert "holds no migration" in fails(NOT_FOUND, "migrate", "--dir",
                                         tmp_path)
    said = fails(AWAY, "migrate", "--set",
                 f"database.conninfo=host={tmp_path} dbname=x")
    assert "could not reach postgres" in said


def test_migrations_run_one_at_a_time(database):
    """The second waits for the first one's lock, then finds nothing to do."""
    key = int.from_bytes(b"foleni", "big")
    database.execute(f"SELECT pg_advisory_lock({key})")
    ends = []
    threads = [threading.Thread(target=lambda: ends.append(
        foleni("migrate", *database.sets))) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_for("three runs wait for the lock", lambda: database.query(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d "
        "ON d.oid = l.database WHERE locktype = 'advisory' "
        "AND NOT granted AND datname = current_database()") == [(3,)])
    assert database.tables() == set()
    database.execute(f"SELECT pg_advisory_unlock({key})")
    for thread in threads:
        thread.join(60)
    assert [e.returncode for e in ends] == [0, 0, 0]
    assert all("waiting for it" in e.stderr for e in ends)
    assert sorted("0001_payments: applied in" in e.stdout
                  for e in ends) == [False, False, True]


# --- topics


def test_topics_list_is_the_plan():
    said = json.loads(fine("topics", "list", "--json", "--set",
                           "kafka.prefix=x.", "--set", "topics.partitions=7"))
    topics = {t["topic"]: t for t in said["topics"]}
    assert set(topics) == {
        "x.payments.requests.high", "x.payments.requests.normal",
        "x.payments.requests.low", "x.payments.callbacks",
        "x.payments.status", "x.payments.dead"}
    assert {t["partitions"] for t in topics.values()} == {7}
    assert topics["x.payments.callbacks"]["timestamps"] == "LogAppendTime"
    for name in topics:
        assert name in fine("topics", "list", "--set", "kafka.prefix=x.")


def test_topics_create_makes_what_is_missing(kafka):
    sets = ("--set", f"kafka.brokers={kafka.bootstrap}",
            "--set", "kafka.prefix=cli.", "--set", "topics.replication=1",
            "--set", "topics.min_insync=1", "--set", "topics.partitions=3")
    said = fine("topics", "create", *sets).splitlines()
    assert len(said) == 6
    assert all(line.split() [1:] == ["created"] for line in said)
    said = json.loads(fine("topics", "create", "--json", *sets))["topics"]
    assert {t["outcome"] for t in said} == {"exists"}


def alter(kafka, topic, settings):
    """All settings of its own that a topic has from now on."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    resource = ConfigResource("topic", topic, set_config=settings)
    for done in admin.alter_configs([resource]).values():
        done.result(60)


def test_topics_that_break_a_promise_are_named(kafka):
    """The longest deadline < retention of requests < retention of rows."""
    sets = ("--set", f"kafka.brokers={kafka.bootstrap}",
            "--set", "kafka.prefix=cli2.", "--set", "topics.replication=1",
            "--set", "topics.min_insync=1", "--set", "topics.partitions=1")
    requests = "cli2.payments.requests.low"
    sound = {"retention.ms": "604800000", "retention.bytes": "-1",
             "message.timestamp.type": "LogAppendTime"}

    def differences():
        done = foleni("topics", "diff", "--json", *sets)
        found = json.loads(done.stdout)["differences"]
        assert done.returncode == (ODD if found else 0), done.stderr
        return {(d["topic"], d["setting"], d["has"], d.get("breaks", "")[:22])
                for d in found}

    fine("topics", "create", *sets)
    assert differences() == set()
    alter(kafka, requests, {**sound, "retention.ms": "-1"})
    assert differences() == {
        (requests, "retention.ms", "-1", "records outlive their ")}
    done = foleni("topics", "create", *sets)
    assert done.returncode == 75 and done.stdout.count("unsafe") == 1
    assert "retention.ms -1 instead of 604800000" in done.stdout
    alter(kafka, requests, {**sound, "retention.ms": "86400000"})
    assert differences() == {
        (requests, "retention.ms", "86400000", "records go before thei")}
    alter(kafka, requests, {**sound, "retention.ms": "90000000"})
    alter(kafka, "cli2.payments.callbacks", {"retention.bytes": "1000000",
                                             "cleanup.policy": "compact"})
    assert differences() == {
        (requests, "retention.ms", "90000000", ""),
        ("cli2.payments.callbacks", "retention.bytes", "1000000",
         "records are deleted fo"),
        ("cli2.payments.callbacks", "message.timestamp.type", "CreateTime",
         "deadlines follow a tim"),
        ("cli2.payments.callbacks", "cleanup.policy", "compact",
         "a record of the same k")}


def test_topics_create_says_what_the_broker_refuses(kafka):
    done = foleni("topics", "create", "--set",
                  f"kafka.brokers={kafka.bootstrap}", "--set",
                  "kafka.prefix=cli3.", "--set", "topics.replication=3")
    assert done.returncode == 77
    assert done.stdout.count("failed: cannot create topic") == 6
    assert "6 of 6 topics could not be created" in done.stderr
