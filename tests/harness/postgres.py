"""A private PostgreSQL on a Unix socket, with its durable settings on.

As root it runs as Debian's user `postgres`, otherwise as who runs the test.
"""

import os
import pwd
import signal
import subprocess
from pathlib import Path

import psycopg2

from tests.harness.place import (alive, children, die_with_parent, remove,
                                 wait_for)

SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "max_connections": "100",
    "log_min_duration_statement": "2s",
    "log_lock_waits": "on",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
}
SUPERUSER = "foleni"


def programs():
    """The newest installed server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"),
                   key=lambda p: float(p.parts[-3]))
    if not found:
        raise RuntimeError("PostgreSQL is not installed: tools/setup demo")
    return found[-1].parent


class Postgres:
    """One server in `directory`; what an earlier life left there is reused."""

    def __init__(self, directory, settings=None, environment=None):
        self.directory = Path(directory)
        self.data = self.directory / "data"
        self.log = self.directory / "postgres.log"
        self.settings = {**SETTINGS, **(settings or {})}
        self.environment = environment or {}  # added to who starts it
        self.process = None
        self.identity = {}
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            self.identity = {"user": user.pw_uid, "group": user.pw_gid,
                              "extra_groups": []}

    def prepare(self):
        """Makes its directory, which is the server's user's own."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.identity:
            os.chown(self.directory, self.identity["user"],
                     self.identity["group"])

    def start(self):
        self.prepare()
        self._end_leftover()
        if not (self.data / "PG_VERSION").exists():
            self._init()
        arguments = [f"--{k}={v}" for k, v in self.settings.items()]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [programs() / "postgres", "-D", self.data,
                 "-k", self.directory, *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.directory, start_new_session=True,
                env={**os.environ, **self.environment},
                preexec_fn=die_with_parent, **self.identity)
        wait_for("Postgres answers", self._answers, 30)
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def _init(self):
        subprocess.run(
            [programs() / "initdb", "-D", self.data, "-U", SUPERUSER,
             "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd=self.directory,
            **self.identity)

    def _end_leftover(self):
        """Ends a server that a killed run left behind on the same data."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            return
        if str(self.data).encode() in command:
            os.kill(pid, signal.SIGINT)
            wait_for("the leftover Postgres ends", lambda: not alive(pid), 30)

    def _answers(self):
        if self.process.poll() is not None:
            raise RuntimeError("Postgres ended at start:\n" +
                               self.log.read_text()[-2000:])
        try:
            self.connect("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def conninfo(self, database):
        """For libpq, without a password: the socket is trusted."""
        port = self.settings.get("port", 5432)
        return (f"host={self.directory} port={port} user={SUPERUSER} "
                f"dbname={database}")

    def connect(self, database):
        """A psycopg2 connection in autocommit mode."""
        connection = psycopg2.connect(self.conninfo(database))
        connection.autocommit = True
        return connection

    def create(self, database):
        """A new empty database; an old one of that name is dropped."""
        connection = self.connect("postgres")
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{database}" '
                           "WITH (FORCE)")
            cursor.execute(f'CREATE DATABASE "{database}"')
        connection.close()

    def stop(self, hard=False):
        """Ends every session and writes a checkpoint (fast shutdown)."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGQUIT if hard else signal.SIGINT)
        self.process.wait(60)
        self.process = None

    def kill9(self):
        """The whole server at once, as when the machine's power fails but its
        page cache stays."""
        pids = [self.process.pid, *children(self.process.pid)]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(10)
        wait_for("Postgres is gone", lambda: not any(map(alive, pids)))
        self.process = None

    def freeze(self):
        """SIGSTOP to all of it: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self):
        self._signal(signal.SIGCONT)

    def _signal(self, number):
        """To the whole server; its children come and go."""
        for pid in (self.process.pid, *children(self.process.pid)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def restart(self):
        self.stop()
        return self.start()

    def destroy(self):
        self.stop(hard=True)
        remove(self.directory)
