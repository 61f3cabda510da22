"""make demo: a few hundred payments of mixed fates, through the real programs.

Starts broker, Postgres, simulator, API and worker on free ports, submits
payments over HTTP, shows them live, and at the end lays side by side what
Postgres, the status topic and the simulator's journal remember."""

import fcntl
import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.demo.screen import (Screen, bar, money, percentile, seconds)
from tests.harness import oracle, place
from tests.harness.broker import EmbeddedBroker, KafkaBroker
from tests.harness.postgres import Postgres
from tests.harness.settings import CLIENTS
from tests.harness.topics import header
from tests.harness.upstream import phone
from tests.harness.world import World

THREADS = 8
LIVE_EVERY_S = 0.1
PATIENCE_S = 120

# What the simulated customers and the simulated network do.
PROFILE = {
    "preset": "calm",
    "answer_ms": {"p50": 40, "p95": 200},
    "decide_ms": {"p50": 800, "p95": 3000},
    "no_answer_ms": {"p50": 2500, "p95": 3000},
    "callback_ms": {"p50": 50, "p95": 300},
    "late_ms": {"p50": 3000, "p95": 3500},
    "fate": {"cancel": 0.08, "wrong_pin": 0.05, "no_funds": 0.06,
             "no_answer": 0.05},
    "answer": {"rst_after": 0.03, "503_after": 0.02, "spike": 0.06,
               "lock": 0.02, "token": 0.01, "stall_before": 0.005},
    "callback": {"lost": 0.05, "twice": 0.04, "late": 0.03, "early": 0.02},
}

# Shorter waits than shipped: nobody wants to watch for half an hour.
SETTINGS = {
    "payments.backoff_min_ms": 500,
    "payments.backoff_max_ms": 3000,
    "payments.busy_phone_min_ms": 1000,
    "payments.busy_phone_max_ms": 3000,
    "payments.query_first_ms": 4000,
    "payments.query_max_ms": 4000,
    "payments.query_agree_gap_ms": 1000,
    "payments.query_agree_age_ms": 3000,
    "payments.prompt_timeout_ms": 10000,
    "payments.unresolved_after_ms": 12000,
    "payments.due_scan_ms": 100,
    "gate.total_timeout_ms": 5000, "gate.connect_timeout_ms": 2000,
    "worker.drain_timeout_ms": 10000,
}

STATES = ("queued", "sending", "prompted", "waiting", "unknown", "unresolved",
          "succeeded", "failed", "rejected", "dead")


class Run:
    """The payments of one demo: who was asked, promised, told, and when."""

    def __init__(self, world, total):
        self.world = world
        self.total = total
        self.upstreams = [world.upstream(name) for name in CLIENTS]
        self.accepts_s = []
        self.refused = []
        self.submitted_at = {}
        self.finished_s = {}
        self.began = time.monotonic()
        self.submitted_s = None

    def payment(self, n):
        chance = random.Random(n)
        return {
            "msisdn": phone(10_000_000 + n * 7919),
            "amount": chance.choice((50, 100, 250, 500, 1200, 3000)),
            "reference": f"ORDER{n:05d}",
            "description": "Foleni demo",
            "shortcode": "174379",
            "priority": chance.choices(("high", "normal", "low"),
                                       (2, 6, 2))[0],
        }

    def submit(self, n):
        upstream = self.upstreams[n % len(self.upstreams)]
        began = time.monotonic()
        answer = upstream.insist(self.payment(n), f"demo-{n}")
        ended = time.monotonic()
        if answer.status == 202:
            self.accepts_s.append(ended - began)
            self.submitted_at[answer.body["id"]] = ended
        else:
            self.refused.append(answer)

    def submit_all(self):
        try:
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(self.submit, range(self.total)))
        except ConnectionAbortedError:
            return  # closed: the demo was interrupted
        self.submitted_s = time.monotonic() - self.began

    def close(self):
        for upstream in self.upstreams:
            upstream.closed = True

    def follow(self, events):
        """Takes what the status topic has by now."""
        for record in events:
            if record is None:
                return
            ident = record.key().decode()
            if header(record, "foleni-final") == "1":
                at = self.submitted_at.get(ident)
                if at is not None:
                    self.finished_s.setdefault(ident, time.monotonic() - at)

    def counts(self):
        found = oracle.states(self.world)
        found["queued"] = max(0, len(self.accepts_s) - sum(found.values()))
        return {s: found.get(s, 0) for s in STATES}


def at_end(counts):
    return sum(counts[s] for s in STATES[5:])


def picture(screen, run, counts):
    done, elapsed = at_end(counts), time.monotonic() - run.began
    accepted = len(run.accepts_s)
    rate = accepted / (run.submitted_s or elapsed)
    ends = list(run.finished_s.values())
    colors = {"succeeded": 32, "failed": 33, "dead": 31, "unresolved": 35}
    cells = []
    for state in STATES:
        text = f"{state:>10} {counts[state]:4d}"
        cells.append(screen.color(text, colors[state])
                     if counts[state] and state in colors else text)
    return [
        f"  {bar(done, run.total)} {done}/{run.total} at an end"
        f" {elapsed:7.1f} s",
        f"  accepted (202)   {accepted:5d}   {rate:6.0f}/s"
        f"      p50 {seconds(percentile(run.accepts_s, .5)):>7}"
        f"   p95 {seconds(percentile(run.accepts_s, .95)):>7}",
        f"  202 to final     {len(ends):5d}   {len(ends) / elapsed:6.0f}/s"
        f"      p50 {seconds(percentile(ends, .5)):>7}"
        f"   p95 {seconds(percentile(ends, .95)):>7}",
        "",
        " " + "".join(cells[:5]),
        " " + "".join(cells[5:]),
    ]


def one_line(run, counts):
    """The same for a pipe, in 80 columns."""
    done = f"{at_end(counts)}/{run.total} done"
    if len(run.accepts_s) < run.total:
        done = f"{len(run.accepts_s)}/{run.total} accepted"
    parts = [f"{s} {counts[s]}" for s in STATES if counts[s]]
    return (f"  {time.monotonic() - run.began:5.1f} s  {done:16} " +
            " ".join(parts))[:79]


def watch(screen, world, total):
    """Submits and shows until all payments are at an end."""
    run = Run(world, total)
    events = world.topics.follow("payments.status")
    submitter = threading.Thread(target=run.submit_all, daemon=True)
    submitter.start()
    until = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < until:
            for program in world.programs:
                program.check_running()
            run.follow(events)
            counts = run.counts()
            screen.live(picture(screen, run, counts), one_line(run, counts))
            if not submitter.is_alive() and \
                    at_end(counts) >= len(run.accepts_s):
                break
            time.sleep(LIVE_EVERY_S)
        world.wait_settled(10)
    finally:
        run.close()
    run.follow(events)
    screen.end_live(picture(screen, run, run.counts()))
    return run


def summary(screen, world, run):
    """The three memories side by side; returns the contradictions."""
    found = oracle.look(world)
    faults = oracle.contradictions(found)
    if len(run.accepts_s) != run.total:
        faults.append(f"{run.total - len(run.accepts_s)} payments were not "
                      f"accepted: {run.refused[:1]}")
    screen.say()
    screen.say(screen.bold(f"  {'':22}{'Postgres':>14}{'status topic':>16}"
                           f"{'Daraja journal':>18}"))
    for name, *cells in oracle.table(found):
        shown = [money(c) if isinstance(c, int) else c for c in cells]
        screen.say(f"  {name:22}{shown[0]:>14}{shown[1]:>16}{shown[2]:>18}")
    screen.say()
    for fault in faults[:10]:
        screen.say(screen.color(f"  {fault}"[:78], 31))
    if faults:
        screen.say(screen.color(f"  FAILED: {len(faults)} contradictions",
                                31))
    else:
        for line in undecided(found):
            screen.say(line)
        screen.say(screen.color("  All agree: no payment lost, none pushed "
                                "twice, every shilling accounted for.", 32))
    return faults


def undecided(found):
    """What is said of payments that ended without any evidence."""
    rows = [r for r in found.rows.values() if r["status"] == "unresolved"]
    paid = [r for r in rows
            if any(p.receipt for p in found.pushes.get(r["id"], []))]
    if not rows:
        return []
    amount = money(sum(r["amount"] for r in paid))
    return [f"  {len(rows)} unresolved: neither answer nor callback came, and "
            "Foleni does not push",
            "  again what may have been paid. A person decides. "
            f"(Paid: {len(paid)}, KES {amount}.)"]


def start(screen, directory, kafka):
    """The servers, one step each; returns the world and what to stop."""
    stops = []

    def begin(thing):
        stops.append(thing)
        return thing.start()

    try:
        postgres = screen.step(
            "Postgres", lambda: begin(Postgres(directory / "pg")),
            lambda p: "private, Unix socket, fsync on")
        broker_class = KafkaBroker if kafka else EmbeddedBroker
        broker = screen.step(
            "broker", lambda: begin(broker_class(directory / "broker")),
            lambda b: f"{b.bootstrap} " + ("Apache Kafka" if kafka else
                                           "embedded, in memory only"))
        world = World(directory / "foleni", postgres, broker,
                      settings=SETTINGS, quick=False)
        stops.append(world)
        screen.step("Daraja", world.start_simulator,
                    lambda _: f"{world.sim.url} simulator")
        world.sim.profile(PROFILE)
        screen.step("tables, topics", world.prepare,
                    lambda _: "foleni migrate" +
                    (", foleni topics create" if kafka else ""))
        screen.step("foleni-api", lambda: (world.start_api(),
                                           world.api.wait_ready()),
                    lambda _: f"http://127.0.0.1:{world.api.port}")
        screen.step("foleni-worker", lambda: (
            world.start_worker(world.worker), world.worker.wait_ready()),
            lambda _: "pools high, normal, low")
    except BaseException:
        stop(stops)
        raise
    return world, stops


def stop(stops):
    """In reverse order; a thing that resists does not save the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for thing in reversed(stops):
        try:
            thing.stop()
        except (AssertionError, OSError, TimeoutError) as error:
            print(f"  could not stop cleanly: {error}"[:400], file=sys.stderr)
            if isinstance(thing, World):
                thing.end()


def hints(screen, world, directory):
    """What a newcomer may try on what was left running."""
    api, admin = world.api.port, world.api.admin_port
    ident = next(iter(world.promised))
    key = CLIENTS["shop"]["key"]
    tries = [
        ("submit a payment",
         f"curl -si localhost:{api}/v1/payments \\\n"
         f"    -H 'Authorization: Bearer {key}' \\\n"
         "    -H 'Idempotency-Key: my-first' -H 'Content-Type: "
         "application/json' \\\n"
         "    -d '{\"msisdn\":\"0712345678\",\"amount\":100,"
         "\"reference\":\"HELLO1\",\n"
         "         \"shortcode\":\"174379\"}'"),
        ("where it stands",
         f"curl -s localhost:{api}/v1/payments/{ident} \\\n"
         f"    -H 'Authorization: Bearer {key}'"),
        ("wait until it is final",
         f"curl -s 'localhost:{api}/v1/payments/{ident}?wait=30s' \\\n"
         f"    -H 'Authorization: Bearer {key}'"),
        ("health of the API, of the worker",
         f"curl -s localhost:{admin}/health; "
         f"curl -s localhost:{world.worker.admin_port}/health"),
        ("metrics", f"curl -s localhost:{world.worker.admin_port}/metrics"),
        ("what the customers saw", f"curl -s {world.sim.url}/sim/journal"),
        ("the ledger",
         f"psql '{world.postgres.conninfo(world.database)}' \\\n"
         "    -c 'SELECT * FROM payments LIMIT 5'"),
        ("the logs", f"tail -f {world.directory}/*.log"),
        ("stop everything", "tests/demo/run stop"),
    ]
    screen.say()
    screen.say("  Left running (KEEP=1). To try:")
    for what, command in tries:
        screen.say(f"\n  # {what}\n  {command}")


def pids_file(directory):
    return directory / "pids"


def remember(world, directory, stops):
    """Who has to be stopped by `tests/demo/run stop`."""
    servers = [t.process.pid for t in stops if not isinstance(t, World)]
    programs = [p.process.pid for p in (world.api, world.worker, world.sim)]
    pids_file(directory).write_text(
        "\n".join(map(str, programs + servers[::-1])) + "\n")


def stop_kept(directory):
    """Ends what an earlier KEEP=1 left; returns how many processes."""
    path = pids_file(directory)
    if not path.exists():
        return 0
    ended = 0
    for pid in map(int, path.read_text().split()):
        environ = Path(f"/proc/{pid}/environ")
        try:
            ours = b"FOLENI_DEMO_BEGAN=" in environ.read_bytes()
        except OSError:
            continue
        if ours and place.alive(pid):
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            os.kill(pid, signal.SIGINT if name == "postgres" else
                    signal.SIGTERM)
            place.wait_for(f"{name} ends", lambda: not place.alive(pid), 30)
            ended += 1
    path.unlink()
    return ended


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    screen = Screen()
    directory = place.run_directory("demo")
    lock = (directory.parent / "demo.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        screen.say("another demo of this clone is running: stop it first")
        return 1
    kept = stop_kept(directory)
    if sys.argv[1:] == ["stop"]:
        screen.say(f"stopped {kept} programs")
        place.remove(directory)
        return 0
    place.remove(directory)
    directory = place.run_directory("demo")
    kafka = os.environ.get("BROKER", "embedded") == "kafka"
    place.outlive = keep = bool(os.environ.get("KEEP"))
    total = int(os.environ.get("N", "300"))
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGHUP, interrupted)
    began = float(os.environ.get("FOLENI_DEMO_BEGAN", time.time()))
    stops = []
    done = False
    try:
        screen.say(f"Foleni demo: {total} payments of mixed fates")
        screen.say()
        world, stops = start(screen, directory, kafka)
        screen.say(f"  {'':15} {'ready, counted from the command':50}"
                   f" {time.time() - began:5.1f} s")
        screen.say()
        run = watch(screen, world, total)
        faults = summary(screen, world, run)
        done = not faults
        if keep:
            remember(world, directory, stops)
            hints(screen, world, directory)
            stops = []
        return 1 if faults else 0
    except KeyboardInterrupt:
        screen.say("\n  interrupted: stopping everything")
        return 130
    except (RuntimeError, TimeoutError, AssertionError, OSError) as error:
        screen.say(f"\n  FAILED: {error}")
        for thing in stops:
            if isinstance(thing, World):
                for title, text in thing.story():
                    screen.say(f"\n--- {title}\n{text}")
        return 1
    finally:
        stop(stops)
        if done and not keep:
            place.remove(directory)


if __name__ == "__main__":
    sys.exit(main())
