"""What Foleni adds to a payment's time."""

from tests.bench.case import Case, at_most
from tests.bench.load import Plan
from tests.bench.meter import Meter
from tests.bench.trace import Trace


def added(stage, figures, sizes):
    world = stage.world()
    plan = Plan(world)
    plan.steady(sizes["rate"], sizes["seconds"])
    meter = Meter(world)
    run = plan.run(connections=128)
    world.wait_done()
    spent = meter.stop(run)
    trace = Trace(world, run)
    figures.spread("added to a payment", trace.added)
    figures.spread("of it: request due to push at the provider", trace.before)
    figures.spread("of it: callback in Kafka to final event", trace.after)
    figures.spread("whole payment, the provider's part included", trace.whole)
    figures.cpu(spent, run.good())


CASE = Case(
    "c", "added latency", "what Foleni adds to a payment at a constant rate",
    added, full={"rate": 1000, "seconds": 20},
    quick={"rate": 300, "seconds": 2},
    goals={"added to a payment p50": at_most(5),
           "added to a payment p99": at_most(20)})
