"""Many clients at once, each with a connection of its own."""

from tests.bench.case import Case, at_least, at_most
from tests.bench.load import Plan
from tests.bench.meter import Meter, memory_mb


def clients(stage, figures, sizes):
    world = stage.world()
    plan, n = Plan(world), sizes["clients"]
    for turn in range(sizes["turns"]):
        for client in range(n):
            due_s = (turn + client / n) * sizes["every_s"]
            ident = plan.pay(due_s)
            plan.get(due_s + sizes["every_s"], ident)
    meter = Meter(world)
    run = plan.start(connections=n)
    most = 0
    while not run.over(.2):
        most = max(most, world.api.metrics()["foleni_http_connections"])
    run.wait()
    spent = meter.stop(run)
    figures.add("connections at once", int(most), "")
    figures.add("requests without a 2xx", run.errors_percent(), "%")
    figures.spread("accept", run.latency_s["pay"], mean=True)
    figures.spread("read", run.latency_s["get"], mean=True)
    figures.add("memory: API", memory_mb(world.api.pid), "MB")
    figures.cpu(spent, run.count(), "request", ("API", "load generator"))
    world.wait_done()


CASE = Case(
    "h", "concurrent clients", "each with a connection of its own, asking for "
    "payments and reading them", clients,
    full={"clients": 1200, "every_s": 3, "turns": 5},
    quick={"clients": 1000, "every_s": 2, "turns": 1},
    goals={"connections at once": at_least(1000),
           "requests without a 2xx": at_most(1),
           "accept p95": at_most(500), "accept p99": at_most(1000),
           "accept mean": at_most(200), "read p95": at_most(500),
           "read p99": at_most(1000), "memory: API": at_most(200)})
