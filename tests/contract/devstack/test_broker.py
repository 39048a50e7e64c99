"""What the product relies on in a Kafka broker: one suite on the embedded one (behind its front) and on Apache Kafka."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from support.fresh import fresh
from support.raw_member import RawMember
from support.stacks import Stack
from support.waiting import until

WITHIN_S = 30.0


class Broker:
    """Clients of one broker; closed when the test ends."""

    def __init__(self, servers: Stack) -> None:
        self.bootstrap_servers = servers.bootstrap_servers
        self._kafka: dict[str, Any] = {"bootstrap.servers": servers.bootstrap_servers}
        self.admin = AdminClient(self._kafka)
        self._clients: list[Consumer | Producer] = []

    def topic(self, partitions: int = 1, **settings: str) -> str:
        name: str = fresh("topic")
        config = {key.replace("_", "."): value for key, value in settings.items()}
        for made in self.admin.create_topics([NewTopic(name, partitions, 1, config=config)]).values():
            made.result()
        until(lambda: name in self.admin.list_topics(timeout=5).topics, within_s=WITHIN_S)
        return name

    def producer(self, transactional_id: str, **more: Any) -> Producer:
        settings: dict[str, Any] = {
            "transactional.id": transactional_id,
            "linger.ms": 0,
            "retry.backoff.ms": 2,
            **more,
        }
        producer = Producer({**self._kafka, **settings})
        self._clients.append(producer)
        producer.init_transactions(WITHIN_S)
        return producer

    def consumer(self, group: str = "", **more: Any) -> Consumer:
        settings: dict[str, Any] = {
            "group.id": group or fresh("group"),
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            **more,
        }
        consumer = Consumer({**self._kafka, **settings})
        self._clients.append(consumer)
        return consumer

    def values(self, topic: str, *, isolation: str = "read_committed") -> list[bytes | str | None]:
        """What a reader from the beginning sees, to the end."""
        settings: dict[str, Any] = {"isolation.level": isolation, "enable.partition.eof": True}
        consumer = self.consumer(**settings)
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        seen: list[bytes | str | None] = []
        while True:
            (message,) = until(lambda: consumer.consume(1, 1.0), f"the end of {topic}", within_s=WITHIN_S)
            if (error := message.error()) is not None:
                assert error.code() == KafkaError._PARTITION_EOF, error
                return seen
            seen.append(message.value())

    def end(self, topic: str, *, committed: bool = True) -> int:
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        return self._offset(topic, OffsetSpec.latest(), level)  # type: ignore[no-untyped-call]

    def beginning(self, topic: str) -> int:
        return self._offset(topic, OffsetSpec.earliest(), IsolationLevel.READ_COMMITTED)  # type: ignore[no-untyped-call]

    def _offset(self, topic: str, of: OffsetSpec, level: IsolationLevel) -> int:
        (answer,) = self.admin.list_offsets({TopicPartition(topic, 0): of}, isolation_level=level).values()
        return int(answer.result().offset)

    def settings(self, topic: str) -> dict[str, str]:
        (answer,) = self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
        return {name: entry.value for name, entry in answer.result().items()}

    def committed(self, group: str, topic: str) -> int:
        (partition,) = self.consumer(group).committed([TopicPartition(topic, 0)], timeout=10)
        return int(partition.offset)

    def close(self) -> None:
        for client in self._clients:
            with contextlib.suppress(KafkaException):  # one that was fenced has nothing to say any more
                client.close()


@pytest.fixture
def broker(stack: Stack) -> Iterator[Broker]:
    broker = Broker(stack)
    yield broker
    broker.close()


def produce(producer: Producer, topic: str, *values: str) -> None:
    for value in values:
        producer.produce(topic, key=value, value=value)
    assert producer.flush(WITHIN_S) == 0


def transaction(producer: Producer, topic: str, *values: str) -> None:
    producer.begin_transaction()
    produce(producer, topic, *values)
    producer.commit_transaction(WITHIN_S)


def joined(*consumers: Consumer, partitions: Sequence[int]) -> None:
    """Poll until the group gave each consumer so many partitions."""

    def settled() -> bool:
        for consumer in consumers:
            consumer.poll(0.05)
        return [len(consumer.assignment()) for consumer in consumers] == list(partitions)

    until(settled, within_s=WITHIN_S)


# Transactions


def test_what_is_committed_is_read_and_what_is_aborted_is_not(broker: Broker) -> None:
    """The base of exactly once."""
    topic = broker.topic()
    producer = broker.producer(fresh("tx"))
    transaction(producer, topic, "a", "b")
    producer.begin_transaction()
    produce(producer, topic, "never")
    producer.abort_transaction(WITHIN_S)
    transaction(producer, topic, "c")
    assert broker.values(topic) == [b"a", b"b", b"c"]


def test_an_open_transaction_is_seen_by_nobody_and_holds_the_end_for_readers_of_committed(
    broker: Broker,
) -> None:
    """The end that a reader of committed records is told is the last stable offset."""
    topic = broker.topic()
    producer = broker.producer(fresh("tx"))
    transaction(producer, topic, "a")
    # Apache Kafka answers a commit when it is decided, and writes its marker (offset 1) a moment later.
    stable = 2
    until(lambda: broker.end(topic) == stable, within_s=WITHIN_S)
    producer.begin_transaction()
    produce(producer, topic, "b")
    assert broker.end(topic) == stable < broker.end(topic, committed=False)
    assert broker.values(topic) == [b"a"]
    assert broker.values(topic, isolation="read_uncommitted") == [b"a", b"b"]
    producer.commit_transaction(WITHIN_S)
    until(lambda: broker.end(topic) > stable, within_s=WITHIN_S)
    assert broker.beginning(topic) == 0


def test_a_reader_past_an_abort_reads_the_same_producers_next_records(broker: Broker) -> None:
    """After one crash, nobody may be blind to a process for ever (the embedded broker needs its front for this)."""
    topic = broker.topic()
    producer = broker.producer(fresh("tx"))
    reader = broker.consumer()
    reader.assign([TopicPartition(topic, 0, 0)])
    transaction(producer, topic, "before")
    assert next_value(reader) == b"before"
    producer.begin_transaction()
    produce(producer, topic, "never")
    producer.abort_transaction(WITHIN_S)
    past = broker.end(topic)
    reader.seek(TopicPartition(topic, 0, past))
    for value in ("one", "two", "three"):
        transaction(producer, topic, value)
        assert next_value(reader) == value.encode()


def test_a_newer_instance_fences_the_older_and_aborts_what_it_left_open(broker: Broker) -> None:
    """Two processes with one transactional id: only the newer one writes."""
    topic, transactional_id = broker.topic(), fresh("tx")
    older = broker.producer(transactional_id)
    older.begin_transaction()
    produce(older, topic, "of the older")
    newer = broker.producer(transactional_id)
    with pytest.raises(KafkaException) as refused:
        older.commit_transaction(WITHIN_S)
    assert refused.value.args[0].code() == KafkaError._FENCED
    assert refused.value.args[0].fatal()
    transaction(newer, topic, "of the newer")
    assert broker.values(topic) == [b"of the newer"]


def test_what_a_killed_process_left_open_is_aborted_when_it_starts_again(broker: Broker) -> None:
    """kill -9 in a transaction: init_transactions() of the same id frees the readers at once."""
    topic, transactional_id = broker.topic(), fresh("tx")
    killed_in_a_transaction(broker, transactional_id, topic)
    again = broker.producer(transactional_id)
    transaction(again, topic, "alive")
    assert broker.values(topic) == [b"alive"]


def test_what_a_killed_process_left_open_is_aborted_when_its_time_is_over(broker: Broker) -> None:
    """Also where it never starts again: others' records behind it are read (the embedded broker needs its front)."""
    topic = broker.topic()
    killed_in_a_transaction(broker, fresh("tx"), topic, timeout_ms=1000)
    transaction(broker.producer(fresh("tx")), topic, "of another")
    reader = broker.consumer()
    reader.assign([TopicPartition(topic, 0, 0)])
    assert next_value(reader) == b"of another"


def killed_in_a_transaction(
    broker: Broker, transactional_id: str, topic: str, *, timeout_ms: int = 60_000
) -> None:
    """A process with a record in an open transaction, and its kill -9."""
    said = [broker.bootstrap_servers, transactional_id, topic, str(timeout_ms)]
    killed = subprocess.Popen([sys.executable, "-c", _LEAVES_OPEN, *said], stdout=subprocess.PIPE)
    assert killed.stdout is not None
    assert killed.stdout.readline() == b"open\n"
    killed.kill()
    killed.wait()
    killed.stdout.close()


_LEAVES_OPEN = """
import sys
from confluent_kafka import Producer
servers, transactional_id, topic, timeout_ms = sys.argv[1:]
producer = Producer(
    {"bootstrap.servers": servers, "transactional.id": transactional_id, "transaction.timeout.ms": timeout_ms}
)
producer.init_transactions(30)
producer.begin_transaction()
producer.produce(topic, value=b"left open")
producer.flush(30)
print("open", flush=True)
sys.stdin.read()
input()
"""


def test_two_transactions_may_be_open_and_the_older_one_holds_the_readers(broker: Broker) -> None:
    """Readers see records in the log's order: what is behind an undecided record waits for it."""
    topic = broker.topic()
    one, other = broker.producer(fresh("tx")), broker.producer(fresh("tx"))
    one.begin_transaction()
    produce(one, topic, "first")
    transaction(other, topic, "second")
    assert broker.values(topic) == []
    one.commit_transaction(WITHIN_S)
    assert broker.values(topic) == [b"first", b"second"]


# Offsets


def test_offsets_are_committed_and_aborted_with_their_transaction(broker: Broker) -> None:
    """A place in a topic moves exactly when the output of what was read there is there."""
    topic, group = broker.topic(), fresh("group")
    consumer = broker.consumer(group)
    consumer.subscribe([topic])
    joined(consumer, partitions=[1])
    producer = broker.producer(fresh("tx"))
    for offset, ends, committed in ((3, True, 3), (5, False, 3), (7, True, 7)):
        producer.begin_transaction()
        produce(producer, topic, "output")
        producer.send_offsets_to_transaction(
            [TopicPartition(topic, 0, offset)], consumer.consumer_group_metadata(), WITHIN_S
        )
        end = producer.commit_transaction if ends else producer.abort_transaction
        end(WITHIN_S)
        assert broker.committed(group, topic) == committed


@pytest.mark.parametrize("offset", [None, 99_999])
def test_a_consumer_never_resets_by_itself(broker: Broker, offset: int | None) -> None:
    """No offset, or one that is not there: an error, never the beginning or the end in silence."""
    topic = broker.topic()
    consumer = broker.consumer()
    if offset is None:
        consumer.subscribe([topic])
    else:
        consumer.assign([TopicPartition(topic, 0, offset)])
    errors: list[KafkaError] = []

    def told() -> bool:
        message = consumer.poll(0.1)
        if message is not None and (error := message.error()) is not None:
            errors.append(error)
        return bool(errors)

    until(told, within_s=WITHIN_S)
    assert errors[0].code() == KafkaError._AUTO_OFFSET_RESET


# Topics


def test_settings_of_a_compacted_topic_are_kept_and_told(broker: Broker) -> None:
    """start-up refuses unsafe topics by what the broker tells of them."""
    topic = broker.topic(cleanup_policy="compact", delete_retention_ms="604800000")
    told = broker.settings(topic)
    assert (told["cleanup.policy"], told["delete.retention.ms"]) == ("compact", "604800000")
    entry = ConfigEntry("delete.retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for altered in broker.admin.incremental_alter_configs([resource]).values():
        altered.result()
    until(lambda: broker.settings(topic)["delete.retention.ms"] == "1000", within_s=WITHIN_S)
    assert broker.settings(topic)["cleanup.policy"] == "compact"


def test_topics_have_the_partitions_that_were_asked_for_and_are_deleted(broker: Broker) -> None:
    """The topics of one object must be co-partitioned."""
    topic = broker.topic(partitions=3)
    assert len(broker.admin.list_topics(timeout=10).topics[topic].partitions) == 3
    for gone in broker.admin.delete_topics([topic]).values():
        gone.result()
    until(lambda: topic not in broker.admin.list_topics(timeout=10).topics, within_s=WITHIN_S)


@pytest.mark.parametrize(
    ("settings", "replicas", "code"),
    [
        ({"cleanup.policy": "dance"}, 1, KafkaError.INVALID_CONFIG),
        ({"no.such.setting": "1"}, 1, KafkaError.INVALID_CONFIG),
        ({}, 3, KafkaError.INVALID_REPLICATION_FACTOR),
    ],
)
def test_a_topic_that_cannot_be_is_refused_by_code(
    broker: Broker, settings: dict[str, str], replicas: int, code: int
) -> None:
    """`salmon setup` says what was wrong by the code."""
    (made,) = broker.admin.create_topics([NewTopic(fresh("bad"), 1, replicas, config=settings)]).values()
    with pytest.raises(KafkaException) as refused:
        made.result()
    assert refused.value.args[0].code() == code


def test_who_is_second_in_creating_a_topic_is_told_so(broker: Broker) -> None:
    """All five processes create topics at start; only one of them is first."""
    topic = broker.topic()
    (made,) = broker.admin.create_topics([NewTopic(topic, 1, 1)]).values()
    with pytest.raises(KafkaException) as refused:
        made.result()
    assert refused.value.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS


# Records


def test_tombstones_headers_and_timestamps_arrive_as_they_were_sent(broker: Broker) -> None:
    """A tombstone has no value, which is not an empty one; a header may be null."""
    topic = broker.topic(cleanup_policy="compact")
    producer = broker.producer(fresh("tx"), **{"compression.type": "lz4"})
    headers: list[tuple[str, str | bytes | None]] = [("__connect.errors.topic", b"changes"), ("empty", None)]
    producer.begin_transaction()
    producer.produce(topic, key="001A", value=None, headers=headers, timestamp=1_234_567_890_123)
    producer.produce(topic, key="001B", value=b"")
    producer.commit_transaction(WITHIN_S)
    reader = broker.consumer()
    reader.assign([TopicPartition(topic, 0, 0)])
    tombstone, empty = next_message(reader), next_message(reader)
    assert (tombstone.key(), tombstone.value(), tombstone.headers()) == (b"001A", None, headers)
    assert tombstone.timestamp()[1] == 1_234_567_890_123
    assert (empty.key(), empty.value()) == (b"001B", b"")


def test_keys_go_where_javas_partitioner_sends_them(broker: Broker) -> None:
    """murmur2, by Kafka's own test vectors (UtilsTest.java): other clients find our keys."""
    topic = broker.topic(partitions=6)
    producer = broker.producer(fresh("tx"), partitioner="murmur2_random")
    went: dict[bytes, int] = {}

    def note(_error: KafkaError | None, message: Message) -> None:
        key, partition = message.key(), message.partition()
        assert isinstance(key, bytes)
        assert partition is not None
        went[key] = partition

    hashes = {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536}
    producer.begin_transaction()
    for key in hashes:
        producer.produce(topic, key=key, value=b"", on_delivery=note)
    producer.commit_transaction(WITHIN_S)
    assert went == {key.encode(): (murmur & 0x7FFFFFFF) % 6 for key, murmur in hashes.items()}


def test_a_record_that_is_too_large_is_refused_by_code(broker: Broker) -> None:
    """It becomes a dead letter; the rest goes on."""
    topic = broker.topic(max_message_bytes="2000")
    errors: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "message.max.bytes": 100_000})
    producer.produce(topic, value=b"x" * 3000, on_delivery=lambda error, _: errors.append(error))
    producer.flush(WITHIN_S)
    assert [error and error.code() for error in errors] == [KafkaError.MSG_SIZE_TOO_LARGE]


# Groups


def test_a_group_shares_its_partitions_and_hands_them_over_when_a_member_leaves(broker: Broker) -> None:
    """Standing by, taking part, taking over."""
    topic, group = broker.topic(partitions=2), fresh("group")
    one = broker.consumer(group, **{"partition.assignment.strategy": "range"})
    one.subscribe([topic])
    joined(one, partitions=[2])
    other = broker.consumer(group, **{"partition.assignment.strategy": "range"})
    other.subscribe([topic])
    joined(one, other, partitions=[1, 1])
    other.close()
    joined(one, partitions=[2])


def test_a_killed_member_that_starts_again_has_its_partitions_back_at_once(broker: Broker) -> None:
    """With a stable group.instance.id nobody waits for a session to run out."""
    topic, group = broker.topic(partitions=2), fresh("group")
    settings = {"group.instance.id": "crm-merge-0", "partition.assignment.strategy": STICKY}
    with killed_in_the_group(broker, group, topic):
        pass
    again = broker.consumer(group, **settings)
    again.subscribe([topic])
    joined(again, partitions=[2])


@contextlib.contextmanager
def killed_in_the_group(broker: Broker, group: str, topic: str) -> Iterator[None]:
    """A process that has all partitions inside, and its kill -9 at the end."""
    said = [broker.bootstrap_servers, group, topic]
    killed = subprocess.Popen([sys.executable, "-c", _JOINS, *said], stdout=subprocess.PIPE)
    assert killed.stdout is not None
    try:
        assert killed.stdout.readline() == b"joined\n"
        yield
    finally:
        killed.kill()
        killed.wait()
        killed.stdout.close()


def test_a_client_that_goes_as_it_joins_does_not_keep_the_others_from_taking_over(broker: Broker) -> None:
    """It is a member, and perhaps the leader for whom all wait, before it hears of it. Then the one with the partition is killed."""
    topic, group = broker.topic(partitions=2), fresh("group")
    settings = {"group.instance.id": "spare", "client.id": "spare", "partition.assignment.strategy": STICKY}
    spare = broker.consumer(group, **settings)
    with killed_in_the_group(broker, group, topic):
        spare.subscribe([topic])

        def both_are_in() -> bool:
            spare.poll(0.05)
            (found,) = broker.admin.list_groups(group, timeout=10)
            return found.state == "Stable" and len(found.members) == 2

        until(both_are_in, within_s=WITHIN_S)
        with RawMember(broker.bootstrap_servers, group, topic, "goes") as goes:
            goes.ask_to_join()
            until(lambda: len(broker.admin.list_groups(group, timeout=10)[0].members) == 3, within_s=WITHIN_S)
    joined(spare, partitions=[2])


STICKY = "cooperative-sticky"
_JOINS = """
import sys
from confluent_kafka import Consumer
servers, group, topic = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "group.instance.id": "crm-merge-0",
                     "partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 6000, "heartbeat.interval.ms": 2000})
consumer.subscribe([topic])
while len(consumer.assignment()) < 2:
    consumer.poll(0.1)
print("joined", flush=True)
while True:
    consumer.poll(0.1)
"""


def test_a_second_instance_of_one_member_fences_the_first(broker: Broker) -> None:
    """Two processes with one ordinal: the newer one reads on, the older one learns that it must stop."""
    topic, group = broker.topic(partitions=2), fresh("group")
    settings = {"group.instance.id": "crm-merge-0"}
    older, newer = (broker.consumer(group, **settings) for _ in range(2))
    older.subscribe([topic])
    joined(older, partitions=[2])
    newer.subscribe([topic])
    joined(newer, partitions=[2])

    def fenced() -> bool:
        message = older.poll(0.1)
        error = None if message is None else message.error()
        return error is not None and error.code() == KafkaError._FATAL

    until(fenced, within_s=WITHIN_S)


def next_message(consumer: Consumer) -> Message:
    found: list[Message] = []

    def came() -> bool:
        message = consumer.poll(0.2)
        if message is not None:
            assert message.error() is None, message.error()
            found.append(message)
        return bool(found)

    until(came, within_s=WITHIN_S)
    return found[0]


def next_value(consumer: Consumer) -> bytes | str | None:
    return next_message(consumer).value()
