"""The database's clock steps by a day: nothing goes out or expires by it, and
nobody looks dead, until it is back or a person accepts it."""

import itertools
from pathlib import Path

import pytest

from tests.fault import crowd
from tests.fault.conftest import QUICK_DEATH
from tests.harness.place import wait_for
from tests.harness.postgres import Postgres
from tests.service.conftest import finish, make

_numbers = itertools.count(1)
DOUBTED = "foleni_clock_doubted"
FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")),
                None)


@pytest.fixture
def stepping(run_directory, kafka):
    """(world, step): step("+86400") moves the clock of its Postgres."""
    directory = run_directory / f"pg-clock-{next(_numbers)}"
    directory.mkdir()
    directory.chmod(0o755)
    offset = directory / "offset"

    def step(seconds):
        new = directory / "new"
        new.write_text(seconds + "\n")
        new.chmod(0o644)
        new.rename(offset)
    step("+0")
    server = Postgres(directory / "pg", environment={
        "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}).start()
    world = make(run_directory, server, kafka, settings=QUICK_DEATH, workers=2)
    yield world.start(), step
    finish(world)
    server.destroy()


def doubted(world):
    return [w.metrics()[DOUBTED] for w in world.workers]


def test_step_of_a_day(stepping):
    world, step = stepping
    crowd.Crowd(world, crowd.orders(world, 10), name="before").join()
    crowd.settle(world)
    step("+86400")
    wait_for("both doubt it", lambda: all(doubted(world)), crowd.LIVENESS_S)
    pushes = len(world.sim.pushes())
    late = crowd.Crowd(world, crowd.orders(world, 10), name="during")
    late.join()
    claimed = "foleni_records_total"
    taken = [w.metrics()[claimed] for w in world.workers]
    turns = "foleni_loop_turns_total"
    for worker in world.workers:
        worker.wait_metric(turns, worker.metrics()[turns] + 40)
    assert [w.metrics()[claimed] for w in world.workers] == taken
    assert len(world.sim.pushes()) == pushes, "pushed in doubt"
    assert not any(w.metrics()["foleni_taken_over_total"]
                   for w in world.workers), "the living look dead"
    step("+0")
    wait_for("both believe it again", lambda: not any(doubted(world)),
             crowd.LIVENESS_S)
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert found.count("succeeded") == 20, "nothing expired by the step"
    step("+60")
    wait_for("both doubt it", lambda: all(doubted(world)), crowd.LIVENESS_S)

    def accepted():
        world.foleni("clock", "accept", "--yes", "--why", "it was slow before")
        return not any(doubted(world))
    wait_for("a word of now counts", accepted, crowd.LIVENESS_S, 3)


@pytest.mark.parametrize("seconds", ["-3600", "+86400"])
def test_step_under_load(stepping, seconds):
    """Claims that meet the step before anybody doubts expire nothing, and it
    goes on once the clock is back: no answer of the other time is kept."""
    world, step = stepping
    load = crowd.Crowd(world, crowd.orders(world, 300))
    crowd.wait_pushes(world, 60)
    step(seconds)
    wait_for("both doubt it", lambda: all(doubted(world)), crowd.LIVENESS_S)
    step("+0")
    load.join()
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert found.count("succeeded") == 300, "nothing expired by the step"
    assert not any(doubted(world))
