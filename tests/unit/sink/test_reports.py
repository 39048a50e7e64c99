"""What a sink reports: outcomes with the offsets they finish, and whether it stopped in good order."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, Message

from salmon.errors import DataError, Fenced, Unavailable
from salmon.kafka.codecs.serdes import Changes, Signals
from salmon.kafka.dead_letters import headers_of
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.output import Output
from salmon.model.change import Op, Write, WriteOp
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.sink.buffer import SinkBuffer
from salmon.sink.reporting import Landed, OutcomeEncoder, words_of
from salmon.sink.reports import SinkReports
from support.at_hand.memory_broker import error
from support.at_hand.memory_sync import MemorySync
from support.runtime import OBJECT, SCHEMA

CONNECTOR = "mongodb-sink"
ABORTED = error(KafkaError.COORDINATOR_NOT_AVAILABLE, abort=True)


class Reporter:
    """The reports of one replica that has joined its group and holds partition 0 of `writes`."""

    def __init__(self, sync: MemorySync, ordinal: int = 0) -> None:
        self.sync = sync
        self.instance = instance = sync.instance(CONNECTOR, ordinal)
        self.place = (sync.writes(), 0)
        self.buffer = SinkBuffer()
        self.buffer.open(self.place, 0)
        self._written = 0
        topics, registry = sync.topics, sync.registry
        self.consumer = sync.clients.consumer(
            group_id=instance.group, client_id=instance.id, instance_id=instance.id
        )
        self.consumer.subscribe([self.place[0]], on_assign=_nothing, on_revoke=_nothing, on_lost=_nothing)
        self.consumer.poll(0)
        entries = OffsetStore(sync.clients, topics, registry)
        outcomes = OutcomeEncoder(
            connector=CONNECTOR,
            side="mongodb",
            topics=topics,
            changes={OBJECT: Changes(SCHEMA, registry, topics.changes(OBJECT))},
            signals=Signals(registry, topics.signals("mongodb-source")),
            entries=entries,
            task_class="a.Task",
        )
        self.reports = SinkReports(
            instance, self.buffer, outcomes, entries, group=self.consumer.consumer_group_metadata
        )
        self.reports.start()

    def lands(self, key: str, kind: OutcomeKind = OutcomeKind.REFUSED, said: str = "") -> None:
        """A write of *key* is carried out, and this came of it."""
        self.buffer.renew(self.buffer.now())
        self.buffer.add(self.place, self._written, (OBJECT, key), b"x", self._message(key))
        self._written += 1
        command = next(iter(self.buffer.take(1) or []))
        write = Write(self._written, WriteOp.UPDATE, fields={"Name": "x"})
        self.reports.take(
            [Landed(command, SinkRecord(OBJECT, key, write), Outcome(kind, reason="so", said=said))]
        )

    def _message(self, key: str) -> Message:
        topic, number = self.place
        return Message(
            topic=topic,
            partition=number,
            offset=self._written,
            key=key.encode(),
            value=b"x",
            timestamp=(1, 1),
        )

    @property
    def told(self) -> list[Op]:
        codec, topic = self.sync.changes_codec, self.sync.topics.changes(OBJECT)
        return [codec.decode(value or b"").op for value in self.sync.values(topic)]

    @property
    def committed(self) -> int:
        return self.sync.broker.committed(self.instance.group).get(self.place, 0)


def _nothing(*_: Any) -> None:
    """No partition is read here."""


@pytest.fixture
def sync() -> MemorySync:
    return MemorySync(partitions=1)


def test_outcomes_are_told_together_and_their_offsets_with_them(sync: MemorySync) -> None:
    """One transaction; an outcome that tells nobody anything has its offset in it all the same."""
    it = Reporter(sync)
    it.lands("a")
    it.lands("b", OutcomeKind.APPLIED)
    assert it.reports.has_news
    it.reports.report()
    assert it.told == [Op.REFUSED]
    assert it.committed == 2
    assert it.buffer.idle
    assert not it.reports.has_news


def test_outcomes_that_kafka_did_not_take_are_told_by_the_next_call(sync: MemorySync) -> None:
    """Nothing of the first try has happened; nothing is told twice."""
    it = Reporter(sync)
    it.lands("a")
    sync.broker.fail("commit_transaction", ABORTED, of=it.instance.id)
    with pytest.raises(Unavailable):
        it.reports.report()
    assert (it.told, it.committed, it.reports.has_news) == ([], 0, True)
    it.reports.report()
    assert (it.told, it.committed) == ([Op.REFUSED], 1)


def test_outcomes_of_a_partition_that_was_lost_are_not_told(sync: MemorySync) -> None:
    """Whoever has it now puts the same write again, and tells."""
    it = Reporter(sync)
    it.lands("a")
    it.buffer.forget([it.place])
    it.reports.report()
    assert it.told == []
    assert it.committed == 0


def test_a_member_that_its_group_gave_up_commits_nothing(sync: MemorySync) -> None:
    """Even before it has heard of that: Kafka looks at its membership."""
    it = Reporter(sync)
    it.lands("a")
    sync.broker.drop_out(it.instance.group, it.instance.id)
    with pytest.raises(Unavailable):
        it.reports.report()
    assert it.told == []
    assert it.committed == 0


def test_a_newer_instance_fences_the_reports_of_the_older(sync: MemorySync) -> None:
    """What that one still learns is not for it to tell."""
    older = Reporter(sync)
    older.lands("a")
    Reporter(sync)
    with pytest.raises(Fenced):
        older.reports.report()
    assert older.told == []


def test_a_dead_letter_that_is_too_large_with_its_original_comes_without_it(sync: MemorySync) -> None:
    """Its headers say where the original stands."""
    dlq = sync.topics.dlq(CONNECTOR)
    sync.broker.refuses = lambda topic, _, value: topic == dlq and value is not None
    it = Reporter(sync)
    it.lands("a")
    it.reports.report()
    assert it.told == [Op.REFUSED]
    assert sync.values(dlq) == [None]


def test_a_foreign_record_as_large_as_kafka_takes_stops_no_sink(sync: MemorySync) -> None:
    """With its headers it fits no dead letter; each start would read it again (cases L7 and L9)."""
    dlq = sync.topics.dlq(CONNECTOR)
    sync.broker.refuses = lambda topic, _, value: topic == dlq and value is not None
    it = Reporter(sync)
    foreign = Message(topic=sync.writes(), partition=0, offset=7, key=b"a", value=b"x", timestamp=(1, 1))
    it.reports.set_aside(foreign, DataError("not one of ours"), "VALUE_CONVERTER")
    assert sync.values(dlq) == [None]
    (letter,) = sync.records(dlq)
    assert headers_of(letter)["__connect.errors.offset"] == "7"


def test_it_was_clean_only_if_all_replicas_stopped_in_good_order(sync: MemorySync) -> None:
    """One that is at work, or died, may have left a write in doubt."""
    first, second = Reporter(sync), Reporter(sync, 1)
    assert not first.reports.was_clean(first.reports.load()), "nobody has ever stopped"
    first.reports.note_clean(True)
    assert first.reports.was_clean(first.reports.load())
    second.reports.note_clean(False)
    assert not first.reports.was_clean(first.reports.load())
    second.reports.note_clean(True)
    assert first.reports.was_clean(first.reports.load())


def test_a_side_that_was_reached_once_is_remembered(sync: MemorySync) -> None:
    """From then on, that it does not answer is an outage, and no mistake in the configuration."""
    first = Reporter(sync)
    first.reports.load()
    assert not first.reports.side_was_reached
    first.reports.note_reached()
    again = Reporter(sync)
    again.reports.load()
    assert again.reports.side_was_reached


def test_other_records_are_written_even_if_there_is_no_outcome(sync: MemorySync) -> None:
    """The guard's counts come before any offset that they speak of."""
    it = Reporter(sync)
    key, value = OffsetStore(sync.clients, sync.topics, sync.registry).record(
        CONNECTOR, "guard/x/0", {"held": 1}
    )
    it.reports.report([Output(sync.topics.offsets, key, value)])
    assert it.reports.load()["guard/x/0"] == {"held": 1}


def test_a_record_that_is_no_command_is_set_aside_by_itself(sync: MemorySync) -> None:
    """With the reason, at once."""
    message = Message(
        topic=sync.writes(), partition=0, offset=7, key=b"a", value=b"foreign", timestamp=(1, 1)
    )
    it = Reporter(sync)
    it.reports.set_aside(message, DataError("it is foreign"), "VALUE_CONVERTER")
    assert sync.values(sync.topics.dlq(CONNECTOR)) == [b"foreign"]


def test_the_sides_own_words_go_with_the_refusal_and_its_dead_letter(sync: MemorySync) -> None:
    """`why` and `dlq show` have them; the state and the document, which may mask what they quote, do not."""
    it = Reporter(sync)
    it.lands("a", said="A phone needs\nits country.")
    it.reports.report()
    codec, topic = sync.changes_codec, sync.topics.changes(OBJECT)
    (change,) = [codec.decode(value or b"") for value in sync.values(topic)]
    assert (change.source["reason"], change.source["said"]) == ("so", "A phone needs its country.")
    (letter,) = sync.records(sync.topics.dlq(it.instance.connector))
    message = headers_of(letter)["__connect.errors.exception.message"]
    assert message.endswith("so. Its own words: A phone needs its country.")
    assert len(words_of(Outcome(OutcomeKind.REFUSED, said="x" * 9_999))) < 600
