"""Connections that can be delayed, stalled and cut: from workers to Postgres
(where a single answer can be lost), and between anything over TCP."""

import random
import socket
import threading
import time

from tests.harness.proxy import SOCKET, PostgresProxy, _Pair


def primary(postgres):
    """The server that writes: of a pair, or the only one."""
    return getattr(postgres, "primary", postgres)


class Weather:
    """What happens to the bytes of a link from now on."""

    def __init__(self):
        self._fair = threading.Event()
        self._fair.set()
        self._delay_s = 0
        self._open = set()
        self._lock = threading.Lock()

    def delay(self, seconds):
        """Each piece waits up to twice so long, so much on average."""
        self._delay_s = seconds

    def stall(self):
        """Nothing goes through; connections stay open."""
        self._fair.clear()

    def calm(self):
        self._delay_s = 0
        self._fair.set()

    def cut(self):
        """Ends every connection that there is now."""
        with self._lock:
            sockets = list(self._open)
        for s in sockets:
            _end(s)

    def wrap(self, connection):
        with self._lock:
            self._open.add(connection)
        return _Wet(self, connection)

    def gone(self, connection):
        with self._lock:
            self._open.discard(connection)

    def hold(self):
        if self._delay_s:
            time.sleep(random.uniform(0, 2 * self._delay_s))
        self._fair.wait()


class _Wet:
    """A socket whose received bytes wait for the weather."""

    def __init__(self, weather, connection):
        self._weather, self._socket = weather, connection
        self.sendall = connection.sendall
        self.shutdown = connection.shutdown

    def recv(self, size):
        data = self._socket.recv(size)
        self._weather.hold()
        return data

    def close(self):
        self._weather.gone(self._socket)
        self._socket.close()


def _end(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class PostgresLink(PostgresProxy):
    """A program's way to Postgres, whichever server is the primary; it logs in
    as `user`. With an `address` of ours it is by TCP, as from another host."""

    def __init__(self, directory, postgres, user, address=None):
        self.weather = Weather()
        self.user = user
        self.address = address
        super().__init__(directory, postgres)

    def _listen(self):
        return socket.create_server((self.address, 0), backlog=64) \
            if self.address else super()._listen()

    def conninfo(self, database):
        if self.address:
            return (f"host={self.address} port="
                    f"{self._listener.getsockname()[1]} user={self.user} "
                    f"dbname={database} sslmode=disable gssencmode=disable")
        return f"host={self.directory} user={self.user} dbname={database}"

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(primary(self._postgres).directory / SOCKET))
            except OSError:
                client.close()
                continue
            pair = _Pair(self, self.weather.wrap(client),
                         self.weather.wrap(server))
            self._thread(pair.up)
            self._thread(pair.down)

    def forget(self):
        """No loss is planned any more."""
        with self._lock:
            self._plans.clear()


class TcpLink:
    """Listens on a port of its own; hands on to the first of targets() that
    takes the connection."""

    def __init__(self, weather, targets, address="127.0.0.1"):
        self.weather = weather
        self._targets = targets
        self._listener = socket.create_server((address, 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        _thread(self._accept)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            _thread(self._serve, client)

    def _serve(self, client):
        for port in self._targets():
            try:
                server = socket.create_connection(("127.0.0.1", port), 2)
                break
            except OSError:
                continue
        else:
            client.close()
            return
        for s in (client, server):
            s.settimeout(None)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one, other = self.weather.wrap(client), self.weather.wrap(server)
        _thread(_pump, one, other)
        _pump(other, one)

    def close(self):
        self._listener.close()


def _thread(target, *arguments):
    threading.Thread(target=target, args=arguments, daemon=True).start()


def _pump(from_, to):
    try:
        while data := from_.recv(65536):
            to.sendall(data)
    except OSError:
        pass
    for s in (from_, to):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        s.close()


class KafkaLink:
    """A worker's way to every node of a cluster."""

    def __init__(self, nodes, address="127.0.0.1"):
        self.weather = Weather()
        self.address = address
        self._at = [0] * nodes
        self._links = [TcpLink(self.weather, lambda i=i: [self._at[i]],
                               address) for i in range(nodes)]
        self.ports = [link.port for link in self._links]

    def connect(self, node, port):
        self._at[node] = port

    @property
    def bootstrap(self):
        return ",".join(f"{self.address}:{p}" for p in self.ports)
