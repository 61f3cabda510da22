"""The harness of fault tests itself: a fail-over keeps what it says."""

import pytest

from tests.harness import place
from tests.harness.standby import Pair


def rows(pair):
    connection = pair.connect("ledger")
    with connection.cursor() as cursor:
        cursor.execute("SELECT n FROM t ORDER BY n")
        found = [n for n, in cursor]
    connection.close()
    return found


def add(pair, n):
    connection = pair.connect("ledger")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS t (n int)")
        cursor.execute("INSERT INTO t VALUES (%s)", (n,))
    connection.close()


@pytest.fixture
def pair(run_directory, request):
    made = Pair(run_directory / "pair", synchronous=request.param)
    made.start().create("ledger")
    yield made
    made.destroy()


@pytest.mark.parametrize("pair", [True], indirect=True)
def test_synchronous_standby_keeps_all(pair):
    add(pair, 1)
    dead = pair.promote()
    assert rows(pair) == [1]
    assert not dead.running()
    add(pair, 2)
    pair.attach()
    pair.promote()
    assert rows(pair) == [1, 2]


@pytest.mark.parametrize("pair", [False], indirect=True)
def test_cut_standby_forgets_and_backup_remembers(pair):
    add(pair, 1)
    place.wait_for("it has caught up", pair.streaming)
    pair.cut()
    add(pair, 2)
    backup = pair.backup()
    add(pair, 3)
    pair.promote()
    assert rows(pair) == [1], "the standby was promoted without the last ones"
    pair.restore(backup)
    assert rows(pair) == [1, 2]
