"""The worker alone: calls are answered within its own process."""

from tests.bench.case import Case, at_least, at_most
from tests.bench.cases.peers import SETTINGS, answers, fill
from tests.bench.meter import Meter, resident
from tests.bench.trace import pushed_at


def engine(stage, figures, sizes):
    world = stage.world(SETTINGS)
    count = sizes["count"]
    fill(world, count)
    before = len(pushed_at(world))
    world.worker.name = "bench-worker"
    world.start_worker(world.worker)
    meter = Meter(world)
    world.wait_answered(count, 300)
    spent = meter.stop()
    took_s = answers(world, pushed_at(world)[before][0])
    figures.add("payments claimed, answered, stored", count / took_s, "/s")
    figures.cpu(spent, count, names=("worker", "Postgres", "Kafka"))
    figures.add("memory, at most: worker",
                resident(world, peak=True)["worker"], "MB")
    figures.faults += stage.judge()
    stage.close()  # its token is of no use to others


CASE = Case(
    "k", "the engine alone", "preloaded payments whose calls are answered in "
    "the process (a build of its own)", engine,
    full={"count": 50_000}, quick={"count": 10_000},
    goals={"payments claimed, answered, stored": at_least(10_000),
           "memory, at most: worker": at_most(200)})
