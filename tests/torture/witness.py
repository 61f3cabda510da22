"""What all memories hold, gathered round by round: only what is new is read,
and only payments of which something is new are judged."""

import hashlib
import json
from collections import Counter, defaultdict
from uuid import UUID

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.harness import oracle, place
from tests.harness.topics import header

PARTITIONS = 4  # of each topic, in worlds
_KEPT = ("version", "status", "final", "result")
_ROWS = ("SELECT id::text, client::text, msisdn, amount, shortcode, reference,"
         " state, version, published_version, attempt, spent, receipt, code,"
         " class, holds_phone, next_action_at, checkout_id, owner, pushed_at"
         " FROM payments")


class Witness:
    def __init__(self, field):
        self.field = field
        self.pushes = {}                   # n -> Push
        self.by_payment = defaultdict(list)
        self.by_phone = defaultdict(list)
        self.by_receipt = {}
        self.events = defaultdict(list)
        self.letters = []
        self.statuses = {}                 # payment -> as last looked at
        self.count = Counter()             # pushes, debits, promised so far
        self._gone = set()                 # ids of those that were forgotten
        self._journal_at = 0
        self._consumer = self._follow()

    def _follow(self):
        consumer = Consumer({
            "bootstrap.servers": self.field.broker.bootstrap,
            "group.id": "foleni-torture", "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "log_level": 0,
            # nodes come back soon: look for them, and for who leads, at once
            "reconnect.backoff.max.ms": 200, "socket.timeout.ms": 2000,
            "fetch.error.backoff.ms": 50,
            "topic.metadata.refresh.fast.interval.ms": 50,
            "isolation.level": "read_uncommitted"})
        # a node that is behind knows fewer of a new topic
        consumer.assign([
            TopicPartition(topic, p, 0)
            for topic in ("payments.status", "payments.dead")
            for p in place.wait_for(f"all of {topic}", lambda t=topic:
                                    self._parts(consumer, t), 60)])
        return consumer

    def _parts(self, consumer, topic):
        try:
            found = consumer.list_topics(topic, 10).topics[topic].partitions
        except KafkaException:
            return None
        return found if len(found) == PARTITIONS else None

    # --- reading on ---

    def _journal(self, since=0):
        """Lines from a byte on."""
        with (self.field.directory / "daraja.journal").open("rb") as f:
            f.seek(since)
            for line in f:
                if line.endswith(b"\n"):
                    since += len(line)
                    yield since, json.loads(line)

    def _read_journal(self):
        """Payments of which the journal tells something new."""
        touched = set()
        for self._journal_at, row in self._journal(self._journal_at):
            self.count["pushes"] += row["t"] == "push"
            self.count["debits"] += row["t"] == "debit"
            self._note(row)
            if push := self._push_of(row):
                touched.add(push.payment)
            elif row.get("payment"):
                touched.add(row["payment"])
        return touched

    def _note(self, row):
        """One line of the journal."""
        known = row.get("n") in self.pushes
        oracle.read_journal_line(self.pushes, row)
        push = self._push_of(row)
        if not push:
            return
        if not known and row["t"] == "push":
            self.by_payment[push.payment].append(push)
            self.by_phone[push.msisdn].append(push)
        if row["t"] == "debit":
            self.by_receipt[push.receipt] = push
        elif row.get("kind") == "c2b" and 200 <= row["status"] < 300:
            push.confirmed = True

    def _push_of(self, row):
        """Of a line; None where it was forgotten, or there is none."""
        if row["t"] == "notice":
            return self.by_receipt.get(row["receipt"])
        return self.pushes.get(row.get("n"))

    def _remember(self, idents):
        """What the journal has of payments that were forgotten."""
        numbers = set()
        for at, row in self._journal():
            if at > self._journal_at:
                break
            if row["t"] == "push" and row.get("payment") in idents:
                numbers.add(row["n"])
            if row.get("n") in numbers or row.get("receipt") in self.by_receipt:
                self._note(row)

    def _event(self, record):
        event = json.loads(record.value())
        data = event["data"]
        small = {k: data[k] for k in _KEPT}
        small["request"] = {"amount": data["request"]["amount"]}
        return {"id": event["id"], "type": event["type"], "data": small,
                "hash": hashlib.sha1(record.value()).hexdigest(),
                "final_header": header(record, "foleni-final"),
                "version_header": header(record, "foleni-version")}

    def _read_topics(self):
        """What has come so far; where Kafka is slow the rest comes with the
        next look, and nobody complains of its absence before."""
        touched = set()
        while records := self._consumer.consume(500, 0.1):
            for record in records:
                if not record.error():
                    touched |= self._take(record)
        return touched

    def _take(self, record):
        if record.topic() == "payments.dead":
            self.letters.append(record)
            return set()
        ident = record.key().decode()
        self.events[ident].append(self._event(record))
        return {ident}

    def _rows(self, where, *arguments):
        rows = self.field.query(f"{_ROWS} {where}", *arguments)
        for row in rows:
            row["status"] = oracle.STATE[row["state"]]
        return {row["id"]: row for row in rows}

    def look(self, idents):
        """Everything about some payments."""
        idents = set(idents)
        rows = self._rows("WHERE id = ANY(%s::uuid[])", list(idents))
        timeline = defaultdict(list)
        self.causes, by_person = defaultdict(list), set()
        for row in self.field.query(
                "SELECT payment::text, version, state, cause, code, attempt,"
                " worker, extract(epoch FROM at)::float8 AS at FROM timeline "
                "WHERE payment = ANY(%s::uuid[]) ORDER BY payment, version",
                list(idents)):
            timeline[row["payment"]].append(row["version"])
            self.causes[row["payment"]].append(row)
            if row["cause"] == oracle.RESOLVED:
                by_person.add(row["payment"])
        self._recognize(rows)
        self.statuses.update((i, row["status"]) for i, row in rows.items())
        promised = self.field.promised
        return oracle.Found(
            {i: promised[i] for i in idents if i in promised}, rows,
            dict(timeline),
            {i: self.by_payment[i] for i in idents if i in self.by_payment},
            {i: self.events[i] for i in idents if i in self.events},
            self.letters, by_person)

    @staticmethod
    def part(found, idents):
        """The same, of those payments alone."""
        def some(values):
            return {k: v for k, v in values.items() if k in idents}
        return oracle.Found(some(found.promised), some(found.rows),
                            some(found.timeline), some(found.pushes),
                            some(found.events), found.letters,
                            found.by_person & set(idents))

    def news(self):
        """Payments of which anything is new since the last call: a change
        that was told is on the topic, one that is not is still owed."""
        touched = {r["id"] for r in self.field.query(
            "SELECT id::text FROM payments WHERE next_action_at IS NOT NULL "
            "AND (state < 5 OR published_version < version)")}
        return touched | self._read_journal() | self._read_topics()

    # --- forgetting ---

    def final(self, ident):
        return self.statuses.get(ident) in oracle.FINAL

    def forget(self, idents):
        """Payments that were judged, and of which nothing was new since."""
        for ident in idents:
            del self.statuses[ident]
            self.events.pop(ident, None)
            for push in self.by_payment.pop(ident, ()):
                del self.pushes[push.n]
                self.by_receipt.pop(push.receipt, None)
                self.by_phone[push.msisdn].remove(push)
                if not self.by_phone[push.msisdn]:
                    del self.by_phone[push.msisdn]
            self.count["promised"] += self.field.crowd.forget(ident)
            self._gone.add(UUID(ident).bytes)

    def _recognize(self, rows):
        """Something is new of payments that were forgotten."""
        again = {i for i in rows.keys() - self.statuses.keys()
                 if UUID(i).bytes in self._gone}
        if again:
            self._remember(again)
            self._gone -= {UUID(i).bytes for i in again}
            self.count["promised"] -= len(again & set(self.field.promised))

    def unresolved(self):
        return {i for i, s in self.statuses.items() if s == "unresolved"}

    def payments(self):
        """How many there are, as far as was looked."""
        return len(self._gone) + len(self.statuses)

    def states(self):
        """{status: how many} of those that are not forgotten."""
        return Counter(self.statuses.values())

    def close(self):
        self._consumer.close()
