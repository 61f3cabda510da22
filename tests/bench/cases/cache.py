"""The status cache under clients that ask again and again."""

from tests.bench import stage as provider
from tests.bench.case import Case, at_least, at_most
from tests.bench.load import Plan
from tests.bench.meter import Meter
from tests.bench.trace import final_at

POLLS_PER_LONG_POLL = 10  # every so many payments one client waits instead


def lookups(world):
    values = world.api.metrics()
    return {end: values[f'foleni_cache_lookups_total{{end="{end}"}}']
            for end in ("hit", "miss")}


def polls(world, sizes):
    """Payments; each is asked for until it should be final, one of ten by a
    long poll that is answered when it is."""
    plan, waited = Plan(world), {}
    whole_s = (provider.ANSWER_MS + provider.DECIDE_MS) / 1000
    for n in range(int(sizes["rate"] * sizes["seconds"])):
        due_s = n / sizes["rate"]
        ident = plan.pay(due_s)
        if n % POLLS_PER_LONG_POLL == 0:
            # by then it is prompted, and every answer before final is over
            kind = f"wait {len(waited)}"
            waited[kind] = (ident, due_s + whole_s * .6)
            plan.get(waited[kind][1], ident, kind, "?wait=30s")
            continue
        for k in range(sizes["polls"]):
            plan.get(due_s + .1 + k * sizes["every_s"], ident)
    return plan, waited


def cache(stage, figures, sizes):
    world = stage.world()
    plan, waited = polls(world, sizes)
    before, meter = lookups(world), Meter(world)
    run = plan.run(connections=256)
    after, spent = lookups(world), meter.stop(run)
    world.wait_done()
    hits, misses = (after[k] - before[k] for k in ("hit", "miss"))
    final = final_at(world)
    told = [run.began_at + due_s + run.latency_s[kind][0] - final[ident]
            for kind, (ident, due_s) in waited.items()
            if run.latency_s[kind] and ident in final]
    figures.add("reads", run.good("get") / sizes["seconds"], "/s")
    figures.add("hit rate", hits / max(1, hits + misses) * 100, "%")
    figures.spread("get", run.latency_s["get"], mean=True)
    # through the worker's linger, Kafka and the cache to the client
    figures.spread("fresh: final event written to long poll answered", told)
    figures.add("requests without a 2xx", run.errors_percent(), "%")
    figures.cpu(spent, run.count(), "request", ("API", "load generator"))


CASE = Case(
    "e", "cache", "clients that poll the status of their payments", cache,
    full={"rate": 100, "seconds": 20, "polls": 10, "every_s": .2},
    quick={"rate": 50, "seconds": 2, "polls": 8, "every_s": .1},
    goals={"hit rate": at_least(85), "get p99": at_most(10),
           "get mean": at_most(10),
           "requests without a 2xx": at_most(1)})
