"""The token that workers share while one of them stops, or Postgres is away."""

from tests.fault import crowd
from tests.harness.place import wait_for
from tests.harness.postgres import Postgres

N = 30
LEASE_MS = 6000
SINGLE = {"token_single": True}


def tokens(world):
    return world.sim.summary()["tokens"]


def has_token(worker):
    return worker.health()["dependencies"]["daraja"]["ok"]


def test_stopped_while_it_holds_the_lease(fault_world):
    """The others wait for the lease to end and no longer; what the stopped one
    knows when it goes on harms nobody."""
    world = fault_world({"token.lease_ms": LEASE_MS}, workers=3,
                        profile={**SINGLE, "token_stall": 1}).start()
    holder = wait_for("somebody fetches", lambda: next(
        (w for w in world.workers if b"token_fetching" in w.said()), None))
    holder.freeze()
    assert b"token_failed" not in holder.said(), "it held the lease no more"
    leased = world.query("SELECT lease, leased_until FROM tokens")[0]
    world.sim.profile({**SINGLE, "token_stall": 0})
    clients = crowd.Crowd(world, crowd.orders(world, N))
    clients.join()
    wait_for("the others have a token", lambda: all(
        has_token(w) for w in world.workers if w is not holder),
        crowd.LIVENESS_S)
    row = world.query("SELECT version, fetched_at FROM tokens")[0]
    assert row["version"] > leased["lease"]
    assert row["fetched_at"] >= leased["leased_until"]
    holder.thaw()
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert found.count("succeeded") == N
    assert {row["spent"] for row in found.rows.values()} == {0}
    wait_for("it was dead for so long that it ends",
             lambda: not holder.running(), crowd.LIVENESS_S)
    world.start_worker(holder)
    wait_for("it has learnt the others' token", lambda: has_token(holder),
             crowd.LIVENESS_S)
    assert tokens(world) == 2


def test_postgres_away_past_the_tokens_end(run_directory, fault_world):
    """It is used to its end; then the fleet asks for one, when it may."""
    server = Postgres(run_directory / "tokens-pg").start()
    try:
        world = fault_world(postgres=server, workers=3, profile={
            **SINGLE, "token_ttl_s": 5}).start()
        wait_for("every worker has a token",
                 lambda: all(has_token(w) for w in world.workers))
        server.stop()
        wait_for("it has ended",
                 lambda: not any(has_token(w) for w in world.workers))
        asked = tokens(world)
        world.sim.profile({**SINGLE, "token_ttl_s": 3599})
        clients = crowd.Crowd(world, crowd.orders(world, N))
        clients.join()
        assert tokens(world) == asked, "nobody fetches what it cannot share"
        server.start()
        found = crowd.settle(world)
        crowd.pushed_once(found)
        assert found.count("succeeded") == N
        assert tokens(world) == asked + 1
        world.stop()
    finally:
        server.destroy()
