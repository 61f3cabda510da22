"""Postgres, Kafka or the provider away, at start or later: the programs stay
up, say so, and go on when it is back; nothing accepted is lost."""

import os
import threading
import time
from pathlib import Path

import pytest

from tests.harness import oracle
from tests.harness.broker import KafkaBroker, _free_ports
from tests.harness.place import wait_for
from tests.harness.postgres import Postgres


@pytest.fixture
def own_postgres(run_directory):
    """One that this test may stop: the others' stays."""
    server = Postgres(run_directory / "own-pg").start()
    yield server
    server.destroy()


@pytest.fixture
def own_kafka(run_directory):
    broker = KafkaBroker(run_directory / "own-kafka")
    broker.start()
    yield broker
    broker.stop()


def order(world, **more):
    return {"msisdn": world.new_phone(), "amount": 100, "reference": "ORDER1",
            "shortcode": "174379", **more}


def dependency(program, name):
    return program.health()["dependencies"][name]


def test_postgres_away_later(own_postgres, make_world):
    world = make_world(postgres=own_postgres).start()
    shop = world.upstream()
    for _ in range(20):
        assert shop.submit(order(world)).status == 202
    own_postgres.kill9()
    wait_for("the worker says so", lambda: not world.worker.ready())
    assert not dependency(world.worker, "postgres")["ok"]
    for _ in range(20):  # no database on this path
        assert shop.submit(order(world)).status == 202
    own_postgres.start()
    world.worker.wait_ready()
    world.wait_settled(60)
    oracle.check(world)


def test_postgres_away_at_start(own_postgres, make_world):
    world = make_world(postgres=own_postgres)
    world.start_simulator()
    world.prepare()
    own_postgres.stop()
    world.start_api()
    world.start_worker(world.worker)
    wait_for("the worker serves its health",
             lambda: world.worker.get("/health/live")[0] == 200)
    assert not world.worker.ready()
    world.api.wait_ready()
    shop = world.upstream()
    assert shop.submit(order(world)).status == 202
    own_postgres.start()
    world.worker.wait_ready()
    world.wait_settled(60)
    oracle.check(world)


def test_kafka_away_later(own_kafka, make_world):
    world = make_world(broker=own_kafka).start()
    shop = world.upstream()
    for _ in range(20):
        assert shop.submit(order(world)).status == 202
    own_kafka.kill9()
    asked = order(world)
    refused = shop.submit(asked, "while-away")
    assert refused.status == 503
    assert refused.body["code"] in ("not_queued", "maybe_queued")
    assert refused.body["payment_id"]
    assert int(refused.headers["Retry-After"]) >= 1
    wait_for("the API says so", lambda: not dependency(world.api,
                                                       "kafka")["ok"])
    assert world.api.get("/health/live")[0] == 200
    own_kafka.start()
    answer = shop.insist(asked, "while-away")
    assert answer.status == 202
    assert answer.body["id"] == refused.body["payment_id"]
    world.wait_settled(90)
    oracle.check(world)
    assert len(world.sim.pushes(asked["msisdn"])) == 1


def test_provider_refuses_connections(make_world):
    world = make_world(settings={"payments.attempts_max": 50}).start()
    shop = world.upstream()
    world.sim.down("refuse", 1500)
    for _ in range(30):
        assert shop.submit(order(world)).status == 202
    world.wait_settled(60)
    found = oracle.check(world)
    # A push over a connection that was cut in that moment may have arrived.
    assert found.count("succeeded") + found.count("unresolved") == 30
    assert found.count("succeeded") >= 25


def test_provider_is_silent(make_world):
    """Whatever was lost in a stall is never pushed again."""
    world = make_world().start()
    shop = world.upstream()
    world.sim.down("stall", 2000)
    for _ in range(10):
        assert shop.submit(order(world)).status == 202
    world.wait_settled(60)
    found = oracle.check(world)
    assert found.count("unresolved") + found.count("succeeded") == 10


def test_worker_drains_on_sigterm(make_world):
    world = make_world().start()
    shop = world.upstream()
    world.sim.profile({"answer_ms": 800})
    for _ in range(50):
        assert shop.submit(order(world)).status == 202
    wait_for("pushes are open", lambda: len(world.sim.pushes()) >= 10)
    began = time.monotonic()
    world.worker.stop()  # asserts exit code 0
    assert time.monotonic() - began < 8
    rows = world.query("SELECT count(*) AS n FROM payments WHERE state = 1")
    assert rows[0]["n"] == 0, "a drained worker leaves nothing in the air"
    world.start_worker(world.worker)
    world.wait_settled(60)
    found = oracle.check(world)
    assert found.count("succeeded") == 50


def test_rolling_restart_under_load(make_world):
    """Two workers, the API and they restarted in turn while clients submit."""
    world = make_world(workers=2).start()
    # Each worker has a token of its own; the newest must not end the other's.
    world.sim.profile({"token_single": False})
    shop = world.upstream()
    stop = threading.Event()
    refused = []

    def load():
        while not stop.is_set():
            answer = shop.insist(order(world))
            if answer.status != 202:
                refused.append(answer)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    for _ in range(2):
        for worker in world.workers:
            worker.stop()
            world.start_worker(worker)
            worker.wait_ready()
        world.api.stop()
        world.start_api()
        world.api.wait_ready()
    stop.set()
    for t in threads:
        t.join()
    assert not refused
    world.wait_settled(60)
    found = oracle.check(world)
    assert found.count("succeeded") == len(world.promised)


def timers(port):
    """[(local port, 2 = keep-alive, seconds until it)] of what is connected
    over TCP to a port of ours or from it."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, here, there, state, _, timer = line.split()[:6]
        ports = [int(end.partition(":")[2], 16) for end in (here, there)]
        if state == "01" and port in ports:
            kind, ticks = timer.split(":")
            found.append((ports[0], int(kind, 16),
                          int(ticks, 16) / os.sysconf("SC_CLK_TCK")))
    return found


def test_either_end_notices_that_the_other_host_is_lost(run_directory,
                                                        make_world):
    """Connections over TCP have a keep-alive of seconds on both ends, not of
    hours as by default."""
    port = _free_ports(1)[0]
    server = Postgres(run_directory / "tcp-pg", {
        "listen_addresses": "127.0.0.1", "port": port}).start()
    try:
        world = make_world(postgres=server)
        world.start_simulator()
        world.prepare()
        world.start_api()
        world.worker.sets["database.conninfo"] = world.conninfo(
            "worker").replace(f"host={server.directory}", "host=127.0.0.1")
        world.start_worker(world.worker)
        world.worker.wait_ready()

        def alive():
            ends = timers(port)
            return len(ends) >= 8 and all(
                kind == 2 and left <= 6 for _, kind, left in ends) and ends
        ends = wait_for("each end keeps alive", alive, 60)
        assert {here == port for here, _, _ in ends} == {True, False}
        world.stop()
    finally:
        server.destroy()
