"""Dead letters: found, shown, and brought back without a second effect, by the
real command line; the simulator's journal says what reached a customer."""

import json
import random
import subprocess

import pytest

from tests.harness import wire
from tests.harness.place import build_directory, wait_for
from tests.harness.upstream import payment_id

USAGE, AWAY, AGAIN = 64, 69, 75
SUCCEEDED, DEAD = 6, 11
REPLAYED = 17  # FLOW_REPLAYED in timeline.cause
WHY = ("--why", "the provider was down", "--who", "amina", "--yes")
NOT_SHOWN = {"fate": "code:1025"}
PAYS = {"fate": "pay"}
N = 40


@pytest.fixture(scope="module")
def world(make_shared):
    """One attempt each, so that one bad end is enough."""
    return make_shared(workers=2, profile={"same_amount_ms": 0}, settings={
        "payments.attempts_max": 1, "payments.replays_max": 2,
        "payments.query_agree_age_ms": 60000,
        "notices.scan_ms": 100}).start()


def dead(world, *arguments):
    return subprocess.run(
        [build_directory() / "foleni", "dead", *arguments, "-c", world.config],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)


def answer(world, *arguments):
    done = dead(world, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def order(world, **more):
    return {"msisdn": world.new_phone(), "amount": 100, "reference": "DEAD1",
            "shortcode": "174379", **more}


def die(world, *steps, n=1, **more):
    """Payments that end dead at once, and then go as `steps` say; their ids."""
    shop, idents = world.upstream(), []
    for _ in range(n):
        asked = order(world, **more)
        world.sim.script(asked["msisdn"], NOT_SHOWN, *steps)
        idents.append(shop.submit(asked).body["id"])
    for ident in idents:
        assert shop.wait_final(ident)["status"] == "dead"
    wait_for("their letters", lambda: set(idents) <= lettered(world))
    return idents


def lettered(world):
    return {dict(r.headers()).get("foleni-payment-id", b"").decode()
            for r in world.topics.read("payments.dead")}


def row(world, ident):
    return world.query("SELECT * FROM payments WHERE id = %s", ident)[0]


def wait_state(world, ident, state):
    return wait_for(f"{ident} in state {state}", lambda: world.query(
        "SELECT * FROM payments WHERE id = %s AND state = %s", ident, state),
        90)[0]


def pushes(world, ident):
    return world.sim.pushes(str(row(world, ident)["msisdn"]))


def test_a_spent_payment_comes_back(world):
    ident, = die(world, PAYS, reference="BACK1")
    listed = answer(world, "list", "--reference", "BACK1")
    letter, = listed["letters"]
    assert (letter["payment"], letter["code"]) == (ident, "1025")
    assert letter["phone"].startswith("2547…")
    counted = answer(world, "list", "--reference", "BACK1", "--group-by",
                     "class,code")
    assert counted["groups"] == [
        {"class": "provider", "code": "1025", "letters": 1}]
    shown = answer(world, "show", letter["letter"])
    assert (shown["payment_status"], shown["payment"]) == ("dead", ident)
    assert json.loads(shown["record"])["reference"] == "BACK1"

    dry = answer(world, "replay", "--reference", "BACK1", "--dry-run")
    assert dry["dispositions"] == {"ready": 1}
    assert row(world, ident)["state"] == DEAD
    done = answer(world, "replay", "--reference", "BACK1", *WHY)
    assert done["dispositions"] == {"replayed": 1}
    paid = wait_state(world, ident, SUCCEEDED)
    assert (paid["replays"], paid["replay"]) == (1, done["replay"])
    assert len(pushes(world, ident)) == 2
    assert REPLAYED in {r["cause"] for r in world.query(
        "SELECT cause FROM timeline WHERE payment = %s", ident)}
    action, = world.query("SELECT * FROM operator_actions WHERE action = "
                          "'dead.replay' AND subject = %s", str(done["replay"]))
    assert (action["who"], action["before"]) == ("amina",
                                                 {"reference": "BACK1"})
    again = answer(world, "replay", "--reference", "BACK1", "--dry-run")
    assert again["dispositions"] == {"paid": 1}


def test_what_may_not_come_back(world):
    """Not for ever, only the newest letter, not what was ordered again."""
    ident, = die(world, NOT_SHOWN, NOT_SHOWN, reference="OFTEN1")
    for replays in 1, 2:
        answer(world, "replay", "--reference", "OFTEN1", *WHY)
        wait_for("it is dead again", lambda r=replays: world.query(
            "SELECT 1 FROM payments WHERE id = %s AND state = %s AND "
            "replays = %s AND published_version = version", ident, DEAD, r),
            90)
    found = answer(world, "replay", "--reference", "OFTEN1", "--dry-run")
    assert found["dispositions"] == {"old": 2, "too_often": 1}
    newest = answer(world, "list", "--reference", "OFTEN1", "--replays", "2")
    assert newest["meant"] == 1

    ident, = die(world, reference="TWICE1")
    msisdn = str(row(world, ident)["msisdn"])
    world.sim.script(msisdn, PAYS)
    shop = world.upstream()
    other = shop.submit(order(world, reference="TWICE1", msisdn=msisdn))
    shop.wait_final(other.body["id"])
    found = answer(world, "replay", "--reference", "TWICE1", *WHY)
    assert found["dispositions"] == {"ordered_again": 1}
    assert row(world, ident)["state"] == DEAD


def test_a_record_goes_back_to_its_topic(world):
    """As its client signed it, with a deadline of its own; what nobody can
    read stays."""
    asked = order(world, reference="RECORD1")
    world.sim.script(asked["msisdn"], PAYS)
    key, value, headers = wire.request_record(asked, "record-1")
    letter = [("foleni-error-class", "request"),
              ("foleni-error-code", "unknown_client"),
              ("foleni-stage", "intake"), ("foleni-last-failure", "1000"),
              ("foleni-source-topic",
               f"{world.topics.prefix}payments.requests.normal")]
    world.topics.write("payments.dead", key, value, headers + letter)
    world.topics.write("payments.dead", key, b"{", headers + letter)
    found = answer(world, "replay", "--code", "unknown_client", *WHY,
                   "--probe", "0")
    assert found["dispositions"] == {"replayed": 1, "bad": 1}
    ident = payment_id("shop", "record-1")
    wait_state(world, ident, SUCCEEDED)
    assert len(pushes(world, ident)) == 1
    found = answer(world, "replay", "--code", "unknown_client", "--dry-run")
    assert found["dispositions"] == {"known": 1, "bad": 1}


def test_thrown_away(world):
    """Kept whole in Postgres, and no replay brings it back."""
    ident, = die(world, reference="AWAY1")
    done = answer(world, "discard", "--reference", "AWAY1", *WHY)
    assert done["discarded"] == 1
    kept, = world.query("SELECT d.*, a.who FROM discards d JOIN "
                        "operator_actions a ON a.id = d.action "
                        "WHERE payment = %s", ident)
    assert kept["who"] == "amina"
    assert json.loads(bytes(kept["body"]))["reference"] == "AWAY1"
    found = answer(world, "replay", "--reference", "AWAY1", *WHY)
    assert found["dispositions"] == {"discarded": 1}


def begin(world, *arguments):
    with (world.directory / "replay.log").open("ab") as log:
        return subprocess.Popen(
            [build_directory() / "foleni", "dead", "replay", *arguments, *WHY,
             "-c", world.config], stdin=subprocess.DEVNULL, stdout=log,
            stderr=log)


def handed(world, replay):
    return world.query("SELECT count(*) AS n FROM replay_items WHERE replay = "
                       "%s AND disposition > 0", replay)[0]["n"]


def locked(world):
    """Whether a session holds the lock of who drives a replay."""
    return world.query(
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND "
        "(classid::int8 << 32 | objid::int8) = "
        "hashtextextended('foleni dead replay', 5)")


def resume(world, replay):
    """Goes on with it: the lock of the one that was killed goes with it."""
    wait_for("nobody drives a replay", lambda: not locked(world), 60)
    return begin(world, "--resume", str(replay))


def test_killed_again_and_again(world):
    """kill -9 of the tool at random moments: each payment is pushed once more,
    and no more."""
    dice = random.Random(7)
    idents = die(world, PAYS, n=N, reference="KILL1")
    tool = begin(world, "--reference", "KILL1", "--rate", "20", "--probe", "3")
    replay = wait_for("the task", lambda: world.query(
        "SELECT id FROM replays WHERE filter->>'reference' = 'KILL1'"), 60)[0][
            "id"]
    busy = dead(world, "replay", "--reference", "KILL1", *WHY)
    assert busy.returncode in (AGAIN, 0), busy.stderr
    for _ in range(4):
        goal = handed(world, replay) + dice.randint(1, 8)
        wait_for("some more", lambda g=goal: tool.poll() is not None or
                 handed(world, replay) >= g, 90)
        tool.kill()
        tool.wait()
        tool = resume(world, replay)
    wait_for("its end", lambda: tool.poll() is not None, 120)
    task = world.query("SELECT * FROM replays WHERE id = %s", replay)[0]
    assert task["ended_at"], (world.directory / "replay.log").read_text()
    for ident in idents:
        wait_state(world, ident, SUCCEEDED)
    assert {len(pushes(world, i)) for i in idents} == {2}
    # a letter may have been written twice: then one of them is old
    assert {r["disposition"] for r in world.query(
        "SELECT disposition FROM replay_items WHERE replay = %s",
        replay)} <= {2, 10}


def test_errors_say_what_to_do(world):
    none = dead(world, "replay", "--resume", "999999", *WHY)
    assert none.returncode != 0 and "there is no replay 999999" in none.stderr
    for arguments, words in (
            (("show", "7"), "partition:offset"),
            (("list", "--phone", "12"), "is no phone"),
            (("list", "--from", "yesterday"), "neither a time"),
            (("list", "--group-by", "colour"), "--group-by"),
            (("replay", "--rate", "0", *WHY), "--rate"),
            (("replay",), "--why"),
            (("list", "--client", "nobody"), "neither a client")):
        done = dead(world, *arguments)
        assert done.returncode == USAGE, done.stderr
        assert words in done.stderr
    gone = dead(world, "show", "0:99999999")
    assert gone.returncode != 0 and "no letter at" in gone.stderr
