"""The field of a torture: a world of three workers and two APIs, each worker
with links of its own to Postgres and Kafka, whose processes die and come back
without anybody waiting for them."""

import json
import os
import subprocess
import time
from collections import namedtuple

from tests.harness import settings as conf
from tests.harness import wire
from tests.harness.place import alive, build_directory, remove, wait_for
from tests.harness.postgres import SUPERUSER
from tests.harness.program import Program
from tests.harness.world import Api, World
from tests.torture.clients import TOLD, UNTOLD
from tests.torture.disks import loaded
from tests.torture.faults import PROFILE
from tests.torture.links import primary, PostgresLink, TcpLink, Weather

WORKERS, APIS = 3, 2
LOST_CODE = 75  # it found itself declared dead, and is to be started again
# Shorter than as shipped; heartbeat and takeover are as shipped.
QUICK = {
    **conf.QUICK,
    "kafka.session_timeout_ms": 3000,
    "payments.unresolved_after_ms": 7000,
    "payments.query_max_ms": 1000,
    "gate.total_timeout_ms": 2500,
    "worker.lease_ms": 4000,
    "worker.slots": 64,
    "worker.ahead": 60,
    "worker.drain_timeout_ms": 8000,
    "sim.callback_timeout_ms": 2000,
    "notices.scan_ms": 200,
    "pull.every_ms": 3000,
    "pull.quarantine_ms": 3000,
    "pull.apart_ms": 3000,
    "pull.timeout_ms": 3000,
}
MEMBERS = {int(TOLD): {"pull": "post"}, int(UNTOLD): {}}

Death = namedtuple("Death", "at name incarnation had killed")


class Field(World):
    """`deaths` has each end or freeze of a worker, with what it had in the
    air; `crashes` each end that nobody asked for."""

    def __init__(self, directory, postgres, cluster, kafka_links, settings,
                 own_hosts=False):
        super().__init__(directory, postgres, cluster, workers=WORKERS,
                         settings={**QUICK, **settings}, shortcode=MEMBERS)
        second = Api("foleni-api", self.config,
                     self.directory / "foleni-api-1.log")
        self.apis = [self.api, second]
        self.kafka_links = kafka_links[:WORKERS]
        self.api_kafka_links = kafka_links[WORKERS:]
        self.pg_links = []
        self.deaths, self.crashes = [], []
        self.kills = {}   # program -> when it was killed on purpose
        self.again = {}   # program -> when it is to be started again
        self.postgres_back = []  # when it could be written again
        self.forgets, self.recovered = 0, 0  # times, rows
        self._recovers_at = 0
        self.doubted, self._accepts_at = False, 0
        self._upsets = (0, None)
        self.own_hosts = own_hosts
        self.crowd = None
        self.disk_full = False  # a program may say so and end
        self.disks, self.slow, self.clock = {}, {}, None
        self.nets, self.ways = [], []  # hosts of workers, and to the provider
        self._asleep, self._frozen = set(), False
        self._own_environment()

    @property
    def programs(self):
        return [self.sim, *self.apis, *self.workers]

    @property
    def served(self):
        return [*self.apis, *self.workers]

    @property
    def promised(self):
        return self.crowd.promised if self.crowd else {}

    def name(self, program):
        if program in self.workers:
            return f"worker-{self.workers.index(program)}"
        return f"api-{self.apis.index(program)}"

    def _own_environment(self):
        for program in self.served:
            plan = self.window_file(program)
            plan.write_text("\n")
            program.environ = {**os.environ, "FOLENI_WINDOW": f"@{plan}"}

    def window_file(self, program):
        return self.directory / f"window-{self.name(program)}"

    def window(self, program, plan=""):
        """What its windows do from now on; one write, so it is never half."""
        fd = os.open(self.window_file(program), os.O_WRONLY)
        os.write(fd, (plan + "\n").ljust(200).encode())
        os.close(fd)

    # --- start and end ---

    def start(self):
        self.start_simulator()
        self.prepare()
        self.callback_weather = Weather()
        self.balancer = TcpLink(self.callback_weather,
                                lambda: [a.port for a in self.apis])
        self.sim.register_pull(TOLD)
        self.sim.register_c2b(TOLD, f"http://127.0.0.1:{self.balancer.port}"
                              f"{wire.c2b_path()}")
        for n, api in enumerate(self.apis):
            api.sets["kafka.brokers"] = self.api_kafka_links[n].bootstrap
            link = PostgresLink(self.directory / f"pg-api-{n}", self.postgres,
                                "api")
            api.sets["database.conninfo"] = link.conninfo(self.database)
            api.start()
        for n, worker in enumerate(self.workers):
            self._set_up(n, worker)
            worker.start()
            worker.sets["worker.admin_listen"] = \
                f"{worker.address}:{worker.admin_port}"
        for program in self.served:
            program.wait_ready(60)
        return self

    def _move_out(self, n, worker):
        """Into a host of its own, from where ours is reached by its name."""
        net = self.nets[n]
        worker.within = net.within()
        worker.address = net.theirs
        worker.sets["worker.admin_listen"] = f"{net.theirs}:0"
        self.ways.append(TcpLink(Weather(), lambda: [self.sim.port],
                                 net.ours))
        worker.config = self.directory / f"foleni-{n}.cfg"
        worker.config.write_text(self.config.read_text().replace(
            self.sim.url, f"http://{net.ours}:{self.ways[-1].port}"))

    def _set_up(self, n, worker):
        if self.nets:
            self._move_out(n, worker)
        link = PostgresLink(self.directory / f"pg-{n}", self.postgres,
                            "worker", self.nets and self.nets[n].ours)
        self.pg_links.append(link)
        worker.sets["database.conninfo"] = link.conninfo(self.database)
        worker.sets["kafka.brokers"] = self.kafka_links[n].bootstrap
        worker.sets["callbacks.base_url"] = \
            f"http://127.0.0.1:{self.balancer.port}"
        if self.own_hosts:
            worker.sets["host.id"] = f"host-{n}"
            worker.sets["recorder.directory"] = self.recorder(n)
            self.recorder(n).mkdir(exist_ok=True)

    def operate(self, *arguments, timeout_s=60):
        """The command line in the hands of a person: (exit code, what it
        printed, what it complained of)."""
        done = subprocess.run(
            [build_directory() / "foleni", *arguments, "-c", self.config,
             "--set", f"database.conninfo={self.conninfo('operator')}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout_s)
        return done.returncode, done.stdout, done.stderr

    def conninfo(self, login):
        """Of whoever is the primary now."""
        return self.server.conninfo(self.database).replace(
            f"user={SUPERUSER}", f"user={login}")

    def recorder(self, n):
        return self.directory / (f"recorder-{n}" if self.own_hosts
                                 else "recorder")

    # --- deaths ---

    def incarnation(self, worker):
        rows = self.query("SELECT max(incarnation) AS n FROM workers "
                          "WHERE pid = %s", worker.pid)
        return rows[0]["n"]

    def died(self, worker, at):
        """Notes what a worker had in the air when it died or froze."""
        if worker not in self.workers:
            return
        try:
            incarnation = self.incarnation(worker)
            had = {row["id"] for row in self.query(
                "SELECT id::text FROM payments WHERE state = 1 AND owner = %s",
                incarnation)}
        except Exception:
            incarnation, had = None, set()  # Postgres is away, too
        self.deaths.append(Death(at, self.name(worker), incarnation, had,
                                 not worker.running()))

    def kill(self, program, back_s):
        """kill -9; it is started again after so many seconds."""
        if not program.running():
            return
        self.kills[program] = time.time()
        program.kill9()
        self._ended(program, back_s)

    def stopped(self, program):
        """Whether it is frozen, by us or by a window."""
        try:
            with open(f"/proc/{program.pid}/stat") as f:
                return f.read().rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False

    def _ended(self, program, back_s):
        now = time.time()
        self.died(program, now)
        self.again[program] = now + back_s

    def _watch_sleepers(self):
        asleep = {w for w in self.workers if w.running() and self.stopped(w)}
        for worker in asleep - self._asleep:
            self.died(worker, time.time())
        self._asleep = asleep

    def supervise(self, dice):
        """Starts again what died; notes ends that nobody asked for."""
        self._watch_sleepers()
        for program in self.served:
            if program.running() or program in self.again:
                continue
            code = program.process.returncode
            windowed = code == -9 and b"window " in program.said()[-400:]
            if not windowed and code != LOST_CODE and not (
                    self.disk_full and code > 0):
                self.crashes.append(
                    f"{self.name(program)} ended with {code}:\n"
                    f"{program.tail(20)}")
            self.window(program)
            self._ended(program, dice.uniform(0.05, 1.5))
        for program, at in list(self.again.items()):
            if time.time() >= at:
                del self.again[program]
                Program.start(program)  # nobody waits for its ports

    # --- servers ---

    @property
    def server(self):
        return primary(self.postgres)

    def start_node(self, node):
        with loaded(self.slow.get("kafka")):
            node.start()

    def _as_postgres(self):
        return loaded(self.slow.get("pg"), self.clock)

    def start_postgres(self):
        with self._as_postgres():
            self.server.start()
        self.postgres_back.append(time.time())

    def promote(self):
        """The primary is lost for good, its standby takes over."""
        dead = self.postgres.promote()
        self.postgres_back.append(time.time())
        remove(dead.directory)
        if not self.postgres.synchronous:
            self.forgot()

    def upset(self):
        """Whether something happened since the last call that a person has to
        put right."""
        now = (self.forgets, self.clock and len(self.clock.doubted))
        was, self._upsets = self._upsets, now
        return now != was

    def attend(self):
        """What an operator does who hears the alarms."""
        self.accept()
        self.recover()

    # --- its clock ---

    def accept_clock(self):
        """As an operator does: the present time is right."""
        self.clock.accept()
        self.doubted = True

    def accept(self):
        """... until everybody has heard it, since nobody may have asked."""
        if not self.doubted or time.time() < self._accepts_at:
            return
        self._accepts_at = time.time() + 2.5
        doubts = [w.metrics()["foleni_clock_doubted"] for w in self.workers
                  if w.running() and w.ready()]
        self.doubted = any(doubts) or len(doubts) < len(self.workers)
        if any(doubts):
            self.operate("clock", "accept", "--yes", "--why", "it was wrong")

    # --- what Postgres forgets ---

    def back_up(self):
        if self._frozen:
            raise RuntimeError("Postgres is frozen")
        return self.postgres.backup()

    def restore(self, backup):
        """The server is lost with its disk, and its standby with it."""
        self.thaw_postgres()
        standby = self.postgres.standby
        with self._as_postgres():
            self.postgres.restore(backup)
        if standby:
            remove(standby.directory)
        self.postgres_back.append(time.time())
        self.forgot()

    def forgot(self):
        """An operator has to tell what may have been pushed."""
        self.forgets += 1

    def recover(self):
        """As an operator does who has heard the alarm: `foleni recover` until
        partitions go on; what it refuses is asked again."""
        if not self.forgets or time.time() < self._recovers_at:
            return
        self._recovers_at = time.time() + 1
        code, said, _ = self.operate("recover", "--yes", "--json", "--why",
                                     "Postgres has forgotten")
        for gap in json.loads(said)["partitions"] if not code else ():
            self.recovered += gap["done"]["entered"]

    def lose_host(self, n):
        """A worker's host goes off the net: its sessions stay open at the
        servers, and it goes on for itself."""
        if self.nets:
            self.nets[n].unplug()
        for link in (self.pg_links[n], self.kafka_links[n]):
            if not self.nets:
                link.weather.stall()

    def replace_host(self, n):
        """It never comes back as it was: its recorder is gone."""
        self.kill(self.workers[n], 0)
        for file in self.recorder(n).iterdir():
            file.unlink()
        if self.nets:
            self.nets[n].renew()
        for link in (self.pg_links[n], self.kafka_links[n]):
            link.weather.cut()
            link.weather.calm()

    def freeze_postgres(self):
        self._frozen = True
        self.server.freeze()

    def thaw_postgres(self):
        self._frozen = False
        if self.server.running():
            self.server.thaw()
            self.postgres_back.append(time.time())

    def query(self, sql, *arguments):
        """Nobody waits for a server that he himself has frozen."""
        if self._frozen:
            raise RuntimeError("Postgres is frozen")
        return super().query(sql, *arguments)

    def set_read_only(self, on):
        if self._frozen:
            raise RuntimeError("Postgres is frozen")
        connection = self.server.connect("postgres")
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute("ALTER SYSTEM SET default_transaction_read_only = "
                           + ("on" if on else "off"))
            cursor.execute("SELECT pg_reload_conf()")
        connection.close()
        if not on:
            self.postgres_back.append(time.time())

    def leader(self, dice):
        """A node whose loss hurts."""
        if len(self.broker.nodes) == 1:
            return self.broker.nodes[0]
        return self.broker.leader("payments.requests.normal",
                                  dice.randrange(4)) or self.broker.nodes[0]

    def heal(self):
        """Everybody is there, awake, and left alone."""
        for program in self.served:
            self.window(program)
            if program.running():
                program.thaw()
        for link in self.pg_links:
            link.forget()
            link.weather.calm()
        for link in (*self.kafka_links, *self.api_kafka_links):
            link.weather.calm()
        self.callback_weather.calm()
        self.sim.thaw()
        self.sim.down("none")
        self.sim.profile(PROFILE)
        for node in self.broker.nodes:
            if node.running():
                node.thaw()
            else:
                self.start_node(node)
        self.thaw_postgres()
        if not self.server.running():
            self.start_postgres()
        if getattr(self.postgres, "standby", self) is None:
            with self._as_postgres():
                self.postgres.attach()
        self.set_read_only(False)
        if self.clock:
            self.clock.back()
        self.again = {p: 0 for p in self.again}
        self.disk_full = False

    def wait_up(self, dice, timeout_s=90):
        """Until every process runs and is ready."""
        def up():
            self.supervise(dice)
            if not self.server.running():
                self.start_postgres()
            self.attend()
            return all(p.running() and p.ready() for p in self.served)
        wait_for("every process is ready", up, timeout_s, 0.05)

    def leftovers(self):
        """What of it still runs; for the end."""
        return [p for p in self.programs if p.process and alive(p.pid)]
