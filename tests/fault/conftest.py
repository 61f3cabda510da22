"""Worlds as in the service tests, on a Kafka whose groups may notice a death
within a second or two, so that a killed worker costs a test no more."""

import pytest

from tests.harness.broker import KafkaBroker
from tests.service.conftest import (  # noqa: F401  fixtures and the hook
    make_world, postgres, pytest_runtest_makereport, run_directory)

# What takes a killed process's work away from it, shorter than as shipped.
QUICK_DEATH = {
    "kafka.session_timeout_ms": 3000,
    "worker.slots": 64,
    "worker.ahead": 60,
    "payments.unresolved_after_ms": 10000,
}


@pytest.fixture(scope="session")
def kafka(run_directory):  # noqa: F811
    broker = KafkaBroker(run_directory / "kafka",
                         {"group.min.session.timeout.ms": 1000})
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def fault_world(make_world):  # noqa: F811
    """fault_world(settings=..., workers=2): one for this test, not started."""
    def maker(settings=None, **options):
        return make_world(settings={**QUICK_DEATH, **(settings or {})},
                          **options)
    return maker
