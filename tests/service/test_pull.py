"""Pull Transactions: what it finds is paid, what it does not have twice is
presumed not charged, and what lies says nothing. Nothing is pushed twice."""

import json
from datetime import timedelta

import pytest

from tests.harness.place import wait_for

UNKNOWN, UNRESOLVED, SUCCEEDED = 4, 5, 6
PULL = 4
NO_MONEY = 13
LOST = {"fate": "pay", "answer": "rst_after", "callback": "lost"}
NEVER_RECEIVED = {"answer": "rst_before"}

# A quarantine of 0.4 s and what a push may take: worker.lease_ms and
# gate.total_timeout_ms.
SETTINGS = {
    "payments.unresolved_after_ms": 3600000,
    "pull.every_ms": 60,
    "pull.quarantine_ms": 400,
    "pull.apart_ms": 400,
    "pull.timeout_ms": 5000,
    "gate.total_timeout_ms": 1000,
    "worker.lease_ms": 3000,
}
QUARANTINE, APART = timedelta(seconds=4.4), timedelta(seconds=0.4)
PATIENCE = 90


def start(make_world, method="post", registered=True, more=None, **options):
    world = make_world(settings={**SETTINGS, **(more or {})},
                       shortcode={"pull": method}, **options).start()
    if registered:
        world.sim.register_pull(174379)
    return world


@pytest.fixture(scope="module")
def pulled(make_shared_world):
    """Two workers, whose tokens do not kill each other."""
    return start(make_shared_world, workers=2,
                 profile={"token_single": False})


def submit(world, step, **more):
    asked = {"msisdn": world.new_phone(), "amount": 100,
             "reference": "ORDER1", "shortcode": "174379", **more}
    world.sim.script(asked["msisdn"], step)
    return asked, world.upstream().submit(asked).body["id"]


def row(world, payment):
    rows = world.query("SELECT * FROM payments WHERE id = %s", payment)
    return rows[0] if rows else {"state": 0}


def wait_state(world, payment, state):
    wait_for(f"{payment} is in state {state}",
             lambda: row(world, payment)["state"] == state, PATIENCE)
    return row(world, payment)


def causes(world, payment):
    return [r["cause"] for r in world.query(
        "SELECT cause FROM timeline WHERE payment = %s ORDER BY version",
        payment)]


def metric(world, end):
    name = f'foleni_pulls_total{{end="{end}"}}'
    return sum(w.metrics().get(name, 0) for w in world.workers)


def wait_passes(world, payment, n):
    """N complete passes that began when the payment's quarantine was over."""
    wait_for(f"{n} passes after the quarantine", lambda: world.query(
        "SELECT count(*) AS n FROM pull_passes x, payments p WHERE p.id = %s "
        "AND x.shortcode = p.shortcode "
        "AND x.began_at > p.pushed_at + interval '4400 ms'",
        payment)[0]["n"] >= n, PATIENCE)


def check_one_push(world, asked):
    assert len(world.sim.pushes(asked["msisdn"])) == 1


def test_answer_and_callback_lost(pulled):
    asked, ident = submit(pulled, LOST, reference="LOSTBOTH")
    paid = wait_state(pulled, ident, SUCCEEDED)
    debit, = [r for r in pulled.sim.journal()
              if r["t"] == "debit" and r["payment"] == ident]
    assert paid["receipt"] == debit["receipt"]
    assert paid["evidence"] == PULL
    assert paid["attempt"] == 1
    check_one_push(pulled, asked)
    pulled.upstream().wait_final(ident)


def test_nothing_found_twice(pulled):
    asked, ident = submit(pulled, NEVER_RECEIVED, reference="NEVER")
    left = wait_state(pulled, ident, UNRESOLVED)
    assert left["code"] == "not_found"
    assert left["text"].startswith("presumed not charged")
    assert left["evidence"] == PULL
    assert causes(pulled, ident).count(NO_MONEY) == 1
    check_one_push(pulled, asked)
    presumed = pulled.query("SELECT at FROM timeline WHERE payment = %s "
                            "AND cause = %s", ident, NO_MONEY)[0]["at"]
    began = [r["began_at"] for r in pulled.query(
        "SELECT began_at FROM pull_passes WHERE shortcode = 174379 "
        "AND began_at BETWEEN %s AND %s ORDER BY began_at",
        left["pushed_at"] + QUARANTINE, presumed)]
    assert len(began) >= 2 and began[-1] - began[0] >= APART
    wait_passes(pulled, ident, 2)
    assert row(pulled, ident)["version"] == left["version"]


def test_money_that_shows_late_wins(pulled):
    """Pull was silent because it lagged; later it has the debit after all."""
    pulled.sim.profile({"pull_delay_ms": 15000})
    try:
        asked, ident = submit(pulled, LOST, reference="LAGGING")
        wait_state(pulled, ident, UNRESOLVED)
    finally:
        pulled.sim.profile({"pull_delay_ms": 0})
    assert wait_state(pulled, ident, SUCCEEDED)["evidence"] == PULL
    check_one_push(pulled, asked)


def test_pages(pulled):
    pulled.sim.profile({"pull_page": 2})
    try:
        for n in range(7):
            pulled.sim.pay(174379, pulled.new_phone(), 5, f"OTHER{n}")
        asked, ident = submit(pulled, LOST, reference="LASTPAGE")
        wait_state(pulled, ident, SUCCEEDED)
    finally:
        pulled.sim.profile({"pull_page": 100})
    check_one_push(pulled, asked)


def test_somebody_paid_the_same_amount(pulled):
    """A record that may be of the attempt, for another reference: no silence,
    and no payment either."""
    asked, ident = submit(pulled, NEVER_RECEIVED, amount=123,
                          reference="MINE")
    wait_state(pulled, ident, UNKNOWN)
    pulled.sim.pay(174379, asked["msisdn"], 123, "OTHERS")
    wait_passes(pulled, ident, 3)
    assert row(pulled, ident)["state"] == UNKNOWN
    check_one_push(pulled, asked)


def test_one_worker_at_a_time(pulled):
    """Each lease has its end, which it loses when another one is given."""
    _, ident = submit(pulled, LOST)
    wait_state(pulled, ident, SUCCEEDED)

    def all_ended():
        lease = pulled.query("SELECT lease FROM pulls "
                             "WHERE shortcode = 174379")[0]["lease"]
        return lease == sum(metric(pulled, end) for end in (
            "complete", "failed", "refused"))
    wait_for("every lease has had its end", all_ended, PATIENCE)


def test_worker_dies_amid_a_pass(make_world):
    world = start(make_world, profile={"pull_ms": 600000})
    asked, ident = submit(world, LOST)
    wait_for("a pass is under way", lambda: world.sim.summary()["pulls"] > 0,
             PATIENCE)
    world.worker.kill9()
    world.sim.profile({"pull_ms": 5})
    world.start_worker(world.worker)
    world.worker.wait_ready()
    assert wait_state(world, ident, SUCCEEDED)["evidence"] == PULL
    check_one_push(world, asked)


def passes(world):
    return world.query("SELECT count(*) AS n FROM pull_passes")[0]["n"]


def test_pages_that_lie(make_world):
    """None of them counts for a pass, so nothing is presumed."""
    world = start(make_world)
    for n in range(2):
        world.sim.pay(174379, world.new_phone(), 5, f"OTHER{n}")
    world.sim.profile({"pull_lie": "html"})
    asked, ident = submit(world, NEVER_RECEIVED)
    wait_state(world, ident, UNKNOWN)
    for lie in ("garbage", "html", "shape", "shortcode", "amount", "outside",
                "same"):
        world.sim.profile({"pull_lie": lie})
        before = metric(world, "refused")
        wait_for(f"{lie} is refused",
                 lambda: metric(world, "refused") >= before + 2, PATIENCE)
    wait_for("the quarantine is over", lambda: world.query(
        "SELECT 1 FROM payments WHERE id = %s "
        "AND pushed_at < now() - interval '6 s'", ident), PATIENCE)
    assert row(world, ident)["state"] == UNKNOWN
    assert passes(world) == metric(world, "complete") == 0
    world.sim.profile({"pull_lie": "none"})
    wait_state(world, ident, UNRESOLVED)
    check_one_push(world, asked)


def test_pages_that_cannot_be_had(make_world):
    world = start(make_world, registered=False)
    asked, ident = submit(world, LOST)
    wait_state(world, ident, UNKNOWN)
    for profile in ({}, {"pull_error": 1}, {"pull_method": "get"},
                    {"pull_lie": "huge"}):
        world.sim.profile({"pull_error": 0, "pull_method": "both", **profile})
        before = metric(world, "failed")
        wait_for(f"passes with {profile or 'no registration'} fail",
                 lambda: metric(world, "failed") >= before + 2, PATIENCE)
        world.sim.register_pull(174379)
    assert passes(world) == 0
    assert row(world, ident)["state"] == UNKNOWN
    said = world.query("SELECT last_error, failures FROM pulls "
                       "WHERE shortcode = 174379")[0]
    assert said["last_error"] and said["failures"] >= 8
    world.sim.profile({"pull_lie": "none"})
    wait_state(world, ident, SUCCEEDED)
    check_one_push(world, asked)


def test_old_payments_do_not_hold_up_young_ones(make_world):
    """A range of more pages than one pass may have is not all there is."""
    world = start(make_world, more={"pull.pages_max": 3})
    world.sim.profile({"pull_page": 2})
    for n in range(10):
        world.sim.pay(174379, world.new_phone(), 5, f"OTHER{n}",
                      age_ms=4 * 3600 * 1000)
    olds = [submit(world, NEVER_RECEIVED)[1] for _ in range(2)]
    for old in olds:
        wait_state(world, old, UNKNOWN)
    world.query("UPDATE payments SET pushed_at = now() - interval '1 h' * "
                "CASE WHEN id = %s THEN 5 ELSE 3 END RETURNING 1", olds[0])
    wait_for("there are too many pages", lambda: "pages" in (world.query(
        "SELECT last_error FROM pulls WHERE shortcode = 174379")[0][
            "last_error"] or ""), PATIENCE)
    _, ident = submit(world, LOST, reference="YOUNG")
    assert wait_state(world, ident, SUCCEEDED)["evidence"] == PULL
    assert [row(world, old)["state"] for old in olds] == 2 * [UNKNOWN]
    world.sim.profile({"pull_page": 100})
    for old in olds:
        wait_state(world, old, UNRESOLVED)


def test_get_with_a_body(make_world):
    world = start(make_world, method="get", profile={"pull_method": "get"})
    _, ident = submit(world, LOST)
    assert wait_state(world, ident, SUCCEEDED)["evidence"] == PULL


def test_registered_by_command(make_world):
    world = start(make_world, registered=False)
    said = json.loads(world.foleni(
        "pull", "register", "174379", "0722000000",
        "--why", "go-live", "--who", "somebody", "--yes", "--json"))
    assert said["outcome"] == "registered"
    trail = world.query("SELECT action, subject, who, why, after "
                        "FROM operator_actions ORDER BY id")
    assert [t["action"] for t in trail] == ["pull.register", "pull.registered"]
    assert {t["subject"] for t in trail} == {"shortcode 174379"}
    assert {t["who"] for t in trail} == {"somebody"}
    assert trail[0]["after"]["NominatedNumber"] == "0722000000"
    assert world.query("SELECT registered_at FROM pulls "
                       "WHERE shortcode = 174379")[0]["registered_at"]
    _, ident = submit(world, LOST)
    assert wait_state(world, ident, SUCCEEDED)["evidence"] == PULL
    world.sim.down("500")
    with pytest.raises(RuntimeError):
        world.foleni("pull", "register", "174379", "0722000000",
                     "--why", "again", "--yes")
    world.sim.down("none")
    assert world.query("SELECT action FROM operator_actions "
                       "ORDER BY id DESC LIMIT 1")[0]["action"] == \
        "pull.unregistered"
