"""Workers come and go under load, and partitions are added: nothing is lost,
pushed twice or burned, and new partitions are read from their beginning."""

import itertools

from confluent_kafka.admin import AdminClient, NewPartitions

from tests.fault import crowd
from tests.harness.place import wait_for

N = 600


def more_partitions(world, n):
    admin = AdminClient({"bootstrap.servers": world.broker.bootstrap})
    made = admin.create_partitions(
        [NewPartitions(f"{world.prefix}payments.requests.{pool}", n)
         for pool in ("high", "normal", "low")])
    for future in made.values():
        future.result(60)


def in_new_partitions(world):
    return world.query("SELECT count(*) AS n FROM payments "
                       "WHERE source_partition >= 4")[0]["n"]


def test_one_worker_three_and_one_again(fault_world):
    world = fault_world(workers=3).start()
    for worker in world.workers[1:]:
        worker.stop()
    load = crowd.Crowd(world, crowd.orders(world, N))
    crowd.wait_pushes(world, N // 6)
    for worker in world.workers[1:]:
        world.start_worker(worker)
    crowd.wait_pushes(world, N // 3)
    more_partitions(world, 8)
    world.workers[1].end()  # kill -9
    crowd.wait_pushes(world, N // 2)
    world.workers[0].stop()  # rolling: the others go on
    world.start_worker(world.workers[0])
    world.workers[2].stop()
    load.join()
    names = itertools.count()

    def reached():
        crowd.Crowd(world, crowd.orders(world, 20),
                    name=f"new-{next(names)}").join()
        return in_new_partitions(world)
    wait_for("requests of new partitions", reached, crowd.LIVENESS_S, 1)
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert {row["status"] for row in found.rows.values()} == {"succeeded"}
    assert {row["spent"] for row in found.rows.values()} == {0}
