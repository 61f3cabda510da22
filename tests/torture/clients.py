"""Upstream services: a crowd that orders at a given rate, insists on a 202 over
whatever happens to the APIs, sends some orders twice, and gives some phones two
orders at once."""

import http.client
import itertools
import json
import queue
import random
import threading
import time

from tests.harness import wire
from tests.harness.settings import SHORTCODES
from tests.harness.upstream import Upstream, payment_id

# Of one shortcode C2B and Pull tell what was paid, of the other one nobody.
TOLD, UNTOLD = (str(n) for n in SHORTCODES)
PATIENCE_S = 3     # of one request
GIVE_UP_S = 120    # of one order: then something hangs


class Aim:
    """What a directed run changes."""
    told = 0.8  # share of payments of which C2B and Pull tell


class Crowd:
    """`promised` is what was answered 202, by payment id; what a client wrote
    to Kafka itself counts as promised once Kafka has confirmed it."""

    def __init__(self, field, threads=24):
        self.field = field
        self.promised = {}
        self.asked = 0
        self.faults = []
        self._keys = itertools.count(1)
        self._work = queue.PriorityQueue()
        self._busy = 0
        self._lock = threading.Lock()
        for n in range(threads):
            threading.Thread(target=self._client, args=(n,),
                             daemon=True).start()

    def order(self, dice, seconds, rate):
        """Orders from now on, at `rate` per second."""
        now, phones = time.monotonic(), []
        for i in range(int(seconds * rate)):
            old = phones and dice.random() < 0.04
            phone = dice.choice(phones) if old else self.field.new_phone()
            phones.append(phone)
            payment = {"msisdn": phone, "amount": dice.randrange(1, 250000),
                       "reference": "ORDER1",
                       "shortcode": TOLD if dice.random() < Aim.told
                       else UNTOLD,
                       "priority": dice.choice(("high", "normal", "low"))}
            key = f"t{next(self._keys)}"
            twice = 2 if dice.random() < 0.03 else 1
            for _ in range(twice):
                self._put(now + i / rate, payment, key)

    def _put(self, due, payment, key):
        with self._lock:
            self._busy += 1
        self.asked += 1
        self._work.put((due, self.asked, payment, key))

    def forget(self, ident):
        """1 when it had been promised."""
        return int(self.promised.pop(ident, None) is not None)

    def busy(self):
        return self._busy

    def _client(self, n):
        shops = []
        while True:
            due, _, payment, key = self._work.get()
            time.sleep(max(0, due - time.monotonic()))
            if not shops:
                shops = [Impatient(api) for api in self.field.apis]
            try:
                self._insist(shops, n, payment, key)
            except Exception as fault:
                self.faults.append(f"{payment_id('shop', key)}: order of "
                                   f"client: {fault!r}")
            with self._lock:
                self._busy -= 1

    def _insist(self, shops, n, payment, key):
        end = time.monotonic() + GIVE_UP_S
        for i in itertools.count(n):
            if self._submit(shops[i % len(shops)], payment, key):
                return
            if time.monotonic() > end:
                raise TimeoutError(f"no 202 within {GIVE_UP_S} s")
            time.sleep(random.uniform(0.05, 0.3))

    def _submit(self, shop, payment, key):
        try:
            answer = shop.order(payment, key)
        except (OSError, http.client.HTTPException):
            return False
        if answer.status == 202:
            self.promised[answer.body["id"]] = dict(payment, key=key)
            return True
        if answer.status not in (409, 429, 503):
            raise RuntimeError(f"answer {answer.status} {answer.body}")
        return False

    def publish(self, payment, key):
        """As a service does that writes to Kafka itself."""
        name, value, headers = wire.request_record(payment, key)
        try:
            self.field.topics.write(
                f"payments.requests.{payment['priority']}", name, value,
                headers)
        except Exception:
            return  # not confirmed, not promised
        self.promised[payment_id("shop", key)] = dict(payment, key=key)


class Impatient(Upstream):
    """A client of one API; its port is known once the API runs."""

    def __init__(self, api):
        super().__init__(api.port)
        self.api = api

    def order(self, payment, key):
        return self.request("POST", "/v1/payments", json.dumps(payment),
                            self.headers(key), PATIENCE_S)
