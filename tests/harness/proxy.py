"""A proxy between a program and Postgres that loses answers: the server does
what it was asked, and the connection dies before the program hears of it.

It speaks enough of the protocol (version 3) to know which statement a unit
holds: prepared statements have names, a unit ends with Sync, and the server
answers each Sync with ReadyForQuery."""

import socket
import struct
import threading
from pathlib import Path

BIND, SYNC, QUERY, READY = b"B", b"S", b"Q", b"Z"
SOCKET = ".s.PGSQL.5432"


class Reader:
    """Whole messages of one direction, as bytes."""

    def __init__(self, connection, startup):
        self._connection = connection
        self._startup = startup
        self._data = b""

    def _more(self, n):
        while len(self._data) < n:
            got = self._connection.recv(65536)
            if not got:
                raise ConnectionError("end")
            self._data += got

    def message(self):
        """(type, message); the first of a client has no type."""
        head = 0 if self._startup else 1
        self._more(head + 4)
        size = head + struct.unpack_from("!I", self._data, head)[0]
        self._more(size)
        whole, self._data = self._data[:size], self._data[size:]
        kind = b"" if self._startup else whole[:1]
        self._startup = False
        return kind, whole


def statement_of(bind):
    """The name of the prepared statement of a Bind message."""
    _, _, rest = bind[5:].partition(b"\0")
    return rest.partition(b"\0")[0].decode()


class Loss:
    """One answer to be lost: of the next unit that holds `statement`."""

    def __init__(self, statement, committed):
        self.statement = statement
        self.committed = committed
        self.happened = threading.Event()


class Hold:
    """One unit that is not sent on before release()."""

    def __init__(self, statement):
        self.statement = statement
        self.happened = threading.Event()
        self._released = threading.Event()

    def release(self):
        self._released.set()

    def wait(self):
        self.happened.set()
        self._released.wait()


class PostgresProxy:
    """Listens in `directory` as Postgres does in its own; hand its
    conninfo() to the program. `lose()` or `hold()` before the unit in
    question."""

    def __init__(self, directory, postgres):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._target = str(postgres.directory / SOCKET)
        self._postgres = postgres
        self._plans = []
        self._lock = threading.Lock()
        self._listener = self._listen()
        self._thread(self._accept)

    def _listen(self):
        listener = socket.socket(socket.AF_UNIX)
        (self.directory / SOCKET).unlink(missing_ok=True)
        listener.bind(str(self.directory / SOCKET))
        listener.listen(64)
        return listener

    @staticmethod
    def _thread(target, *arguments):
        threading.Thread(target=target, args=arguments, daemon=True).start()

    def conninfo(self, database):
        return self._postgres.conninfo(database).replace(
            str(self._postgres.directory), str(self.directory))

    def lose(self, statement, committed=True):
        """The next unit that holds `statement` gets no answer. With
        `committed` the server has done it, otherwise it never hears of it."""
        return self._plan(Loss(statement, committed))

    def hold(self, statement):
        """The next unit that holds `statement` stays here until release()."""
        return self._plan(Hold(statement))

    def _plan(self, plan):
        with self._lock:
            self._plans.append(plan)
        return plan

    def plan_of(self, statement):
        with self._lock:
            for plan in self._plans:
                if plan.statement == statement:
                    self._plans.remove(plan)
                    return plan
        return None

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._target)
            except OSError:
                client.close()
                continue
            pair = _Pair(self, client, server)
            self._thread(pair.up)
            self._thread(pair.down)

    def close(self):
        self._listener.close()
        (self.directory / SOCKET).unlink(missing_ok=True)


class _Pair:
    """One connection of the program."""

    def __init__(self, proxy, client, server):
        self._proxy, self._client, self._server = proxy, client, server
        self._asked = 1  # ReadyForQuery that are due; one after the start
        self._told = 0
        self._last = None  # the one that is not told any more
        self._loss = None

    def up(self):
        """The program's messages; a unit goes on with its Sync as a whole."""
        reader, unit, plan = Reader(self._client, True), b"", None
        try:
            while True:
                kind, whole = reader.message()
                unit += whole
                if kind == BIND and not plan:
                    plan = self._proxy.plan_of(statement_of(whole))
                if kind not in (b"", SYNC, QUERY, b"p", b"X"):
                    continue
                if kind in (SYNC, QUERY):
                    self._asked += 1
                if isinstance(plan, Loss):
                    self._lose(plan, unit)
                    return
                if plan:
                    plan.wait()
                self._server.sendall(unit)
                unit, plan = b"", None
        except OSError:
            self._end()

    def _lose(self, loss, unit):
        self._loss = loss
        self._last = self._asked
        if loss.committed:
            self._server.sendall(unit)
        else:
            loss.happened.set()
            self._end()

    def down(self):
        """The server's messages, up to the answer that is lost."""
        reader = Reader(self._server, False)
        try:
            while True:
                kind, whole = reader.message()
                self._told += kind == READY
                if self._last is None or self._told < self._last - 1 or \
                        (self._told == self._last - 1 and kind == READY):
                    self._client.sendall(whole)
                elif self._told == self._last:
                    self._loss.happened.set()
                    self._end()
                    return
        except OSError:
            self._end()

    def _end(self):
        for connection in (self._client, self._server):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()
