"""make torture: rounds of load and faults, and a checker after each.

ROUNDS=5 SEED=random FAULTS=all ENV=single RATE=70 KEEP=  (see docs/torture.md)
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

from tests.harness import oracle, place
from tests.harness.cluster import Cluster
from tests.harness.postgres import Postgres
from tests.harness.standby import Pair
from tests.torture import disks, faults, report
from tests.torture.clients import Crowd
from tests.torture.field import WORKERS, Field
from tests.torture.links import KafkaLink
from tests.torture.rules import Rules
from tests.torture.witness import Witness

LOAD_S = 4          # of a round: its load, and when faults strike
LATE_S = 3          # faults that last longer end then
SETTLE_S = 120      # generous: after that something is stuck
AGREE_S = 20        # what is on its way between memories has arrived by then
ENVIRONMENTS = {"single", "cluster", "hosts", "standby", "standby-sync",
                "disks"}
KAFKA = {"group.min.session.timeout.ms": 1000}


class Contradiction(Exception):
    """What the checker found; args[0] has the whole story."""


class Torture:
    def __init__(self, directory, options):
        self.options = options
        self.directory = directory
        self.tally = report.Tally(options)
        self.disks, env = {}, options.env
        if "disks" in env:
            self.disks, why = disks.mount({
                "pg": (directory / "pg", 700),
                "kafka": (directory / "kafka", 400),
                "field": (directory / "field", 200)})
            if not self.disks:
                self.tally.impossible.append(f"disks: {why}")
                env = env - {"disks"}
        nodes = 3 if "cluster" in env else 1
        links = [KafkaLink(nodes) for _ in range(WORKERS)]
        self.cluster = Cluster(directory / "kafka", nodes, links, KAFKA)
        self.postgres = Pair(directory / "pg", "standby-sync" in env) \
            if env & {"standby", "standby-sync"} else Postgres(
                directory / "pg", {"max_wal_size": "256MB"}
                if self.disks else None)
        copies = {"topics.replication": nodes, "topics.min_insync": 2} \
            if nodes > 1 else {}
        self.slow = {name: disks.Slow(
            directory / f"slow-{name}", place.build_directory() /
            "slowdisk.so") for name in ("pg", "kafka") if self.disks}
        with self._loaded("kafka"):
            self.cluster.start()
        with self._loaded("pg"):
            self.postgres.start()
        self.field = Field(directory / "field", self.postgres, self.cluster,
                           links, {**copies, **options.settings},
                           "hosts" in env)
        self.field.disks = self.disks
        self.field.slow = self.slow
        self.nemesis = faults.Nemesis(
            self.field, faults.choose(options.faults, env))
        self.witness = None

    def _loaded(self, name):
        return self.slow[name].loaded() if self.slow \
            else contextlib.nullcontext()

    def start(self):
        self.field.start()
        self.field.sim.profile(faults.PROFILE)
        self.field.crowd = Crowd(self.field)
        self.witness = Witness(self.field)
        self.rules = Rules(
            self.witness, self.field.deaths,
            int(self.field.settings["gate.total_timeout_ms"]) < 10000)
        self.open = set()  # payments that were not judged at their end yet

    # --- a round ---

    def round(self, n):
        dice = random.Random(f"{self.options.seed}:{n}")
        older = set(self.field.crowd.promised)
        self.began = time.monotonic()
        self.field.crowd.order(dice, LOAD_S, self.options.rate)
        self.nemesis.plan(dice, LOAD_S)
        end = self.began + LOAD_S
        late = end + LATE_S
        while time.monotonic() < end or (
                not self.nemesis.done() and time.monotonic() < late):
            self.nemesis.run()
            self.field.supervise(dice)
            time.sleep(0.01)
        self.nemesis.heal_all()
        self.field.heal()
        self.cluster.wait_serving(SETTLE_S, again=True)
        self.field.wait_up(dice)
        self._settle(dice, older)
        self._judge(n, older)

    def last(self):
        """What the rounds left open comes to its end, too."""
        dice = random.Random(self.options.seed)
        self._wait("every order is answered",
                   lambda: not self.field.crowd.busy(), dice, SETTLE_S)
        everything = set(self.field.crowd.promised)
        self._settle(dice, everything)
        self.open |= everything
        self._judge(self.tally.rounds, everything)
        self._audit()

    def _audit(self):
        """The trail's hashes, checked by the operator's own command."""
        try:
            said = self.field.foleni("doctor", "audit")
        except RuntimeError as error:
            if "ended with 64" not in str(error):
                raise Contradiction(f"audit: {error}") from None
            self.tally.impossible.append("audit trail: no command for it yet")
            return
        self.tally.audit = said.strip().splitlines()[-1]

    def _wait(self, what, check, dice, timeout_s):
        def look():
            self.field.supervise(dice)
            return check()
        try:
            place.wait_for(what, look, timeout_s, 0.1)
        except TimeoutError as error:
            self.tally.late = str(error)

    def _settle(self, dice, idents):
        """Until these payments are at their ends and told, or for so long
        that the checker has to say what is stuck."""
        idents = list(idents & self.open) or list(idents)

        def settled():
            row = self.field.query(
                "SELECT count(*) AS n, count(*) FILTER (WHERE state < 5) AS o,"
                " count(*) FILTER (WHERE published_version < version) AS owed"
                " FROM payments WHERE id = ANY(%s::uuid[])", idents)[0]
            return row["n"] >= len(idents) and not row["o"] \
                and not row["owed"]
        self._wait("every payment is at an end and told", settled, dice,
                   SETTLE_S)

    def _judge(self, n, ended):
        """All by what always holds; `ended` by what holds at an end, too.
        Contradictions that are only on their way get some time."""
        end = time.monotonic() + AGREE_S
        while True:
            self.open |= self.witness.news()
            found = self.witness.look(self.open)
            faults_ = self._ends() + oracle.contradictions(
                found, self.rules.always())
            later = [] if faults_ else oracle.contradictions(
                self.witness.part(found, ended), self.rules.settled())
            if not later or faults_ or time.monotonic() > end:
                break
            time.sleep(0.5)
        self.open -= ended
        self.tally.add(n, self.field, self.witness, found,
                       time.monotonic() - self.began, self.nemesis)
        if faults_ or later:
            raise Contradiction(self._story(found, faults_ + later))

    def _ends(self):
        crowd, field = self.field.crowd, self.field
        return [f"crash: {c}" for c in field.crashes] + \
            [f"client: {c}" for c in crowd.faults]

    def _story(self, found, faults_):
        lines = [*faults_[:20], oracle.story(found, faults_)]
        for ident, rows in self.witness.causes.items():
            if ident in faults_[0]:
                lines += [f"timeline: {row}" for row in rows]
        lines += ["--- the faults of this round", *self.nemesis.log]
        return "\n".join(lines)

    def end(self, keep):
        for program in self.field.programs:
            program.end()
        if self.witness:
            self.witness.close()
        if keep:
            self.cluster.stop()
            self.postgres.stop(hard=True)
            return
        self.cluster.destroy()
        self.postgres.destroy()
        for disk in self.disks.values():
            disk.unmount()
        place.remove(self.directory)


def commit():
    done = subprocess.run(["git", "describe", "--always", "--dirty"],
                          capture_output=True, text=True, cwd=place.REPO)
    return done.stdout.strip() or "unknown"


class Options:
    def __init__(self, environ):
        self.rounds = int(environ.get("ROUNDS") or 5)
        self.seed = int(environ.get("SEED") or random.randrange(10**6))
        self.faults = environ.get("FAULTS", "")
        self.env = set((environ.get("ENV") or "single").split(","))
        self.rate = float(environ.get("RATE") or 70)
        self.enough = False
        self.keep = bool(environ.get("KEEP"))
        self.forget = bool(environ.get("FORGET"))
        self.settings = dict((p.split("=")[0], int(p.split("=")[1])) for p in
                             environ.get("SETTINGS", "").split(",") if p)
        self._aim(environ)
        self.commit = commit()
        if not self.env <= ENVIRONMENTS:
            raise SystemExit(f"torture: ENV is of {sorted(ENVIRONMENTS)}")

    @staticmethod
    def _aim(environ):
        """For directed runs, as those of mutants."""
        def words(name):
            return [w for w in environ.get(name, "").split(",") if w] or None
        faults.Aim.windows = words("WINDOWS")
        faults.Aim.statements = words("STATEMENTS")
        if environ.get("COMMITTED"):
            faults.Aim.committed = environ["COMMITTED"] == "1"
        if environ.get("LOST"):
            faults.PROFILE["callback"]["lost"] = float(environ["LOST"])


def run(options):
    """True when nothing contradicted."""
    directory = place.run_directory(f"torture-{os.getpid()}")
    print(f"torture: seed {options.seed}, {options.rounds} rounds, "
          f"env {','.join(sorted(options.env))}, commit {options.commit}\n"
          f"torture: {directory}", flush=True)
    torture = Torture(directory, options)
    fault = None
    try:
        torture.start()
        for n in range(1, options.rounds + 1):
            if options.enough:
                break
            torture.round(n)
            print(torture.tally.line(), flush=True)
        torture.last()
    except Contradiction as found:
        fault = str(found)
    finally:
        broken = fault is not None or sys.exc_info()[0] is not None
        torture.end(keep=(broken or options.keep) and not options.forget)
    print(torture.tally.table(), flush=True)
    if fault:
        print(f"\nCONTRADICTION in round {torture.tally.rounds}, "
              f"SEED={options.seed}, kept in {directory}\n{fault}")
    return fault is None


def main():
    options = Options(os.environ)

    def stop(*_):
        options.enough = True  # this round to its end, and the table
    signal.signal(signal.SIGTERM, stop)
    sys.exit(0 if run(options) else 1)


if __name__ == "__main__":
    main()
