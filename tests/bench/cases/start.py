"""How long programs take from their start to being ready."""

from tests.bench.case import Case, at_most
from tests.bench.stage import timed


def start(stage, figures, sizes):
    world = stage.world()
    api_s, worker_s, end_s = [], [], []
    for _ in range(sizes["times"]):
        with timed(end_s):
            world.worker.stop()
        world.api.stop()
        with timed(api_s):
            world.start_api()
            world.api.wait_ready()
        with timed(worker_s):
            world.start_worker(world.worker)
            world.worker.wait_ready()
    for name, values in (("API ready", api_s), ("worker ready", worker_s),
                         ("worker ended after SIGTERM", end_s)):
        figures.add(f"{name}, the slowest of {len(values)}", max(values), "s")
    figures.add("slowest start", max(api_s + worker_s), "s")


CASE = Case(
    "m", "start", "from exec to ready, with Kafka and Postgres there", start,
    full={"times": 5}, quick={"times": 1},
    goals={"slowest start": at_most(3)})
