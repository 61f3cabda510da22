"""Many clients at once, and what fault tests ask a world again and again."""

import queue
import threading

from tests.harness import oracle
from tests.harness.place import wait_for
from tests.harness.upstream import payment_id

PUSHES = "daraja_sim_pushes_total"
LIVENESS_S = 90  # generous: after that something hangs
POLL_S = 0.003   # between two looks at progress that a kill waits for


def orders(world, n, **more):
    """n good payments for phones of their own."""
    return [{"msisdn": world.new_phone(), "amount": 10 + i % 90,
             "reference": "ORDER1", "shortcode": "174379", **more}
            for i in range(n)]


class Crowd:
    """Clients that submit `payments`, each with a key of its own, and insist
    on a 202 as careful clients do, over whatever happens to the API."""

    def __init__(self, world, payments, clients=8, name="k"):
        self.shop = world.upstream()
        self.keys = [f"{name}-{i}" for i in range(len(payments))]
        self._work = queue.SimpleQueue()
        for pair in zip(payments, self.keys):
            self._work.put(pair)
        self._faults = []
        self._threads = [threading.Thread(target=self._client, daemon=True)
                         for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _client(self):
        while True:
            try:
                payment, key = self._work.get_nowait()
            except queue.Empty:
                return
            try:
                answer = self.shop.insist(payment, key, LIVENESS_S)
                if answer.status != 202:
                    self._faults.append(answer)
            except Exception as fault:
                self._faults.append(fault)

    @property
    def ids(self):
        """What its keys name."""
        return {payment_id(self.shop.client, key) for key in self.keys}

    def join(self):
        """Every one of them was answered 202."""
        for thread in self._threads:
            thread.join(LIVENESS_S)
        assert not any(t.is_alive() for t in self._threads)
        assert not self._faults, self._faults[:5]
        assert self.shop.promised.keys() == self.ids


def wait_pushes(world, n):
    """Until the provider has received n pushes."""
    wait_for(f"{n} pushes", lambda: world.sim.metrics()[PUSHES] >= n,
             LIVENESS_S, POLL_S)


def moments(dice, n, first, last):
    """n numbers of pushes, in order and at random, at which to strike."""
    return sorted(dice.sample(range(first, last), n))


def settle(world, timeout_s=LIVENESS_S):
    """Waits for every end, then asks the oracle; what it found."""
    world.wait_settled(timeout_s)
    return oracle.check(world)


def pushed_once(found):
    """Each payment was received at most once by the provider."""
    twice = {ident: len(pushes) for ident, pushes in found.pushes.items()
             if len(pushes) > 1}
    assert not twice, f"pushed more than once: {twice}"


def unresolved(found):
    return {i for i, row in found.rows.items()
            if row["status"] == "unresolved"}


def incarnation_of(world, worker):
    """The number under which this life of a worker claims."""
    row = wait_for("the worker is registered", lambda: world.query(
        "SELECT incarnation FROM workers WHERE pid = %s "
        "ORDER BY incarnation DESC LIMIT 1", worker.pid), LIVENESS_S)
    return row[0]["incarnation"]


def in_the_air(world, incarnation):
    """How many payments it has claimed and not ended."""
    return world.query("SELECT count(*) AS n FROM payments "
                       "WHERE state = 1 AND owner = %s", incarnation)[0]["n"]
