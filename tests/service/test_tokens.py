"""One access token for the fleet: three workers on one consumer key, and a
provider that kills the old token when it makes a new one."""

import pytest

from tests.harness.place import wait_for
from tests.harness.settings import PATIENT

WORKERS, N = 3, 40
TTL_S = 5
REFRESH_S = 0.8 * TTL_S  # no token is asked for sooner, unless one is refused


@pytest.fixture(scope="module")
def fleet(make_shared_world):
    world = make_shared_world(settings=PATIENT, workers=WORKERS,
                              profile={"token_single": True}).start()
    wait_for("every worker has a token",
             lambda: all(has_token(w) for w in world.workers))
    return world


def has_token(worker):
    return worker.health()["dependencies"]["daraja"]["ok"]


def tokens(world):
    return world.sim.summary()["tokens"]


def order(world):
    return {"msisdn": world.new_phone(), "amount": 10, "reference": "TOKEN1",
            "shortcode": "174379"}


def rows_of(world, idents):
    return world.query("SELECT attempt, spent, state FROM payments "
                       "WHERE id::text = ANY(%s)", list(idents))


def test_one_token_for_all(fleet):
    shop = fleet.upstream()
    idents = [shop.submit(order(fleet)).body["id"] for _ in range(N)]
    for ident in idents:
        assert shop.wait_final(ident)["status"] == "succeeded"
    assert tokens(fleet) == 1
    fetched = [w.metrics()['foleni_tokens_total{end="fetched"}']
               for w in fleet.workers]
    assert sorted(fetched) == [0, 0, 1]
    note = fleet.worker.health()["dependencies"]["daraja"]["note"]
    assert "s old, good for" in note
    assert fleet.worker.metrics()["foleni_token_left_seconds"] > 0
    row = fleet.query("SELECT version, sealed FROM tokens")
    assert len(row) == 1 and row[0]["version"] > 0


def test_a_refused_token_costs_one_refresh(fleet):
    before = tokens(fleet)
    shop = fleet.upstream()
    fleet.sim._request("POST", "/sim/tokens", {"action": "revoke"})
    idents = [shop.submit(order(fleet)).body["id"] for _ in range(N)]
    for ident in idents:
        assert shop.wait_final(ident)["status"] == "succeeded"
    assert tokens(fleet) == before + 1
    rows = rows_of(fleet, idents)
    assert len(rows) == N and {r["spent"] for r in rows} == {0}
    # at most once per payment and token version (S13)
    assert {r["attempt"] for r in rows} <= {1, 2}
    refused = sum(w.metrics()['foleni_tokens_total{end="refused"}']
                  for w in fleet.workers)
    assert refused == sum(r["attempt"] - 1 for r in rows) >= 1


def test_asked_for_once_per_expiry(fleet):
    """Short lives: a fleet of three asks no oftener than one worker would."""
    fleet.sim.profile({"token_ttl_s": TTL_S, "token_single": True})
    fleet.sim._request("POST", "/sim/tokens", {"action": "revoke"})
    shop = fleet.upstream()
    idents = [shop.submit(order(fleet)).body["id"]]
    first = tokens(fleet)
    wait_for("a token of short life", lambda: tokens(fleet) > first)
    versions = set()

    def fourth():
        idents.append(shop.submit(order(fleet)).body["id"])
        row = fleet.query("SELECT version, extract(epoch FROM fetched_at) "
                          "::float AS at FROM tokens")[0]
        versions.add((row["version"], row["at"]))
        return len(versions) >= 4
    wait_for("the fourth token", fourth, 60, 0.1)
    at = sorted(versions)
    gaps = [b[1] - a[1] for a, b in zip(at[1:], at[2:])]
    assert min(gaps) >= REFRESH_S, "refreshed sooner than anybody needs"
    assert tokens(fleet) - first <= len(versions) + 1
    for ident in idents:
        assert shop.wait_final(ident)["status"] == "succeeded"
    rows = rows_of(fleet, idents)
    assert {r["spent"] for r in rows} == {0}
