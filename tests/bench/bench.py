"""make bench: real Kafka, real Postgres with durable settings, the simulator,
and all of Foleni on this machine. Prints a table; build/bench.json has it too.

Three works: full payments at a constant rate; a drain of preloaded payments
and a constant 300/s, both without callbacks (claim, push, outcome stored): the
work that other job systems were measured on."""

import argparse
import json
import os
import time
from pathlib import Path

from tests.bench.load import Load
from tests.demo.screen import percentile
from tests.harness import oracle, place
from tests.harness.broker import KafkaBroker
from tests.harness.postgres import Postgres
from tests.harness.world import World

TICKS = os.sysconf("SC_CLK_TCK")
DRAIN_JOBS, DRAIN_ANSWER_MS, DRAIN_SLOTS = 20_000, 200, 1_000
PACED_RATE, PACED_S, PACED_ANSWER_MS = 300, 30, 20
# Prompts that nobody answers, and no queries about them.
UNANSWERED = {"payments.query_first_ms": 600_000,
              "payments.query_max_ms": 600_000,
              "payments.prompt_timeout_ms": 900_000}
ANSWER_MS, DECIDE_MS, CALLBACK_MS = 100, 500, 10


def cpu_s(pid):
    """CPU of a process, its living children and those it has buried."""
    total = 0
    for p in (pid, *place.children(pid)):
        try:
            fields = Path(f"/proc/{p}/stat").read_text().rpartition(")")[2]
        except OSError:
            continue
        numbers = fields.split()
        total += sum(map(int, numbers[11:15 if p == pid else 13]))
    return total / TICKS


def peak_mb(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


class Meter:
    """CPU of every process between two moments."""

    def __init__(self, world):
        self.pids = {"api": world.api.pid, "worker": world.worker.pid,
                     "simulator": world.sim.pid,
                     "Postgres": world.postgres.process.pid,
                     "Kafka": world.broker.process.pid}
        self.start = {k: cpu_s(p) for k, p in self.pids.items()}

    def us_per(self, n):
        return {k: (cpu_s(p) - self.start[k]) / n * 1e6
                for k, p in self.pids.items()}

    def peaks_mb(self):
        return {k: peak_mb(self.pids[k]) for k in ("api", "worker")}


class Report:
    def __init__(self):
        self.rows = []

    def title(self, text):
        print(f"\n{text}")

    def row(self, name, value, unit, wanted=""):
        self.rows.append({"name": name, "value": value, "unit": unit,
                          "wanted": wanted})
        shown = f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
        print(f"  {name:42}{shown:>12} {unit:10} {wanted}")

    def spread(self, name, values, wanted50="", wanted99=""):
        for share, wanted in ((.5, wanted50), (.99, wanted99)):
            value = percentile(values, share)
            self.row(f"{name} p{share * 100:.0f}",
                     float("nan") if value is None else value * 1000, "ms",
                     wanted)


def full(report, world, rate, seconds):
    """Full payments at a constant rate."""
    report.title(f"full payments, {rate}/s for {seconds} s (provider answers "
                 f"in {ANSWER_MS} ms, customer in {DECIDE_MS} ms)")
    world.sim.profile({"preset": "calm", "answer_ms": ANSWER_MS,
                       "decide_ms": DECIDE_MS, "callback_ms": CALLBACK_MS})
    warm = Load(world.api.port, prefix="warm", first_phone=90_000_000)
    warm.run(rate, rate)
    load = Load(world.api.port, prefix="full")
    meter = Meter(world)
    count = rate * seconds
    took = load.run(count, rate)
    place.wait_for("all are final", lambda: world.query(
        "SELECT count(*) AS n FROM payments WHERE state = 6")[0]["n"]
        >= count + rate, 60, 0.2)
    settled = time.monotonic()
    cpu = meter.us_per(count)
    world.upstream().promised.update(warm.promised, **load.promised)
    world.wait_settled(30)
    found = oracle.look(world)
    report.row("accepted (202)", load.statuses.get(202, 0) / took, "/s",
               f"{rate}/s")
    report.row("not accepted", count - load.statuses.get(202, 0), "requests",
               "0")
    report.spread("accept", load.latency_s, "", "<= 10 at 2,000/s")
    report.spread("added to a payment", added_s(world, found), "<= 5",
                  "<= 20")
    report_cpu(report, cpu, world, meter)
    report.row("double pushes", len(list(oracle.double_pushes(found))), "",
               "0")
    report.row("lost 202s", len(list(oracle.lost(found))), "", "0")
    report.row("other contradictions", len(oracle.contradictions(found)), "",
               "0")
    return settled


def added_s(world, found):
    """What Foleni adds: request to final event, less what others took."""
    others = (ANSWER_MS + DECIDE_MS + CALLBACK_MS) / 1000
    asked = {r["id"]: r["at"] for r in world.query(
        "SELECT id::text, extract(epoch FROM requested_at)::float8 AS at "
        "FROM payments")}
    values = []
    for record in world.topics.read("payments.status", 120):
        ident = record.key().decode()
        if ("foleni-final", b"1") in (record.headers() or ()):
            values.append(record.timestamp()[1] / 1000 - asked[ident] -
                          others)
    return values


def report_cpu(report, cpu, world, meter):
    for name, us in cpu.items():
        report.row(f"CPU per payment: {name}", us, "us",
                   "<= 80" if name == "worker" else "")
    report.row("CPU per payment: Foleni and Postgres",
               cpu["api"] + cpu["worker"] + cpu["Postgres"], "us",
               "<= 300 at 3,000/s")
    for name, mb in meter.peaks_mb().items():
        report.row(f"memory, peak: {name}", mb, "MB",
                   "<= 32" if name == "api" else "<= 64")


def stored(world, since=0):
    """How many outcomes are stored (prompted, or further)."""
    return world.query("SELECT count(*) AS n FROM timeline WHERE state = 2")[
        0]["n"] - since


def drain(report, world):
    """Preloaded payments, as fast as the slots allow."""
    ceiling = DRAIN_SLOTS * 1000 // DRAIN_ANSWER_MS
    report.title(f"drain: {DRAIN_JOBS:,} preloaded, provider answers in "
                 f"{DRAIN_ANSWER_MS} ms, {DRAIN_SLOTS:,} slots (at most "
                 f"{ceiling:,}/s)")
    world.sim.profile({"preset": "calm", "callbacks": False,
                       "answer_ms": DRAIN_ANSWER_MS, "decide_ms": 600_000})
    world.worker.stop()
    load = Load(world.api.port, prefix="drain")
    load.run(DRAIN_JOBS, 4_000)
    world.start_worker(world.worker)
    meter = Meter(world)
    place.wait_for("the drain", lambda: stored(world) >= DRAIN_JOBS, 120, 0.1)
    cpu = meter.us_per(DRAIN_JOBS)
    pushes = world.sim.pushes()
    last = world.query("SELECT extract(epoch FROM max(at))::float8 AS at "
                       "FROM timeline WHERE state = 2")[0]["at"]
    report.row("drained", DRAIN_JOBS / (last - epoch(pushes[0]["at"])), "/s",
               ">= 4,900 of 5,000")
    report.row("CPU per job: worker", cpu["worker"], "us", "<= 80")
    report.row("CPU per job: Postgres", cpu["Postgres"], "us")
    report.row("CPU per job: Kafka", cpu["Kafka"], "us")
    report.row("memory, peak: worker", meter.peaks_mb()["worker"], "MB",
               "<= 64")


def epoch(text):
    from datetime import datetime
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def paced(report, world):
    """A constant 300/s, enqueue to stored outcome."""
    report.title(f"constant {PACED_RATE}/s for {PACED_S} s, provider answers "
                 f"in {PACED_ANSWER_MS} ms")
    world.sim.profile({"preset": "calm", "callbacks": False,
                       "answer_ms": PACED_ANSWER_MS, "decide_ms": 600_000})
    before = stored(world)
    load = Load(world.api.port, client="bills", prefix="paced",
                first_phone=50_000_000)
    meter = Meter(world)
    count = PACED_RATE * PACED_S
    load.run(count, PACED_RATE)
    place.wait_for("all outcomes", lambda: stored(world, before) >= count, 60,
                   0.1)
    cpu = meter.us_per(count)
    rows = world.query(
        "SELECT extract(epoch FROM t.at - p.requested_at)::float8 AS s "
        "FROM timeline t JOIN payments p ON p.id = t.payment "
        "WHERE t.state = 2 AND p.msisdn >= 254750000000")
    report.spread("enqueue to stored, less the provider",
                  [r["s"] - PACED_ANSWER_MS / 1000 for r in rows], "<= 1.8",
                  "<= 4.3")
    report.row("CPU per job: worker", cpu["worker"], "us")
    report.row("CPU per job: Postgres", cpu["Postgres"], "us")
    report.row("CPU per job: Kafka", cpu["Kafka"], "us")


def build(directory, postgres, kafka, name, settings):
    world = World(directory / name, postgres, kafka, database=name,
                  prefix=name + ".", quick=False, settings={
                      "topics.partitions": 12, **settings})
    return world.start()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--only", choices=("full", "peers"))
    options = parser.parse_args()
    directory = place.run_directory(f"bench-{os.getpid()}")
    report, stops = Report(), []
    try:
        postgres = Postgres(directory / "pg", {"shared_buffers": "1GB",
                                               "max_wal_size": "8GB"}).start()
        stops.append(postgres)
        kafka = KafkaBroker(directory / "kafka")
        stops.append(kafka)
        kafka.start()
        print(f"{os.cpu_count()} cores, everything on one machine, fsync and "
              "synchronous_commit on")
        if options.only != "peers":
            world = build(directory, postgres, kafka, "full", {})
            stops.append(world)
            full(report, world, options.rate, options.seconds)
            stops.pop().stop()
        if options.only != "full":
            world = build(directory, postgres, kafka, "peers",
                          {"worker.slots": DRAIN_SLOTS, **UNANSWERED})
            stops.append(world)
            drain(report, world)
            paced(report, world)
    finally:
        for thing in reversed(stops):
            getattr(thing, "end", thing.stop)()
        place.remove(directory)
    out = place.build_directory() / "bench.json"
    out.write_text(json.dumps(report.rows, indent=1) + "\n")
    print(f"\n{out}")


if __name__ == "__main__":
    main()
