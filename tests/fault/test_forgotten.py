"""Postgres forgets: a standby is promoted without the last commits, a backup
is restored. Whatever was pushed in what was lost is not pushed again."""

import itertools
import json

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.fault import crowd
from tests.fault.conftest import QUICK_DEATH
from tests.harness.place import wait_for
from tests.harness.standby import Pair
from tests.service.conftest import finish, make

N = 30
_numbers = itertools.count(1)
STOPPED = "foleni_intake_stopped_total"


@pytest.fixture
def paired(run_directory, kafka):
    """paired(synchronous=..., workers=2): (world, pair)."""
    made = []

    def start(synchronous=False, settings=None, **options):
        pair = Pair(run_directory / f"pair-{next(_numbers)}",
                    synchronous).start()
        world = make(run_directory, pair, kafka,
                     settings={**QUICK_DEATH, **(settings or {})}, **options)
        made.append((world, pair))
        return world.start(), pair
    yield start
    for world, pair in made:
        try:
            finish(world)
        finally:
            pair.destroy()


def pushed(world, n):
    wait_for(f"{n} pushes", lambda: len(world.sim.pushes()) >= n,
             crowd.LIVENESS_S)


def stopped(world):
    return sum(w.metrics()[STOPPED] for w in world.workers if w.running())


def wait_stopped(world):
    wait_for("a partition is stopped", lambda: stopped(world) > 0,
             crowd.LIVENESS_S)


def plan_of(world):
    return json.loads(world.foleni("recover", "--dry-run", "--json"))


def recover(world, *more):
    return json.loads(world.foleni("recover", "--why", "the test lost a disk",
                                   "--yes", "--json", *more))


def test_standby_without_the_last_commits(paired):
    """Living workers find out, and nothing of the lost time goes out again."""
    world, pair = paired(workers=2)
    crowd.Crowd(world, crowd.orders(world, N), name="kept").join()
    pushed(world, N)
    wait_for("the standby has it all", pair.streaming, 30)
    pair.cut()
    crowd.Crowd(world, crowd.orders(world, N), name="lost").join()
    pushed(world, 2 * N)
    pair.promote()
    wait_stopped(world)
    plan = plan_of(world)["partitions"]
    assert sum(p["records"] for p in plan) == N
    assert not any(p["deleted"] for p in plan)
    done = recover(world)["partitions"]
    assert sum(p["done"]["entered"] for p in done) <= N
    assert not plan_of(world)["partitions"], "nothing is left to recover"
    crowd.Crowd(world, crowd.orders(world, N), name="after").join()
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert len(found.pushes) == 3 * N, "workers went on by themselves"
    audit = world.query("SELECT who, why, action FROM operator_actions")
    assert {row["why"] for row in audit} == {"the test lost a disk"}
    assert len(audit) == len(done)


def test_synchronous_standby_loses_nothing(paired):
    """No partition stops, nothing has to be recovered."""
    world, pair = paired(synchronous=True, workers=2)
    load = crowd.Crowd(world, crowd.orders(world, 2 * N))
    pushed(world, N)
    pair.promote()
    load.join()
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert len(found.rows) == 2 * N
    assert not stopped(world)
    assert not plan_of(world)["partitions"]


def test_restored_base_backup(paired):
    """The same server, the same timeline, an older memory; and no worker that
    remembers: only Kafka's groups tell."""
    world, pair = paired()
    crowd.Crowd(world, crowd.orders(world, N), name="kept").join()
    crowd.settle(world)
    backup = pair.backup()
    crowd.Crowd(world, crowd.orders(world, N), name="lost").join()
    crowd.settle(world)
    world.worker.stop()
    pair.restore(backup)
    world.start_worker(world.worker)
    wait_stopped(world)
    assert sum(p["records"] for p in plan_of(world)["partitions"]) == N
    done = recover(world)["partitions"]
    assert sum(p["done"]["entered"] for p in done) == N
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert found.count("succeeded") == 2 * N, "its callbacks were read again"


RETRIES = 6
# Whoever waits for a retry waits till the test says so.
PATIENT = {"payments.backoff_min_ms": 3600000,
           "payments.backoff_max_ms": 3600000,
           "payments.query_first_ms": 500}


def throttled(world):
    """Payments whose first push is refused for now and whose second is paid,
    as only a query will tell; they wait, and the ledger says so."""
    asked = crowd.orders(world, RETRIES)
    world.sim.scripts({p["msisdn"]: [
        {"answer": "spike"}, {"fate": "pay", "callback": "lost"}]
        for p in asked})
    crowd.Crowd(world, asked, name="retried").join()
    wait_for("all of them wait", lambda: world.query(
        "SELECT count(*) AS n FROM payments WHERE state = 3 AND attempt = 1"
    )[0]["n"] == RETRIES, crowd.LIVENESS_S)
    return asked


def retry(world):
    world.query("UPDATE payments SET next_action_at = now() "
                "WHERE state = 3 RETURNING 1")


@pytest.mark.parametrize("killed", [False, True],
                         ids=["worker lives", "worker is dead"])
def test_retries_of_the_lost_time(paired, killed):
    """`intake` and Kafka tell nothing of them: the recorder does."""
    world, pair = paired(settings=PATIENT)
    asked = throttled(world)
    wait_for("the standby has it all", pair.streaming, 30)
    pair.cut()
    retry(world)
    wait_for("they are answered, and the recorder has noted it",
             lambda: world.query("SELECT count(*) AS n FROM payments WHERE "
                                 "attempt = 2 AND checkout_id IS NOT NULL")
             [0]["n"] == RETRIES, crowd.LIVENESS_S)
    if killed:
        world.worker.kill9()
    pair.promote()
    retry(world)
    if killed:
        world.start_worker(world.worker)
    wait_for("they are entered", lambda: world.query(
        "SELECT count(*) AS n FROM timeline WHERE cause = 16 AND attempt = 2"
    )[0]["n"] == RETRIES, crowd.LIVENESS_S)
    found = crowd.settle(world)
    assert found.count("succeeded") == RETRIES
    for payment in asked:
        assert len(world.sim.pushes(payment["msisdn"])) == 2
    assert not stopped(world)


def test_claims_that_only_a_recorder_knows(paired):
    """Kafka's offsets, too, are those of before: as if the worker had died
    before it could commit them."""
    world, pair = paired()
    crowd.Crowd(world, crowd.orders(world, N), name="kept").join()
    crowd.settle(world)
    wait_for("the standby has it all", pair.streaming, 30)
    pair.cut()
    ends = world.topics.ends("payments.requests.normal")
    crowd.Crowd(world, crowd.orders(world, N), name="lost").join()
    pushed(world, 2 * N)
    world.worker.kill9()
    pair.promote()
    wait_for("the dead member has left", lambda: is_reset(
        world, lambda p, first, last: ends[p][1]), crowd.LIVENESS_S)
    world.start_worker(world.worker)
    wait_stopped(world)
    wait_for("Kafka is told", lambda: sum(
        p["records"] for p in plan_of(world)["partitions"]) == N)
    recover(world)
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert found.count("succeeded") == 2 * N


def reset(world, at):
    """Somebody moves the group's offsets, per partition: at(p, first, next)."""
    name = "payments.requests.normal"
    consumer = Consumer({"bootstrap.servers": world.broker.bootstrap,
                         "group.id": world.prefix + "foleni.normal",
                         "enable.auto.commit": False, "log_level": 0})
    consumer.commit(asynchronous=False, offsets=[
        TopicPartition(world.prefix + name, p, at(p, first, last))
        for p, (first, last) in world.topics.ends(name).items()])
    consumer.close()


def is_reset(world, at):
    """The same, when nobody is in the group any more."""
    try:
        reset(world, at)
    except KafkaException:
        return False
    return True


def test_offsets_reset(fault_world):
    """To the beginning: nothing is read twice. To the end: what was skipped
    counts as what Postgres forgot, and is never passed over in silence."""
    world = fault_world().start()
    crowd.Crowd(world, crowd.orders(world, N), name="a").join()
    crowd.settle(world)
    world.worker.stop()
    reset(world, lambda p, first, last: first)
    crowd.Crowd(world, crowd.orders(world, N), name="b").join()
    world.start_worker(world.worker)
    crowd.pushed_once(crowd.settle(world))
    world.worker.stop()
    skipped = crowd.Crowd(world, crowd.orders(world, N), name="c")
    skipped.join()
    reset(world, lambda p, first, last: last)
    world.start_worker(world.worker)
    wait_stopped(world)
    done = recover(world)["partitions"]
    assert sum(p["done"]["entered"] for p in done) == N
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert crowd.unresolved(found) == skipped.ids
