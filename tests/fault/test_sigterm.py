"""SIGTERM at full load: exit code 0 within the drain time, no attempt is
spent, others go on."""

import threading
import time

from tests.fault import crowd
from tests.harness.place import wait_for

N = 600


def test_worker_ends_while_another_goes_on(fault_world):
    world = fault_world(workers=2).start()
    world.sim.profile({"answer_ms": 2000})
    first, second = world.workers
    mine = crowd.incarnation_of(world, first)
    clients = crowd.Crowd(world, crowd.orders(world, N))
    wait_for("its slots are full and more is claimed",
             lambda: crowd.in_the_air(world, mine) > 64, crowd.LIVENESS_S,
             crowd.POLL_S)
    began = time.monotonic()
    first.stop(timeout_s=world.settings["worker.drain_timeout_ms"] / 1000 + 2)
    print(f"\ndrained in {time.monotonic() - began:.2f} s")
    assert crowd.in_the_air(world, mine) == 0
    assert world.query("SELECT 1 FROM workers WHERE incarnation = %s AND "
                       "settled_at IS NOT NULL", mine)
    clients.join()
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert found.count("succeeded") == N
    assert {row["spent"] for row in found.rows.values()} == {0}
    assert second.metrics()["foleni_taken_over_total"] == 0
    assert len(list((world.directory / "recorder").iterdir())) == 1


def test_workers_restarted_in_turn_under_load(fault_world):
    world = fault_world(workers=2).start()
    world.sim.profile({"answer_ms": 100})
    clients = crowd.Crowd(world, crowd.orders(world, N))
    for n in range(4):
        crowd.wait_pushes(world, 100 * (n + 1))
        worker = world.workers[n % 2]
        worker.stop()
        world.start_worker(worker)
    clients.join()
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert found.count("succeeded") == N
    assert {row["spent"] for row in found.rows.values()} == {0}


def test_api_ends_with_long_polls_open(fault_world):
    """Each of them gets an answer, and so does who is asking just then."""
    polls = 50
    world = fault_world().start()
    world.sim.profile({"decide_ms": 3000})
    shop = world.upstream()
    idents = [shop.submit(p).body["id"] for p in crowd.orders(world, polls)]
    crowd.wait_pushes(world, polls)
    wait_for("all are prompted", lambda: world.query(
        "SELECT count(*) AS n FROM payments WHERE state = 2")[0]["n"] == polls)
    for ident in idents:  # the cache knows
        wait_for("the API knows", lambda i=ident: shop.get(
            i).body["status"] == "prompted")
    answers = []
    threads = [threading.Thread(target=lambda i=i: answers.append(
        shop.get(i, wait="30s"))) for i in idents]
    for t in threads:
        t.start()
    wait_for("the polls are parked", lambda: world.api.metrics()
             ["foleni_parked_requests"] >= polls)
    world.api.stop()
    for t in threads:
        t.join(crowd.LIVENESS_S)
    assert [a.status for a in answers] == [200] * polls
    world.start_api()
    found = crowd.settle(world)
    assert found.count("succeeded") == polls
