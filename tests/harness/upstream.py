"""An upstream service: submits payments over kept-alive connections and
remembers what it was told, so that a promise can be held against the rest."""

import http.client
import json
import random
import threading
import time
import uuid
from collections import namedtuple

from tests.harness.settings import CLIENTS

Answer = namedtuple("Answer", "status headers body")


def payment_id(client, key):
    """The id that a client's idempotency key names (RFC 9562, version 5)."""
    return str(uuid.uuid5(uuid.UUID(CLIENTS[client]["id"]), key))


def phone(n):
    """The n-th of a hundred million numbers that exist for us only."""
    return f"2547{n % 100_000_000:08d}"


class Upstream:
    """One client of the API; each thread has a connection of its own.

    `promised` holds, per payment id that a 202 named, what was asked for."""

    def __init__(self, port, client="shop"):
        self.port = port
        self.client = client
        self.promised = {}
        self.closed = False  # true: submits nothing more
        self._local = threading.local()

    def headers(self, key=None):
        headers = {"Authorization": f"Bearer {CLIENTS[self.client]['key']}",
                   "Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        return headers

    def _connection(self, timeout_s):
        connection = getattr(self._local, "connection", None)
        if connection is None or connection.port != self.port:
            connection = http.client.HTTPConnection("127.0.0.1", self.port,
                                                    timeout=timeout_s)
            self._local.connection = connection
        if connection.sock:
            connection.sock.settimeout(timeout_s)
        return connection

    def request(self, method, path, body=None, headers=None, timeout_s=30):
        """One request; a connection that died is given up, not repeated: but
        for a GET, whose idle connection the API may have closed."""
        try:
            return self._once(method, path, body, headers, timeout_s)
        except http.client.RemoteDisconnected:
            if method != "GET":
                raise
        return self._once(method, path, body, headers, timeout_s)

    def _once(self, method, path, body, headers, timeout_s):
        connection = self._connection(timeout_s)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            self._local.connection = None
            raise
        try:
            data = json.loads(data)
        except ValueError:
            pass
        return Answer(answer.status, answer.headers, data)

    def submit(self, payment, key=None):
        """POST /v1/payments once."""
        key = key or str(uuid.uuid4())
        body = payment if isinstance(payment, (str, bytes)) \
            else json.dumps(payment)
        answer = self.request("POST", "/v1/payments", body, self.headers(key))
        if answer.status == 202:
            self.promised.setdefault(answer.body["id"],
                                     dict(payment, key=key))
        return answer

    def insist(self, payment, key=None, timeout_s=60):
        """Submits with one key until the API says 202, as a careful client
        does: over lost connections, 503 and 429, whose Retry-After it heeds."""
        key = key or str(uuid.uuid4())
        end = time.monotonic() + timeout_s
        while True:
            wait_s = 0.1
            if self.closed:
                raise ConnectionAbortedError("closed")
            try:
                answer = self.submit(payment, key)
                if answer.status not in (429, 503):
                    return answer
                wait_s = float(answer.headers.get("Retry-After", 1))
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > end:
                raise TimeoutError(f"no answer but 503 in {timeout_s} s")
            time.sleep(min(wait_s, 1) * random.uniform(0.5, 1))

    def get(self, ident, wait=None, timeout_s=70):
        query = f"?wait={wait}" if wait else ""
        return self.request("GET", f"/v1/payments/{ident}{query}", None,
                            self.headers(), timeout_s)

    def wait_final(self, ident, timeout_s=30):
        """The document once it is final; long polls in between."""
        end = time.monotonic() + timeout_s
        while True:
            answer = self.get(ident, wait="5s")
            if answer.status == 200 and answer.body["final"]:
                return answer.body
            if time.monotonic() > end:
                raise AssertionError(f"not final in {timeout_s} s: {answer}")
            if answer.status != 200:
                time.sleep(0.1)
