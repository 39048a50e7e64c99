"""What is owed to a record by writes that an instance has not read: it looks into the log before a refusal is final."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from salmon.kafka.codecs.serdes import Writes
from salmon.kafka.partitions import partition_of
from salmon.model.change import Write
from salmon.plugin.contract import OwedTo
from salmon.sink.unread import FRESH_S, UNKNOWN, UnreadWrites
from salmon.sink.worker import SinkWorker
from support.clock import Clock
from support.memory_sync import MemorySync
from support.runtime import OBJECT, SCHEMA, Sink, eventually, running

CONNECTOR: Final = "mongodb-sink"
# One key in each of the two partitions.
KEYS: Final = {partition_of(key, 2): key for key in "abcdefgh"}


class Asking(Sink):
    """A task that may ask what is owed to any record."""

    owed: OwedTo

    def look_up(self, owed: OwedTo) -> None:
        self.owed = owed


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salmon.sink.worker.IDLE_POLL_S", 0.01)
    monkeypatch.setattr("salmon.sink.worker.POLL_S", 0.01)
    monkeypatch.setattr("salmon.sink.unread.FRESH_S", 0.0)


@pytest.fixture
def sync() -> MemorySync:
    return MemorySync()


def unread(
    sync: MemorySync, own: Mapping[tuple[str, int], int], clock: Clock, records_max: int = 100
) -> UnreadWrites:
    codec = Writes(SCHEMA, sync.registry, sync.writes())
    return UnreadWrites(
        sync.instance(CONNECTOR),
        lambda: own,
        lambda _, value: None if value is None else codec.decode(value),
        records_max=records_max,
        clock=clock,
    )


def seq(write: Write | None) -> int | None:
    return None if write is None else write.seq


def test_one_replica_knows_what_another_still_owes(sync: MemorySync) -> None:
    """A write in the other's partition is owed until it is carried out there, and a newer one takes its place (case L8)."""
    first, second = Asking(), Asking()
    one, two = (
        SinkWorker(sync.instance(CONNECTOR, number), task, {OBJECT: SCHEMA}, [OBJECT])
        for number, task in enumerate((first, second))
    )
    with running(one, two) as runs:
        eventually(lambda: len(one.buffer.places) == len(two.buffer.places) == 1)
        ((_, number),) = two.buffer.places
        key = KEYS[number]
        assert first.owed(OBJECT, key) is None
        second.gate.clear()
        sync.write(key, 1, Name="x")
        eventually(lambda: seq(first.owed(OBJECT, key)) == seq(second.owed(OBJECT, key)) == 1)
        sync.write(key, 2, Name="y")
        eventually(lambda: seq(first.owed(OBJECT, key)) == 2)
        second.gate.set()
        eventually(lambda: first.owed(OBJECT, key) is None, saying="it is carried out and committed")
        for run in runs:
            run.stop()


def test_what_waits_unread_in_our_own_partition_is_owed_too(sync: MemorySync, clock: Clock) -> None:
    """A full buffer stops reading. What was read is the buffer's to tell, and a tombstone owes nothing."""
    own = dict.fromkeys([(sync.writes(), number) for number in (0, 1)], 0)
    it = unread(sync, own, clock)
    sync.write(KEYS[0], 1)
    assert seq(it.owed(OBJECT, KEYS[0])) == 1
    own[sync.writes(), 0] = 2  # a record and the end of its transaction
    assert it.owed(OBJECT, KEYS[0]) is None
    sync.write(KEYS[0], 3)
    sync.write(KEYS[0], None)
    assert it.owed(OBJECT, KEYS[0]) is None
    it.close()


def test_what_is_not_known_may_be_owed(sync: MemorySync, clock: Clock) -> None:
    """Kafka is away, or a replica is far behind: the value may become free, so nothing is refused (case L8)."""
    it = unread(sync, {}, clock, records_max=10)
    assert it.owed(OBJECT, KEYS[0]) is None
    for number in range(11):
        sync.write(KEYS[0], number + 1)
    assert it.owed(OBJECT, KEYS[0]) is UNKNOWN
    assert it.owed(OBJECT, KEYS[1]) is None, "of the other partition, all is known"
    with sync.broker.outage():
        assert it.owed(OBJECT, KEYS[1]) is UNKNOWN
    it.close()


def test_a_foreign_record_hides_nothing(sync: MemorySync, clock: Clock) -> None:
    """It is passed over, as everywhere (case L7)."""
    it = unread(sync, {}, clock)
    sync.write(KEYS[0], 1)
    sync.produce(sync.writes(), KEYS[0], b"foreign")
    sync.produce(sync.writes(), b"\xff", b"foreign")
    assert seq(it.owed(OBJECT, KEYS[0])) == 1
    it.close()


def test_a_thousand_questions_read_the_log_once(
    sync: MemorySync, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a partition; what was read is used for a second."""
    monkeypatch.setattr("salmon.sink.unread.FRESH_S", FRESH_S)
    it = unread(sync, {}, clock)
    assert it.owed(OBJECT, KEYS[0]) is None
    sync.write(KEYS[0], 1)
    assert it.owed(OBJECT, KEYS[0]) is None
    clock.now_s += FRESH_S
    assert seq(it.owed(OBJECT, KEYS[0])) == 1
    it.close()
