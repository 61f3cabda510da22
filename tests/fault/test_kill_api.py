"""kill -9 of the API while 1,000 requests are under way: clients without an
answer ask again with their key, each key is one payment, and callbacks that
nobody took are made good by the status query."""

import random
from pathlib import Path

from tests.fault import crowd
from tests.harness.place import wait_for

N = 1000
FAILED = 'daraja_sim_callbacks_total{end="failed"}'


def test_api_killed_again_and_again(fault_world):
    dice = random.Random(3)
    world = fault_world().start()
    world.sim.profile({"answer_ms": {"p50": 50, "p95": 200}})
    clients = crowd.Crowd(world, crowd.orders(world, N), clients=16)
    for pushes in crowd.moments(dice, 4, 20, N - 300):
        crowd.wait_pushes(world, pushes)
        lost = world.sim.metrics()[FAILED]
        world.api.kill9()
        wait_for("callbacks came and found nobody",
                 lambda: world.sim.metrics()[FAILED] > lost, crowd.LIVENESS_S)
        world.start_api()
    clients.join()
    found = crowd.settle(world)
    assert found.rows.keys() == clients.ids, "one payment per key"
    crowd.pushed_once(found)
    unheard = [p for pushes in found.pushes.values() for p in pushes
               if not p.acknowledged]
    assert unheard, "no callback was lost: the test shows nothing"
    assert found.count("succeeded") == N
    assert world.worker.metrics()["foleni_queries_total"] > 0


def test_answer_lost_with_the_api(fault_world, kafka):
    """Killed between the record and the 202: Kafka gets the records, their
    clients know nothing, and asking again makes no second payment."""
    world = fault_world().start()
    topic = "payments.requests.normal"
    kafka.freeze()
    try:
        before = to_read(kafka)
        clients = crowd.Crowd(world, crowd.orders(world, 20), clients=20)
        wait_for("all wait for Kafka", lambda: world.api.metrics()
                 ["foleni_parked_requests"] == 20)
        wait_for("records are on the wire",
                 lambda: to_read(kafka) > before + 400)
        world.api.kill9()
    finally:
        kafka.thaw()
    wait_for("some are in Kafka", lambda: any(
        high for _, high in world.topics.ends(topic).values()))
    assert not clients.shop.promised
    world.start_api()
    clients.join()
    found = crowd.settle(world)
    assert found.rows.keys() == clients.ids
    crowd.pushed_once(found)
    assert found.count("succeeded") == 20


def to_read(broker):
    """Bytes that the kernel holds for a frozen broker."""
    port = f":{int(broker.bootstrap.rpartition(':')[2]):04X}"
    waiting = 0
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{broker.pid}/net/{table}").read_text() \
                .splitlines()[1:]:
            _, local, _, state, queues = line.split()[:5]
            if local.endswith(port) and state == "01":
                waiting += int(queues.partition(":")[2], 16)
    return waiting


def test_callback_of_a_dead_api_is_asked_for(fault_world):
    """All callbacks of these payments find nobody: queries settle them, paid
    or not."""
    world = fault_world().start()
    world.sim.profile({"answer_ms": 10, "decide_ms": 1500})
    payments = crowd.orders(world, 40)
    world.sim.scripts({p["msisdn"]: [{"fate": "cancel"}]
                       for p in payments[:10]})
    clients = crowd.Crowd(world, payments)
    clients.join()
    crowd.wait_pushes(world, len(payments))
    world.api.kill9()
    wait_for("every callback was tried", lambda: world.sim.metrics()[FAILED]
             >= len(payments), crowd.LIVENESS_S)
    world.start_api()
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert found.count("succeeded") == 30
    assert found.count("failed") == 10
    assert not any(p.acknowledged for ps in found.pushes.values() for p in ps)
