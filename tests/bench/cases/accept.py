"""The way to a 202."""

from tests.bench.case import Case, at_most
from tests.bench.load import Plan
from tests.bench.meter import Meter


def accept(stage, figures, sizes):
    world = stage.world()
    plan = Plan(world)
    plan.steady(sizes["rate"], sizes["seconds"])
    world.worker.stop()  # as if it were on another machine
    meter = Meter(world)
    run = plan.run(connections=128)
    spent = meter.stop(run)
    world.start_worker(world.worker)
    figures.add("accepted", run.good() / run.seconds, "/s")
    figures.add("requests not accepted", run.errors_percent(), "%")
    figures.spread("accept", run.latency_s["pay"], (.5, .95, .99, .999),
                   mean=True)
    figures.spread("of it: until it was sent", run.unsent_s, (.99,))
    figures.cpu(spent, run.good(), "request",
                ("API", "Kafka", "load generator"))
    world.wait_done()


CASE = Case(
    "b", "accept", "durable 202s in an open loop, what a request waited for "
    "its turn included; no worker runs", accept,
    full={"rate": 2000, "seconds": 20}, quick={"rate": 2000, "seconds": 1},
    goals={"accept p99": at_most(10), "accept mean": at_most(200),
           "accept p95": at_most(500), "requests not accepted": at_most(1)})
