"""A worker that is stopped for so long that others take over, and then goes
on as if nothing had been: it pushes nothing any more, and what it still learns
about its open pushes counts as evidence."""

import pytest

from tests.fault import crowd
from tests.harness.place import wait_for

SLOTS, N = 20, 90
# Its open calls and its claims outlive the freeze, as far as it knows itself:
# only the heartbeat says that they are over. However slow the machine is.
LONG = {"worker.slots": SLOTS, "worker.ahead": N, "worker.lease_ms": 60000,
        "worker.drain_timeout_ms": 150000, "gate.total_timeout_ms": 120000,
        "payments.unresolved_after_ms": 180000}


@pytest.fixture
def frozen(fault_world):
    """A world whose first worker has open and claimed pushes and is frozen;
    the second one has taken over."""
    def freeze(settings=None, callback="lost"):
        world = fault_world({**LONG, **(settings or {})}, workers=2)
        first, second = world.workers
        world.start_simulator()
        world.sim.profile({"answer_ms": 3000, "callback": {callback: 1}})
        world.prepare()
        world.start_api()
        world.api.wait_ready()
        # all is queued before anybody claims: how quickly it came does not
        # decide how much is claimed ahead
        crowd.Crowd(world, crowd.orders(world, N)).join()
        world.start_worker(first)
        mine = crowd.incarnation_of(world, first)
        wait_for("its slots are full and more is claimed",
                 lambda: crowd.in_the_air(world, mine) > SLOTS + 5,
                 crowd.LIVENESS_S, crowd.POLL_S)
        first.freeze()
        world.start_worker(second)
        wait_for("the second one took over", lambda: second.metrics()
                 ["foleni_taken_over_total"] > 0 and
                 not crowd.in_the_air(world, mine), crowd.LIVENESS_S)
        return world, mine
    return freeze


def state_of(world, incarnation):
    return {r["state"]: r["n"] for r in world.query(
        "SELECT state, count(*) AS n FROM payments WHERE owner = %s "
        "GROUP BY state", incarnation)}


def test_thawed_worker_pushes_nothing_and_tells_what_it_knows(frozen):
    """No callback comes: only the frozen worker can read the answers with the
    ids, and only it knows what it had not begun."""
    world, mine = frozen()
    unknown = state_of(world, mine)
    assert unknown.keys() == {4}
    held = {str(row["id"]) for row in world.query(
        "SELECT id FROM payments WHERE owner = %s", mine)}
    held -= {push["payment"] for push in world.sim.pushes()}
    assert held, "it had claims that it had not begun"
    world.workers[0].thaw()
    wait_for("it has told all it knew",
             lambda: not state_of(world, mine).get(4), crowd.LIVENESS_S)
    refused = world.workers[0].metrics()['foleni_pushes_total{end="not_sent"}']
    assert refused, "it sent what it had claimed before the freeze"
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert found.count("succeeded") == N, "late answers and proofs count"
    assert {row["spent"] for row in found.rows.values()} == {0}
    assert len(found.pushes) == N
    silences = "foleni_heartbeat_silences_total"
    assert world.workers[0].metrics()[silences] >= 1
    stale = {ident for ident in held for push in found.pushes[ident]
             if push.attempt == 1}
    assert not stale, f"claimed before the freeze, sent after it: {stale}"
    told = world.query("SELECT count(*) AS n FROM timeline WHERE worker = %s "
                       "AND cause IN (4, 5)", mine)[0]["n"]
    assert told >= unknown[4]


def test_frozen_worker_killed_afterwards(frozen):
    """What it can no longer tell its recorder does: never begun is tried
    again, begun is not."""
    world, mine = frozen(callback="once")
    world.workers[0].kill9()
    world.start_worker(world.workers[0])
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert found.count("succeeded") == N


def test_forgotten_worker_ends_itself(frozen):
    """Frozen until everything of it is settled: it finds itself declared dead
    and ends with a code that has it started anew."""
    world, mine = frozen({"recorder.enabled": False,
                          "payments.unresolved_after_ms": 6500}, "once")
    found = crowd.settle(world)
    assert found.count("unresolved") >= 5, "never begun, and nobody can know"
    wait_for("it is settled", lambda: world.query(
        "SELECT 1 FROM workers WHERE incarnation = %s AND settled_at "
        "IS NOT NULL", mine), crowd.LIVENESS_S)
    first = world.workers[0]
    first.thaw()
    wait_for("it ends", lambda: not first.running(), crowd.LIVENESS_S)
    assert first.process.returncode == 75
    assert b"declared_dead" in first.said()
    crowd.pushed_once(crowd.settle(world))
    world.start_worker(first)
