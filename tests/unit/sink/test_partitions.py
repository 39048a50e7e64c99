"""The partitions of a sink: what is read, committed, handed over and lost. No thread runs but the test's."""

from __future__ import annotations

from threading import Event

import pytest
from confluent_kafka import KafkaError

from salmon.errors import Unavailable
from salmon.sink.buffer import SinkBuffer
from salmon.sink.partitions import SinkPartitions
from support.memory_broker import error
from support.memory_sync import MemorySync, retrying

CONNECTOR = "mongodb-sink"


class Replica:
    """The partitions of one replica, and what is called as they come and go."""

    def __init__(self, sync: MemorySync, ordinal: int = 0, *, commands_max: int = 1_000) -> None:
        self.sync, self.topic = sync, sync.writes()
        self.buffer = SinkBuffer(commands_max=commands_max)
        self.taken = self.reported = 0
        self.kafka_is_away = False
        self.instance = sync.instance(CONNECTOR, ordinal)
        self.partitions = SinkPartitions(
            self.instance,
            self.buffer,
            [self.topic],
            retrying=retrying(),
            stop=Event(),
            taken=self._taken,
            report=self._report,
            is_command=lambda _: True,
        )

    def read(self) -> list[tuple[str, int]]:
        """Key and offset of what is read next; all of it is put and done."""
        found = []
        for message in self.partitions.read(100, 0):
            key, number, offset = (
                (message.key() or b"").decode(),
                message.partition() or 0,
                message.offset() or 0,
            )
            self.buffer.add((self.topic, number), offset, ("Thing", key), message.value())
            found.append((key, offset))
        return found

    def put(self) -> None:
        """Carry out all that waits."""
        while not self.buffer.idle:
            self.buffer.renew(self.buffer.now())
            commands = self.buffer.take(100) or []
            self.buffer.done(commands)

    @property
    def held(self) -> set[int]:
        return {number for _, number in self.buffer.places}

    def _taken(self) -> None:
        self.taken += 1
        if self.kafka_is_away:
            self.kafka_is_away = False
            raise Unavailable("Kafka is away")

    def _report(self) -> None:
        self.reported += 1


@pytest.fixture
def sync() -> MemorySync:
    return MemorySync()


def test_the_newest_record_of_each_key_is_read_and_no_older_one(sync: MemorySync) -> None:
    """What is owed is found before anything is handed on."""
    for key, seq in (("a", 1), ("b", 2), ("a", 3)):
        sync.write(key, seq)
    it = Replica(sync)
    assert sorted(key for key, _ in it.read()) == ["a", "b"]
    assert it.held == {0, 1}
    assert it.taken == 1
    it.put()
    assert it.partitions.caught_up
    assert it.buffer.idle


def test_what_is_committed_is_where_the_next_instance_goes_on(sync: MemorySync) -> None:
    """The same ordinal takes its membership up at once."""
    sync.write("a", 1)
    first = Replica(sync)
    first.read()
    first.put()
    assert first.partitions.commit(first.buffer.positions())
    first.partitions.close()
    sync.write("b", 2)
    second = Replica(sync)
    assert [key for key, _ in second.read()] == ["b"]


def test_another_replica_gets_its_share_after_what_flies_was_told(sync: MemorySync) -> None:
    """Reported and committed before the other one reads: it repeats nothing."""
    for key in "abcdefgh":
        sync.write(key, 1)
    first, second = Replica(sync), Replica(sync, 1)
    first.read()
    first.put()
    assert second.read() == []
    assert second.held == set(), "the first one still has both"
    first.read()
    assert first.reported == 1
    assert second.read() == [], "everything was committed as it was handed over"
    assert (len(first.held), len(second.held)) == (1, 1)
    assert first.held | second.held == {0, 1}


def test_partitions_that_are_lost_are_not_committed(sync: MemorySync) -> None:
    """They are somebody else's already, who puts the same again."""
    sync.write("a", 1)
    it = Replica(sync)
    it.read()
    it.put()
    group, member = it.instance.group, it.instance.id
    sync.broker.drop_out(group, member)
    assert not it.partitions.commit(it.buffer.positions())
    it.read()
    assert it.reported == 0
    assert sync.broker.committed(group) == {}
    assert it.held == {0, 1}, "it has joined again"


def test_a_commit_that_kafka_does_not_take_is_said_and_tried_with_the_next(sync: MemorySync) -> None:
    """No trouble that passes ends a sink."""
    sync.write("a", 1)
    it = Replica(sync)
    it.read()
    it.put()
    sync.broker.fail("commit", error(KafkaError.REBALANCE_IN_PROGRESS))
    assert not it.partitions.commit(it.buffer.positions())
    assert it.partitions.commit(it.buffer.positions())
    assert sum(sync.broker.committed(it.instance.group).values()) == 1


def test_partitions_are_taken_in_the_end_where_kafka_does_not_answer_at_once(sync: MemorySync) -> None:
    """What fails while they are taken is done again, all of it."""
    sync.write("a", 1)
    it = Replica(sync)
    it.kafka_is_away = True
    sync.broker.fail("committed", error(KafkaError._TIMED_OUT, retriable=True))
    assert [key for key, _ in it.read()] == ["a"]
    assert it.taken == 2


def test_a_full_buffer_reads_no_further_until_there_is_room(sync: MemorySync) -> None:
    """Polling goes on meanwhile, so that the group keeps us."""
    for number in range(4):
        sync.write(f"k{number}", number + 1)
    it = Replica(sync, commands_max=4)
    assert len(it.read()) == 4
    it.partitions.hold_up_or_go_on()
    sync.write("later", 9)
    assert it.read() == []
    it.put()
    it.partitions.hold_up_or_go_on()
    assert [key for key, _ in it.read()] == ["later"]


def test_where_records_were_deleted_before_they_were_read_it_goes_on_with_what_there_is(
    sync: MemorySync,
) -> None:
    """A topic that was created again, or emptied: everything in it is to be written."""
    it = Replica(sync)
    it.read()
    for seq in range(1, 4):
        sync.write("a", seq)
    number = next(n for n, each in enumerate(sync.broker.topics[it.topic]) if each.entries)
    end = len(sync.broker.topics[it.topic][number].entries)
    sync.broker.delete_before(it.topic, number, end)
    assert it.read() == [], "the place is lost"
    assert it.taken == 2
    sync.write("a", 4)
    assert it.read() == [("a", end)]


def test_the_lag_is_the_distance_to_the_end_of_the_partition(sync: MemorySync) -> None:
    """Of the partition that is furthest behind; markers count, as Kafka counts them."""
    it = Replica(sync)
    it.read()
    assert it.partitions.lag() == 0
    sync.write("a", 1)
    assert it.partitions.lag() == 2
