"""Memory: over a million operations, with calls in flight, with prompts."""

import subprocess

from tests.bench.case import Case, at_most
from tests.bench.cases.peers import SILENT
from tests.bench.load import Plan
from tests.bench.meter import resident
from tests.bench.stage import CALM, UNANSWERED
from tests.harness import place
from tests.harness.broker import _free_ports

# Of a payment: request, claim, push, answer stored, callback, result stored,
# final event, one read.
OPERATIONS = 8
HELD_MS = 250_000  # answers come when everything was looked at
IN_FLIGHT = {**UNANSWERED, "gate.total_timeout_ms": 300_000,
             "worker.drain_timeout_ms": 320_000,
             "breaker.stall_ms": 600_000, "http.connections_max": 20_000}
PARTS = 4  # a million operations are looked at after each


def operations(stage, figures, sizes):
    """Full payments, each read once, in equal parts."""
    world = stage.world()
    world.sim.profile(CALM)
    seconds = sizes["payments"] / sizes["rate"] / PARTS
    seen = [resident(world)]
    for _ in range(PARTS):
        plan = Plan(world)
        for n in range(int(sizes["rate"] * seconds)):
            ident = plan.pay(n / sizes["rate"])
            plan.get(n / sizes["rate"] + 1, ident)
        run = plan.run(connections=128)
        figures.faults += [f"{run.errors_percent():.2f} % without a 2xx"] \
            if run.errors_percent() > 1 else []
        world.wait_done()
        seen.append(resident(world))
    done = sizes["payments"] * OPERATIONS
    figures.add("operations", done, "")
    for name in seen[0]:
        figures.add(f"{name}: before", seen[0][name], "MB")
        figures.add(f"{name}: after the first quarter", seen[1][name], "MB")
        figures.add(f"{name}: after all of them", seen[-1][name], "MB")
        figures.add(f"{name}: grown per 1,000 operations",
                    (seen[-1][name] - seen[0][name]) / done * 1000, "MB")
        figures.add(f"{name}: grown after the first quarter",
                    seen[-1][name] - seen[1][name], "MB")


def ask(world, count, rate=3000):
    plan = Plan(world)
    plan.steady(rate, count / rate)
    return plan.run(connections=128).good()


def over_tls(directory):
    """(settings, members of each shortcode) of a provider that speaks TLS."""
    cert, key = directory / "tls.pem", directory / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", cert], check=True, capture_output=True)
    address = f"127.0.0.1:{_free_ports(1)[0]}"
    return ({"sim.tls_listen": address, "sim.tls_cert": cert,
             "sim.tls_key": key, "gate.ca_file": cert},
            {"base_url": f"https://{address}"})


def in_flight(stage, figures, counts, slots, prompts=0, tls=False):
    """The worker's memory with so many calls out at once."""
    settings, members = over_tls(stage.directory) if tls else ({}, None)
    world = stage.world({**IN_FLIGHT, "worker.slots": slots, **settings},
                        shortcode=members)
    name = f"worker of {slots:,} slots" + (", TLS" if tls else "")
    figures.add(f"{name}: no call in flight", resident(world)["worker"], "MB")
    if prompts:
        world.sim.profile({**SILENT, "answer_ms": 20})
        world.wait_answered(ask(world, prompts))
        figures.add(f"{name}: {prompts:,} open prompts",
                    resident(world)["worker"], "MB")
    world.sim.profile({**SILENT, "answer_ms": HELD_MS})
    out = 0
    for count in counts:
        out += ask(world, count - out)
        place.wait_for("they are out", lambda: world.worker.metrics()[
            "foleni_pushes_open"] >= out, 120, .1)
        figures.add(f"{name}: {count:,} calls in flight",
                    resident(world)["worker"], "MB")
    figures.faults += stage.judge()
    stage.close(hard=True)


def memory(stage, figures, sizes):
    operations(stage, figures, sizes)
    figures.faults += stage.judge()
    in_flight(stage, figures, sizes["few"], 1000, sizes["prompts"])
    in_flight(stage, figures, sizes["few"], 1000, tls=True)
    in_flight(stage, figures, sizes["many"], 10_000)


CASE = Case(
    "g", "memory", "over many operations (a payment has eight: request, "
    "claim, push, answer stored, callback, result stored, final event, one "
    "read), with calls in flight and open prompts",
    memory,
    full={"payments": 125_000, "rate": 1000, "prompts": 50_000,
          "few": (1000,), "many": (1000, 10_000)},
    quick={"payments": 400, "rate": 200, "prompts": 500, "few": (500,),
           "many": (1000,)},
    goals={"API: after all of them": at_most(32),
           "worker: after all of them": at_most(64),
           "API: grown per 1,000 operations": at_most(50),
           "worker: grown per 1,000 operations": at_most(50),
           "worker of 1,000 slots: 1,000 calls in flight": at_most(64),
           "worker of 1,000 slots, TLS: 1,000 calls in flight": at_most(128),
           "worker of 10,000 slots: 10,000 calls in flight": at_most(200)})
