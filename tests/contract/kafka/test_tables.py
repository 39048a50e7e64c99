"""Compacted topics as tables, whatever their end is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest

from salmon.kafka import clients, tables
from salmon.kafka.clients import TransactionalProducer
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.tables import Table
from salmon.kafka.topics import Topics
from support.at_hand.registries import MemoryRegistry
from support.kafka import Failure, fail_writing

Create = Callable[..., str]


@pytest.fixture
def write(producer: TransactionalProducer) -> Callable[..., None]:
    """Commits some records: key -> value, None for a tombstone."""

    def write(topic: str, **rows: bytes | None) -> None:
        with producer.transaction() as transaction:
            for key, value in rows.items():
                transaction.produce(topic, key, value)

    return write


@pytest.fixture
def abort(producer: TransactionalProducer) -> Callable[..., None]:
    """Writes some records and takes them back."""

    def abort(topic: str, **rows: bytes | None) -> None:
        with pytest.raises(Failure):
            fail_writing(producer, topic, **rows)

    return abort


Write = Callable[..., None]


def test_the_newest_value_of_each_key_is_in_the_table(
    kafka: dict[str, Any], create: Create, write: Write
) -> None:
    """Compacted or not yet: what is superseded does not count."""
    topic = create()
    write(topic, a=b"1", b=b"1", c=b"1")
    write(topic, a=b"2", c=None)
    write(topic, c=b"3", d=None)
    assert tables.load(kafka, topic) == {"a": b"2", "b": b"1", "c": b"3"}


def test_an_empty_topic_is_an_empty_table(kafka: dict[str, Any], create: Create) -> None:
    """There is nothing to wait for."""
    assert tables.load(kafka, create()) == {}


def test_empty_partitions_beside_full_ones_do_not_hold_it_up(
    kafka: dict[str, Any], create: Create, write: Write
) -> None:
    """One record in six partitions."""
    topic = create("wide", 6)
    write(topic, a=b"1")
    assert tables.load(kafka, topic) == {"a": b"1"}


def test_it_ends_behind_aborted_records(
    kafka: dict[str, Any], create: Create, write: Write, abort: Write
) -> None:
    """The end of the topic is made of records that are never delivered."""
    topic = create("table", 1)
    write(topic, a=b"1")
    abort(topic, a=b"2", b=b"2")
    abort(topic, a=None)
    assert tables.load(kafka, topic) == {"a": b"1"}


def test_a_topic_of_nothing_but_aborted_records_is_empty(
    kafka: dict[str, Any], create: Create, abort: Write
) -> None:
    """Not one record is ever delivered, and it ends all the same."""
    topic = create()
    abort(topic, **{f"k{number}": b"x" for number in range(20)})
    assert tables.load(kafka, topic) == {}


def test_only_the_keys_that_were_asked_for(kafka: dict[str, Any], create: Create, write: Write) -> None:
    """A few records of a large table: the others are passed, and take no memory."""
    topic = create()
    write(topic, a=b"1", b=b"1", c=b"1")
    with tables.Table(kafka, topic, only={"a", "c"}) as table:
        table.load()
        assert table.rows == {"a": b"1", "c": b"1"}
        write(topic, a=b"2", b=b"2", c=None)
        table.load()
        assert table.rows == {"a": b"2"}


def test_only_the_partitions_that_were_asked_for(kafka: dict[str, Any], create: Create, write: Write) -> None:
    """Together they are the whole, and no key is in two of them."""
    topic = create("table", 3)
    write(topic, **{f"k{number}": b"x" for number in range(30)})
    parts = [tables.load(kafka, topic, partitions=[partition]) for partition in range(3)]
    assert sum(map(len, parts)) == 30
    assert parts[0] | parts[1] | parts[2] == tables.load(kafka, topic)
    assert all(parts)


def test_progress_ends_at_the_whole(kafka: dict[str, Any], create: Create, write: Write) -> None:
    """A progress bar fills, and never runs backwards."""
    topic = create()
    for _ in range(3):
        write(topic, **{f"k{number}": b"x" for number in range(500)})
    seen: list[tuple[int, int]] = []
    tables.load(kafka, topic, progress=lambda passed, total: seen.append((passed, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] >= 1500


def test_a_table_follows_what_comes(
    kafka: dict[str, Any], create: Create, write: Write, abort: Write
) -> None:
    """Each call tells what has changed, removals included, and keeps the rows up to date."""
    topic = create()
    write(topic, a=b"1", b=b"1")
    with Table(kafka, topic) as table:
        table.load()
        assert table.follow() == {}, "nothing came"
        write(topic, a=b"2")
        assert table.follow(10) == {"a": b"2"}
        abort(topic, a=b"3")
        write(topic, b=None)
        assert table.follow(10) == {"b": None}
        assert table.rows == {"a": b"2"}


def test_a_table_can_be_brought_up_to_date_again(kafka: dict[str, Any], create: Create, write: Write) -> None:
    """Loading a second time reads what came since, not all of it."""
    topic = create()
    write(topic, a=b"1")
    with Table(kafka, topic) as table:
        table.load()
        places = dict(table.next_offsets)
        write(topic, b=b"1")
        table.load()
        assert table.rows == {"a": b"1", "b": b"1"}
        assert sum(table.next_offsets.values()) > sum(places.values())


def test_it_waits_for_a_transaction_that_is_open_before_the_end(
    kafka: dict[str, Any], create: Create, producer: TransactionalProducer, name: str
) -> None:
    """
    Another process holds a transaction open; ours committed behind it. Readers see nothing behind an open
    transaction: a table that ended there would miss our own last position.
    """
    topic = create("offsets", 1)
    other = clients.producer(kafka, transactional_id=f"{name}-other", client_id="other")
    other.start()

    def writes_late() -> Iterator[None]:
        with other.transaction() as transaction:
            transaction.produce(topic, "other", b"1")
            other._producer.flush(10)
            yield

    late = writes_late()
    next(late)
    with producer.transaction() as transaction:
        transaction.produce(topic, "ours", b"1")
    rows: dict[str, bytes] = {}
    reader = Thread(target=lambda: rows.update(tables.load(kafka, topic)))
    reader.start()
    reader.join(0.5)
    assert reader.is_alive(), "it must not be content with what is settled so far"
    with pytest.raises(StopIteration):
        next(late)
    reader.join(30)
    assert rows == {"other": b"1", "ours": b"1"}


def test_positions_are_told_for_one_connector(
    kafka: dict[str, Any], create: Create, producer: TransactionalProducer, name: str
) -> None:
    """Two sources share one topic, and a position that was forgotten is gone."""
    create("offsets", 1)
    store = OffsetStore(kafka, Topics(name), MemoryRegistry())
    with producer.transaction() as transaction:
        for connector, partition, position in (
            ("salesforce-source", "stream", {"replay_id": "AAAA"}),
            ("salesforce-source", "snapshot/Account", {"after": "001"}),
            ("mongodb-source", "stream", {"token": "82"}),
        ):
            transaction.produce(store.topic, *store.record(connector, partition, position))
    with producer.transaction() as transaction:
        transaction.produce(store.topic, *store.record("salesforce-source", "snapshot/Account", None))
        transaction.produce(store.topic, *store.record("salesforce-source", "stream", {"replay_id": "AAAB"}))
    assert store.load("salesforce-source") == {"stream": {"replay_id": "AAAB"}}
    assert store.load("mongodb-source") == {"stream": {"token": "82"}}
    assert store.load("merge") == {}
