"""The provider away for a while, and the way back."""

import time

from tests.bench.case import Case, at_least, at_most, share_of
from tests.bench.load import SHORTCODE, Plan
from tests.bench.meter import resident
from tests.bench.trace import pushed_at
from tests.harness import place
from tests.harness.settings import SHORTCODES

PRIORITIES = ("high", "normal", "normal", "normal", "low")
BREAKERS = "foleni_breakers{"
OPEN = 'foleni_breakers{state="open"}'
CALM_S = 2  # until everybody knows that the provider is away


def plan_of(world, rate, seconds):
    """Payments of all priorities; {id: priority}."""
    plan, priority = Plan(world), {}
    for n in range(int(rate * seconds)):
        word = PRIORITIES[n % len(PRIORITIES)]
        priority[plan.pay(n / rate, priority=word)] = word
    return plan, priority


def breakers(world):
    """How many are not closed."""
    return sum(v for k, v in world.worker.metrics().items()
               if k.startswith(BREAKERS))


def under_way(world):
    """Payments that are not over and not in doubt."""
    row = world.query("SELECT count(*) AS n, count(*) FILTER (WHERE state IN "
                      "(1, 2, 3)) AS open FROM payments")[0]
    return row["open"] or row["n"] < len(world.asked)


def away(world, kind, seconds):
    """The provider is gone for so long; (when, seconds until the breaker was
    open, memory that grew in MB)."""
    memory, down_at = resident(world), time.time()
    world.sim.down(kind, int(seconds * 1000))
    began = time.monotonic()
    place.wait_for("the breaker opens",
                   lambda: world.worker.metrics().get(OPEN), 60, .01)
    open_s, grown = time.monotonic() - began, dict.fromkeys(memory, 0)
    while time.time() < down_at + seconds:
        for name, mb in resident(world).items():
            grown[name] = max(grown[name], mb - memory[name])
        time.sleep(min(1, max(0, down_at + seconds - time.time())))
    return down_at, open_s, grown


def drained(figures, world, priority, since, up_at, closed_at, allowed):
    """What became of what was asked for since the provider was away."""
    pushes = [(at, priority[ident]) for at, ident in pushed_at(world)
              if at > up_at and ident in since]
    through = {name: share_of([at for at, p in pushes
                               if name in (p, "all")], .99) - up_at
               for name in ("high", "low", "all")}
    figures.add("waiting when it was back", len(pushes), "payments")
    for name, seconds in through.items():
        figures.add(f"99 % of what waited pushed after: {name}", seconds, "s")
    end_at = share_of([at for at, _ in pushes], .95)
    n = sum(closed_at < at <= end_at for at, _ in pushes)
    figures.add("of the allowed rate, from the ramp's end on",
                n / (end_at - closed_at) / allowed * 100
                if end_at > closed_at + 1 else None, "%")


def outage(stage, figures, sizes):
    allowed, rate = sizes["allowed"], sizes["rate"]
    paced = {int(SHORTCODE): {"rate": allowed}}
    world = stage.world(sizes["settings"],
                        shortcode={**dict.fromkeys(SHORTCODES, {}), **paced})
    plan, priority = plan_of(world, rate, sizes["before_s"] + sizes["away_s"])
    run = plan.start(connections=128)
    run.over(sizes["before_s"])
    down_at, open_s, grown = away(world, sizes["kind"], sizes["away_s"])
    up_at = down_at + sizes["away_s"]
    run.wait()
    place.wait_for("all breakers are closed", lambda: not breakers(world),
                   600, .05)
    closed_at = time.time()
    place.wait_for("what waited is over", lambda: not under_way(world), 900,
                   .5)
    figures.add("breaker open after", open_s, "s")
    figures.add("breakers closed after it was back", closed_at - up_at, "s")
    burned = world.query("SELECT coalesce(sum(greatest(spent - 1, 0)), 0)::int"
                         " AS n, count(*) FILTER (WHERE state IN (4, 5)) AS u,"
                         " count(*) FILTER (WHERE state = 11) AS dead "
                         "FROM payments")[0]
    figures.add("attempts burned", burned["n"], "attempts")
    figures.add("dead", burned["dead"], "payments")
    figures.add("pushes in the air when it went, unknown", burned["u"],
                "payments")
    for name, mb in grown.items():
        figures.add(f"memory grown while it was away: {name}", mb, "MB")
    since = {i for i, at in run.due_at.items() if at > down_at + CALM_S}
    drained(figures, world, priority, since, up_at, closed_at, allowed)
    figures.add("requests not accepted", run.errors_percent(), "%")


CASE = Case(
    "f", "outage of the provider", "refused by 503 while payments go on "
    "coming, then back", outage,
    full={"rate": 100, "allowed": 500, "before_s": 5, "away_s": 600,
          "kind": "503", "settings": {}},
    quick={"rate": 300, "allowed": 300, "before_s": 1, "away_s": 3,
           "kind": "503", "settings": {
               "breaker.open_min_ms": 500, "breaker.open_max_ms": 1000,
               "breaker.ramp_ms": 500}},
    goals={"breaker open after": at_most(2), "attempts burned": at_most(0),
           "dead": at_most(0), "requests not accepted": at_most(1),
           "memory grown while it was away: API": at_most(10),
           "memory grown while it was away: worker": at_most(10),
           "of the allowed rate, from the ramp's end on": at_least(90)})
