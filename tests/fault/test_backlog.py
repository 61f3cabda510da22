"""A backlog of retries and one of fresh requests at once: together they are no
more than the worker has room for, and neither starves the other."""

from tests.fault import crowd
from tests.harness.place import wait_for

N = 400


def test_retries_and_requests_come_together(fault_world, postgres):
    world = fault_world(settings={"worker.batch_max": 60,
                                  "worker.gather_us": 0}).start()
    pid = world.worker.pid
    world.sim.profile({"answer": {"spike": 1}})
    first = crowd.Crowd(world, crowd.orders(world, N), name="retry")
    first.join()
    wait_for("all of them are claimed", lambda: world.query(
        "SELECT count(*) AS n FROM payments")[0]["n"] == N, crowd.LIVENESS_S)
    postgres.stop()
    try:
        second = crowd.Crowd(world, crowd.orders(world, N), name="fresh")
        second.join()
        world.sim.profile({"answer": {"ok": 1}, "answer_ms": 500})
    finally:
        postgres.start()
    found = crowd.settle(world)
    assert found.count("succeeded") == 2 * N
    assert {row["spent"] for row in found.rows.values()} == {0}
    assert world.worker.running() and world.worker.pid == pid
