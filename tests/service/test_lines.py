"""The lines of a fleet: breakers that open, probe and come back for all workers
at once, an operator's word about them, and rates that are held."""

import json
import signal
from datetime import datetime

import pytest

from tests.harness import oracle
from tests.harness.place import wait_for
from tests.harness.settings import PATIENT

SHORTCODE = 174379
# Breakers that a few calls trip, as the tests of single payments do not want.
# The fault is the provider's for as long as a test says: no deadline passes.
TOUCHY = {"breaker.calls_min": 5, "breaker.stall_calls_min": 3,
          "breaker.stall_ms": 1000, "payments.backoff_max_ms": 100,
          "worker.lease_ms": 20000, "worker.drain_timeout_ms": 30000,
          "worker.heartbeat_dead_ms": 60000}  # the stopped one goes on
LIVENESS_S = 120


@pytest.fixture(scope="module")
def fleet(make_shared):
    """Three workers that share what they know."""
    return make_shared(settings=TOUCHY, workers=3).start()


def order(world, **more):
    return {"msisdn": world.new_phone(), "amount": 100, "reference": "ORDER1",
            "shortcode": str(SHORTCODE), **more}


def submit(world, shop, n):
    for _ in range(n):
        assert shop.submit(order(world)).status == 202


def breaker(world, shortcode=SHORTCODE, operation="push"):
    rows = json.loads(world.foleni("breaker", "list", "--json"))["breakers"]
    return next(r for r in rows if r["shortcode"] == str(shortcode)
                and r["operation"] == operation)


def force(world, *arguments):
    return world.foleni("breaker", *arguments, "--why", "a test", "--yes",
                        "--who", "tester")


def sees(worker, state):
    return worker.metrics()[f'foleni_breakers{{state="{state}"}}'] > 0


def attempts_spent(world):
    return world.query("SELECT coalesce(sum(spent), 0) AS n "
                       "FROM payments")[0]["n"]


def test_an_operator_stops_and_starts_the_fleet(fleet):
    shop = fleet.upstream()
    force(fleet, "open", str(SHORTCODE), "--for", "1h")
    row = breaker(fleet)
    assert row["state"] == "forced open" and row["forced_by"] == "tester"
    assert row["why"] == "a test" and row["forced_until"]
    for worker in fleet.workers:
        wait_for("the worker knows", lambda w=worker: sees(w, "forced_open"))
        line = worker.health()["dependencies"][f"line {SHORTCODE}"]
        assert not line["ok"] and "forced open" in line["note"]
    # from here on nothing leaves, whatever came before
    before = len(fleet.sim.pushes())
    submit(fleet, shop, 10)
    force(fleet, "open", str(SHORTCODE), "--operation", "query")
    wait_for("another look of each", lambda: all(
        w.metrics()['foleni_breakers{state="forced_open"}'] >= 2
        for w in fleet.workers))
    assert len(fleet.sim.pushes()) == before
    force(fleet, "auto", str(SHORTCODE), "--operation", "query")
    force(fleet, "auto", str(SHORTCODE))
    fleet.wait_settled(LIVENESS_S)
    assert attempts_spent(fleet) == 0
    assert len(fleet.sim.pushes()) == before + 10
    actions = fleet.query("SELECT action, who, why FROM operator_actions "
                          "WHERE action LIKE 'breaker.%%' ORDER BY id")
    assert [a["action"] for a in actions] == [
        "breaker.open", "breaker.open", "breaker.auto", "breaker.auto"]
    assert {(a["who"], a["why"]) for a in actions} == {("tester", "a test")}


@pytest.mark.parametrize("arguments, word", [
    (["open", "174379"], "--why"),
    (["open", "174379", "--why", " "], "says nothing"),
    (["open", "111111", "--why", "x"], "no shortcode"),
    (["open", "0", "--operation", "query", "--why", "x"], "no shortcode"),
    (["open", "174379", "--operation", "pull", "--why", "x"], "--operation"),
    (["open", "174379", "--for", "10", "--why", "x"], "--for"),
    (["open", "174379", "--for", "0m", "--why", "x"], "--for"),
    (["open", "174379", "--for", "9999999d", "--why", "x"], "--for"),
    (["auto", "174379", "--for", "1m", "--why", "x"], "takes no option"),
])
def test_what_is_said_wrongly_changes_nothing(fleet, arguments, word):
    before = fleet.query("SELECT count(*) AS n FROM operator_actions")
    with pytest.raises(RuntimeError, match="ended with 64") as failed:
        fleet.foleni("breaker", *arguments, "--yes")
    assert word in str(failed.value)
    assert fleet.query("SELECT count(*) AS n FROM operator_actions") == before


@pytest.mark.parametrize("kind", ["refuse", "503"])
def test_an_outage_spends_nothing_and_drains(fleet, kind):
    """The breaker opens, payments wait, a probe finds the provider back, and
    all of them are paid; one worker is stopped as soon as it is open, perhaps
    with the probe's lease in its hands."""
    shop = fleet.upstream()
    spent = attempts_spent(fleet)
    fleet.sim.down(kind, 60000 if kind != "refuse" else 4000)
    submit(fleet, shop, 40)
    wait_for("the breaker opens", lambda: breaker(fleet)["state"] in
             ("open", "half-open"), LIVENESS_S)
    stopped = next(w for w in fleet.workers if sees(w, "open") or
                   sees(w, "half_open"))
    stopped.freeze()
    if kind != "refuse":
        fleet.sim.down("none")
    submit(fleet, shop, 20)  # what a trial needs: none of the first may wait
    wait_for("the others find the way back", lambda: breaker(fleet)["state"]
             == "closed" and any(
                 w.metrics()['foleni_breaker_probes_total{end="fine"}'] > 0
                 for w in fleet.workers if w is not stopped), LIVENESS_S)
    stopped.thaw()
    fleet.wait_settled(LIVENESS_S)
    assert attempts_spent(fleet) == spent
    oracle.check(fleet, oracle.ALWAYS)


# --- rates

RATE = 40


def sent(world, start=0):
    """When pushes reached the provider, in seconds, by its journal."""
    return sorted(datetime.fromisoformat(row["at"].replace("Z", "+00:00"))
                  .timestamp() for row in world.sim.pushes()[start:])


def held(times, what):
    """At most 10 % above what is allowed over all, and in no second more than
    lines.slack_ms may gather. (How far below is this machine's matter.)"""
    k = RATE
    rate = (len(times) - 1) / (times[-1] - times[0])
    fastest = k / min(b - a for a, b in zip(times, times[k:]))
    print(f"{what}: {len(times)} pushes, {rate:.1f}/s of {RATE}/s, fastest "
          f"{fastest:.1f}/s")
    assert rate <= 1.1 * RATE, what
    assert fastest <= 2.2 * RATE, what


def test_a_rate_is_held_whoever_comes_and_goes(make_world):
    """One worker, then four, one of them stopped with times in its hands and
    going on later: what it held is late then, and not sent in a burst."""
    world = make_world(settings={**TOUCHY, "lines.sync_ms": 250}, workers=4,
                       shortcode={"rate": RATE})
    world.start_simulator()
    world.prepare()
    world.start_api()
    world.start_worker(world.worker)
    for program in (world.api, world.worker):
        program.wait_ready()
    shop = world.upstream()
    submit(world, shop, 3 * RATE)
    world.wait_settled(LIVENESS_S)
    held(sent(world), "one worker")
    before = len(world.sim.pushes())
    for worker in world.workers[1:]:
        world.start_worker(worker)
        worker.wait_ready()
    submit(world, shop, 5 * RATE)
    wait_for("some are pushed", lambda:
             len(world.sim.pushes()) > before + RATE, LIVENESS_S)
    stopped = max(world.workers, key=lambda w:
                  w.metrics()["foleni_pushes_open"])
    stopped.freeze()
    wait_for("the others go on", lambda:
             len(world.sim.pushes()) > before + 3 * RATE, LIVENESS_S)
    stopped.thaw()
    world.wait_settled(LIVENESS_S)
    held(sent(world, before), "four workers")
    assert attempts_spent(world) == 0
    assert any(w.metrics()['foleni_send_times_total{end="reserved"}'] > 0
               for w in world.workers[1:])


def test_spike_arrest_lowers_the_rate(make_world):
    """A limit that nobody told us of: it is found, and spends nothing."""
    world = make_world(settings={**TOUCHY, "lines.forget_ms": 600000},
                       workers=3, profile={"rate_per_s": 20}).start()
    shop = world.upstream()
    submit(world, shop, 60)
    wait_for("the rate is lowered in every worker", lambda: all(
        w.metrics()['foleni_lines{state="lowered"}'] for w in world.workers),
        LIVENESS_S)
    world.wait_settled(LIVENESS_S)
    assert attempts_spent(world) == 0
    assert breaker(world)["state"] == "closed"  # a word about the rate only
    refused = sum(row["answer"] == "refused" or row["code"] != "0"
                  for row in world.sim.pushes() if "code" in row)
    print(f"pushes {len(world.sim.pushes())}, refused {refused}, "
          f"rate {breaker(world)['rate']}")


def test_a_retry_alone_on_its_line_goes_out(make_world):
    """Nothing else wants send times of the paced line, and between two looks
    of the due-scan those that were reserved for it would lapse."""
    world = make_world(settings={**TOUCHY, "payments.due_scan_ms": 2500},
                       shortcode={"rate": 5}).start()
    shop = world.upstream()
    for n in range(2):
        wanted = order(world)
        world.sim.script(wanted["msisdn"], {"answer": "spike"},
                         {"fate": "pay"})
        assert shop.submit(wanted).status == 202
        world.wait_settled(LIVENESS_S)
        assert len(world.sim.pushes(wanted["msisdn"])) == 2
    assert attempts_spent(world) == 0


OTHER = 600000


def settle_on(world, programs, shortcodes):
    """Other shortcodes, without a restart."""
    world.shortcode = shortcodes
    world.write_config(world.sim.url)
    for program in programs:
        before = len(program.said())
        program.process.send_signal(signal.SIGHUP)
        wait_for(f"{program.name} has them", lambda p=program, n=before:
                 "reloaded" in p.said()[n:].decode(), LIVENESS_S)


def test_shortcodes_change_without_a_restart(make_world):
    """One that was taken out of the settings: nothing new is pushed to it, what
    waits stays and is told of, what was pushed is settled. Back, with a rate,
    all of it goes out at that rate."""
    world = make_world(settings=PATIENT | {
        "payments.query_first_ms": 4000}, workers=2).start()
    shop = world.upstream()
    pushed = order(world, shortcode=str(OTHER))
    world.sim.script(pushed["msisdn"], {"fate": "pay", "callback": "lost"})
    assert shop.submit(pushed).status == 202
    wait_for("it is prompted", lambda: world.sim.pushes(pushed["msisdn"]),
             LIVENESS_S)
    settle_on(world, [world.api], {SHORTCODE: {}, OTHER: None})
    answer = shop.submit(order(world, shortcode=str(OTHER)))
    assert answer.status == 400, answer.body
    assert answer.body["code"] == "unknown_shortcode"
    settle_on(world, [world.api], {SHORTCODE: {}, OTHER: {}})
    settle_on(world, world.workers, {SHORTCODE: {}, OTHER: None})
    waiting = [order(world, shortcode=str(OTHER)) for _ in range(3)]
    for request in waiting:  # the API has it again, the workers have not yet
        assert shop.submit(request).status == 202
    submit(world, shop, 3)
    wait_for("the others are pushed, and it is told that these wait", lambda:
             len(world.sim.pushes()) == 4 and
             max(w.metrics()["foleni_stranded_payments"]
                 for w in world.workers) == 3, LIVENESS_S)
    wait_for("what was pushed is settled", lambda: world.query(
        "SELECT 1 FROM payments WHERE shortcode = %s AND state = 6", OTHER),
        LIVENESS_S)
    line = world.worker.health()["dependencies"][f"line {OTHER}"]
    assert not line["ok"] and "taken out of the settings" in line["note"]
    settle_on(world, world.workers, {SHORTCODE: {}, OTHER: {"rate": 30}})
    world.wait_settled(LIVENESS_S)
    assert len(world.sim.pushes()) == 7
    assert float(breaker(world, OTHER)["rate"]) == 30
