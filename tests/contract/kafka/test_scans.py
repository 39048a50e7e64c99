"""Partitions read once to their ends, and only what is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Message

from salmon.errors import SetupError
from salmon.kafka import clients, scans
from salmon.kafka.clients import TransactionalProducer
from salmon.kafka.partitions import partition_of
from salmon.kafka.reader import Place
from support.kafka import Failure, fail_writing

Create = Callable[..., str]
KEYS = tuple(f"001{number}" for number in range(20))


@pytest.fixture
def log(create: Create, producer: TransactionalProducer) -> str:
    """A topic of three partitions with two values of each key, and something aborted behind and between them."""
    topic = create("log", 3, cleanup_policy="delete")
    for value in (b"first", b"second"):
        with producer.transaction() as transaction:
            for key in KEYS:
                transaction.produce(topic, key, value)
        with pytest.raises(Failure):
            fail_writing(producer, topic, **dict.fromkeys(KEYS, b"aborted"))
    return topic


def scanned(kafka: dict[str, Any], places: list[Place], **asked: Any) -> list[Message]:
    found: list[Message] = []
    scans.scan(kafka, clients.admin(kafka), places, found.append, **asked)
    return found


def values(messages: list[Message]) -> list[tuple[bytes | None, bytes | None]]:
    return [(message.key(), message.value()) for message in messages]


def test_a_key_is_found_in_the_partition_that_its_hash_says(kafka: dict[str, Any], log: str) -> None:
    """Of every key, both values in their order, and no other key's, nor what was aborted."""
    for key in KEYS[:5]:
        place = (log, partition_of(key, 3))
        told = [(key.encode(), b"first"), (key.encode(), b"second")]
        assert values(scanned(kafka, [place], keys=[key])) == told


def test_all_of_a_topic_is_read_to_its_end_and_progress_ends_whole(kafka: dict[str, Any], log: str) -> None:
    """Whatever its end is made of."""
    told: list[tuple[int, int]] = []
    found = scanned(
        kafka,
        scans.all_places(clients.admin(kafka), [log]),
        progress=lambda done, total: told.append((done, total)),
    )
    assert sorted(values(found)) == sorted(
        (key.encode(), value) for key in KEYS for value in (b"first", b"second")
    )
    assert all(0 <= done <= total for done, total in told)


def test_it_begins_where_it_is_told(kafka: dict[str, Any], log: str) -> None:
    """For who knows what came before."""
    place = (log, partition_of(KEYS[0], 3))
    both = scanned(kafka, [place], keys=[KEYS[0]])
    later = clients.place_of(both[1])[2]
    assert values(scanned(kafka, [place], keys=[KEYS[0]], begins={place: later})) == values(both[1:])


@pytest.mark.parametrize("ago_s", [0, 3600, -3600])
def test_what_is_said_to_be_newer_is_never_missed(kafka: dict[str, Any], log: str, ago_s: int) -> None:
    """From some time on: clocks differ, so that a little more may come; where nothing is newer, all of it does."""
    since_ms = int((time.time() - ago_s) * 1000)
    place = (log, partition_of(KEYS[0], 3))
    found = scanned(kafka, [place], keys=[KEYS[0]], since_ms=since_ms)
    assert values(found)[-1:] == [(KEYS[0].encode(), b"second")]


def test_a_topic_of_nothing_but_aborted_records_has_nothing(
    kafka: dict[str, Any], create: Create, producer: TransactionalProducer
) -> None:
    """There is nothing to wait for, from no time on either."""
    topic = create("aborted", 2)
    with pytest.raises(Failure):
        fail_writing(producer, topic, a=b"1", b=b"2", c=b"3")
    places = scans.all_places(clients.admin(kafka), [topic])
    assert scanned(kafka, places) == scanned(kafka, places, since_ms=0) == []


def test_a_missing_topic_is_named(kafka: dict[str, Any], name: str) -> None:
    """With the mend."""
    with pytest.raises(SetupError, match=f"{name}.none does not exist. Start the connectors"):
        scans.all_places(clients.admin(kafka), [f"{name}.none"])
