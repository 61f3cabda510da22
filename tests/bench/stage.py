"""The servers of a run, and worlds on them for the cases."""

import itertools
import os
import time
from contextlib import contextmanager
from pathlib import Path

from tests.bench.judge import judge
from tests.harness import place
from tests.harness.broker import KafkaBroker
from tests.harness.postgres import Postgres
from tests.harness.world import World

POSTGRES = {"shared_buffers": "1GB", "max_wal_size": "8GB",
            "shared_preload_libraries": "pg_stat_statements",
            # measured where a case says so; costs nothing elsewhere
            "pg_stat_statements.track": "none"}
# The provider of most cases: each phone answers after the same time.
ANSWER_MS, DECIDE_MS, CALLBACK_MS = 100, 500, 0
CALM = {"preset": "calm", "answer_ms": ANSWER_MS, "decide_ms": DECIDE_MS,
        "callback_ms": CALLBACK_MS}
# Prompts that nobody answers, and no queries about them.
UNANSWERED = {"payments.query_first_ms": 600_000,
              "payments.query_max_ms": 600_000,
              "payments.prompt_timeout_ms": 900_000}
SETTINGS = {"topics.partitions": 12, "limits.client_rate": 100_000}
MEMORY = Path("/dev/shm")


class BenchWorld(World):
    """A world whose promises are kept small, and whose journal is in memory:
    the provider's syncs are not ours to pay for."""

    def __init__(self, directory, *args, **kwargs):
        super().__init__(directory, *args, quick=False, **kwargs)
        here = MEMORY if MEMORY.is_dir() else Path(directory)
        self.journal = here / f"foleni-{os.getpid()}-{self.database}.journal"
        self.settings["sim.journal"] = self.journal
        self.prepared = None  # to be done before programs start
        self.asked = {}  # answered 202: {id: (phone, amount)}
        self._numbers = itertools.count(1)

    def prepare(self):
        super().prepare()
        if self.prepared:
            self.prepared(self)

    def next_number(self):
        """Of a payment that no other one of this world has."""
        return next(self._numbers)

    def unsettled(self):
        """Payments for which something is to be done, by an index of few."""
        return self.query("SELECT count(*) AS n FROM payments WHERE "
                          "next_action_at IS NOT NULL OR state = 3")[0]["n"]

    def claimed(self):
        """Requests that this life of the worker has claimed."""
        return sum(v for k, v in self.worker.metrics().items()
                   if k.startswith("foleni_claims_total"))

    def wait_claimed(self, count, timeout_s=120):
        """Until the worker's present life has claimed so many."""
        place.wait_for("all are claimed", lambda: self.worker.check_running()
                       and self.claimed() >= count, timeout_s, 0.1)

    def wait_answered(self, count, timeout_s=120):
        """Until so many pushes of the worker's present life were answered."""
        name = 'foleni_pushes_total{end="answer"}'
        place.wait_for("all are pushed", lambda: self.worker.check_running()
                       and self.worker.metrics()[name] >= count, timeout_s,
                       0.1)

    def wait_done(self, timeout_s=120):
        """Until all that was answered 202 is at its end and told."""
        known = len(self.asked)
        place.wait_for("all are final", lambda: not self.unsettled() and
                       self.query("SELECT count(*) AS n FROM payments")[0]["n"]
                       >= known, timeout_s, 0.25)

    def remove(self):
        self.end()
        self.journal.unlink(missing_ok=True)


class Stage:
    """One Postgres and one Kafka. Worlds of equal settings are shared by the
    cases that follow each other."""

    def __init__(self, directory, postgres=None, kafka=None):
        """Servers that are given run already, and are not ended here."""
        self.directory = Path(directory)
        self.kafka = kafka or KafkaBroker(self.directory / "kafka")
        self._postgres = {(): postgres} if postgres else {}
        self._given = [s for s in (postgres, kafka) if s]
        self._numbers = itertools.count(1)
        self._now = None  # (what it was made of, world)

    def start(self):
        self.postgres()
        if self.kafka not in self._given:
            self.kafka.start()
        return self

    def postgres(self, **settings):
        """The server of these settings, started when first asked for."""
        kind = tuple(sorted(settings.items()))
        if kind not in self._postgres:
            self._postgres[kind] = Postgres(
                self.directory / f"pg-{len(self._postgres)}",
                {**POSTGRES, **settings}).start()
        return self._postgres[kind]

    def world(self, settings=None, prepared=None, **options):
        """A started world; one of the same kind may have served others.
        prepared(world) runs on the empty tables of a world of its own."""
        kind = (settings, dict(options))
        if self._now and self._now[0] == kind and not prepared:
            return self._now[1]
        self.close()
        n = next(self._numbers)
        world = BenchWorld(
            self.directory / f"world-{n}",
            options.pop("postgres", None) or self.postgres(), self.kafka,
            database=f"bench_{n}", prefix=f"b{n}.",
            settings={**SETTINGS, **(settings or {})}, **options)
        self._now = (None if prepared else kind, world)
        world.prepared = prepared
        world.worker.environ = {**os.environ,
                                "FOLENI_BENCH_JOURNAL": world.journal}
        world.start()
        world.sim.profile(CALM)
        return world

    def close(self, hard=False):
        """Ends the present world in order, or (hard) as it is."""
        if not self._now:
            return
        world, self._now = self._now[1], None
        try:
            if not hard:
                world.stop()
        finally:
            world.remove()
            drop(world)

    def judge(self):
        """What the memories of the present world say against each other."""
        return judge(self._now[1]) if self._now else []

    def end(self):
        try:
            self.close(hard=True)
        finally:
            for server in (self.kafka, *self._postgres.values()):
                if server not in self._given:
                    server.destroy()


def remove_leftovers(directory):
    """What runs have left that were killed: their directories, beside this
    one, and their journals."""
    left = [*directory.parent.glob("bench-*"), *MEMORY.glob("foleni-*-bench_*")]
    for path in left:
        pid = path.name.split("-")[1]
        if pid.isdigit() and not place.alive(int(pid)):
            place.remove(path) if path.is_dir() else path.unlink()


def drop(world):
    """The place of its tables is needed by the next one."""
    connection = world.postgres.connect("postgres")
    with connection.cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{world.database}" '
                       "WITH (FORCE)")
    connection.close()


@contextmanager
def timed(seconds):
    """Appends how long its block took."""
    began = time.monotonic()
    yield
    seconds.append(time.monotonic() - began)
