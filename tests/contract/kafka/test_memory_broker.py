"""
The broker in memory does what a real one does: what unit tests of the workers rely on, and what the workers' own
contract (tests/contract/source, tests/contract/sink) does not ask of both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from salmon.devstack.broker import Kafka
from salmon.errors import DataError, Fenced, PositionLost, SalmonError, Unavailable
from salmon.kafka import clients, cluster, tables, topics
from salmon.kafka.clients import Clients
from support.at_hand.memory_broker import MemoryBroker
from support.broker_fixtures import ON_EVERY_BROKER
from support.waiting import until

TOPIC = "table"
pytestmark = ON_EVERY_BROKER


@pytest.fixture
def opens(broker: Kafka | MemoryBroker) -> Clients:
    """Clients of each broker in turn."""
    if isinstance(broker, MemoryBroker):
        return broker.clients()
    return Clients({"bootstrap.servers": broker.bootstrap_servers})


@pytest.fixture
def topic(opens: Clients, name: str) -> str:
    topic = f"{name}.{TOPIC}"
    topics.ensure(opens.admin(), [topics.TopicSpec(topic, 1, 1, {"cleanup.policy": "compact"})])
    return topic


@pytest.fixture
def producer(opens: Clients, name: str) -> clients.TransactionalProducer:
    made = opens.producer(transactional_id=name, client_id=name)
    made.start()
    return made


def reader(opens: Clients, topic: str, at: int = 0) -> Consumer:
    consumer = opens.consumer(group_id=f"{topic}.look", client_id="look", enable_partition_eof=True)
    consumer.assign([TopicPartition(topic, 0, at)])
    return consumer


def heard(consumer: Consumer) -> list[tuple[int | None, bytes | None]]:
    """Offset and value of all up to the next end of the partition, whose value is none."""
    found: list[tuple[int | None, bytes | None]] = []

    def is_at_the_end() -> bool:
        for message in clients.read_with_ends(consumer, 10, 0.5):
            found.append((message.offset(), message.value() if message.error() is None else None))
        return bool(found) and found[-1][1] is None

    until(is_at_the_end, "the end is met")
    return found


def write(producer: clients.TransactionalProducer, topic: str, *values: bytes) -> None:
    with producer.transaction() as transaction:
        for value in values:
            transaction.produce(topic, "k", value)


def test_an_aborted_transaction_is_passed_over_and_markers_have_offsets(
    opens: Clients, topic: str, producer: clients.TransactionalProducer
) -> None:
    """The end of a partition is behind them, and it is met once more when something has come."""
    write(producer, topic, b"1")
    assert producer.takes(lambda transaction: transaction.produce(topic, "k", b"aborted"))
    write(producer, topic, b"2")
    consumer = reader(opens, topic)
    assert heard(consumer) == [(0, b"1"), (4, b"2"), (6, None)]
    write(producer, topic, b"3")
    assert heard(consumer) == [(6, b"3"), (8, None)]
    consumer.close()


def test_nobody_reads_past_an_open_transaction(
    opens: Clients, topic: str, producer: clients.TransactionalProducer, name: str
) -> None:
    """What stands behind it may be committed already."""
    other = opens.producer(transactional_id=f"{name}-other", client_id="other")
    other.start()
    consumer = reader(opens, topic)
    with producer.transaction() as transaction:
        transaction.produce(topic, "k", b"open")
        producer._deliver()
        write(other, topic, b"behind")
        assert heard(consumer) == [(0, None)]
    assert heard(consumer)[:2] == [(0, b"open"), (1, b"behind")]
    consumer.close()
    assert tables.load(opens, topic) == {"k": b"behind"}


def test_a_newer_producer_of_the_same_name_fences_the_older(
    opens: Clients, topic: str, producer: clients.TransactionalProducer, name: str
) -> None:
    """And settles what that one left open."""
    newer = opens.producer(transactional_id=name, client_id=name)

    def overtaken() -> None:
        with producer.transaction() as transaction:
            transaction.produce(topic, "k", b"older")
            producer._deliver()
            newer.start()

    with pytest.raises(Fenced):
        overtaken()
    write(newer, topic, b"newer")
    assert tables.load(opens, topic) == {"k": b"newer"}


def test_a_record_that_is_too_large_is_refused_at_once(
    topic: str, producer: clients.TransactionalProducer
) -> None:
    """And nothing of its transaction happens."""
    with pytest.raises(DataError), producer.transaction() as transaction:
        transaction.produce(topic, "k", b"x" * 20_000_000)


def test_a_place_that_is_gone_is_told_and_not_read_past(opens: Clients, topic: str) -> None:
    """Nobody is set back to some other place behind our back."""
    consumer = reader(opens, topic, at=100)

    def refusal() -> bool:
        try:
            clients.read(consumer, 1, 0.5)
        except SalmonError as error:
            return type(error).__name__ == "PositionLost"
        return False

    until(refusal, "it is told")
    consumer.close()


def test_a_member_is_given_its_partitions_in_a_poll_and_gives_them_back_when_it_closes(
    opens: Clients, topic: str, name: str
) -> None:
    """on_assign, then records; on_revoke within close()."""
    calls: list[str] = []

    def noted(what: str) -> Callable[[Any, list[TopicPartition]], None]:
        def note(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            if partitions:
                calls.append(what)
            if what == "assign":
                consumer.incremental_assign(
                    [TopicPartition(each.topic, each.partition, 0) for each in partitions]
                )

        return note

    member = opens.consumer(group_id=name, client_id=name, instance_id=name)
    member.subscribe([topic], on_assign=noted("assign"), on_revoke=noted("revoke"), on_lost=noted("lost"))
    assert calls == []
    until(lambda: clients.read(member, 1, 0.2) or calls, "it has joined")
    place = TopicPartition(topic, 0)
    assert member.committed([place], timeout=10)[0].offset == -1001
    member.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=False)
    assert member.committed([place], timeout=10)[0].offset == 0
    member.close()
    assert calls == ["assign", "revoke"]


def test_a_group_tells_which_member_has_what(opens: Clients, topic: str, name: str) -> None:
    """By it, an instance without partitions finds out whether it is a spare."""
    admin = opens.admin()
    member = opens.consumer(group_id=name, client_id=f"{name}-0", instance_id=f"{name}-0")
    member.subscribe([topic], on_assign=lambda *_: None, on_revoke=lambda *_: None, on_lost=lambda *_: None)

    def told() -> list[cluster.Member]:
        clients.arrived(member, 1, 0.2)
        try:
            return list(cluster.members(admin, name))
        except Unavailable:  # the group has no coordinator yet
            return []

    until(lambda: told() == [cluster.Member(f"{name}-0", 1)], "its only member has the partition", seen=told)
    member.close()


def test_a_place_that_is_lost_can_only_be_left_by_taking_the_partition_again(
    opens: Clients, topic: str, producer: clients.TransactionalProducer
) -> None:
    """The client fetches nothing more there and refuses a seek."""
    write(producer, topic, b"1")
    consumer = opens.consumer(group_id=f"{topic}.look", client_id="look")
    consumer.incremental_assign([TopicPartition(topic, 0, 99)])

    def is_lost() -> bool:
        try:
            return bool(clients.read(consumer, 10, 0.5))
        except PositionLost:
            return True

    until(is_lost, "the place is lost")
    with pytest.raises(KafkaException):
        consumer.seek(TopicPartition(topic, 0, 0))
    clients.continue_at(consumer, [TopicPartition(topic, 0, 0)])
    found = until(lambda: clients.read(consumer, 10, 0.5), "it is read")
    assert [message.value() for message in found] == [b"1"]
    consumer.close()
