"""The source worker on real brokers and on the fake one: exactly once, one leader, signals answered, nothing lost in a retry."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.errors import Fenced, SchemaMismatch, Unavailable
from salmon.model.change import Change, Op
from salmon.ops.health import Status
from salmon.plugin.contract import DeadLetter, IdentityRecord, Signal, SignalKind, SourceBatch, SourceRecord
from salmon.source.worker import SourceWorker
from support.broker_fixtures import ON_EVERY_BROKER
from support.runtime import OBJECT, Source, Sync, error_of, headers_of, running
from support.waiting import until

CONNECTOR = "mongodb-source"
pytestmark = ON_EVERY_BROKER


def worker(sync: Sync, source: Source, ordinal: int = 0) -> SourceWorker:
    return SourceWorker(sync.instance(CONNECTOR, ordinal), source, (OBJECT,))


def edit(key: str, name: str) -> SourceRecord:
    return SourceRecord(OBJECT, key, Change("mongodb", Op.UPDATE, fields={"Name": name}))


def batch(number: int, **more: Any) -> SourceBatch:
    return SourceBatch((edit(f"k{number}", f"n{number}"),), {"stream": {"at": number}}, **more)


def test_changes_positions_and_identities_are_committed_together(sync: Sync) -> None:
    """What one poll brings is in Kafka as a whole, and the next instance goes on behind it."""
    source = Source()
    with running(worker(sync, source)) as (run,):
        source.offers.put(batch(1, identities=(IdentityRecord(OBJECT, "a00000000000001AAA", "k1"),)))
        until(sync.changes)
        run.stop()
    assert [(key, change.fields["Name"]) for key, change in sync.changes()] == [("k1", "n1")]
    again = Source()
    with running(worker(sync, again)):
        positions, identities = until(lambda: again.started_with)
    assert positions == {"stream": {"at": 1}}
    assert identities == {OBJECT: {"a00000000000001AAA": "k1"}}


def test_foreign_records_in_its_tables_do_not_keep_it_from_starting(sync: Sync) -> None:
    """Keys of any bytes, values of any kind: positions and identities are those that it wrote itself (case L7)."""
    source = Source()
    with running(worker(sync, source)) as (run,):
        source.offers.put(batch(1, identities=(IdentityRecord(OBJECT, "a00000000000001AAA", "k1"),)))
        until(sync.changes)
        run.stop()
    for topic, key in (
        (sync.topics.identity(OBJECT), "a00000000000001AAA"),
        (sync.topics.offsets, f"{CONNECTOR}/stream"),
    ):
        sync.produce(topic, key, b'{"a":1}')
        sync.produce(topic, b"\xff\xfe", b'{"a":1}')
    again = Source()
    with running(worker(sync, again)):
        positions, identities = until(lambda: again.started_with)
    assert positions == {"stream": {"at": 1}}
    assert identities == {OBJECT: {"a00000000000001AAA": "k1"}}


def test_what_was_polled_when_the_signal_came_is_still_committed(sync: Sync) -> None:
    """Stopping commits the batch in hand before it ends."""
    source = Source()
    with running(worker(sync, source)) as (run,):
        until(lambda: source.started_with)
        source.offers.put(batch(1))
        until(source.offers.empty)
        run.stop()
    assert sync.entries(CONNECTOR) == {"stream": {"at": 1}}
    assert len(sync.changes()) == 1


def test_a_newer_instance_of_the_same_place_fences_the_older(sync: Sync) -> None:
    """Two of one ordinal: the newer works at once, the older ends with Fenced and writes nothing more."""
    older, newer = Source(), Source()
    with running(worker(sync, older)) as (first,):
        older.offers.put(batch(1))
        until(lambda: sync.entries(CONNECTOR))
        with running(worker(sync, newer)):
            until(lambda: newer.started_with, within_s=10)
            older.offers.put(batch(2))
            newer.offers.put(batch(3))
            assert isinstance(error_of(first), Fenced)
            until(lambda: sync.entries(CONNECTOR) == {"stream": {"at": 3}})
    assert [key for key, _ in sorted(sync.changes(), key=lambda each: each[0])] == ["k1", "k3"]


def test_who_takes_the_lead_fences_a_leader_of_another_ordinal(sync: Sync) -> None:
    """It may only have been suspended: what it wakes up with must not be written behind its successor's back."""
    before, successor = (sync.instance(CONNECTOR, ordinal).leaders_producer() for ordinal in (0, 1))
    before.start()
    with before.transaction() as transaction:
        transaction.produce(sync.topics.dlq(CONNECTOR), "k", b"of its time")
    successor.start()
    with pytest.raises(Fenced), before.transaction() as transaction:
        transaction.produce(sync.topics.dlq(CONNECTOR), "k", b"too late")
    before.close()
    successor.close()


def test_another_replica_stands_by(sync: Sync) -> None:
    """The second replica is healthy, does nothing, and never asks its task."""
    leader, standby = Source(), Source()
    with running(worker(sync, leader)):
        until(lambda: leader.started_with)
        second = worker(sync, standby, ordinal=1)
        with running(second) as (run,):
            health = second._instance.health
            until(lambda: "On standby" in health.report().message)
            assert health.report().status is Status.HEALTHY
            leader.offers.put(batch(1))
            until(sync.changes)
            assert standby.started_with is None
            run.stop()


def test_a_side_that_is_away_for_a_moment_is_asked_again(sync: Sync) -> None:
    """Polls that fail and heal lose nothing and end nothing."""
    source = Source()
    with running(worker(sync, source)) as (run,):
        for offer in (Unavailable("away"), batch(1), Unavailable("away"), Unavailable("away"), batch(2)):
            source.offers.put(offer)
        until(lambda: len(sync.changes()) == 2)
        run.stop()


def test_an_aborted_transaction_is_written_again_and_shows_once(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try to commit fails after everything was produced: readers of committed records see it once."""
    source = Source()
    it = worker(sync, source)
    write, failures = it._producer._producer.commit_transaction, iter([True, False])

    def cut(*args: Any) -> None:
        if next(failures, False):
            from confluent_kafka import KafkaError, KafkaException

            raise KafkaException(KafkaError(KafkaError._TRANSPORT, "cut", False, False, True))
        write(*args)

    class Cut:
        commit_transaction = staticmethod(cut)

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    real = it._producer._producer
    monkeypatch.setattr(it._producer, "_producer", Cut())
    with running(it) as (run,):
        source.offers.put(batch(1))
        until(lambda: sync.entries(CONNECTOR))
        run.stop()
    assert [key for key, _ in sync.changes()] == ["k1"]


def test_a_signal_is_answered_before_it_is_forgotten(sync: Sync) -> None:
    """A request that was taken but not answered when the instance ended is asked of the next one."""
    for key in ("k1", "k2"):
        sync.signal(CONNECTOR, Signal(0, SignalKind.READ, OBJECT, keys=(key,), reason="test"))
    source = Source()
    with running(worker(sync, source)) as (run,):
        until(lambda: len(source.asked) == 2)
        source.offers.put(batch(1, answered=frozenset({source.asked[0].id})))
        until(lambda: sync.entries(CONNECTOR))
        run.stop()
    again = Source()
    with running(worker(sync, again)) as (run,):
        until(lambda: again.asked)
        assert [each.keys for each in again.asked] == [("k2",)]
        again.offers.put(SourceBatch(answered=frozenset({again.asked[0].id})))
        until(again.offers.empty)
        run.stop()
    last = Source()
    with running(worker(sync, last)) as (run,):
        last.offers.put(batch(2))
        until(lambda: sync.entries(CONNECTOR) == {"stream": {"at": 2}})
        assert last.asked == []


def test_signals_that_nobody_read_in_time_are_answered_by_reading_everything_anew(sync: Sync) -> None:
    """Nobody knows what they asked for: a hole like any other (case L2)."""
    source = Source()
    it = worker(sync, source)
    it._leadership.signals_lost = True
    with running(it) as (run,):
        asked = until(lambda: list(source.asked))
        source.offers.put(SourceBatch(answered=frozenset({asked[0].id})))
        run.stop()
    assert [(each.kind, each.object) for each in asked] == [(SignalKind.SNAPSHOT, OBJECT)]
    assert asked[0].id < 0, "it is no signal of the topic's"


def test_what_can_never_be_a_change_is_a_dead_letter_with_its_bytes(sync: Sync) -> None:
    """A task's dead letter, a value that does not fit, and a signal nobody can read: the rest goes on."""
    source = Source()
    sync.produce(sync.topics.signals(CONNECTOR), "x", b"no avro")
    with running(worker(sync, source)) as (run,):
        source.offers.put(
            SourceBatch(
                (
                    edit("k1", "fine"),
                    SourceRecord(OBJECT, "k2", Change("mongodb", Op.UPDATE, fields={"Name": 5})),
                ),
                {"stream": {"at": 1}},
                dead_letters=(DeadLetter(OBJECT, "k3", b"\x00raw", SchemaMismatch("no text")),),
            )
        )
        until(lambda: len(sync.dead_letters(CONNECTOR)) == 3)
        run.stop()
    assert {key: set(change.misfits) for key, change in sync.changes()} == {"k1": set(), "k2": {"Name"}}
    letters = {(letter.key() or b"").decode(): letter for letter in sync.dead_letters(CONNECTOR)}
    assert letters["k3"].value() == b"\x00raw"
    assert letters["x"].value() == b"no avro"
    headers = headers_of(letters["k3"])
    assert headers["__connect.errors.connector.name"] == CONNECTOR
    assert headers["__connect.errors.stage"] == "TASK_POLL"
    assert headers["__connect.errors.exception.class.name"] == "salmon.errors.SchemaMismatch"
    assert headers["__connect.errors.exception.message"] == "no text"


def test_a_record_that_kafka_never_takes_does_not_stop_the_others(sync: Sync) -> None:
    """Nine megabytes in one field: it alone is set aside, with the reason; the position is passed (case L9)."""
    source = Source()
    with running(worker(sync, source)) as (run,):
        source.offers.put(
            SourceBatch((edit("huge", "x" * 9_000_000), edit("k1", "n1")), {"stream": {"at": 1}})
        )
        until(lambda: sync.entries(CONNECTOR))
        run.stop()
    assert {key: set(change.misfits) for key, change in sync.changes()} == {"k1": set(), "huge": {"Name"}}
    (letter,) = sync.dead_letters(CONNECTOR)
    assert letter.value() == b"{}", "what fits of it: it had no other field"
    assert headers_of(letter)["__connect.errors.stage"] == "KAFKA_PRODUCE"
