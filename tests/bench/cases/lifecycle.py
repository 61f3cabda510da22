"""Full payments: request, push, callback, final event."""

from tests.bench import stage as provider
from tests.bench.case import Case, at_least, at_most
from tests.bench.load import Plan
from tests.bench.meter import Meter, resident
from tests.bench.trace import Trace


def steady(figures, world, name, rate, seconds):
    """One constant rate; returns what is to be said of it."""
    plan = Plan(world)
    plan.steady(rate, seconds)
    meter = Meter(world)
    run = plan.run(connections=128)
    world.wait_done()
    spent = meter.stop(run)
    trace = Trace(world, run)
    ends = sorted(trace.final[i] for i in run.due_at if i in trace.final)
    within = [at for at in ends if at < run.began_at + seconds]
    # until the first can be final the provider alone takes its time
    first_s = (provider.ANSWER_MS + provider.DECIDE_MS) / 1000
    figures.add(f"{name}: payments finished while it is offered",
                len(within) / (seconds - first_s), "/s")
    figures.add(f"{name}: all of them, to the last one's end",
                len(ends) / (ends[-1] - run.began_at - first_s) if ends
                else None, "/s")
    figures.add(f"{name}: requests not accepted", run.errors_percent(), "%")
    return run, trace, spent


def lifecycle(stage, figures, sizes):
    world = stage.world()
    warm = Plan(world)
    warm.steady(sizes["rate"], 1)
    warm.run()
    rate, top = sizes["rate"], sizes["top_rate"]
    run, trace, _ = steady(figures, world, "rated", rate, sizes["seconds"])
    figures.spread("rated: accept", run.latency_s["pay"], mean=True)
    figures.spread("rated: added to a payment", trace.added, mean=True)
    run, trace, spent = steady(figures, world, "most", top,
                               sizes["top_seconds"])
    count = run.good()
    figures.add("most: tasks (pushes and callbacks settled)",
                2 * count / spent.seconds, "/s")
    figures.spread("most: accept", run.latency_s["pay"])
    figures.spread("most: added to a payment", trace.added)
    figures.cpu(spent, count)
    figures.add("CPU per payment: Foleni and Postgres",
                spent.foleni_and_postgres() / count * 1e6, "us")
    for name, mb in resident(world, peak=True).items():
        figures.add(f"memory, at most: {name}", mb, "MB")


CASE = Case(
    "a", "full payments", "request, push, callback, final event: at a rate "
    "that is kept, and at more than that", lifecycle,
    full={"rate": 1000, "seconds": 30, "top_rate": 3000, "top_seconds": 20},
    quick={"rate": 500, "seconds": 2, "top_rate": 1500, "top_seconds": 2},
    goals={
        "rated: requests not accepted": at_most(1),
        "rated: accept p95": at_most(500),
        "rated: accept p99": at_most(1000),
        "rated: accept mean": at_most(200),
        "rated: added to a payment p95": at_most(500),
        "rated: added to a payment p99": at_most(1000),
        "rated: added to a payment mean": at_most(200),
        "rated: payments finished while it is offered": at_least(200),
        "most: payments finished while it is offered": at_least(3000),
        "most: tasks (pushes and callbacks settled)": at_least(500),
        "most: requests not accepted": at_most(1),
        "CPU per payment: worker": at_most(80),
        "CPU per payment: Foleni and Postgres": at_most(300),
        "memory, at most: API": at_most(200),
        "memory, at most: worker": at_most(200),
    })
