"""Rule S2: Kafka and Postgres remember each other. What one of them has
forgotten stops the partition with an alarm; nothing of it is pushed."""

import json
import socket
import struct

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.fault import crowd
from tests.harness import oracle, wire
from tests.harness.place import wait_for
from tests.harness.upstream import payment_id

TOPIC = "payments.requests.normal"
STOPPED = "foleni_intake_stopped_total"
PARTITION, OTHER = 1, 2


def write(world, partition, name, n):
    """n signed records in one partition; the ids of their payments."""
    idents = []
    for i in range(n):
        payment, = crowd.orders(world, 1)
        record = wire.request_record(payment, f"{name}-{i}")
        world.topics.write(TOPIC, *record, partition=partition)
        idents.append(payment_id("shop", f"{name}-{i}"))
    return idents


def wait_rows(world, idents):
    wait_for("their payments are paid", lambda: world.query(
        "SELECT count(*) AS n FROM payments WHERE id = ANY(%s::uuid[]) "
        "AND state = 6", idents)[0]["n"] == len(idents), crowd.LIVENESS_S)


def wait_committed(world):
    """Until Kafka's offsets have followed the claims."""
    def followed():
        ends = world.topics.ends(TOPIC)
        offsets = world.topics.committed("foleni.normal", TOPIC)
        return all(high in (0, offsets[p]) for p, (_, high) in ends.items())
    wait_for("the offsets are committed", followed)


@pytest.fixture
def remembered(fault_world):
    """A world that has paid ten payments of two partitions and is stopped."""
    world = fault_world().start()
    paid = write(world, PARTITION, "old", 5) + write(world, OTHER, "also", 5)
    wait_rows(world, paid)
    wait_committed(world)
    world.worker.stop()
    return world


def execute(world, sql, *arguments):
    connection = world.postgres.connect(world.database)
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        assert cursor.rowcount > 0
    connection.close()


def stopped_and_others_go_on(world):
    """The partition stops, says so, and pushes nothing; the rest lives."""
    known = {row["id"] for row in world.query(
        "SELECT id::text FROM payments")}
    silent = write(world, PARTITION, "silent", 3)
    world.start_worker(world.worker)
    world.worker.wait_metric(STOPPED, 1)
    match = world.worker.wait_log(
        rb"error foleni-worker intake partition_stopped topic=(\S+) "
        rb"partition=(\d+)")
    assert match.groups() == ((world.prefix + TOPIC).encode(),
                              str(PARTITION).encode())
    wait_for("health says so", lambda: not world.worker.health()
             ["dependencies"]["intake"]["ok"])
    wait_rows(world, write(world, OTHER, "more", 5))
    wait_committed_of(world, OTHER)
    assert world.worker.metrics()[STOPPED] == 1
    pushed = {p["payment"] for p in world.sim.pushes()}
    assert not pushed & set(silent)
    now = {row["id"] for row in world.query("SELECT id::text FROM payments")}
    assert known <= now and not now & set(silent)
    crowd.pushed_once(oracle.look(world))
    return silent


def wait_committed_of(world, partition):
    wait_for("its offset is committed", lambda: world.topics.committed(
        "foleni.normal", TOPIC)[partition] ==
        world.topics.ends(TOPIC)[partition][1])


def test_postgres_forgot_the_position(remembered):
    execute(remembered, "DELETE FROM intake WHERE topic = %s AND "
            "partition = %s", remembered.prefix + TOPIC, PARTITION)
    stopped_and_others_go_on(remembered)


def test_postgres_lost_its_last_commits(remembered):
    """As after a backup: position and payments are those of before. Read
    again, they would be pushed again."""
    world = remembered
    execute(world, "UPDATE intake SET next_offset = 2 WHERE topic = %s "
            "AND partition = %s", world.prefix + TOPIC, PARTITION)
    execute(world, "CREATE TABLE lost AS SELECT * FROM payments "
            "WHERE source_partition = %s AND source_offset >= 2", PARTITION)
    execute(world, "DELETE FROM payments WHERE id IN (SELECT id FROM lost)")
    stopped_and_others_go_on(world)
    assert len(world.sim.pushes()) == 15
    execute(world, "INSERT INTO payments SELECT * FROM lost")


def test_kafka_offsets_reset_to_the_beginning(remembered):
    """Read from `intake`, whatever the group says; and where `intake` agrees
    with the reset, everything is known already."""
    world = remembered
    reset = Consumer({"bootstrap.servers": world.broker.bootstrap,
                      "group.id": world.prefix + "foleni.normal",
                      "log_level": 0})
    reset.commit(offsets=[TopicPartition(world.prefix + TOPIC, p, 0)
                          for p in range(4)], asynchronous=False)
    reset.close()
    execute(world, "UPDATE intake SET next_offset = 0 WHERE topic = %s "
            "AND partition = %s", world.prefix + TOPIC, PARTITION)
    world.start_worker(world.worker)
    wait_rows(world, write(world, PARTITION, "new", 5) +
              write(world, OTHER, "newer", 5))
    metrics = world.worker.metrics()
    assert metrics["foleni_records_known_total"] + \
        metrics['foleni_claims_total{verdict="same"}'] == 5
    assert metrics[STOPPED] == 0
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert found.count("succeeded") == 20


def test_kafka_offsets_reset_to_the_end(remembered):
    """What was not claimed stays behind the group's offset: as if Postgres
    had lost it."""
    world = remembered
    write(world, PARTITION, "unread", 4)
    reset = Consumer({"bootstrap.servers": world.broker.bootstrap,
                      "group.id": world.prefix + "foleni.normal",
                      "log_level": 0})
    end = world.topics.ends(TOPIC)[PARTITION][1]
    reset.commit(offsets=[TopicPartition(world.prefix + TOPIC, PARTITION,
                                         end)], asynchronous=False)
    reset.close()
    stopped_and_others_go_on(world)
    assert len(world.sim.pushes()) == 15


def test_kafka_deleted_what_was_not_claimed(remembered):
    """Two of four are gone for good; the other two, and what follows, are
    pushed once the loss is accepted."""
    world = remembered
    left = write(world, PARTITION, "deleted", 4)[2:]
    delete_records(world, PARTITION, 7)
    left += stopped_and_others_go_on(world)
    gives_up_and_goes_on(world, [{"first": 5, "last": 6}], left)


def test_kafka_has_a_gap_amid_the_log(remembered):
    """Offsets between two records that hold none: what was there, nobody
    knows. The payment behind them is not touched before that is accepted."""
    world = remembered
    world.topics.leave_gap(TOPIC, [
        wire.request_record(payment, f"gap-{i}")
        for i, payment in enumerate(crowd.orders(world, 2))], PARTITION)
    left = stopped_and_others_go_on(world)
    first = b"offsets_missing topic=%s partition=%d first=5 last=7" % (
        (world.prefix + TOPIC).encode(), PARTITION)
    world.worker.wait_log(first)
    gives_up_and_goes_on(world, [{"first": 5, "last": 7}], left)


def gives_up_and_goes_on(world, offsets, left):
    """`foleni recover` names what is given up, wants it accepted, and the
    worker reads on by itself; nothing is pushed twice."""
    plan, = recover(world, "--dry-run")["partitions"]
    assert (plan["partition"], plan["given_up"]) == (PARTITION, offsets)
    with pytest.raises(RuntimeError, match=f"offsets {offsets[0]['first']} to "
                       f"{offsets[0]['last']}.*--skip-deleted"):
        recover(world, "--why", "the test lost them", "--yes")
    assert world.query("SELECT count(*) AS n FROM operator_actions"
                       )[0]["n"] == 0
    done, = recover(world, "--why", "the test lost them", "--yes",
                    "--skip-deleted")["partitions"]
    assert done["done"]["intake"] == offsets[-1]["last"] + 1
    audit, = world.query("SELECT why, subject, before FROM operator_actions")
    assert audit["subject"] == f"{world.prefix}{TOPIC}/{PARTITION}"
    assert audit["before"]["given_up"] == offsets
    wait_rows(world, left)
    assert not recover(world, "--dry-run")["partitions"]
    found = crowd.settle(world)
    crowd.pushed_once(found)
    assert len(found.pushes) == len(found.rows) == 15 + len(left)


def recover(world, *more):
    return json.loads(world.foleni("recover", "--json", *more))


def test_kafka_deleted_before_the_first_claim(fault_world):
    """Nothing is remembered of the partition, and it does not begin at 0."""
    world = fault_world()
    world.start_simulator()
    world.prepare()
    world.start_api()
    write(world, PARTITION, "deleted", 4)
    delete_records(world, PARTITION, 4)
    stopped_and_others_go_on(world)


def test_kafka_deleted_what_was_claimed(remembered):
    """The twin: retention took only what is in Postgres. Nothing stops."""
    world = remembered
    delete_records(world, PARTITION, world.topics.ends(TOPIC)[PARTITION][1])
    world.start_worker(world.worker)
    wait_rows(world, write(world, PARTITION, "next", 5))
    assert world.worker.metrics()[STOPPED] == 0
    assert crowd.settle(world).count("succeeded") == 15


SWEPT = "foleni_recorder_files_removed_total"
KEPT = 'foleni_recorder_files{state="kept"}'
TORN = 'foleni_recorder_files{state="torn"}'


def lay(world, **files):
    """Recorder files as processes leave them that nobody settles."""
    for name, data in files.items():
        (world.directory / "recorder" / f"worker-{name}.rec").write_bytes(data)


def left(world):
    """The files that are there, without the living worker's own."""
    own = world.query("SELECT recorder FROM workers WHERE pid = %s "
                      "ORDER BY incarnation DESC LIMIT 1", world.worker.pid)
    return {path.name[7:-4] for path in
            (world.directory / "recorder").glob("*.rec")
            if str(path) not in {row["recorder"] for row in own}}


def test_recorders_that_nobody_settles(fault_world):
    """What is in the ledger, and what says nothing, is swept; what is torn
    stays, and so does what the ledger does not know, until it does."""
    world = fault_world().start()
    paid = write(world, PARTITION, "old", 5)
    wait_rows(world, paid)
    wait_committed(world)
    path, = (world.directory / "recorder").glob("*.rec")
    whole = path.read_bytes()
    lay(world, known=whole, torn=whole[:5000], blank=bytes(len(whole)),
        older=whole[:16] + bytes(reversed(whole[16:52])) + whole[52:])
    world.worker.stop()
    world.start_worker(world.worker)
    world.worker.wait_metric(SWEPT, 3, crowd.LIVENESS_S)
    assert left(world) == {"torn"}
    assert world.worker.metrics()[TORN] == 1
    assert world.worker.metrics()[KEPT] == 0
    world.worker.stop()
    lay(world, unknown=whole)
    execute(world, "DELETE FROM payments WHERE id = ANY(%s::uuid[])", paid)
    execute(world, "UPDATE intake SET next_offset = 0 WHERE topic = %s "
            "AND partition = %s", world.prefix + TOPIC, PARTITION)
    world.start_worker(world.worker)
    world.worker.wait_metric(STOPPED, 1, crowd.LIVENESS_S)
    world.worker.wait_log(rb"recorders_compared .* without_payment=5", 60)
    assert left(world) == {"torn", "unknown"}
    assert world.worker.metrics()[KEPT] == 1
    recover(world, "--why", "the test lost them", "--yes")
    wait_rows(world, paid)
    world.worker.wait_metric(SWEPT, 1, crowd.LIVENESS_S)
    assert left(world) == {"torn"}
    assert len(world.sim.pushes()) == 5


def delete_records(world, partition, before):
    """DeleteRecords, version 1: what lies before an offset is gone."""
    topic = (world.prefix + TOPIC).encode()
    body = struct.pack("!i h", 1, len(topic)) + topic + \
        struct.pack("!i i q i", 1, partition, before, 10000)
    client = b"test"
    head = struct.pack("!h h i h", 21, 1, 1, len(client)) + client
    host, port = world.broker.bootstrap.split(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(struct.pack("!i", len(head) + len(body)) + head +
                           body)
        stream = connection.makefile("rb")
        size, = struct.unpack("!i", stream.read(4))
        error, = struct.unpack("!h", stream.read(size)[-2:])
    assert error == 0, f"Kafka error {error}"
    assert world.topics.ends(TOPIC)[partition][0] == before
