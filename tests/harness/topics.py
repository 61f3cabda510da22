"""Kafka as a witness: reads whole topics and writes records of our own."""

import time

from confluent_kafka import (Consumer, KafkaError, KafkaException, Producer,
                             TopicPartition)
from confluent_kafka.admin import AdminClient, NewTopic

from tests.harness.place import wait_for

NAMES = ("payments.requests.high", "payments.requests.normal",
         "payments.requests.low", "payments.callbacks", "payments.status",
         "payments.dead")


def patiently(ask, timeout_s=60):
    """What Kafka answers, though just now it had no leader or was away."""
    until = time.monotonic() + timeout_s
    while True:
        try:
            return ask()
        except KafkaException:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


class Topics:
    def __init__(self, bootstrap, prefix=""):
        self.bootstrap = bootstrap
        self.prefix = prefix
        self._producer = None

    def _consumer(self):
        return Consumer({"bootstrap.servers": self.bootstrap,
                         "group.id": "foleni-witness",
                         "enable.auto.commit": False,
                         "enable.partition.eof": True,
                         "auto.offset.reset": "earliest",
                         "socket.timeout.ms": 5000, "log_level": 0})

    def ends(self, topic):
        """{partition: (first, next)} offsets."""
        consumer = self._consumer()
        try:
            return self._ends(consumer, self.prefix + topic)
        finally:
            consumer.close()

    @staticmethod
    def _ends(consumer, name):
        partitions = patiently(
            lambda: consumer.list_topics(name, 10)).topics[name].partitions
        return {p: patiently(lambda at=TopicPartition(name, p):
                             consumer.get_watermark_offsets(at, 10))
                for p in partitions}

    def read(self, topic, timeout_s=60):
        """Every record that is there now, by partition and offset."""
        consumer = self._consumer()
        name = self.prefix + topic
        try:
            ends = self._ends(consumer, name)
            left = {p for p, (low, high) in ends.items() if high > low}
            consumer.assign([TopicPartition(name, p, ends[p][0])
                             for p in left])
            records, until = [], time.monotonic() + timeout_s
            while left:
                for message in consumer.consume(1000, 0.2):
                    if message.error():
                        if (message.error().code() ==
                                KafkaError._PARTITION_EOF):
                            left.discard(message.partition())
                    elif message.offset() < ends[message.partition()][1]:
                        records.append(message)
                if time.monotonic() > until:
                    raise TimeoutError(f"{name}: no end in {timeout_s} s")
            records.sort(key=lambda m: (m.partition(), m.offset()))
            return records
        finally:
            consumer.close()

    def follow(self, topic):
        """Yields records from the beginning on, None when there is none now."""
        consumer = self._consumer()
        name = self.prefix + topic
        ends = self._ends(consumer, name)
        consumer.assign([TopicPartition(name, p, low)
                         for p, (low, _) in ends.items()])
        try:
            while True:
                message = consumer.poll(0)
                if message is None:
                    yield None
                elif not message.error():
                    yield message
        finally:
            consumer.close()

    def write(self, topic, key, value, headers=(), partition=None):
        """Writes one record and waits for its delivery report."""
        if self._producer is None:
            self._producer = Producer({"bootstrap.servers": self.bootstrap,
                                       "acks": "all",
                                       "partitioner": "murmur2_random",
                                       "log_level": 0})
        failed = []
        more = {} if partition is None else {"partition": partition}
        self._producer.produce(
            self.prefix + topic, value=value, key=key, headers=list(headers),
            on_delivery=lambda err, _: failed.append(err) if err else None,
            **more)
        if self._producer.flush(10) or failed:
            raise RuntimeError(f"could not write to {topic}: {failed}")

    def leave_gap(self, topic, records, partition):
        """A real broker only: [(key, value, headers)] that a transaction writes
        and takes back. Their offsets, and its marker's, are in the log and no
        reader gets a record of them."""
        producer = Producer({"bootstrap.servers": self.bootstrap,
                             "transactional.id": f"{self.prefix}gap",
                             "log_level": 0})
        producer.init_transactions(60)
        producer.begin_transaction()
        for key, value, headers in records:
            producer.produce(self.prefix + topic, value=value, key=key,
                             headers=list(headers), partition=partition)
        if producer.flush(60):
            raise RuntimeError(f"could not write to {topic}")
        end = self.ends(topic)[partition][1] + len(records) + 1
        producer.abort_transaction(60)
        wait_for("the marker is written", lambda: self.ends(
            topic)[partition][1] == end, 60)  # what is stable ends behind it

    def create(self, partitions=4):
        """Makes our topics on a real broker, as the embedded one does."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap,
                             "log_level": 0})
        made = admin.create_topics(
            [NewTopic(self.prefix + n, partitions, 1) for n in NAMES])
        for future in made.values():
            future.result(20)

    def committed(self, group, topic):
        """{partition: committed offset} of a group; -1001 = none."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap,
                             "group.id": self.prefix + group, "log_level": 0})
        try:
            name = self.prefix + topic
            partitions = consumer.list_topics(name, 10).topics[name].partitions
            return {p.partition: p.offset for p in consumer.committed(
                [TopicPartition(name, p) for p in partitions], 10)}
        finally:
            consumer.close()


def header(record, name):
    """A header's text, or None."""
    for key, value in record.headers() or ():
        if key == name:
            return value.decode()
    return None
