"""Each route of the API by itself."""

from tests.bench.case import Case, at_most
from tests.bench.load import Plan
from tests.bench.meter import exact_cpu_s
from tests.harness.wire import c2b_body, c2b_path

JSON = {"Content_Type": "application/json"}


def plans(world, rate, n):
    """{name: (port, plan of n requests)}; the first makes what others read."""
    public, admin = world.api.port, world.api.admin_port
    pay = Plan(world)
    idents = pay.steady(rate, n / rate)
    asked = Plan(world)
    asked.requests = list(pay.requests)
    found = {"POST /v1/payments": (public, pay)}

    def add(name, port, ask):
        plan = Plan(world)
        for i in range(n):
            ask(plan, i / rate, i)
        found[name] = (port, plan)
    add("POST /v1/payments, the same key again", public,
        lambda p, at, i: p.requests.append((at, "x", asked.requests[i][2],
                                            None)))
    add("GET /v1/payments/{id}", public,
        lambda p, at, i: p.get(at, idents[i], "x"))
    add("GET /v1/payments/{id}?wait=1s, final", public,
        lambda p, at, i: p.get(at, idents[i], "x", "?wait=1s"))
    add("GET /v1/payments/{id}, from the ledger", public,
        lambda p, at, i: p.get(at, idents[i], "x"))
    add("POST /callbacks/{payment}/{attempt}/{mac}", public,
        lambda p, at, i: p.callback(at, idents[i], "x"))
    add("POST /c2b/confirmation/{secret}", public, lambda p, at, i: p.raw(
        at, "x", "POST", c2b_path(),
        c2b_body(f"BENCH{world.next_number()}").decode(), **JSON))
    add("GET /health", admin,
        lambda p, at, i: p.raw(at, "x", "GET", "/health"))
    add("GET /health/live", admin,
        lambda p, at, i: p.raw(at, "x", "GET", "/health/live"))
    add("GET /health/ready", admin,
        lambda p, at, i: p.raw(at, "x", "GET", "/health/ready"))
    add("GET /metrics", admin,
        lambda p, at, i: p.raw(at, "x", "GET", "/metrics"))
    add("POST /health/cache/clear", admin,
        lambda p, at, i: p.raw(at, "x", "POST", "/health/cache/clear"))
    return found


def clear(world):
    plan = Plan(world)
    plan.raw(0, "x", "POST", "/health/cache/clear")
    plan.run(port=world.api.admin_port)


def endpoints(stage, figures, sizes):
    world = stage.world()
    worst = {"p95": 0, "p99": 0, "mean": 0, "errors": 0}
    for name, (port, plan) in plans(world, sizes["rate"],
                                    sizes["n"]).items():
        if "ledger" in name:
            clear(world)
        before = exact_cpu_s(world.api.pid)
        run = plan.run(connections=16, port=port)
        used = exact_cpu_s(world.api.pid) - before
        values = sorted(v for kind in run.latency_s.values() for v in kind)
        if name == "POST /v1/payments":
            world.wait_done()
        errors = run.errors_percent()
        figures.spread(name, values, (.5, .99))
        figures.add(f"{name}: API", used / run.count() * 1e6, "us")
        if errors:
            figures.add(f"{name}: without a 2xx", errors, "%")
        worst["errors"] = max(worst["errors"], errors)
        if values:
            worst["p95"] = max(worst["p95"],
                               values[int(len(values) * .95)] * 1e3)
            worst["p99"] = max(worst["p99"],
                               values[int(len(values) * .99)] * 1e3)
            worst["mean"] = max(worst["mean"],
                                sum(values) / len(values) * 1e3)
    for name in ("mean", "p95", "p99"):
        figures.add(f"slowest route: {name}", worst[name], "ms")
    figures.add("worst route: without a 2xx", worst["errors"], "%")


CASE = Case(
    "i", "endpoints", "each route by itself at a constant rate, and the API's "
    "CPU per request", endpoints, full={"rate": 200, "n": 400},
    quick={"rate": 200, "n": 40},
    goals={"slowest route: mean": at_most(200),
           "slowest route: p95": at_most(500),
           "slowest route: p99": at_most(1000),
           "worst route: without a 2xx": at_most(1)})
