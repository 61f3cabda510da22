"""The work that other job systems were measured on: take a request from the
queue, one POST to the provider, read the answer, write one row. No callbacks:
a prompt that nobody answers is where it ends."""

import time

from tests.bench.case import Case, at_least, at_most
from tests.bench.load import Plan
from tests.bench.meter import Meter, resident
from tests.bench.stage import UNANSWERED
from tests.bench.trace import pushed_at

SLOTS = 1000
FILL_CONNECTIONS = 128
FILL_ROUNDS = 20
SETTINGS = {"worker.slots": SLOTS, **UNANSWERED}
SILENT = {"preset": "calm", "callbacks": False, "decide_ms": 600_000}


def fill(world, count):
    """Preloads requests while no worker runs."""
    world.worker.stop()
    plan = Plan(world)
    for _ in range(count):
        plan.pay(0)  # all at once: each connection has one under way
    for _ in range(FILL_ROUNDS):
        requests = plan.requests
        run = plan.run(connections=FILL_CONNECTIONS, timeout_s=300)
        # turned away because Kafka was slow: again, with the same key
        plan.requests = [r for r in requests if r[3][0] not in world.asked]
        if not plan.requests:
            return
        time.sleep(1)
    raise RuntimeError(f"could not preload: {run.status}")


def answers(world, first_at):
    """Seconds from that time to the last stored answer."""
    return world.query(
        "SELECT extract(epoch FROM max(at))::float8 - %s AS s FROM timeline "
        "WHERE state = 2", first_at)[0]["s"]


def drain(world, figures, count, answer_ms):
    world.sim.profile({**SILENT, "answer_ms": answer_ms})
    fill(world, count)
    before = len(pushed_at(world))
    world.start_worker(world.worker)
    meter = Meter(world)
    world.wait_answered(count, 300)
    spent = meter.stop()
    name = f"drain of {count:,}"
    first_at = pushed_at(world)[before][0]
    figures.add(name, count / answers(world, first_at), "/s")
    figures.cpu(spent, count, f"job, {name}", ("worker", "Postgres", "Kafka",
                                               "simulator"))
    figures.add(f"memory, at most: worker, {name}",
                resident(world, peak=True)["worker"], "MB")


def paced(world, figures, sizes):
    rate, seconds, answer_ms = (sizes[k] for k in
                                ("rate", "seconds", "paced_answer_ms"))
    world.sim.profile({**SILENT, "answer_ms": answer_ms})
    plan, meter = Plan(world), Meter(world)
    plan.steady(rate, seconds)
    done = world.worker.metrics()['foleni_pushes_total{end="answer"}']
    run = plan.run()
    world.wait_answered(done + run.good())
    spent = meter.stop(run)
    stored = {row["id"]: row["at"] for row in world.query(
        "SELECT payment::text AS id, extract(epoch FROM at)::float8 AS at "
        "FROM timeline WHERE state = 2 AND at > to_timestamp(%s)",
        run.began_at)}
    figures.spread(f"{rate}/s: added, due to stored",
                   [stored[i] - at - answer_ms / 1e3
                    for i, at in run.due_at.items() if i in stored])
    figures.cpu(spent, run.good(), f"job, {rate}/s",
                ("worker", "Postgres", "Kafka", "API"))


def peers(stage, figures, sizes):
    world = stage.world(SETTINGS)
    for count in sizes["drains"]:
        drain(world, figures, count, sizes["answer_ms"])
    paced(world, figures, sizes)


CASE = Case(
    "l", "the work of other job systems", "request from the queue, one POST "
    "(200 ms, 1,000 slots: at most 5,000/s), one row; then a constant rate",
    peers,
    full={"drains": (20_000, 100_000), "answer_ms": 200, "rate": 300,
          "seconds": 30, "paced_answer_ms": 20},
    quick={"drains": (4_000,), "answer_ms": 200, "rate": 300, "seconds": 1,
           "paced_answer_ms": 20},
    goals={"drain of 20,000": at_least(4900),
           "CPU per job, drain of 20,000: worker": at_most(80),
           "memory, at most: worker, drain of 20,000": at_most(64),
           "drain of 100,000": at_least(4900),
           "CPU per job, drain of 100,000: worker": at_most(80),
           "memory, at most: worker, drain of 100,000": at_most(64),
           "300/s: added, due to stored p50": at_most(1.8),
           "300/s: added, due to stored p99": at_most(4.3)})
