"""The benchmarks' harness: a small case measures, and its judge sees a double
push and a lost 202. Its figures are worth nothing here; nobody looks at them.
"""

import json

from tests.bench.bench import run_case
from tests.bench.cases import accept
from tests.bench.stage import Stage

SIZES = {"rate": 40, "seconds": 1}


def test_a_small_case(run_directory, postgres, kafka):
    stage = Stage(run_directory / "bench", postgres, kafka)
    (run_directory / "bench").mkdir()
    try:
        told = run_case(stage, accept.CASE, SIZES)
        assert told["faults"] == []
        named = {row["name"] for row in told["figures"]}
        assert set(accept.CASE.goals) <= named
        world = stage.world()
        # on a slow machine Kafka may be too slow for some
        assert world.sim.summary()["pushes"] >= len(world.asked) >= 2
        doubled, lost = list(world.asked)[:2]
        with world.journal.open("a") as journal:
            journal.write(json.dumps(
                {"t": "push", "at": "2026-01-01T00:00:00.000000Z", "n": 10**6,
                 "msisdn": 0, "amount": 0, "payment": doubled, "attempt": 1,
                 "answer": "ok"}, separators=(",", ":")) + "\n")
        world.query("DELETE FROM payments WHERE id = %s RETURNING 1", lost)
        faults = stage.judge()
        assert any(f.startswith(f"{doubled}: attempt 1 was sent 2 times")
                   for f in faults)
        assert f"{lost}: answered 202 and lost" in faults
        assert f"{lost}: pushed, and Postgres does not know" in faults
        stage.close()
    finally:
        stage.end()
