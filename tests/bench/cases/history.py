"""What a claim costs when the ledger is old."""

from tests.bench.case import Case, at_most
from tests.bench.cases import database
from tests.bench.cases.peers import SILENT, fill
from tests.bench.meter import Meter
from tests.bench.stage import UNANSWERED, timed

# Rows of payments that were paid long ago, as the way of a payment leaves
# them. The timeline stays empty: nothing of it is read by a claim.
OLD = """
INSERT INTO payments (
    id, client, fingerprint, msisdn, amount, shortcode, priority, ask_again,
    reference, description, metadata, requested_at, deadline_at, source_topic,
    source_partition, source_offset, created_at, updated_at, state, version,
    published_version, attempt, spent, holds_phone, pushed_at, checkout_id,
    merchant_id, class, evidence, code, text, receipt, paid_at, paid_attempt)
SELECT md5(n::text)::uuid, '5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e01',
    '\\x0123456789abcdef0123456789abcdef', 254700000000 + n %% 30000000,
    1 + n %% 1000, 174379, 1, 0, 'B' || n, 'Payment',
    '{"note":"' || repeat('x', 60) || '"}', at, at + interval '15 min', 1,
    n %% 12, n, at, at, 6, 4, 4, 1, 1, false, at, 'ws_CO_old' || n,
    'old-' || n, 1, 6, '0', 'The service request is processed successfully.',
    'R' || n, at, 1
FROM (SELECT n, now() - interval '30 days' - n * interval '10 ms' AS at
      FROM generate_series(1, %s) AS n) AS s"""
INDEXES = """
SELECT c.relname AS name, pg_get_indexdef(i.indexrelid) AS text,
       k.conname AS key
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid
WHERE i.indrelid = 'payments'::regclass"""
# A table that was emptied in the same transaction is filled without a log.
SERVER = {"wal_level": "minimal", "max_wal_senders": "0",
          "max_parallel_maintenance_workers": "2"}


def age(world, rows):
    """Old payments, their indexes made when all are there."""
    connection = world.postgres.connect(world.database)
    connection.autocommit = False
    with connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL maintenance_work_mem = '1GB'")
        cursor.execute("TRUNCATE payments")
        cursor.execute(INDEXES)
        indexes = cursor.fetchall()
        for name, _, key in indexes:
            cursor.execute(f"ALTER TABLE payments DROP CONSTRAINT {key}"
                           if key else f"DROP INDEX {name}")
        cursor.execute(OLD, (rows,))
        for name, text, key in indexes:
            cursor.execute(text)
            if key:
                cursor.execute(f"ALTER TABLE payments ADD CONSTRAINT {key} "
                               f"PRIMARY KEY USING INDEX {name}")
        # nobody tidies up while it is measured
        cursor.execute("ALTER TABLE payments SET (autovacuum_enabled = off)")
        cursor.execute("ANALYZE payments")
    connection.close()


def claims(world):
    """(calls, milliseconds, rows) of the statements that insert payments."""
    rows = world.query(
        "SELECT sum(calls)::int AS calls, sum(total_exec_time) AS ms "
        "FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "
        "WHERE datname = current_database() "
        "AND query ~ 'INSERT INTO payments'")
    return rows[0]["calls"], rows[0]["ms"]


def measure(stage, figures, rows, count):
    took_s = []

    def prepare(world):
        with timed(took_s):
            if rows:
                age(world, rows)
        database.watch(world)
    world = stage.world(UNANSWERED, prepared=prepare,
                        postgres=stage.postgres(**SERVER))
    world.sim.profile({**SILENT, "answer_ms": 20})
    fill(world, count)
    world.start_worker(world.worker)
    meter = Meter(world)
    world.wait_answered(count, 300)
    spent = meter.stop()
    calls, ms = claims(world)
    name = f"{rows:,} old rows"
    figures.add(f"{name}: a claim", ms / count * 1e3, "us/payment")
    figures.add(f"{name}: payments of a claim's batch", count / calls, "")
    figures.add(f"{name}: Postgres", spent.cpu_s["Postgres"] / count * 1e6,
                "us/payment")
    figures.add(f"{name}: made in", took_s[0], "s")
    figures.faults += stage.judge()
    return ms / count


def history(stage, figures, sizes):
    costs = [measure(stage, figures, rows, sizes["count"])
             for rows in sizes["rows"]]
    figures.add("a claim, the oldest ledger against the youngest",
                costs[-1] / costs[0], "times")


CASE = Case(
    "j", "old rows", "what a claim costs in a ledger of so many finished "
    "payments", history,
    full={"rows": (0, 1_000_000, 20_000_000), "count": 10_000},
    quick={"rows": (0, 20_000), "count": 1_000},
    goals={"a claim, the oldest ledger against the youngest": at_most(2)})
