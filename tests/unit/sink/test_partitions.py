"""The partitions of a sink: what is read, committed, handed over and lost. No thread runs but the test's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from salmon.calls import Peer
from salmon.errors import Fenced
from salmon.sink import partitions
from support.at_hand.memory_broker import error
from support.at_hand.memory_sync import MemorySync
from support.at_hand.sink_replica import Replica
from support.waiting import until


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


@pytest.fixture
def away(sync: MemorySync, monkeypatch: pytest.MonkeyPatch) -> Iterator[Replica]:
    """A replica that has put a write; the coordinator of its group is away, so that a commit is not answered."""
    monkeypatch.setattr(partitions, "COMMIT_MAX_S", 0.01)
    sync.write("a", 1)
    it = Replica(sync)
    it.read()
    it.put()
    sync.broker.commits.clear()
    assert not it.commit(within_s=0.01)
    yield it
    sync.broker.commits.set()
    it.partitions.close()


def test_a_commit_that_is_not_answered_holds_up_nothing_and_counts_when_it_is(
    sync: MemorySync, away: Replica
) -> None:
    """The coordinator was away for a minute, and the loop stood still for it. Now what comes is read and put meanwhile."""
    sync.write("b", 2)
    assert [key for key, _ in away.read()] == ["b"]
    away.put()
    assert not away.commit(), "no second one waits behind the first"
    assert sync.broker.committed(away.instance.group) == {}
    sync.broker.commits.set()
    assert away.read() == []
    assert away.commit(), "both are committed"
    assert sum(sync.broker.committed(away.instance.group).values()) >= 2
    assert away.buffer.positions() == {}, "nothing is left to commit"


def test_what_is_read_while_a_commit_is_waited_for_comes_with_the_next_read(sync: MemorySync) -> None:
    """Its answer comes within a poll, and so do records. None of them is lost, and none comes of what was taken away meanwhile."""
    it = Replica(sync)
    sync.write("a", 1)
    it.read()
    it.put()
    sync.write("b", 2)
    sync.write("c", 3)
    assert it.commit()
    early = {(message.key() or b"").decode() for message in it.partitions._early}
    assert early, "some were read"
    found = {key for _ in range(3) for key, _ in it.read()}
    assert found == {"b", "c"}
    it.put()
    sync.write("d", 4)
    assert it.commit()
    sync.broker.drop_out(it.instance.group, it.instance.id)
    found = {key for _ in range(5) for key, _ in it.read()}
    assert found == {"d"}


def test_who_waits_for_a_commit_is_seen(sync: MemorySync, away: Replica) -> None:
    """As with any call that a server owes an answer to: /health says it after half a minute."""
    (call,) = away.instance.health.calls._waiting
    assert (call.peer, call.doing) == (Peer.KAFKA, "committing offsets")
    sync.broker.commits.set()
    away.read()
    until(lambda: not away.instance.health.calls._waiting, "it is answered")


def test_why_a_late_commit_was_refused_is_raised_by_the_next_read(sync: MemorySync, away: Replica) -> None:
    """A newer instance has its place: nothing more may be written."""
    sync.broker.fail("commit", error(KafkaError.FENCED_INSTANCE_ID))
    sync.broker.commits.set()
    with pytest.raises(Fenced):
        away.read()


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
