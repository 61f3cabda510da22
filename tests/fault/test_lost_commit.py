"""Postgres commits and its answer never arrives: the worker cannot know, and
must neither push twice nor let the payment lie."""

import itertools

import pytest

from tests.fault import crowd
from tests.fault.conftest import QUICK_DEATH
from tests.harness import wire
from tests.harness.place import wait_for
from tests.harness.proxy import PostgresProxy
from tests.harness.upstream import payment_id
from tests.service.conftest import finish, make

N = 20
UNSURE = 'foleni_postgres_units_total{end="unsure"}'
HELD = "foleni_pushes_held_total"
_names = itertools.count(1)


@pytest.fixture(scope="module")
def proxied(run_directory, postgres, kafka):
    """(world, proxy): the worker reaches Postgres through a proxy."""
    world = make(run_directory, postgres, kafka, settings=QUICK_DEATH)
    proxy = PostgresProxy(world.directory / "pg", postgres)
    world.worker.sets["database.conninfo"] = proxy.conninfo(world.database)
    yield world.start(), proxy
    finish(world)
    proxy.close()


def submit(world, payments=None):
    """Orders of one test; their ids."""
    clients = crowd.Crowd(world, payments or crowd.orders(world, N),
                          clients=1, name=f"t{next(_names)}")
    clients.join()
    return clients.ids


def settled(world, loss, idents, pushes=1, given_back=lambda: 0):
    """They are paid with so many pushes each, and nothing was spent. At most
    so many attempts of one were given back before they were sent."""
    assert loss.happened.wait(crowd.LIVENESS_S)
    found = crowd.settle(world, 30)
    rows = [found.rows[i] for i in idents]
    assert {row["status"] for row in rows} == {"succeeded"}
    assert {row["spent"] for row in rows} == {0}
    assert {row["attempt"] - pushes for row in rows} <= set(
        range(given_back() + 1))
    assert {len(found.pushes[i]) for i in idents} == {pushes}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("committed", [True, False],
                         ids=["committed", "never arrived"])
def test_answer_of_a_claim_is_lost(proxied, committed, times):
    """Once, and again in the repetitions: claimed rows are this worker's own
    (rule S3) and pushed once; rows that never came are claimed anew."""
    world, proxy = proxied
    before = world.worker.metrics()[UNSURE]
    losses = [proxy.lose("go", committed) for _ in range(times)]
    idents = submit(world)
    settled(world, losses[-1], idents)
    assert world.worker.metrics()[UNSURE] >= before + times


@pytest.mark.parametrize("committed", [True, False],
                         ids=["committed", "never arrived"])
def test_answer_of_a_look_after_the_claim_is_lost(proxied, committed):
    """The claim committed, and what it says of known records is lost: they
    are its own and never begun."""
    world, proxy = proxied
    topic = "payments.requests.normal"
    world.topics.write(topic, *wire.request_record(
        crowd.orders(world, 1)[0], f"known-{committed}"), partition=0)
    known = payment_id("shop", f"known-{committed}")
    world.upstream().wait_final(known)
    world.worker.stop()
    idents = submit(world)
    again = next(r for r in world.topics.read(topic)
                 if f'"known-{committed}"'.encode() in r.value())
    for partition in range(4):
        world.topics.write(topic, again.key(), again.value(), again.headers(),
                           partition=partition)
    loss = proxy.lose("look", committed)
    world.start_worker(world.worker)
    settled(world, loss, idents | {known})


@pytest.mark.parametrize("committed", [True, False],
                         ids=["committed", "never arrived"])
def test_answer_of_a_retry_is_lost(proxied, committed):
    """The second attempt is committed and its answer lost: it is given back,
    and goes out once, as the third. A row that is only read may be missing on
    the standby. The throttle of the first attempts may hold a second one back
    too."""
    world, proxy = proxied
    payments = crowd.orders(world, N)
    world.sim.scripts({p["msisdn"]: [{"answer": "spike"}, {"fate": "pay"}]
                       for p in payments})
    before = world.worker.metrics().get(HELD, 0)
    loss = proxy.lose("take", committed)
    settled(world, loss, submit(world, payments), pushes=2,
            given_back=lambda: int(committed) +
            int(world.worker.metrics().get(HELD, 0) - before))


@pytest.mark.parametrize("committed", [True, False],
                         ids=["committed", "never arrived"])
@pytest.mark.parametrize("statement", ["step", "told", "due"])
def test_answer_of_another_statement_is_lost(proxied, statement, committed):
    """Outcomes, notes of what was told, due rows in hand: done again or found
    again."""
    world, proxy = proxied
    payments = crowd.orders(world, N)
    world.sim.scripts({p["msisdn"]: [{"fate": "pay", "callback": "lost"}]
                       for p in payments[::2]})
    loss = proxy.lose(statement, committed)
    settled(world, loss, submit(world, payments))


def test_another_worker_was_faster(proxied):
    """The callback's write never arrives, and before this worker looks again
    another one has heard "paid" by a query: same version, same state, and no
    receipt. That is not the lost write: the receipt is still to be told."""
    world, proxy = proxied
    payment = crowd.orders(world, 1)[0]
    world.sim.script(payment["msisdn"], {"fate": "pay", "decide_ms": 600})
    ident, = submit(world, [payment])
    wait_for("it is prompted", lambda: world.query(
        "SELECT 1 FROM payments WHERE id = %s AND state = 2", ident))
    loss, look = proxy.lose("step", committed=False), proxy.hold("look")
    assert loss.happened.wait(crowd.LIVENESS_S)
    assert look.happened.wait(crowd.LIVENESS_S)
    with world.postgres.connect(world.database) as db, db.cursor() as cursor:
        cursor.execute(
            "WITH w AS (UPDATE payments SET state = 6, version = version + 1,"
            " owner = NULL, holds_phone = false, class = 1, evidence = 3,"
            " code = '0', updated_at = now(), next_action_at = now()"
            " WHERE id = %s RETURNING *) INSERT INTO timeline (payment,"
            " version, state, waits, attempt, cause)"
            " SELECT id, version, state, waits, attempt, 8 FROM w", (ident,))
    look.release()
    receipt = wait_for("the receipt", lambda: world.query(
        "SELECT receipt FROM payments WHERE id = %s AND receipt IS NOT NULL",
        ident), crowd.LIVENESS_S)[0]["receipt"]
    found = crowd.settle(world, 30)
    assert receipt == found.pushes[ident][0].receipt
    told = {e["id"]: e["data"]["result"] for e in found.events[ident]}
    assert told[f"{ident}:{found.rows[ident]['version']}"]["receipt"] == \
        receipt
