"""make torture: rounds of load and faults, and a checker after each.

ROUNDS=5 SEED=random FAULTS=all ENV=single WORLDS=1 RATE=70 KEEP=
(see docs/torture.md)
"""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.harness import oracle, place
from tests.harness.cluster import Cluster
from tests.harness.postgres import Postgres
from tests.harness.standby import Pair
from tests.torture import clients, clocks, disks, faults, nets, report
from tests.torture.clients import Crowd
from tests.torture.docket import Docket
from tests.torture.field import APIS, WORKERS, Field
from tests.torture.links import KafkaLink
from tests.torture.person import Person
from tests.torture.rules import Rules
from tests.torture.witness import Witness
from tests.torture.worlds import Worlds

LOAD_S = 4          # of a round: its load, and when faults strike
LATE_S = 0.5        # faults that last longer end then
RIPE = 2            # so many rounds later a payment is judged at its end, if
OVERDUE = 5         # it is there; so many later it has to be
SETTLE_S = 120      # generous: after that something is stuck
AUDIT_S = 600       # of the whole trail, at the end
AGREE_S = 60        # what is on its way between memories has arrived by then
ENVIRONMENTS = {"single", "cluster", "hosts", "standby", "standby-sync",
                "disks", "clocks"}
KAFKA = {"group.min.session.timeout.ms": 1000}


class Contradiction(Exception):
    """What the checker found; args[0] has the whole story."""


class Torture:
    def __init__(self, directory, options):
        self.options = options
        self.directory = directory
        self.tally = report.Tally(options)
        self.enough = False
        self.disks, env = {}, options.env
        if "disks" in env:
            self.disks, why = disks.mount({
                "pg": (directory / "pg", 700),
                "kafka": (directory / "kafka", 400),
                "field": (directory / "field", 200)})
            if not self.disks:
                self.tally.impossible.append(f"disks: {why}")
                env = env - {"disks"}
        self.nets, why = nets.make(WORKERS) if "hosts" in env else ([], "")
        if why:
            self.tally.impossible.append(f"namespaces of the network: {why}")
        nodes = 3 if "cluster" in env else 1
        links = [KafkaLink(nodes, net.ours) for net in self.nets]
        links += [KafkaLink(nodes) for _ in range(WORKERS + APIS - len(links))]
        self.cluster = Cluster(directory / "kafka", nodes, links, KAFKA)
        self.postgres = Pair(directory / "pg", "standby-sync" in env) \
            if env & {"standby", "standby-sync"} else Postgres(
                directory / "pg", {"max_wal_size": "256MB"}
                if self.disks else None)
        copies = {"topics.replication": nodes, "topics.min_insync": 2} \
            if nodes > 1 else {}
        self.slow = {name: disks.Slow(
            directory / f"slow-{name}", place.build_directory() /
            "slowdisk.so") for name in ("pg", "kafka", "field")
            if self.disks}
        self.clock = None
        if "clocks" in env:
            try:
                self.clock = clocks.Clock(directory / "clock")
            except OSError as error:
                self.tally.impossible.append(f"clocks: {error}")
                env = env - {"clocks"}
        with disks.loaded(self.slow.get("kafka")):
            self.cluster.start()
        with disks.loaded(self.slow.get("pg"), self.clock):
            self.postgres.start()
        self.field = Field(directory / "field", self.postgres, self.cluster,
                           links, {**copies, **options.settings},
                           "hosts" in env)
        self.field.disks = self.disks
        self.field.slow = self.slow
        self.field.nets = self.nets
        self.field.clock = self.clock
        for api in self.field.apis:
            if self.slow:
                api.environ.update(self.slow["field"].environment())
        self.nemesis = faults.Nemesis(
            self.field, faults.choose(options.faults, env))
        self.witness = None

    def stop(self):
        """After this round the table."""
        self.enough = True

    def eta(self):
        return "" if self.options.tally else f"; {self.tally.eta()}"

    def hand_on(self):
        """The table, or the counts to whoever makes one of several worlds."""
        if self.options.tally:
            Path(self.options.tally).write_bytes(pickle.dumps(self.tally))
        else:
            print(report.table(self.options, [self.tally],
                               time.monotonic() - self.tally.began),
                  flush=True)

    def start(self):
        self.field.start()
        self.field.sim.profile(faults.PROFILE)
        self.field.crowd = Crowd(self.field)
        self.witness = Witness(self.field)
        self.rules = Rules(
            self.witness, self.field.deaths,
            int(self.field.settings["gate.total_timeout_ms"]) < 10000,
            self.clock)
        self.docket = Docket()
        self._warm_up()
        self.person = Person(self.field, self.options.seed)

    def _warm_up(self):
        """Some payments to their end, before anything is broken."""
        dice = random.Random(self.options.seed)
        self.field.crowd.order(dice, 1, 12)
        self._wait("every order is answered",
                   lambda: not self.field.crowd.busy(), dice, SETTLE_S)
        self._settle(dice, set(self.field.promised))

    # --- a round ---

    def round(self, n):
        """Load and faults, a healing, and a look at everything. What the
        healing has started comes up under the next round's load."""
        dice = random.Random(f"{self.options.seed}:{n}")
        self.began = time.monotonic()
        self.field.crowd.order(dice, LOAD_S, self.options.rate)
        with self.tally.spends("start"):
            self.field.wait_up(dice)
        with self.tally.spends("faults"):
            self._strike(dice)
        with self.tally.spends("heal"):
            self.nemesis.heal_all()
            self.field.heal()
            self.cluster.wait_serving(SETTLE_S, again=True)
        self.docket.born(n, list(self.field.promised))
        with self.tally.spends("settle"):
            if self.field.upset():
                self._calm(dice, n)
            self._settle(dice, self.docket.until(n - OVERDUE))
        with self.tally.spends("judge"):
            self._judge(n, n - RIPE, n - OVERDUE)
        if clients.Aim.told:
            self.person.sit_down(self.witness)

    def _calm(self, dice, n):
        """After what stops partitions until a person has done something, all
        goes on before the next round."""
        self.field.wait_up(dice)
        self._wait("every order is answered",
                   lambda: not self.field.crowd.busy(), dice, SETTLE_S)
        self.docket.born(n, list(self.field.promised))
        self._settle(dice, set(self.docket.open))

    def _strike(self, dice):
        self.nemesis.plan(dice, LOAD_S)
        end = time.monotonic() + LOAD_S
        late = end + LATE_S
        while time.monotonic() < end or (
                not self.nemesis.done() and time.monotonic() < late):
            self.nemesis.run()
            self.field.supervise(dice)
            time.sleep(0.01)

    def last(self):
        """What the rounds left open comes to its end, too."""
        dice, n = random.Random(self.options.seed), self.tally.rounds
        self.began = time.monotonic()
        self.field.wait_up(dice)
        self._wait("every order is answered",
                   lambda: not self.field.crowd.busy(), dice, SETTLE_S)
        self._wait("every decision is taken",
                   lambda: not self.person.busy(), dice, SETTLE_S)
        self.docket.born(n, list(self.field.promised))
        self._settle(dice, set(self.docket.open))
        self.docket.touched(n, self.witness.unresolved())
        self._wait("Pull's money is found", self._pulled, dice, SETTLE_S)
        self._judge(n, n, n)
        self.tally.takeovers(self.field, time.time())
        self.tally.evidence(self.field, self.person)
        self._count()
        self._audit()

    def _pulled(self):
        """Nothing is unresolved of which Pull will tell more."""
        found = self.witness.look(self.witness.unresolved())
        return not list(self.rules.pull_ignored(found))

    def _count(self):
        """Nothing has vanished that was judged and forgotten."""
        def there():
            return sum(oracle.states(self.field).values())

        def agree():
            self.docket.touched(self.tally.rounds, self.witness.news())
            self.witness.look(self.docket.open)
            return there() == self.witness.payments()
        try:
            place.wait_for("as many payments as were seen", agree, AGREE_S, 1)
        except TimeoutError:
            raise Contradiction(
                f"count: Postgres has {there()} payments, seen were "
                f"{self.witness.payments()}") from None

    def _audit(self):
        """The trail's hashes, checked by the operator's own command."""
        code, said, why = self.field.operate("doctor", "audit",
                                             timeout_s=AUDIT_S)
        if code:
            raise Contradiction(f"audit: ended with {code}:\n{said}{why}")
        self.tally.audit.append(said.strip().splitlines()[-1])

    def _wait(self, what, check, dice, timeout_s):
        def look():
            self.field.supervise(dice)
            self.field.attend()
            return check()
        try:
            place.wait_for(what, look, timeout_s, 0.1)
        except TimeoutError as error:
            self.tally.late.append(str(error))

    def _settle(self, dice, idents):
        """Until these payments are at their ends and told, or for so long
        that the checker has to say what is stuck."""
        idents = list(idents)

        def settled():
            row = self.field.query(
                "SELECT count(*) AS n, count(*) FILTER (WHERE state < 5) AS o,"
                " count(*) FILTER (WHERE published_version < version) AS owed"
                " FROM payments WHERE id = ANY(%s::uuid[])", idents)[0]
            return row["n"] >= len(idents) and not row["o"] \
                and not row["owed"]
        if idents:
            self._wait("every payment is at an end and told", settled, dice,
                       SETTLE_S)

    def _judge(self, n, ripe, overdue):
        """All by what always holds; by what holds at an end, too, what is of
        the round `ripe` or before and at its end. What is `overdue` has to be;
        contradictions that are only on their way get some time."""
        end = time.monotonic() + AGREE_S
        due = self.docket.until(overdue)
        rules = self.rules.settled(at_last=ripe == n)
        while True:
            self.docket.touched(n, self.witness.news())
            self.rules.look(set(self.docket.open), self.field.forgets)
            found = self.witness.look(self.docket.open)
            ended = due | {i for i in self.docket.until(ripe)
                           if at_end(found.rows.get(i))}
            faults_ = self._ends() + oracle.contradictions(
                found, self.rules.always())
            later = oracle.contradictions(
                self.witness.part(found, ended), rules)
            ended -= {oracle.subject(line) for line in later} - due
            later = [line for line in later if oracle.subject(line) in ended]
            if not later or faults_ or time.monotonic() > end:
                break
            time.sleep(0.5)
        self.docket.judged(n, ended)
        self.tally.add(n, self.field, self.witness, found,
                       self.witness.part(found, ended),
                       time.monotonic() - self.began, self.nemesis)
        if self.field.forgets:
            self.tally.forgotten(self.field.recovered)
        if faults_ or later:
            raise Contradiction(self._story(found, faults_ + later))
        self.witness.forget(self.docket.forget(n, self.witness.final))

    def _ends(self):
        crowd, field = self.field.crowd, self.field
        return [f"crash: {c}" for c in field.crashes] + \
            [f"client: {c}" for c in crowd.faults] + \
            [f"person: {c}" for c in self.person.faults]

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
        for net in self.nets:
            net.remove()
        if keep:
            self.cluster.stop()
            self.postgres.stop(hard=True)
            return
        self.cluster.destroy()
        self.postgres.destroy()
        for disk in self.disks.values():
            disk.unmount()
        place.remove(self.directory)


def at_end(row):
    """Whether it is there, and everybody was told."""
    return row is not None and row["status"] in oracle.AT_END \
        and row["published_version"] >= row["version"]


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
        self.worlds = int(environ.get("WORLDS") or 1)
        self.tally = environ.get("TALLY")  # of a world: where it is handed on
        self.stop = None  # ends what runs, if anything does
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
        clients.Aim.told = 0 if environ.get("ALONE") else 0.8
        if environ.get("LOST"):
            faults.PROFILE["callback"]["lost"] = float(environ["LOST"])


def run(options):
    """True when nothing contradicted."""
    directory = place.run_directory(f"torture-{os.getpid()}")
    print(f"torture: seed {options.seed}, {options.rounds} rounds, "
          f"env {','.join(sorted(options.env))}, commit {options.commit}\n"
          f"torture: {directory}", flush=True)
    torture = Torture(directory, options)
    options.stop = torture.stop
    fault = None
    try:
        torture.start()
        for n in range(1, options.rounds + 1):
            if torture.enough:
                break
            torture.round(n)
            print(torture.tally.line() + torture.eta(), flush=True)
        torture.last()
    except Contradiction as found:
        fault = str(found)
    finally:
        broken = fault is not None or sys.exc_info()[0] is not None
        torture.end(keep=(broken or options.keep) and not options.forget)
    torture.hand_on()
    if fault:
        print(f"\nCONTRADICTION in round {torture.tally.rounds}, "
              f"SEED={options.seed}, kept in {directory}\n{fault}")
    return fault is None


def main():
    options = Options(os.environ)
    worlds = Worlds(options) if options.worlds > 1 else None
    if worlds:
        options.stop = worlds.stop

    def stop(*_):
        if options.stop:
            options.stop()
    signal.signal(signal.SIGTERM, stop)
    sys.exit(0 if (worlds.run() if worlds else run(options)) else 1)


if __name__ == "__main__":
    main()
