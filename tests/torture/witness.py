"""What all memories hold, gathered round by round: only what is new is read,
and only payments of which something is new are judged."""

import hashlib
import json
from collections import defaultdict

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
        self.events = defaultdict(list)
        self.letters = []
        self.judged = set()
        self._journal_at = 0
        self._seen_at = None
        self._consumer = self._follow()

    def _follow(self):
        consumer = Consumer({
            "bootstrap.servers": self.field.broker.bootstrap,
            "group.id": "foleni-torture", "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "log_level": 0,
            "isolation.level": "read_uncommitted"})
        self._at = {}
        for topic in ("payments.status", "payments.dead"):
            # a node that is behind knows fewer of a new topic
            for p in place.wait_for(
                    f"all of {topic}", lambda t=topic: self._parts(consumer,
                                                                   t), 60):
                self._at[topic, p] = 0
        consumer.assign([TopicPartition(t, p, 0) for t, p in self._at])
        return consumer

    def _parts(self, consumer, topic):
        try:
            found = consumer.list_topics(topic, 10).topics[topic].partitions
        except KafkaException:
            return None
        return found if len(found) == PARTITIONS else None

    # --- reading on ---

    def _read_journal(self):
        """Payments of which the journal tells something new."""
        path = self.field.directory / "daraja.journal"
        with path.open("rb") as f:
            f.seek(self._journal_at)
            data = f.read()
        data = data[:data.rfind(b"\n") + 1]
        self._journal_at += len(data)
        touched = set()
        for line in data.splitlines():
            row = json.loads(line)
            known = row.get("n") in self.pushes
            oracle.read_journal_line(self.pushes, row)
            push = self.pushes.get(row.get("n"))
            if push is None:
                continue
            if not known:
                self.by_payment[push.payment].append(push)
            touched.add(push.payment)
        return touched

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
        ends = {(t, p): place.wait_for(
            f"the end of {t}", lambda at=TopicPartition(t, p): self._end(at),
            60, 0.2) for t, p in self._at}
        touched, idle = set(), 0
        while any(self._at[k] < end for k, (end,) in ends.items()):
            records = self._consumer.consume(500, 0.5)
            idle = 0 if records else idle + 1
            if idle > 120:
                raise TimeoutError("the status topic has no end")
            for record in records:
                if not record.error():
                    touched |= self._take(record)
        return touched

    def _end(self, at):
        """(end,) of a partition; None while nobody leads it."""
        try:
            return self._consumer.get_watermark_offsets(at, 10)[1:]
        except KafkaException:
            return None

    def _take(self, record):
        self._at[record.topic(), record.partition()] = record.offset() + 1
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
        self.causes = defaultdict(list)
        for row in self.field.query(
                "SELECT payment::text, version, state, cause, attempt, worker,"
                " extract(epoch FROM at)::float8 AS at FROM timeline "
                "WHERE payment = ANY(%s::uuid[]) ORDER BY payment, version",
                list(idents)):
            timeline[row["payment"]].append(row["version"])
            self.causes[row["payment"]].append(row)
        promised = self.field.promised
        return oracle.Found(
            {i: promised[i] for i in idents if i in promised}, rows,
            dict(timeline),
            {i: self.by_payment[i] for i in idents if i in self.by_payment},
            {i: self.events[i] for i in idents if i in self.events},
            self.letters)

    @staticmethod
    def part(found, idents):
        """The same, of those payments alone."""
        def some(values):
            return {k: v for k, v in values.items() if k in idents}
        return oracle.Found(some(found.promised), some(found.rows),
                            some(found.timeline), some(found.pushes),
                            some(found.events), found.letters)

    def news(self):
        """Payments of which anything is new since the last call."""
        touched = self._read_journal() | self._read_topics()
        where, arguments = "", ()
        if self._seen_at:
            where = "WHERE updated_at > %s::timestamptz - interval '20 s'"
            arguments = (self._seen_at,)
        now = self.field.query("SELECT now()::text AS at")[0]["at"]
        touched |= {r["id"] for r in self.field.query(
            f"SELECT id::text FROM payments {where}", *arguments)}
        self._seen_at = now
        return touched

    def close(self):
        self._consumer.close()
