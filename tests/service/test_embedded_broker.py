"""foleni-broker loses nothing that it has accepted: it refuses instead."""

import pytest
from confluent_kafka import KafkaError, Producer

from tests.harness.broker import EmbeddedBroker
from tests.harness.topics import NAMES, Topics

HIGH, STATUS = NAMES[0], NAMES[4]
ROOM = 5 * 1024 * 1024  # of one partition


@pytest.fixture
def broker(tmp_path):
    broker = EmbeddedBroker(tmp_path, {"kafka.prefix": "t."}).start()
    yield broker
    broker.stop()
    assert not broker.sanitizer_report()


class Flood:
    """A producer with settings like ours, as fast as it can."""

    def __init__(self, broker, **settings):
        self.accepted = 0
        self.refused = set()
        self.producer = Producer({
            "bootstrap.servers": broker.bootstrap, "acks": "all",
            "enable.idempotence": True, "linger.ms": 1, "log_level": 0,
            "message.timeout.ms": 90000, **settings})

    def _told(self, error, _):
        if error:
            self.refused.add(error.code())
        else:
            self.accepted += 1

    def write(self, topic, records, size):
        for _ in range(records):
            while True:
                try:
                    self.producer.produce("t." + topic, b"x" * size, key=b"k",
                                          on_delivery=self._told)
                    break
                except BufferError:
                    self.producer.poll(0.01)
            self.producer.poll(0)

    def end(self):
        assert self.producer.flush(100) == 0
        return self


def held(broker, topic):
    """(dropped, held) of all partitions."""
    ends = Topics(broker.bootstrap, "t.").ends(topic).values()
    return (sum(low for low, _ in ends), sum(high - low for low, high in ends))


@pytest.mark.sanitized
def test_payments_are_refused_at_half(broker):
    payments = Flood(broker)
    payments.write(HIGH, 2 * ROOM // 1000, 1000)
    payments.end()
    assert payments.refused == {KafkaError.INVALID_MSG_SIZE}
    assert held(broker, HIGH) == (0, payments.accepted)
    assert 0.45 * ROOM < payments.accepted * 1000 < 0.75 * ROOM
    broker.wait_log(r"half_full_payments_are_refused topic=t\.payments\."
                    r"requests\.high")

    others = Flood(broker)  # what is under way can end
    others.write(STATUS, 100, 1000)
    assert others.end().accepted == 100 and not others.refused


@pytest.mark.parametrize("settings", [
    {}, {"linger.ms": 0, "batch.num.messages": 1}, {"linger.ms": 50},
    {"compression.type": "lz4"}], ids=["plain", "single", "large", "lz4"])
def test_nothing_accepted_is_dropped(broker, settings):
    size = 20000 if settings.get("compression.type") else 600
    floods = [Flood(broker, **settings) for _ in range(3)]
    for _ in range(40):
        for flood in floods:
            flood.write(STATUS, 100, size)
    for flood in floods:
        flood.end()
    accepted = sum(f.accepted for f in floods)
    assert held(broker, STATUS) == (0, accepted)
    if not settings.get("compression.type"):
        assert any(KafkaError.INVALID_MSG_SIZE in f.refused for f in floods)
        assert len(Topics(broker.bootstrap, "t.").read(STATUS)) == accepted


def test_other_topics_are_refused(broker):
    flood = Flood(broker, **{"message.timeout.ms": 3000})
    flood.write("strange", 1, 10)
    assert flood.end().refused == {KafkaError.INVALID_MSG_SIZE}
    broker.wait_log("unknown_topic_refused")
