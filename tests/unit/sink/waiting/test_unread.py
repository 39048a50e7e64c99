"""What is owed to a record by writes that an instance has not read: it looks into the log before a refusal is final."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from threading import Event, Thread
from typing import Final

import pytest
from confluent_kafka import KafkaError

from salmon.errors import Unavailable
from salmon.kafka.codecs.serdes import Writes
from salmon.kafka.partitions import partition_of
from salmon.model.change import Op, Write
from salmon.plugin.contract import Outcome, OutcomeKind, OwedTo, SinkRecord
from salmon.sink.waiting.holders import Found, HolderWatch
from salmon.sink.waiting.refusals import Refused
from salmon.sink.waiting.unread import FRESH_S, UNKNOWN, UnreadWrites
from salmon.sink.worker import SinkWorker
from support.at_hand.memory_broker import error
from support.at_hand.memory_sync import MemorySync
from support.clock import Clock
from support.runtime import OBJECT, SCHEMA, Answer, Sink, running
from support.waiting import until

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
    monkeypatch.setattr("salmon.sink.worker.HOLDERS_EVERY_S", 0.01)
    monkeypatch.setattr("salmon.sink.waiting.unread.FRESH_S", 0.0)


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


def workers(sync: MemorySync, *tasks: Sink) -> list[SinkWorker]:
    return [
        SinkWorker(sync.instance(CONNECTOR, number), task, {OBJECT: SCHEMA}, [OBJECT])
        for number, task in enumerate(tasks)
    ]


def seq(write: Write | None) -> int | None:
    return None if write is None else write.seq


def test_one_replica_knows_what_another_still_owes(sync: MemorySync) -> None:
    """A write in the other's partition is owed until it is carried out there, and a newer one takes its place (case L8)."""
    first, second = Asking(), Asking()
    one, two = workers(sync, first, second)
    with running(one, two) as runs:
        until(lambda: len(one.buffer.places) == len(two.buffer.places) == 1)
        ((_, number),) = two.buffer.places
        key = KEYS[number]
        assert first.owed(OBJECT, key) is None
        second.gate.clear()
        sync.write(key, 1, Name="x")
        until(lambda: seq(first.owed(OBJECT, key)) == seq(second.owed(OBJECT, key)) == 1)
        sync.write(key, 2, Name="y")
        until(lambda: seq(first.owed(OBJECT, key)) == 2)
        second.gate.set()
        until(lambda: first.owed(OBJECT, key) is None, "it is carried out and committed")
        for run in runs:
            run.stop()


def refuses_for(key: str, holder: str) -> Answer:
    """As a task does that has asked, and found that nothing is owed to the record that holds the value."""

    def answer(record: SinkRecord) -> Outcome:
        if record.key != key:
            return Outcome(OutcomeKind.APPLIED)
        return Outcome(
            OutcomeKind.REFUSED, frozenset({"Name"}), "Duplicate", "taken", waits_for=((OBJECT, holder),)
        )

    return answer


def retries(sync: MemorySync, key: str) -> list[int | None]:
    return [change.ack for each, change in sync.changes() if each == key and change.op is Op.RETRY]


def test_a_refusal_ends_when_another_replica_writes_to_the_holder(sync: MemorySync) -> None:
    """Merge is asked once to send it again (case L8)."""
    first, second = Asking(), Asking()
    one, two = workers(sync, first, second)
    with running(one, two) as runs:
        until(lambda: len(one.buffer.places) == len(two.buffer.places) == 1)
        (((_, here),), ((_, there),)) = one.buffer.places, two.buffer.places
        mine, holder = KEYS[here], KEYS[there]
        first.answer = refuses_for(mine, holder)
        assert first.owed(OBJECT, holder) is None
        sync.write(mine, 5, Name="taken")
        until(lambda: one._reports.waits.holds(OBJECT, mine))
        sync.write(holder, 6, ParentId="p")
        sync.write(holder, 7, Name="free")
        until(lambda: retries(sync, mine) == [5])
        until(lambda: not one._reports.waits.holds(OBJECT, mine))
        for run in runs:
            run.stop()
    assert retries(sync, mine) == [5]


def test_a_refusal_ends_with_a_write_that_came_while_its_instance_did_not_run(sync: MemorySync) -> None:
    """Another instance has carried it out: the place where the refusal was decided is kept with it (case L8)."""
    mine, holder = KEYS[0], KEYS[1]
    task = Asking(refuses_for(mine, holder))
    (one,) = workers(sync, task)
    with running(one) as (run,):
        until(lambda: len(one.buffer.places) == 2)
        assert task.owed(OBJECT, holder) is None
        sync.write(mine, 5, Name="taken")
        until(lambda: one._reports.waits.holds(OBJECT, mine))
        run.stop()
    sync.write(holder, 6, Name="free")
    offsets = sync.broker.groups[f"{sync.name}-{CONNECTOR}"].offsets
    offsets[sync.writes(), 1] = (
        offsets.get((sync.writes(), 1), 0) + 2
    )  # the write, and the end of its transaction
    (again,) = workers(sync, Asking())
    with running(again) as (run,):
        until(lambda: retries(sync, mine) == [5])
        run.stop()


def test_a_kafka_that_is_away_hides_no_write_to_a_holder(sync: MemorySync, clock: Clock) -> None:
    """It is read on where it was (case L8)."""
    it, asked = unread(sync, {}, clock), (OBJECT, KEYS[1])
    assert it.owed(*asked) is None
    refused = Refused(OBJECT, KEYS[0], 5, frozenset({"Name"}), asked, 0, it.quiet_since(asked))
    watch = HolderWatch(sync.instance(CONNECTOR), it.place_of)
    assert watch.turn([refused]) == []
    sync.broker.fail("poll", error(KafkaError._ALL_BROKERS_DOWN))
    sync.write(KEYS[1], 6, Name="free")
    found: list[Found] = []

    def is_found() -> bool:
        with suppress(Unavailable):
            found.extend(watch.turn([refused]))
        return bool(found)

    until(is_found)
    assert [holder for holder, _, _ in found] == [asked]
    assert watch.turn([]) == []
    watch.close()
    it.close()


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


def test_a_foreign_record_hides_nothing(sync: MemorySync) -> None:
    """It is passed over, as everywhere (case L7)."""
    (one,) = workers(sync, Asking())
    sync.write(KEYS[0], 1)
    for foreign in (b"foreign", b"\0\0\0\0\x63rest"):
        sync.produce(sync.writes(), KEYS[0], foreign)
    sync.produce(sync.writes(), b"\xff", b"foreign")
    assert seq(one._unread.owed(OBJECT, KEYS[0])) == 1
    one._unread.close()


def test_the_loop_does_not_wait_while_a_putter_reads_the_log(
    sync: MemorySync, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka stands still as a putter asks what is owed: the loop goes on, and a stop does not wait either (case S13)."""
    it, asked = unread(sync, {}, clock), (OBJECT, KEYS[0])
    reads, answers = Event(), Event()
    span = it._span

    def stands_still(place: tuple[str, int]) -> tuple[int, int]:
        reads.set()
        assert answers.wait(10)
        return span(place)

    monkeypatch.setattr(it, "_span", stands_still)
    found: list[int | None] = []
    putter = Thread(target=lambda: found.append(seq(it.owed(*asked))), daemon=True)
    putter.start()
    assert reads.wait(10)

    def turn() -> None:
        it.quiet_since(asked)
        it.forget(asked)
        it.close()

    loop = Thread(target=turn, daemon=True)
    loop.start()
    loop.join(5)
    assert not loop.is_alive()
    answers.set()
    putter.join(10)
    assert found == [None]
    it.close()


def test_what_was_read_before_a_write_was_found_is_not_used_after_it(
    sync: MemorySync, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop finds a write to the holder while a putter reads: the next question reads again (case L8)."""
    monkeypatch.setattr("salmon.sink.waiting.unread.FRESH_S", FRESH_S)
    it, asked = unread(sync, {}, clock), (OBJECT, KEYS[0])
    span = it._span

    def overtaken(place: tuple[str, int]) -> tuple[int, int]:
        found = span(place)
        sync.write(KEYS[0], 1)
        it.forget(asked)
        return found

    monkeypatch.setattr(it, "_span", overtaken)
    assert it.owed(*asked) is None
    monkeypatch.setattr(it, "_span", span)
    assert seq(it.owed(*asked)) == 1
    it.close()


def test_a_thousand_questions_read_the_log_once(
    sync: MemorySync, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a partition; what was read is used for a second."""
    monkeypatch.setattr("salmon.sink.waiting.unread.FRESH_S", FRESH_S)
    it = unread(sync, {}, clock)
    assert it.owed(OBJECT, KEYS[0]) is None
    sync.write(KEYS[0], 1)
    assert it.owed(OBJECT, KEYS[0]) is None
    clock.now_s += FRESH_S
    assert seq(it.owed(OBJECT, KEYS[0])) == 1
    it.close()
