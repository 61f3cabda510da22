"""The nemesis: what it can do, and how it chooses.

A fault strikes once and may last; heal() ends what lasts. The field starts
again what died. Each is drawn and timed by the round's dice alone."""

import random
import time
from collections import Counter

WORKER_WINDOWS = (
    "claim_unsent", "claim_sent", "claimed", "retry_claimed", "push_unmarked",
    "push_marked", "call_sent", "answer_unnoted", "answer_uncommitted",
    "step_unsent", "step_sent", "offset_uncommitted", "callback_unapplied",
    "event_unsent", "event_untold", "taking_over")
API_WINDOWS = ("request_unreported", "request_unanswered",
               "callback_unpublished", "callback_unanswered")
SPOOL_WINDOWS = ("spool_unsynced", "spool_unremoved", "callback_unanswered")
STATEMENTS = ("go", "wait", "take", "step", "told", "due", "look", "intake",
              "pulse_beat", "pulse_orphans", "pulse_dead")
# Shares of what goes wrong even while nothing else does.
PROFILE = {
    "token_single": False,
    "answer_ms": {"p50": 60, "p95": 250},
    "decide_ms": {"p50": 150, "p95": 900},
    "late_ms": 1500,
    "fate": {"cancel": 0.1, "no_funds": 0.05, "no_answer": 0.03,
             "wrong_pin": 0.02},
    "callback": {"lost": 0.03, "twice": 0.05, "late": 0.02, "early": 0.03,
                 "garbage": 0.01},
    "answer": {"rst_after": 0.01, "spike": 0.01},
    "c2b_ms": {"p50": 200, "p95": 900},
    "c2b": {"lost": 0.4, "twice": 0.05},
    "pull_ms": {"p50": 20, "p95": 100},
    "pull_page": 500,
    "pull_delay_ms": 1000,
    "pull_error": 0.05,
    "same_amount_ms": 0,  # as payments.same_amount_gap_ms of these runs
}
WRONG_ANSWERS = (
    "rst_before", "rst_after", "fin_before", "fin_after", "stall_before",
    "stall_after", "truncated_after", "html_before", "html_after",
    "empty_after", "strange_after", "nonzero", "nonzero_after", "302_before",
    "403_before", "429", "500_before", "500_after", "502_before", "502_after",
    "503_before", "503_after", "504_before", "504_after", "busy",
    "busy_after", "spike", "quota", "lock", "token", "token_401", "400_empty",
    "empty_error")


class Aim:
    """What a directed run narrows the faults to; None = as the dice fall."""
    windows = None      # ["name:what:chance"]
    statements = None
    committed = None


class Fault:
    """One kind; `lasts` in seconds. Weight 1 is the usual one."""
    lasts = (0, 0)
    weight = 1

    def __init__(self, field, dice):
        self.field = field
        self.dice = dice
        self.until = dice.uniform(*self.lasts)

    def strike(self):
        raise NotImplementedError

    def heal(self):
        pass

    # --- whom it hits ---

    def worker(self):
        running = [w for w in self.field.workers if w.running()]
        return self.dice.choice(running) if running else None

    def api(self):
        running = [a for a in self.field.apis if a.running()]
        return self.dice.choice(running) if running else None

    def back(self):
        """When a killed process comes back: often before it is missed."""
        return self.dice.choice((0, self.dice.uniform(0, 1),
                                 self.dice.uniform(1, 5)))


class KillWorker(Fault):
    """kill -9 of a worker"""
    weight = 3

    def strike(self):
        victim = self.worker()
        if victim:
            self.field.kill(victim, self.back())


class KillAllWorkers(Fault):
    """kill -9 of all workers at once"""
    weight = 0.5

    def strike(self):
        for worker in self.field.workers:
            self.field.kill(worker, self.back())


class StopWorker(Fault):
    """SIGSTOP of a worker, for less or more than others wait"""
    lasts = (0.3, 6)
    weight = 2

    def strike(self):
        self.victim = self.worker()
        if self.victim:
            self.victim.freeze()

    def heal(self):
        if self.victim and self.victim.running():
            self.victim.thaw()


class StopWorkerThenKill(StopWorker):
    """SIGSTOP of a worker, kill -9 after others took over"""
    weight = 0.5

    def heal(self):
        if self.victim and self.victim.running():
            self.field.kill(self.victim, self.back())


class KillApi(Fault):
    """kill -9 of an API"""
    weight = 2

    def strike(self):
        victim = self.api()
        if victim:
            self.field.kill(victim, self.dice.uniform(0, 1))


class StopApi(StopWorker):
    """SIGSTOP of an API"""
    lasts = (0.2, 3)
    weight = 1

    def strike(self):
        self.victim = self.api()
        if self.victim:
            self.victim.freeze()


class WindowWorker(Fault):
    """a worker kills, freezes or delays itself in a window"""
    lasts = (4, 8)
    weight = 4
    names = WORKER_WINDOWS

    def who(self):
        return self.worker()

    def strike(self):
        self.victim = self.who()
        name = self.dice.choice(self.names)
        what = self.dice.choice(("kill", "kill", "stop", "30"))
        chance = self.dice.choice((0.02, 0.2, 1))
        self.what = f"{name}:{what}:{chance}"
        if Aim.windows:
            self.what = self.dice.choice(Aim.windows)
        if self.victim:
            self.field.window(self.victim, self.what)

    def tick(self):
        """A process that froze in its window is let go on again later."""
        if self.victim and self.field.stopped(self.victim):
            self.field.window(self.victim)

    def heal(self):
        if self.victim:
            self.field.window(self.victim)
            if self.victim.running():
                self.victim.thaw()


class WindowApi(WindowWorker):
    """an API kills, freezes or delays itself in a window"""
    lasts = (0.5, 3)
    weight = 2
    names = API_WINDOWS

    def who(self):
        return self.api()


class Linked(Fault):
    """Of one worker's link, or of all at once."""
    links = "pg_links"

    def __init__(self, field, dice):
        super().__init__(field, dice)
        links = getattr(field, self.links)
        self.hit = links if dice.random() < 0.15 else [dice.choice(links)]

    def heal(self):
        for link in self.hit:
            link.weather.calm()


class PgCut(Linked):
    """connections worker-Postgres cut"""

    def strike(self):
        for link in self.hit:
            link.weather.cut()


class PgStall(Linked):
    """a worker hears nothing of Postgres, connections stay"""
    lasts = (0.5, 5)

    def strike(self):
        for link in self.hit:
            link.weather.stall()


class PgSlow(Linked):
    """worker-Postgres delayed"""
    lasts = (1, 5)

    def strike(self):
        delay = self.dice.uniform(0.005, 0.2)
        for link in self.hit:
            link.weather.delay(delay)


class PgLose(Linked):
    """Postgres commits, or not, and its answer is lost"""
    weight = 3

    def strike(self):
        for link in self.hit:
            for _ in range(self.dice.randrange(1, 4)):
                statement = self.dice.choice(Aim.statements or STATEMENTS)
                committed = self.dice.random() < 0.6
                if Aim.committed is not None:
                    committed = Aim.committed
                link.lose(statement, committed)


class PgRestart(Fault):
    """Postgres restarted, immediate"""

    def strike(self):
        self.field.thaw_postgres()
        self.field.server.stop(hard=True)
        self.field.start_postgres()


class PgKill(Fault):
    """Postgres killed with all of its processes"""
    weight = 0.7
    lasts = (0, 3)

    def strike(self):
        self.field.server.kill9()

    def heal(self):
        if not self.field.server.running():
            self.field.start_postgres()


class PgFreeze(Fault):
    """Postgres frozen"""
    weight = 0.5
    lasts = (0.3, 4)

    def strike(self):
        self.field.freeze_postgres()

    def heal(self):
        self.field.thaw_postgres()


class PgBackends(Fault):
    """backends of Postgres terminated"""

    def strike(self):
        self.field.query(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE application_name LIKE 'foleni%%' AND random() < %s",
            self.dice.choice((0.3, 1)))


class PgReadOnly(Fault):
    """Postgres read-only, as in a failover"""
    lasts = (0.3, 4)
    weight = 0.7

    def strike(self):
        self.field.query("SELECT 1")
        self.field.set_read_only(True)

    def heal(self):
        self.field.set_read_only(False)


class KafkaCut(PgCut):
    """connections worker-Kafka cut"""
    links = "kafka_links"


class KafkaStall(PgStall):
    """a worker hears nothing of Kafka, connections stay"""
    links = "kafka_links"


class KafkaSlow(PgSlow):
    """worker-Kafka delayed"""
    links = "kafka_links"


class ApiKafkaStall(WindowApi):
    """Kafka is away for the APIs while callbacks come, which go to the spool;
    one of them dies or freezes in a window of it, or when it is drained"""
    lasts = (2.5, 4)
    weight = 1.5
    names = SPOOL_WINDOWS

    def strike(self):
        self.back_at = time.monotonic() + self.dice.uniform(0.7, 1.5)
        for link in self.field.api_kafka_links:
            link.weather.stall()
        super().strike()

    def tick(self):
        super().tick()
        if time.monotonic() >= self.back_at:
            self._back()

    def _back(self):
        for link in self.field.api_kafka_links:
            link.weather.calm()

    def heal(self):
        self._back()
        super().heal()


class KafkaKill(Fault):
    """a Kafka node killed: of several, the one that leads"""
    lasts = (0, 2)
    weight = 0.7

    def strike(self):
        self.node = self.field.leader(self.dice)
        self.node.kill9()

    def heal(self):
        if not self.node.running():
            self.field.start_node(self.node)


class KafkaFreeze(Fault):
    """a Kafka node frozen"""
    lasts = (0.3, 4)
    weight = 0.7

    def strike(self):
        self.node = self.field.leader(self.dice)
        if self.node.running():
            self.node.freeze()

    def heal(self):
        if self.node.running():
            self.node.thaw()


class Sim(Fault):
    """Of the provider, where it is awake to be told."""

    def tell(self, call, *arguments):
        if not self.field.stopped(self.field.sim):
            call(*arguments)


class SimAnswers(Sim):
    """the provider's answers go wrong"""
    lasts = (1, 5)
    weight = 2

    def strike(self):
        shares = {}
        for name in self.dice.sample(WRONG_ANSWERS, 5):
            shares[name] = round(self.dice.uniform(0.02, 0.15), 3)
        self.tell(self.field.sim.profile, {"answer": shares})

    def heal(self):
        self.tell(self.field.sim.profile, {"answer": PROFILE["answer"]})


class SimCallbacks(Sim):
    """callbacks get lost, doubled, late, early, broken"""
    lasts = (1, 5)

    def strike(self):
        self.tell(self.field.sim.profile, {"callback": {
            n: round(self.dice.uniform(0, 0.19), 3)
            for n in ("lost", "twice", "late", "early", "garbage")}})

    def heal(self):
        self.tell(self.field.sim.profile,
                  {"callback": PROFILE["callback"]})


class SimDown(Sim):
    """the provider is away"""
    lasts = (0.2, 1.5)
    weight = 0.7

    def strike(self):
        self.tell(self.field.sim.down, self.dice.choice(
            ("refuse", "500", "503", "stall")))

    def heal(self):
        self.tell(self.field.sim.down, "none")


class SimFreeze(Fault):
    """the provider is frozen"""
    lasts = (0.3, 3)
    weight = 0.7

    def strike(self):
        self.field.sim.freeze()

    def heal(self):
        self.field.sim.thaw()


class SimTokens(Sim):
    """access tokens revoked"""
    weight = 0.7

    def strike(self):
        self.tell(self.field.sim._request, "POST", "/sim/tokens",
                  {"action": "revoke"})


class CallbacksCut(Fault):
    """connections provider-API cut, then stalled"""
    lasts = (0, 2)
    weight = 0.7

    def strike(self):
        self.field.callback_weather.cut()
        self.field.callback_weather.stall()

    def heal(self):
        self.field.callback_weather.calm()


class LoseHost(Fault):
    """a worker's host is lost, with its flight recorder"""
    lasts = (3, 6)
    weight = 3

    def strike(self):
        self.n = self.dice.randrange(len(self.field.workers))
        self.field.lose_host(self.n)

    def heal(self):
        self.field.replace_host(self.n)


class PgPromote(Fault):
    """the primary is lost, its standby is promoted"""
    weight = 3

    def strike(self):
        if self.field.postgres.standby:
            self.field.promote()


class PgForget(Fault):
    """the primary is lost, its standby has not heard of the last commits"""
    lasts = (0.3, 2.5)
    weight = 3

    def strike(self):
        self.field.query("SELECT 1")  # it can be told
        if self.field.postgres.standby:
            self.field.postgres.cut()

    def heal(self):
        if self.field.postgres.standby:
            self.field.promote()


class PgRestore(Fault):
    """Postgres is lost with its disk, its base backup is restored"""
    lasts = (0.5, 2.5)
    weight = 3
    backup = None

    def strike(self):
        self.backup = self.field.back_up()

    def heal(self):
        if self.backup:
            backup, self.backup = self.backup, None
            self.field.restore(backup)


class Clock(Fault):
    """Of Postgres's clock, one at a time."""
    lasts = (2, 6)
    weight = 2
    holds = False

    def strike(self):
        if self.field.clock.held:
            raise RuntimeError("it is off already")
        self.holds = self.field.clock.held = True
        self.move(self.field.clock)

    def heal(self):
        if self.holds:
            self.end(self.field.clock)
            self.holds = self.field.clock.held = False

    def end(self, clock):
        clock.back()


class ClockStep(Clock):
    """Postgres's clock steps, and back where it was"""
    steps = (60, 3600, 86400)

    def move(self, clock):
        seconds = self.dice.choice(self.steps)
        self.what = f"{seconds:+} s"
        clock.step(seconds)


class ClockBack(ClockStep):
    """Postgres's clock steps backwards, and where it was again"""
    steps = (-20, -3600, -86400)


class ClockAccepted(Clock):
    """Postgres's clock steps, and a person says that it is right"""

    def move(self, clock):
        to = self.dice.uniform(-20, 120)
        self.what = f"{to - clock.accepted:+.1f} s"
        clock.step(to - clock.accepted)

    def end(self, clock):
        self.field.accept_clock()


class ClockDrift(Clock):
    """Postgres's clock goes a fifth too fast or too slow, and back"""
    weight = 1

    def move(self, clock):
        self.began = time.monotonic()
        self.rate = self.dice.choice((-0.2, 0.2))

    def tick(self):
        if self.holds:
            clock = self.field.clock
            clock.set(clock.accepted
                      + self.rate * (time.monotonic() - self.began))


class DiskFull(Fault):
    """a disk without room"""
    lasts = (0.5, 4)
    weight = 2
    disk = ""

    def strike(self):
        self.field.disk_full = True
        self.field.disks[self.disk].fill()

    def heal(self):
        self.field.disks[self.disk].empty()


class DiskFullPg(DiskFull):
    """no room for Postgres"""
    disk = "pg"

    def heal(self):
        super().heal()
        if not self.field.server.running():
            self.field.start_postgres()


class DiskFullKafka(DiskFull):
    """no room for Kafka"""
    disk = "kafka"

    def heal(self):
        super().heal()
        for node in self.field.broker.nodes:
            if not node.running():
                self.field.start_node(node)


class DiskSlow(Fault):
    """Postgres's or Kafka's disk is slow"""
    lasts = (1, 5)
    weight = 2

    def strike(self):
        self.slow = self.field.slow[self.dice.choice(("pg", "kafka"))]
        self.slow.tell(self.dice.choice((50, 300, 2000)))

    def heal(self):
        self.slow.tell(0)


class DiskFullField(DiskFull):
    """no room for flight recorders, spool and logs"""
    disk = "field"


class SpoolFull(DiskFullField):
    """no room for the spool while Kafka is away"""
    lasts = (1, 4)

    def strike(self):
        self.node = self.field.leader(self.dice)
        self.node.kill9()
        super().strike()

    def heal(self):
        super().heal()
        if not self.node.running():
            self.field.start_node(self.node)


class SpoolSlow(Fault):
    """the spool's disk is slow while Kafka is away"""
    lasts = (1, 4)
    weight = 2

    def strike(self):
        self.node = self.field.leader(self.dice)
        self.node.kill9()
        self.field.slow["field"].tell(self.dice.choice((50, 300, 2000)))

    def heal(self):
        self.field.slow["field"].tell(0)
        if not self.node.running():
            self.field.start_node(self.node)


ALL = {
    "kill-worker": KillWorker, "kill-workers": KillAllWorkers,
    "stop-worker": StopWorker, "stop-kill-worker": StopWorkerThenKill,
    "kill-api": KillApi, "stop-api": StopApi,
    "window-worker": WindowWorker, "window-api": WindowApi,
    "pg-cut": PgCut, "pg-stall": PgStall, "pg-slow": PgSlow,
    "pg-lose": PgLose, "pg-restart": PgRestart, "pg-kill": PgKill,
    "pg-freeze": PgFreeze, "pg-backends": PgBackends,
    "pg-readonly": PgReadOnly,
    "api-kafka": ApiKafkaStall,
    "kafka-cut": KafkaCut, "kafka-stall": KafkaStall,
    "kafka-slow": KafkaSlow, "kafka-kill": KafkaKill,
    "kafka-freeze": KafkaFreeze,
    "sim-answers": SimAnswers, "sim-callbacks": SimCallbacks,
    "sim-down": SimDown, "sim-freeze": SimFreeze, "sim-tokens": SimTokens,
    "callbacks-cut": CallbacksCut,
}
# What an environment adds.
MORE = {
    "hosts": {"lose-host": LoseHost},
    "standby": {"pg-promote": PgPromote, "pg-forget": PgForget,
                "pg-restore": PgRestore},
    "standby-sync": {"pg-promote": PgPromote},
    "clocks": {"clock-step": ClockStep, "clock-back": ClockBack,
               "clock-accepted": ClockAccepted, "clock-drift": ClockDrift},
    "disks": {"disk-full-pg": DiskFullPg, "disk-full-kafka": DiskFullKafka,
              "disk-full-field": DiskFullField, "disk-slow": DiskSlow,
              "spool-full": SpoolFull, "spool-slow": SpoolSlow},
}


def choose(wanted, environments=()):
    """{name: kind} of a comma list of names or their beginnings."""
    kinds = dict(ALL)
    for name in environments:
        kinds.update(MORE.get(name, {}))
    if not wanted:
        return kinds
    chosen = {}
    for word in wanted.split(","):
        found = {n: k for n, k in kinds.items()
                 if n == word or n.startswith(word + "-")}
        if not found:
            raise SystemExit(f"torture: there is no fault {word!r}; there "
                             f"are: {' '.join(kinds)}")
        chosen.update(found)
    return chosen


class Nemesis:
    """Strikes in the time of the load; `struck` counts by kind."""

    def __init__(self, field, kinds):
        self.field = field
        self.kinds = kinds
        self.struck = Counter()
        self.log = []
        self._plan, self._now = [], []

    def plan(self, dice, seconds):
        """Draws the faults of one round. What lasts strikes early, so that
        the healing at the round's end cuts little of it."""
        names = list(self.kinds)
        weights = [self.kinds[n].weight for n in names]
        chosen = dice.choices(names, weights, k=dice.randrange(2, 6))
        self._plan = sorted(
            ((dice.uniform(0.2, max(1, seconds - self.kinds[name].lasts[1])),
              name, random.Random(dice.random())) for name in chosen),
            key=lambda p: p[0])
        self._began = time.monotonic()
        self.log = []

    def run(self):
        """Strikes and heals what is due now."""
        now = time.monotonic() - self._began
        while self._plan and self._plan[0][0] <= now:
            at, name, dice = self._plan.pop(0)
            fault = self.kinds[name](self.field, dice)
            self._strike(name, fault, now)
        for fault in list(self._now):
            if hasattr(fault, "tick"):
                fault.tick()
            if fault.until <= now:
                self._now.remove(fault)
                self._heal(fault)

    def _strike(self, name, fault, now):
        self.struck[name] += 1
        what = getattr(fault, "what", "")
        try:
            fault.strike()
            what = getattr(fault, "what", "")
        except Exception as error:  # what it needs is away by another fault
            what = f"(had no hold: {type(error).__name__})"
        self.log.append(f"{now:5.2f} s {name} {what}".rstrip())
        fault.until += now
        self._now.append(fault)

    @staticmethod
    def _heal(fault):
        try:
            fault.heal()
        except Exception:
            pass  # heal_all() does it once more

    def done(self):
        return not self._plan and not self._now

    def heal_all(self):
        """Ends everything, for certain."""
        for fault in self._now:
            self._heal(fault)
        self._plan, self._now = [], []
