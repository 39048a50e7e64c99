"""Transactions: all or nothing, one instance at a time, and every failure is one of ours."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from salmon.errors import DataError, Fenced, PositionLost, SetupError, Unavailable
from salmon.kafka import clients, tables
from salmon.kafka.clients import TransactionalProducer
from support.kafka import Failure, fail_writing
from support.waiting import until

Create = Callable[..., str]


def test_a_block_that_fails_leaves_nothing(
    kafka: dict[str, Any], create: Create, producer: TransactionalProducer
) -> None:
    """Whatever the block has produced before: readers see none of it."""
    topic = create()
    with producer.transaction() as transaction:
        transaction.produce(topic, "a", b"1")
    with pytest.raises(Failure):
        fail_writing(producer, topic, a=b"2", b=b"2")
    with producer.transaction() as transaction:
        transaction.produce(topic, "c", b"3")
    assert tables.load(kafka, topic) == {"a": b"1", "c": b"3"}


def test_a_reader_that_is_past_an_aborted_transaction_goes_on_reading(
    kafka: dict[str, Any], create: Create, producer: TransactionalProducer
) -> None:
    """A crash of a process must not blind the others to what it writes after its restart."""
    topic = create()
    for letter in "ab":
        with pytest.raises(Failure):
            fail_writing(producer, topic, **{f"{letter}{number}": b"aborted" for number in range(50)})
    with tables.Table(kafka, topic) as table:
        table.load()
        for value in (b"1", b"2", b"3"):
            with producer.transaction() as transaction:
                transaction.produce(topic, "a", value)
            assert table.follow(10) == {"a": value}


def test_a_newer_instance_stops_the_older_for_good(
    kafka: dict[str, Any], create: Create, producer: TransactionalProducer, name: str
) -> None:
    """Two instances of one source: the older writes nothing more, whenever it tries."""
    topic = create()
    newer = clients.producer(kafka, transactional_id=name, client_id="newer")

    def write(value: bytes) -> None:
        with producer.transaction() as transaction:
            transaction.produce(topic, "old", value)
            newer.start()

    for value in (b"1", b"2", b"3"):
        with pytest.raises(Fenced):
            write(value)
    with newer.transaction() as transaction:
        transaction.produce(topic, "new", b"3")
    assert tables.load(kafka, topic) == {"new": b"3"}


def test_who_learns_of_a_newer_instance_while_it_writes_is_told_by_the_next_record(
    kafka: dict[str, Any], create: Create, producer: TransactionalProducer, name: str
) -> None:
    """A client that has ended refuses records with no more than "fatal error"; what we raise is the cause."""
    topic = create()
    newer = clients.producer(kafka, transactional_id=name, client_id="newer")

    def until_refused() -> None:
        with producer.transaction() as transaction:
            newer.start()
            until(lambda: transaction.produce(topic, "old", b"1"))  # returns None until it raises

    with pytest.raises(Fenced):
        until_refused()


def test_a_record_that_is_too_large_is_the_records_fault(
    kafka: dict[str, Any], create: Create, producer: TransactionalProducer
) -> None:
    """It goes to the dead letters; the process lives on and writes what else there is."""
    topic = create()
    with (
        pytest.raises(DataError, match=rf"{topic}.*max\.message\.bytes"),
        producer.transaction() as transaction,
    ):
        transaction.produce(topic, "large", b"x" * 20_000_000)
    with producer.transaction() as transaction:
        transaction.produce(topic, "small", b"x")
    assert tables.load(kafka, topic) == {"small": b"x"}


def test_a_record_that_only_the_broker_finds_too_large_is_the_records_fault(
    kafka: dict[str, Any], create: Create, producer: TransactionalProducer
) -> None:
    """A topic may allow less than we do; that is known when the answer comes, at the commit."""
    topic = create(max_message_bytes="10000")

    def write(key: str, value: bytes) -> None:
        with producer.transaction() as transaction:
            transaction.produce(topic, key, value)

    with pytest.raises(DataError, match=rf"{topic}.*max\.message\.bytes"):
        write("large", os.urandom(100_000))  # which nothing makes any smaller
    # librdkafka numbers its records anew after that, at the cost of one transaction, on both brokers.
    with contextlib.suppress(Unavailable):
        write("small", b"x")
    write("small", b"x")
    assert tables.load(kafka, topic) == {"small": b"x"}


def test_what_kafka_would_take_can_be_tried(
    kafka: dict[str, Any], create: Create, producer: TransactionalProducer
) -> None:
    """Nothing of a trial is written, whoever refuses it; afterwards the producer goes on."""
    topic = create(max_message_bytes="10000")

    def takes(value: bytes) -> bool:
        for _ in range(2):  # after a refusal, librdkafka numbers its records anew
            with contextlib.suppress(Unavailable):
                return producer.takes(lambda transaction: transaction.produce(topic, "k", value))
        raise AssertionError("one transaction is all that it costs")

    assert takes(b"small")
    assert not takes(os.urandom(100_000)), "by the broker"
    assert not takes(b"x" * 20_000_000), "by the producer"
    assert takes(b"small")
    with producer.transaction() as transaction:
        transaction.produce(topic, "k", b"committed")
    assert tables.load(kafka, topic) == {"k": b"committed"}


def test_offsets_are_committed_with_the_records(
    kafka: dict[str, Any], create: Create, producer: TransactionalProducer, name: str
) -> None:
    """A consumer's place moves if the records that it led to were written, and only then."""
    source, target = create("source", 1), create("target", 1)
    with producer.transaction() as transaction:
        for number in range(3):
            transaction.produce(source, str(number), b"x")
    group = clients.consumer(kafka, group_id=name, client_id=name)

    def move_and_fail() -> None:
        with producer.transaction() as transaction:
            transaction.send_offsets([TopicPartition(source, 0, 3)], group.consumer_group_metadata())
            raise Failure

    try:
        group.assign([TopicPartition(source, 0, 0)])
        records = [record for _ in range(3) for record in clients.read(group, 1, 10)]
        place = [TopicPartition(source, 0, 2)]
        with producer.transaction() as transaction:
            transaction.produce(target, "a", records[0].value())
            transaction.send_offsets(place, group.consumer_group_metadata())
        with pytest.raises(Failure):
            move_and_fail()
        assert [each.offset for each in group.committed(place, timeout=10)] == [2]
    finally:
        group.close()


def test_a_key_is_where_javas_clients_look_for_it(
    kafka: dict[str, Any], create: Create, producer: TransactionalProducer
) -> None:
    """murmur2, as Kafka's own producer: these are its partitions of six for these keys."""
    topic = create("keys", 6)
    # org.apache.kafka.common.utils.Utils.toPositive(Utils.murmur2(key)) % 6
    expected = {
        "0015g00000Xyz12AAA": _java_partition(b"0015g00000Xyz12AAA", 6),
        "ü": _java_partition("ü".encode(), 6),
    }
    with producer.transaction() as transaction:
        for key in expected:
            transaction.produce(topic, key, b"x")
    for key, partition in expected.items():
        assert key in tables.load(kafka, topic, partitions=[partition])


def test_a_consumer_never_chooses_its_place_by_itself(
    kafka: dict[str, Any], create: Create, producer: TransactionalProducer, name: str
) -> None:
    """Neither for want of a stored offset nor for one that is gone: both are told, and "latest" is no answer."""
    topic = create("log", 1)
    with producer.transaction() as transaction:
        transaction.produce(topic, "a", b"x")
    group = clients.consumer(kafka, group_id=name, client_id=name)
    try:
        group.assign([TopicPartition(topic, 0, 1_000_000)])
        with pytest.raises(PositionLost, match=topic):
            until(lambda: bool(clients.read(group, 10, 0.5)))
    finally:
        group.close()


def test_nobody_reads_what_is_not_committed_yet(
    kafka: dict[str, Any], create: Create, producer: TransactionalProducer
) -> None:
    """And everybody reads it at once when it is."""
    topic = create()
    with tables.Table(kafka, topic) as table:
        table.load()
        with producer.transaction() as transaction:
            transaction.produce(topic, "a", b"1")
            transaction._producer.flush(10)
            assert table.follow(0.2) == {}
        assert table.follow(10) == {"a": b"1"}


def test_a_topic_that_is_not_there_is_told(kafka: dict[str, Any], name: str) -> None:
    """A table cannot be read before the connectors have created it."""
    with pytest.raises(SetupError, match=rf"{name}\.none does not exist"):
        tables.load(kafka, f"{name}.none")


def _java_partition(key: bytes, partitions: int) -> int:
    """Kafka's murmur2, written from the algorithm's description (Austin Appleby), seed as in Kafka."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(key)
    whole = len(key) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if rest := key[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions
