"""Postgres as the worker and the API see it."""

import time

from tests.bench.case import Case, at_most
from tests.bench.load import Plan
from tests.bench.meter import Meter

UNIT = "foleni_postgres_unit_seconds"
SHOWN = 6  # statements, those that took most together
STATEMENTS = """
SELECT regexp_replace(left(query, 400), '\\s+', ' ', 'g') AS text, calls,
       mean_exec_time AS mean_ms, max_exec_time AS max_ms,
       rows::float8 / calls AS rows
FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database() ORDER BY total_exec_time DESC"""


def buckets(values, name=UNIT):
    """[(bound in s, count below)] of a histogram's metrics."""
    rows = [(float(k.partition('le="')[2].partition('"')[0]), v)
            for k, v in values.items() if k.startswith(f"{name}_bucket")]
    return sorted(rows)


def bound_of(before, after, share):
    """The upper bound of the bucket in which that share lies."""
    rows = [(bound, b - a) for (bound, b), (_, a) in zip(
        buckets(after), buckets(before))]
    total = rows[-1][1]
    return next(bound for bound, n in rows if n >= total * share)


def watch(world):
    """From here on the server keeps times of this database's statements."""
    connection = world.postgres.connect(world.database)
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        cursor.execute(f'ALTER DATABASE "{world.database}" SET '
                       "pg_stat_statements.track = 'top'")
    connection.close()


def statements(world):
    return world.query(STATEMENTS)


def connect_ms(world, times=20):
    took = []
    for _ in range(times):
        began = time.perf_counter()
        world.postgres.connect(world.database).close()
        took.append((time.perf_counter() - began) * 1e3)
    return sorted(took)[times // 2]


def database(stage, figures, sizes):
    world = stage.world()
    watch(world)
    world.worker.stop()  # what was switched on is seen by new connections
    world.start_worker(world.worker)
    world.worker.wait_ready()
    before, meter = world.worker.metrics(), Meter(world)
    plan = Plan(world)
    plan.steady(sizes["rate"], sizes["seconds"])
    run = plan.run()
    world.wait_done()
    spent, after = meter.stop(run), world.worker.metrics()
    pool = world.query(
        "SELECT usename, count(*) AS n FROM pg_stat_activity WHERE datname = "
        "current_database() AND usename IN ('api', 'worker') GROUP BY 1")
    for row in pool:
        figures.add(f"connections of the {row['usename']}", row["n"], "")
    units = after[f"{UNIT}_count"] - before[f"{UNIT}_count"]
    figures.add("a new connection", connect_ms(world), "ms")
    figures.add("round trips per payment", units / run.good(), "")
    figures.add("a round trip, mean",
                (after[f"{UNIT}_sum"] - before[f"{UNIT}_sum"]) / units * 1e3,
                "ms")
    for share in (.95, .99):
        figures.add(f"a round trip, p{share * 100:g} at most",
                    bound_of(before, after, share) * 1e3, "ms")
    rows = [r for r in statements(world) if r["calls"] > 1]
    for row in rows[:SHOWN]:
        name = row["text"].lstrip()[:34]
        figures.add(f"{name}... mean", row["mean_ms"], "ms")
        figures.add(f"{name}... rows", row["rows"], "")
    figures.add("slowest statement's mean",
                max(r["mean_ms"] for r in rows), "ms")
    figures.cpu(spent, run.good(), names=("worker", "Postgres"))


CASE = Case(
    "d", "database", "connections, round trips and statements under load",
    database, full={"rate": 500, "seconds": 15},
    quick={"rate": 300, "seconds": 1},
    goals={"a round trip, mean": at_most(50),
           "a round trip, p99 at most": at_most(50),
           "slowest statement's mean": at_most(50)})
