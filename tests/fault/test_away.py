"""Postgres and Kafka killed and restarted under load, once and again, and away
at the start: the programs stay up, say so, and go on."""

import pytest

from tests.fault import crowd
from tests.harness.place import wait_for

N = 400


def dependency(program, name):
    """Whether its health calls the dependency good."""
    return program.health()["dependencies"][name]["ok"]


def lives_of(world):
    return [p.pid for p in world.programs]


def away_and_back(world, server, name, strike, programs):
    """One outage: everybody stays up and says it, and says when it is over."""
    strike()
    for program in programs:
        wait_for(f"{program.name} says that {name} is away",
                 lambda p=program: not dependency(p, name), crowd.LIVENESS_S)
        assert program.get("/health/live")[0] == 200
    server.start()
    for program in programs:
        wait_for(f"{program.name} says that {name} is back",
                 lambda p=program: dependency(p, name), crowd.LIVENESS_S)


@pytest.mark.parametrize("name", ["postgres", "kafka"])
def test_away_again_and_again_under_load(fault_world, postgres, kafka, name):
    server = {"postgres": postgres, "kafka": kafka}[name]
    world = fault_world({"payments.attempts_max": 20}).start()
    world.sim.profile({"answer_ms": {"p50": 50, "p95": 200}})
    pids = lives_of(world)
    clients = crowd.Crowd(world, crowd.orders(world, N))
    strikes = (server.kill9, server.stop)
    try:
        for n, strike in enumerate(strikes):
            crowd.wait_pushes(world, 20 + 150 * n)
            away_and_back(world, server, name, strike,
                          (world.api, world.worker))
    finally:
        if not server.running():
            server.start()
    clients.join()
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert found.rows.keys() == clients.ids
    assert found.count("succeeded") == N
    assert lives_of(world) == pids and all(p.running()
                                           for p in world.programs)


@pytest.mark.parametrize("name", ["postgres", "kafka"])
def test_away_at_the_start(fault_world, postgres, kafka, name):
    server = {"postgres": postgres, "kafka": kafka}[name]
    world = fault_world()
    world.start_simulator()
    world.prepare()
    server.stop()
    try:
        world.start_api()
        world.start_worker(world.worker)
        wait_for("the worker says so", lambda: not dependency(world.worker,
                                                              name))
        assert not world.worker.ready()
        for program in (world.api, world.worker):
            assert program.get("/health/live")[0] == 200
    finally:
        server.start()
    clients = crowd.Crowd(world, crowd.orders(world, 40))
    clients.join()
    world.worker.wait_ready()
    found = crowd.settle(world)
    assert found.count("succeeded") == 40
    crowd.pushed_once(found)
