"""Who is pushed first, and who is not in the way: priorities that share few
slots, a stopped shortcode with many waiting, a paused pool."""

import json

import pytest

from tests.harness.place import wait_for
from tests.harness.settings import PATIENT
from tests.fault.crowd import LIVENESS_S, Crowd, orders

STOPPED, OPEN = 600000, 174379
MANY = 1500
FEW_SLOTS = {"worker.slots": 8, "worker.ahead": 4}


@pytest.fixture(scope="module")
def world(make_shared_world):
    return make_shared_world(settings=PATIENT | FEW_SLOTS).start()


def submit(world, n, name, **more):
    """n payments, all of them answered 202; their phones."""
    payments = orders(world, n, **more)
    Crowd(world, payments, name=name).join()
    return [payment["msisdn"] for payment in payments]


def pushed(world, phones):
    """Which of the phones each push went to, in the order of the journal."""
    phones = set(phones)
    return [str(row["msisdn"]) for row in world.sim.pushes()
            if str(row["msisdn"]) in phones]


def states(world, shortcode):
    rows = world.query("SELECT state, waits, count(*) AS n, max(attempt) AS a "
                       "FROM payments WHERE shortcode = %s GROUP BY 1, 2",
                       shortcode)
    return {(row["state"], row["waits"]): (row["n"], row["a"]) for row in rows}


def test_high_goes_first_and_low_keeps_its_floor(world):
    world.worker.stop()
    low = submit(world, 400, "low", priority="low")
    high = submit(world, 200, "high", priority="high")
    world.start_worker(world.worker)
    world.wait_settled(LIVENESS_S)
    order = pushed(world, low + high)
    assert len(order) == 600
    is_high = [phone in set(high) for phone in order]
    # from where both are read, until high is done
    first = max(is_high.index(True), is_high.index(False))
    both = is_high[first:600 - is_high[::-1].index(True)]
    highs, lows = both.count(True), both.count(False)
    # 8 of 9 are high's: 12 %; without weights it would be as many
    assert lows <= 20 + highs * 0.5
    assert highs < 100 or lows >= highs * 0.05


def force(world, forced):
    world.query("INSERT INTO breakers AS b (operation, shortcode, forced, "
                "forced_at, forced_by, forced_why) VALUES (0, %s, %s, now(), "
                "'me', 'a test') ON CONFLICT (operation, shortcode) DO UPDATE "
                "SET forced = excluded.forced, version = b.version + 1 "
                "RETURNING 1", STOPPED, forced)


def test_a_stopped_shortcode_is_not_in_the_way(world):
    """The others behind it are reached, it costs no attempt, and comes to its
    end when it may."""
    force(world, 1)
    wait_for("the worker knows of it", lambda: world.worker.metrics()[
        'foleni_lines{state="stopped"}'] == 1, LIVENESS_S)
    before = len(world.sim.pushes())
    waiting = submit(world, MANY, "stopped", shortcode=str(STOPPED))
    others = submit(world, 50, "others", shortcode=str(OPEN))
    wait_for("the others are pushed",
             lambda: len(pushed(world, others)) == len(others), LIVENESS_S)
    wait_for("all of it is parked", lambda: states(world, STOPPED) ==
             {(3, 4): (MANY, 0)}, LIVENESS_S)
    assert len(world.sim.pushes()) == before + len(others)
    assert world.query("SELECT n FROM parked")[0]["n"] == MANY
    wait_for("the metric says so", lambda: world.worker.metrics()[
        "foleni_parked_payments"] == MANY, LIVENESS_S)
    force(world, 0)
    world.wait_settled(LIVENESS_S)
    assert sorted(pushed(world, waiting)) == sorted(waiting)
    assert world.query("SELECT n FROM parked")[0]["n"] == 0


WHY = ("--who", "me", "--why", "a test", "--yes")


def pools(world, *more):
    """By name, as `foleni pools` has them."""
    told = json.loads(world.foleni("pools", "--json", *more))
    return {row["pool"]: row for row in told["pools"]}


def test_a_paused_pool_stays_in_kafka(world):
    world.worker.stop()
    world.foleni("pause", "low", "--until", "2h", *WHY)
    world.start_worker(world.worker)
    low = submit(world, 30, "paused", priority="low")
    high = submit(world, 30, "going", priority="high")
    wait_for("high goes on", lambda: len(pushed(world, high)) == 30,
             LIVENESS_S)
    seen = pools(world, "--within", "1m")
    assert seen["low"]["paused"] and not seen["high"]["paused"]
    assert seen["low"]["lag_records"] == 30 and seen["low"]["lag_s"] >= 0
    assert seen["low"]["workers_needed"] is None
    assert (seen["high"]["members"], seen["high"]["partitions"]) == (1, 4)
    assert (seen["high"]["lag_records"], seen["high"]["sending"]) == (0, 0)
    lag = json.loads(world.foleni("lag", "--json"))["lag"]
    assert sum(row["lag_records"] for row in lag) == 30
    assert "paused: a test" in world.foleni("pools")
    assert not pushed(world, low)
    world.foleni("resume", "low", *WHY)
    world.wait_settled(LIVENESS_S)
    assert len(pushed(world, low)) == 30
    done = world.query("SELECT action, subject, after->>'paused' AS paused "
                       "FROM operator_actions ORDER BY id")
    assert [tuple(row.values()) for row in done] == [
        ("pool.pause", "low", "true"), ("pool.resume", "low", "false")]


@pytest.mark.parametrize("command", [
    ("pause", "lowest", *WHY), ("pause", "low"), ("resume", "low"),
    ("pause", "low", "--until", "soon", *WHY),
    ("pause", "low", "--until", "2020-01-01T00:00:00Z", *WHY),
    ("pools", "--within", "0s")])
def test_what_is_not_understood_changes_nothing(world, command):
    with pytest.raises(RuntimeError, match="ended with 64"):
        world.foleni(*command)
