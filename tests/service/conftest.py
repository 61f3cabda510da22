"""One Postgres and one Kafka per run; worlds on top, one per test or module.

A failed test shows the logs and metrics of its world. When a world ends, what
must always hold is checked by the oracle, whatever the test looked at."""

import itertools
import os

import pytest

from tests.harness import oracle, place
from tests.harness.broker import KafkaBroker
from tests.harness.postgres import Postgres
from tests.harness.settings import PATIENT
from tests.harness.world import World

_numbers = itertools.count(1)
_worlds = []  # those that run now, for the report of a failure


@pytest.fixture(scope="session")
def run_directory():
    path = place.run_directory(f"service-{os.getpid()}")
    for old in path.parent.glob("service-*"):  # of runs that were killed
        if not place.alive(int(old.name.partition("-")[2])):
            place.remove(old)
    yield path
    place.remove(path)


@pytest.fixture(scope="session")
def postgres(run_directory):
    server = Postgres(run_directory / "pg").start()
    yield server
    server.destroy()


@pytest.fixture(scope="session")
def kafka(run_directory):
    broker = KafkaBroker(run_directory / "kafka")
    broker.start()
    yield broker
    broker.stop()


def make(directory, postgres, broker, **options):
    n = next(_numbers)
    world = World(directory / f"world-{n}", postgres, broker,
                  database=f"foleni_{n}", prefix=f"w{n}.", **options)
    _worlds.append(world)
    return world


def finish(world):
    """Ends a world: each program by SIGTERM, with 0, and the oracle content."""
    if world not in _worlds:
        return
    try:
        if world.api.running() and world.worker.running():
            oracle.check(world, oracle.ALWAYS)
        world.stop()
    finally:
        _worlds.remove(world)
        world.end()


@pytest.fixture(scope="module")
def world(run_directory, postgres, kafka):
    """A whole Foleni that a module's tests share: use phones of your own."""
    made = make(run_directory, postgres, kafka).start()
    yield made
    finish(made)


@pytest.fixture(scope="module")
def make_shared(run_directory, postgres, kafka):
    """make_shared(settings=...): a world of another kind for a whole module."""
    mine = []

    def maker(**options):
        mine.append(make(run_directory, postgres, kafka, **options))
        return mine[-1]
    yield maker
    for made in mine:
        finish(made)


def _maker(run_directory, postgres, kafka):
    mine = []

    def maker(**options):
        mine.append(make(run_directory, options.pop("postgres", postgres),
                         options.pop("broker", kafka), **options))
        return mine[-1]
    yield maker
    for made in mine:
        finish(made)


@pytest.fixture(scope="module")
def patient(run_directory, postgres, kafka):
    """As world, and no query speaks before a callback can."""
    made = make(run_directory, postgres, kafka, settings=PATIENT).start()
    yield made
    finish(made)


@pytest.fixture
def make_world(run_directory, postgres, kafka):
    """make_world(settings=..., workers=2).start(): one for this test."""
    yield from _maker(run_directory, postgres, kafka)


@pytest.fixture(scope="module")
def make_shared_world(run_directory, postgres, kafka):
    """The same for a module's tests to share."""
    yield from _maker(run_directory, postgres, kafka)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for world in _worlds:
            for title, text in world.story():
                report.sections.append((title, text))
