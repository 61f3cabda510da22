"""An open-loop load generator: a constant rate over kept-alive connections,
latency counted from the moment a request was due, not from when it was sent."""

import asyncio
import json
import re
import time

from tests.harness.settings import CLIENTS
from tests.harness.upstream import payment_id, phone

CONNECTIONS_MAX = 512
_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)


class Connection(asyncio.Protocol):
    """One request at a time; tells its pool when the answer is complete."""

    def __init__(self, pool):
        self.pool = pool
        self.buffer = b""
        self.job = None

    def connection_made(self, transport):
        self.transport = transport

    def send(self, job, data):
        self.job = job
        self.transport.write(data)

    def data_received(self, data):
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator or \
                len(body) < int(_LENGTH.search(head).group(1)):
            return
        self.buffer = b""
        job, self.job = self.job, None
        self.pool.answered(self, job, int(head[9:12]))

    def connection_lost(self, _):
        self.pool.lost(self)


class Load:
    """Submits payments; `latency_s` holds one value per 202."""

    def __init__(self, port, client="shop", prefix="bench", first_phone=0):
        self.port = port
        self.client = client
        self.prefix = prefix
        self.first_phone = first_phone
        self.latency_s = []
        self.statuses = {}
        self.promised = {}
        self._idle = []
        self._open = 0
        self._backlog = []
        self._left = 0
        self._done = None

    def request(self, n):
        body = json.dumps({
            "msisdn": phone(self.first_phone + n), "amount": 1 + n % 1000,
            "reference": f"B{n % 10**9}", "shortcode": "174379",
            "metadata": {"note": "x" * 100}}).encode()
        head = (f"POST /v1/payments HTTP/1.1\r\nHost: bench\r\n"
                f"Authorization: Bearer {CLIENTS[self.client]['key']}\r\n"
                f"Idempotency-Key: {self.prefix}-{n}\r\n"
                "Content-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n")
        return head.encode() + body

    def answered(self, connection, job, status):
        n, due = job
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == 202:
            self.latency_s.append(time.perf_counter() - due)
            ident = payment_id(self.client, f"{self.prefix}-{n}")
            self.promised[ident] = {
                "msisdn": phone(self.first_phone + n), "amount": 1 + n % 1000,
                "reference": f"B{n % 10**9}"}
        self._left -= 1
        if self._left == 0:
            self._done.set_result(None)
        if self._backlog:
            connection.send(*self._backlog.pop())
        else:
            self._idle.append(connection)

    def lost(self, connection):
        self._open -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        elif connection.job is not None:
            self.answered_never(connection.job)

    def answered_never(self, job):
        self.statuses["lost"] = self.statuses.get("lost", 0) + 1
        self._left -= 1
        if self._left == 0:
            self._done.set_result(None)

    async def _submit(self, n, due):
        job, data = (n, due), self.request(n)
        if not self._idle and self._open < CONNECTIONS_MAX:
            self._open += 1
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self), "127.0.0.1", self.port)
            connection.send(job, data)
        elif self._idle:
            self._idle.pop().send(job, data)
        else:
            self._backlog.append((job, data))

    async def _run(self, count, rate):
        self._left = count
        self._done = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        for n in range(count):
            due = began + n / rate
            wait = due - time.perf_counter()
            if wait > 0.001:
                await asyncio.sleep(wait)
            elif n % 64 == 0:
                await asyncio.sleep(0)
            await self._submit(n, due)
        await asyncio.wait_for(self._done, 60)
        return time.perf_counter() - began

    def run(self, count, rate):
        """Submits `count` payments at `rate` per second; returns seconds."""
        return asyncio.run(self._run(count, rate))
