"""Two PostgreSQL servers, one streaming to the other: what a fail-over with or
without a synchronous standby keeps, and what a base backup remembers.

Stands where a Postgres stands: a World over it is given both servers and finds
the one that can be written to.
"""

import shutil
import subprocess

import psycopg2

from tests.harness.place import remove, wait_for
from tests.harness.postgres import SUPERUSER, Postgres, programs


def _one(server, sql):
    """The first value of one statement, outside of any database of ours."""
    connection = server.connect("postgres")
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def base_backup(server, directory, standby=False):
    """A copy of a running server's data, as pg_basebackup makes it."""
    copy = Postgres(directory, server.settings)
    remove(copy.directory)
    copy.prepare()
    subprocess.run(
        [programs() / "pg_basebackup", "-D", copy.data, "-X", "stream",
         "-c", "fast", "--no-sync", "-h", server.directory, "-U", SUPERUSER,
         *(["-R"] if standby else [])],
        check=True, stdout=subprocess.DEVNULL, cwd=copy.directory,
        **copy.identity)
    return copy


class Pair:
    """A primary and its standby. `synchronous`: a commit waits for both."""

    def __init__(self, directory, synchronous=False, settings=None):
        self.directory = directory
        self.synchronous = synchronous
        self.settings = {"wal_receiver_status_interval": "1s",
                         "wal_retrieve_retry_interval": "200ms",
                         **(settings or {})}
        self.lives = 0  # of servers, for their directories
        self.primary = Postgres(self._next_directory(), self.settings)
        self.standby = None

    def _next_directory(self):
        self.lives += 1
        return self.directory / f"s{self.lives}"

    def start(self):
        self.primary.start()
        return self.attach()

    def attach(self):
        """A new standby of whoever is the primary now; it has caught up."""
        self.standby = base_backup(self.primary, self._next_directory(), True)
        self.standby.start()
        if self.synchronous:
            self.wait_for_both(True)
        wait_for("the standby streams", self.streaming, 30)
        return self

    def wait_for_both(self, on):
        """Whether a commit waits for the standby from now on."""
        names = "*" if on else ""
        _one(self.primary, f"ALTER SYSTEM SET synchronous_standby_names"
                           f" = '{names}'")
        _one(self.primary, "SELECT pg_reload_conf()")
        wait_for("commits wait" if on else "commits do not wait",
                 lambda: _one(self.primary,
                              "SHOW synchronous_standby_names") == names, 30)

    def streaming(self):
        """Whether the standby has all that the primary has."""
        return _one(self.primary,
                    "SELECT count(*) FROM pg_stat_replication WHERE "
                    "replay_lsn >= pg_current_wal_lsn()"
                    + (" AND sync_state = 'sync'" if self.synchronous
                       else "")) > 0

    def cut(self):
        """From now on nothing reaches the standby: a commit of the primary
        goes on alone when it may, and otherwise waits."""
        _one(self.standby, "ALTER SYSTEM SET primary_conninfo = ''")
        _one(self.standby, "SELECT pg_reload_conf()")
        wait_for("the standby hears nothing", lambda: not _one(
            self.primary, "SELECT count(*) FROM pg_stat_replication"), 30)

    def promote(self):
        """The primary dies at once and for good, the standby takes its place
        with what it has. Returns the dead one."""
        dead, self.primary = self.primary, self.standby
        self.standby = None
        if dead.running():
            dead.kill9()
        _one(self.primary, "SELECT pg_promote()")
        wait_for("the standby is the primary", lambda: not _one(
            self.primary, "SELECT pg_is_in_recovery()"), 30)
        return dead

    def backup(self):
        """A base backup of now, for restore()."""
        return base_backup(self.primary, self._next_directory())

    def restore(self, backup):
        """The server is lost with its disk; what was backed up goes on in its
        place. No standby is left."""
        for server in (self.standby, self.primary):
            if server is not None and server.running():
                server.kill9()
        self.standby = None
        remove(self.primary.data)
        shutil.move(backup.data, self.primary.data)
        self.primary.start()

    # --- as a Postgres ---

    @property
    def servers(self):
        return [s for s in (self.primary, self.standby) if s is not None]

    def conninfo(self, database):
        """For libpq, both servers; whoever can be written to is taken. A
        server that is still to come has its place in it already."""
        hosts = ",".join(str(self.directory / f"s{n}") for n in range(1, 9))
        return f"host={hosts} user={SUPERUSER} dbname={database}"

    def connect(self, database):
        connection = psycopg2.connect(self.primary.conninfo(database) +
                                      " target_session_attrs=read-write")
        connection.autocommit = True
        return connection

    def create(self, database):
        self.primary.create(database)

    def running(self):
        return self.primary.running()

    def kill9(self):
        self.primary.kill9()

    def restart(self):
        self.primary.restart()
        return self

    def freeze(self):
        self.primary.freeze()

    def thaw(self):
        self.primary.thaw()

    def stop(self, hard=False):
        for server in self.servers:
            server.stop(hard)

    def destroy(self):
        for server in self.servers:
            server.stop(hard=True)
        remove(self.directory)
