"""Two workers that see one payment at the same time: what was decided on an
older view of it is not written."""

import pytest

from tests.fault import crowd
from tests.fault.conftest import QUICK_DEATH
from tests.harness import oracle
from tests.harness.place import wait_for
from tests.harness.proxy import PostgresProxy
from tests.service.conftest import finish, make

N = 60


@pytest.fixture
def proxied(run_directory, postgres, kafka):
    """(world, proxy): the first of two workers goes through the proxy."""
    world = make(run_directory, postgres, kafka, workers=2,
                 settings={**QUICK_DEATH, "payments.query_first_ms": 5000,
                           "payments.query_max_ms": 5000})
    proxy = PostgresProxy(world.directory / "pg", postgres)
    world.worker.sets["database.conninfo"] = proxy.conninfo(world.database)
    yield world.start(), proxy
    finish(world)
    proxy.close()


def test_late_write_of_an_old_view_changes_nothing(proxied):
    """The first worker finds all prompts due and notes that it asks for them.
    While that is under way the other one settles those whose callbacks it
    reads: what the first one notes is of the past then."""
    world, proxy = proxied
    world.sim.profile({"decide_ms": 4000})
    crowd.Crowd(world, crowd.orders(world, N)).join()
    wait_for("all are prompted", lambda: world.query(
        "SELECT count(*) AS n FROM payments WHERE state = 2")[0]["n"] == N,
        crowd.LIVENESS_S, crowd.POLL_S)
    second = world.workers[1]
    hold = proxy.hold("step")
    second.freeze()
    world.query("UPDATE payments SET next_action_at = now() RETURNING id")
    assert hold.happened.wait(crowd.LIVENESS_S)
    second.thaw()
    wait_for("the other one has settled some", lambda:
             oracle.states(world).get("succeeded", 0) >= N // 8,
             crowd.LIVENESS_S)
    hold.release()
    found = crowd.settle(world, 30)
    assert found.count("succeeded") == N
    crowd.pushed_once(found)
