"""A whole Foleni: simulator, API, workers, over a given Postgres and broker."""

import itertools
import subprocess
from pathlib import Path

from tests.harness import settings as conf
from tests.harness.place import build_directory, wait_for
from tests.harness.postgres import SUPERUSER
from tests.harness.program import ADMIN, PUBLIC, Served
from tests.harness.simulator import Simulator
from tests.harness.topics import Topics
from tests.harness.upstream import Upstream, phone


class Api(Served):
    """foleni-api; its ports stay the same over its lives."""

    def start(self):
        super().start()
        self.port = self.bound(PUBLIC)
        self.admin_port = self.bound(ADMIN)
        self.sets["api.listen"] = f"127.0.0.1:{self.port}"
        self.sets["api.admin_listen"] = f"127.0.0.1:{self.admin_port}"
        return self


class Worker(Served):
    """foleni-worker."""

    def start(self):
        super().start()
        self.admin_port = self.bound(ADMIN)
        return self


# Programs log in with the rights that they need, never as the owner. Roles are
# the whole server's: another world may have made them.
LOGINS = """
DO $$ BEGIN
    CREATE ROLE worker LOGIN IN ROLE foleni_worker;
    CREATE ROLE operator LOGIN IN ROLE foleni_operator;
    CREATE ROLE api LOGIN IN ROLE foleni_api;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
SELECT 1
"""


class World:
    """Everything between an upstream service and a customer's phone.

    `settings` are added to the configuration; the rest is as shipped or, with
    `quick`, with waits as short as tests want them."""

    def __init__(self, directory, postgres, broker, database="foleni",
                 prefix="", settings=None, workers=1, quick=True,
                 profile=None, shortcode=None):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.postgres = postgres
        self.broker = broker
        self.database = database
        self.prefix = prefix
        self.shortcode = shortcode  # further members of each shortcode
        self.profile = profile  # the simulator's, before anybody calls it
        # the embedded broker answers an idle fetch at its end, no sooner
        fetch = {"kafka.fetch_wait_ms": 50} if broker.embedded else {}
        self.settings = {**(conf.QUICK if quick else {}), **fetch,
                         **(settings or {})}
        self.config = self.directory / "foleni.cfg"
        self.sim = Simulator("daraja-sim", self.config,
                             self.directory / "daraja-sim.log")
        self.api = Api("foleni-api", self.config,
                       self.directory / "foleni-api.log")
        self.workers = [Worker("foleni-worker", self.config,
                               self.directory / f"foleni-worker-{n}.log")
                        for n in range(workers)]
        self.topics = Topics(broker.bootstrap, prefix)
        self.upstreams = []
        self._phones = itertools.count(1)
        self._db = None

    @property
    def worker(self):
        return self.workers[0]

    @property
    def programs(self):
        return [self.sim, self.api, *self.workers]

    def start(self):
        """In the order in which each finds what it needs."""
        self.start_simulator()
        self.prepare()
        self.start_api()
        for worker in self.workers:
            self.start_worker(worker)
        for program in (self.api, *self.workers):
            program.wait_ready()
        return self

    def start_simulator(self):
        self.write_config("http://127.0.0.1:1")
        self.sim.start()
        if self.profile:
            self.sim.profile(self.profile)
        self.write_config(self.sim.url)

    def prepare(self):
        """Tables and topics."""
        self.postgres.create(self.database)
        self.foleni("migrate")
        self.query(LOGINS)
        if not self.broker.embedded:
            self.foleni("topics", "create")

    def conninfo(self, login):
        """Of the database, for a login that has no more than its group role."""
        return self.postgres.conninfo(self.database).replace(
            f"user={SUPERUSER}", f"user={login}")

    def start_api(self):
        self.api.sets.setdefault("database.conninfo", self.conninfo("api"))
        self.api.start()

    def start_worker(self, worker):
        worker.sets.setdefault("database.conninfo", self.conninfo("worker"))
        worker.sets["callbacks.base_url"] = f"http://127.0.0.1:{self.api.port}"
        worker.start()

    def write_config(self, provider_url):
        secrets = self.directory / "secrets"
        conf.write_secrets(secrets)
        (self.directory / "recorder").mkdir(exist_ok=True)
        values = {
            "log.level": "info",
            "kafka.brokers": self.broker.bootstrap,
            "kafka.prefix": self.prefix,
            "topics.partitions": 4,
            "topics.replication": 1,
            "topics.min_insync": 1,
            "database.conninfo": self.postgres.conninfo(self.database),
            "api.listen": "127.0.0.1:0",
            "api.admin_listen": "127.0.0.1:0",
            "callbacks.mac_key_file": secrets / "mac-key",
            "c2b.secret_file": secrets / "c2b-secret",
            "spool.directory": self.directory / "spool",
            "worker.admin_listen": "127.0.0.1:0",
            "recorder.directory": self.directory / "recorder",
            "sim.listen": "127.0.0.1:0",
            "sim.journal": self.directory / "daraja.journal",
            **self.settings,
            "clients": conf.clients(secrets),
            "shortcodes": conf.shortcodes(secrets, provider_url,
                                           self.shortcode),
        }
        self.config.write_text(conf.libconfig(values))

    def foleni(self, *arguments):
        """The operator's command line; returns what it printed."""
        done = subprocess.run(
            [build_directory() / "foleni", "-c", self.config, *arguments],
            capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"foleni {' '.join(arguments)} ended with "
                               f"{done.returncode}:\n{done.stdout}"
                               f"{done.stderr}")
        return done.stdout

    def upstream(self, client="shop"):
        """A new upstream service; the oracle holds us to what it was told."""
        upstream = Upstream(self.api.port, client)
        self.upstreams.append(upstream)
        return upstream

    def new_phone(self):
        """A number that no payment of this world has had."""
        return phone(next(self._phones))

    @property
    def promised(self):
        """Every payment that was answered 202."""
        return {k: v for u in self.upstreams for k, v in u.promised.items()}

    def query(self, sql, *arguments):
        """Rows of one statement, as dictionaries."""
        for last in (False, True):
            try:
                if self._db is None:
                    self._db = self.postgres.connect(self.database)
                with self._db.cursor() as cursor:
                    cursor.execute(sql, arguments)
                    names = [c.name for c in cursor.description]
                    return [dict(zip(names, row)) for row in cursor]
            except Exception:
                self._db = None
                if last:
                    raise

    def open_payments(self):
        """How many are not yet at an end (unresolved counts as one)."""
        row = self.query("SELECT count(*) AS n FROM payments "
                         "WHERE state NOT IN (5, 6, 7, 8, 9, 10, 11)")
        return row[0]["n"]

    def wait_settled(self, timeout_s=60):
        """Until each promised payment is in Postgres and at an end, and each
        event has been told."""
        promised = len(self.promised)

        def settled():
            row = self.query(
                "SELECT count(*) AS n, count(*) FILTER (WHERE state < 5) AS o,"
                " count(*) FILTER (WHERE published_version < version) AS owed"
                " FROM payments")[0]
            return row["n"] >= promised and not row["o"] and not row["owed"]
        wait_for("every payment is at an end and announced", settled,
                 timeout_s, 0.1)

    def stop(self):
        """SIGTERM to each; each has to end with 0 and a clean log."""
        if self._db is not None:
            self._db.close()
            self._db = None
        faults = []
        for program in (self.api, *self.workers, self.sim):
            try:
                program.stop()
            except AssertionError as fault:
                faults.append(str(fault))
            if program.sanitizer_report():
                faults.append(f"{program.name}:\n"
                              f"{program.sanitizer_report()}")
        assert not faults, "\n".join(faults)

    def end(self):
        """Away with all of it, whatever state it is in."""
        if self._db is not None:
            self._db.close()
            self._db = None
        for program in self.programs:
            program.end()

    def story(self):
        """[(title, text)] for whoever has to find out what went wrong."""
        told = []
        for program in self.programs:
            told.append((f"{program.name}: end of {program.log}",
                         program.tail()))
            if isinstance(program, Served) and program.running():
                try:
                    values = program.metrics()
                except OSError as error:
                    told.append((f"{program.name}: metrics", str(error)))
                    continue
                rows = [f"{k} {v:g}" for k, v in values.items()
                        if v and "_bucket" not in k]
                told.append((f"{program.name}: metrics", "\n".join(rows)))
        return told
