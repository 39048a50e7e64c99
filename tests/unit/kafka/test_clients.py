"""Clients as they are made: our settings, the user's, and those that nobody may set. No broker is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, Message

from salmon.errors import ConfigError, PositionLost, SetupError, Unavailable
from salmon.kafka import clients, properties, transactions
from salmon.kafka.topics import CONNECTORS, Topics, specs
from support.at_hand.memory_broker import error

NOBODY = {"bootstrap.servers": "127.0.0.1:1"}


def consumer(kafka: dict[str, Any]) -> Any:
    return clients.consumer(kafka, group_id="g", client_id="c")


def producer(kafka: dict[str, Any]) -> Any:
    return clients.producer(kafka, transactional_id="t", client_id="c")


MAKERS = [pytest.param(make, id=make.__name__) for make in (consumer, producer, clients.admin)]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("no.such.thing", "1", r"kafka\.no\.such\.thing: librdkafka has no such property"),
        (
            "socket.timeout.ms",
            "soon",
            r"kafka\.socket\.timeout\.ms: librdkafka refuses its value \(of type str\)",
        ),
        ("linger.ms", "hunter2", r"kafka\.linger\.ms: librdkafka refuses its value"),
        ("security.protocol", "tls", r"kafka\.security\.protocol: librdkafka refuses its value"),
    ],
)
def test_a_property_that_librdkafka_refuses_is_named(
    make: Callable[[dict[str, Any]], Any], name: str, value: str, told: str
) -> None:
    """With its key in our configuration and the value's type; the value may be a secret."""
    with pytest.raises(ConfigError, match=told) as failed:
        make({**NOBODY, name: value})
    assert "hunter2" not in str(failed.value)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", sorted(properties.OWN_PROPERTIES))
def test_what_our_promises_stand_on_cannot_be_set(make: Callable[[dict[str, Any]], Any], name: str) -> None:
    """A configuration that says acks=1 is a mistake, and not a wish."""
    with pytest.raises(ConfigError, match=rf"kafka\.{name.replace('.', chr(92) + '.')}: set by Salmon"):
        make({**NOBODY, name: "x"})


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The settings of the last client that was made."""
    seen: dict[str, Any] = {}

    def make(kind: object, settings: dict[str, Any], kafka: object) -> None:
        seen.clear()
        seen.update(settings)

    monkeypatch.setattr(clients, "made", make)
    monkeypatch.setattr(transactions, "made", make)
    return seen


def test_a_consumer_reads_what_is_committed_from_where_it_was_told(made: dict[str, Any]) -> None:
    """And gives its partitions up soon after its death."""
    clients.consumer(NOBODY, group_id="g", client_id="c", instance_id="i", enable_partition_eof=True)
    assert (
        made.items()
        >= {
            "group.id": "g",
            "group.instance.id": "i",
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.auto.commit": False,
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.partition.eof": True,
            "session.timeout.ms": 6000,
        }.items()
    )


def test_a_producer_is_made_for_short_transactions(made: dict[str, Any]) -> None:
    """librdkafka's defaults would cost 100 ms each."""
    clients.producer(NOBODY, transactional_id="t", client_id="c")
    assert made["linger.ms"] == 0
    assert 2 <= made["retry.backoff.ms"] <= 10
    assert made["transaction.timeout.ms"] == 10_000
    assert made["partitioner"] == "murmur2_random"
    assert made["enable.idempotence"] is True


def test_the_user_has_the_last_word_where_no_promise_is_at_stake(made: dict[str, Any]) -> None:
    """A slow network may want other times, and the embedded broker another assignor."""
    wished = {"session.timeout.ms": 30_000, "partition.assignment.strategy": "range"}
    clients.consumer({**NOBODY, **wished}, group_id="g", client_id="c")
    assert made.items() >= wished.items()
    clients.producer({**NOBODY, "linger.ms": 5}, transactional_id="t", client_id="c")
    assert made["linger.ms"] == 5


def test_a_broker_that_is_not_there_is_told_with_its_key() -> None:
    """Nobody listens on port 1."""
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 .*refused.*kafka\.bootstrap\.servers"):
        clients.connect(NOBODY, timeout_s=0.5)


def test_a_ca_file_that_is_not_there_is_told() -> None:
    """Before anything is asked."""
    tls = {**NOBODY, "security.protocol": "ssl", "ssl.ca.location": "/no/such/ca.pem"}
    with pytest.raises((ConfigError, SetupError), match=r"kafka\.ssl\.ca\.location"):
        clients.connect(tls, timeout_s=0.5)


def test_every_topic_of_a_sync_begins_with_its_name() -> None:
    """So that several syncs share a cluster, and an ACL by prefix covers one of them."""
    wanted = specs(Topics("crm"), ["Account", "Order__c"], partitions=6, replication_factor=3)
    names = [spec.name for spec in wanted]
    assert len(names) == len(set(names)) == 2 * 6 + 4 + 2 * len(CONNECTORS)
    assert all(name.startswith("crm.") for name in names)


def test_the_topics_of_an_object_have_equally_many_partitions() -> None:
    """A key is in the same partition of all of them."""
    wanted = specs(Topics("crm"), ["Account"], partitions=6, replication_factor=3)
    assert {spec.partitions for spec in wanted if spec.name.endswith(".Account")} == {6}
    assert {spec.partitions for spec in wanted if ".signals." in spec.name} == {1}, "its owner is the leader"


@pytest.mark.parametrize(("copies", "in_sync"), [(1, None), (2, None), (3, "2"), (5, "2")])
def test_with_three_copies_two_must_have_a_record(copies: int, in_sync: str | None) -> None:
    """One broker may die without a loss, and without a standstill."""
    wanted = specs(Topics("crm"), ["Account"], partitions=1, replication_factor=copies)
    assert {spec.settings.get("min.insync.replicas") for spec in wanted} == {in_sync}


class Arrived:
    """A consumer to which these messages have arrived."""

    def __init__(self, *messages: Message) -> None:
        self.messages, self.pending = list(messages), None

    def poll(self, _timeout_s: float) -> Message | None:
        return self.messages.pop(0) if self.messages else None

    def consume(self, n: int, _timeout_s: float) -> list[Message]:
        taken, self.messages = self.messages[:n], self.messages[n:]
        return taken


def test_a_lost_place_is_not_hidden_by_a_connection_that_broke_before_it() -> None:
    """librdkafka reports each of them once; the record between them comes first."""
    arrived = cast(
        "Consumer",
        Arrived(
            Message(topic="t", partition=0, offset=0, error=error(KafkaError._TRANSPORT)),
            Message(topic="t", partition=1, offset=4, value=b"x"),
            Message(topic="t", partition=3, offset=7, error=error(KafkaError._AUTO_OFFSET_RESET)),
        ),
    )
    assert [message.value() for message in clients.read(arrived, 10, 0)] == [b"x"]
    with pytest.raises(PositionLost, match=r"t\[3\]"):
        clients.read(arrived, 10, 0)
    assert clients.read(arrived, 10, 0) == []
