"""The sink worker on a broker in memory: told once, outages waited out, partitions handed over and taken over."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from salmon.errors import Unavailable
from salmon.plugin.contract import Outcome, OutcomeKind
from salmon.sink.worker import SinkWorker
from support.at_hand.memory_broker import error
from support.at_hand.memory_sync import MemorySync, reading
from support.impatient_members import look_every
from support.runtime import OBJECT, SCHEMA, Sink, running
from support.waiting import until

CONNECTOR = "mongodb-sink"


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop waits for the poll that is under way."""
    monkeypatch.setattr("salmon.sink.worker.IDLE_POLL_S", 0.01)
    monkeypatch.setattr("salmon.sink.worker.POLL_S", 0.01)


@pytest.fixture
def sync() -> MemorySync:
    return MemorySync()


def worker(sync: MemorySync, sink: Sink, ordinal: int = 0) -> SinkWorker:
    return SinkWorker(sync.instance(CONNECTOR, ordinal), sink, {OBJECT: SCHEMA}, [OBJECT])


def finished(sync: MemorySync) -> int:
    """How many offsets of `writes` the group has committed."""
    return sum(sync.broker.committed(f"{sync.name}-{CONNECTOR}").values())


def test_an_outcome_is_told_in_the_transaction_that_finishes_its_write(sync: MemorySync) -> None:
    """A refusal is in `changes` and its offset committed, or neither; the dead letter comes with them."""
    changes, dlq = sync.topics.changes(OBJECT), sync.topics.dlq(CONNECTOR)
    sink = Sink(lambda _: Outcome(OutcomeKind.REFUSED, reason="too long"))
    sync.write("a", 1, Name="x")
    with running(worker(sync, sink)) as (run,):
        until(lambda: sync.values(changes))
        assert finished(sync) == 1
        run.stop()
    assert sync.broker.transactions(changes, dlq) == [[changes, dlq]]


def test_an_outcome_that_could_not_be_told_is_told_again_and_once(sync: MemorySync) -> None:
    """The broker aborted the transaction; the write itself is not put again."""
    changes = sync.topics.changes(OBJECT)
    sink = Sink(lambda _: Outcome(OutcomeKind.REFUSED, reason="too long"))
    sync.write("a", 1)
    it = worker(sync, sink)
    with running(it) as (run,):
        until(lambda: it.buffer.places)
        until(lambda: sync.values(changes))
        sync.broker.fail(
            "commit_transaction", error(KafkaError.COORDINATOR_NOT_AVAILABLE, abort=True), of=it._instance.id
        )
        sync.write("a", 2)
        until(lambda: len(sync.values(changes)) == 2)
        run.stop()
    assert sink.seqs("a") == [1, 2]


def test_an_outage_of_the_side_commits_nothing_and_then_goes_on(sync: MemorySync) -> None:
    """What waits is put when the side is back; nothing is set aside."""
    sink = Sink()
    sink.outage = Unavailable("the side is away")
    it = worker(sync, sink)
    sync.write("a", 1)
    with running(it) as (run,):
        until(lambda: reading(it._instance.metrics.outage))
        assert finished(sync) == 0
        sink.outage = None
        until(lambda: sink.written)
        until(lambda: not reading(it._instance.metrics.outage))
        run.stop()
    assert finished(sync) == 1
    assert sync.values(sync.topics.dlq(CONNECTOR)) == []


def test_a_sink_whose_partitions_nobody_has_joins_again_and_writes(
    sync: MemorySync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group has given them to nobody, and a member that it knows would wait for ever."""
    look_every(0.01, monkeypatch)
    sink = Sink()
    it = worker(sync, sink)
    sync.broker.withhold(it._instance.group)
    sync.write("a", 1)
    with running(it) as (run,):
        until(lambda: sink.seqs("a") == [1])
        until(lambda: finished(sync) >= 1)
        assert reading(it._metrics.rejoins) >= 1
        run.stop()


def test_a_second_replica_gets_its_share_and_repeats_nothing(sync: MemorySync) -> None:
    """The first one finishes what flies and commits before it hands over."""
    first, second = Sink(), Sink()
    for key in "abcdefgh":
        sync.write(key, 1)
    one, two = worker(sync, first), worker(sync, second, 1)
    with running(one):
        until(lambda: len(first.written) == 8)
        with running(two):
            until(lambda: len(one.buffer.places) == len(two.buffer.places) == 1)
            for key in "abcdefgh":
                sync.write(key, 2)
            until(lambda: len(first.written) + len(second.written) == 16)
    assert {each.write.seq for each in second.written} == {2}


def test_who_takes_over_puts_only_the_newest_of_what_is_owed(sync: MemorySync) -> None:
    """What a newer command supersedes, or takes back, is not carried out any more."""
    for seq in range(1, 6):
        sync.write("a", seq)
    sync.write("b", 6)
    sync.write("b", None)
    sink = Sink()
    with running(worker(sync, sink)) as (run,):
        until(sink.caught_up_seen.is_set)
        run.stop()
    assert sink.seqs("a") == [5]
    assert sink.seqs("b") == []


def test_what_flies_when_its_partition_is_lost_is_told_by_nobody_and_put_again(sync: MemorySync) -> None:
    """Kafka took the instance for dead: its word counts no more, and the sink is told to look for itself."""
    sink = Sink()
    sink.gate.clear()
    sync.write("a", 1)
    it = worker(sync, sink)
    with running(it) as (run,):
        until(lambda: sink.tries)
        sync.broker.drop_out(it._instance.group, it._instance.id)
        until(lambda: sink.doubts)
        sink.gate.set()
        until(lambda: len(sink.seqs("a")) == 2)
        run.stop()
    assert finished(sync) == 1


def test_who_was_suspended_and_counted_out_joins_again_although_it_has_outcomes_to_report(
    sync: MemorySync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka takes nothing of a member that it does not know, and only a read makes it one again (case S1)."""
    sink, tries = Sink(), list[object]()
    it = worker(sync, sink)

    def refused(outputs: object) -> None:
        tries.append(outputs)
        if not sink.doubts:
            raise Unavailable("Kafka said UNKNOWN_MEMBER_ID")

    with running(it) as (run,):
        until(lambda: it.buffer.places)
        monkeypatch.setattr(it._reports, "report", refused)
        monkeypatch.setattr(it.buffer, "_lease_s", -1.0)  # as after SIGSTOP: it is over in each turn
        monkeypatch.setattr(it.buffer, "_leased_until", 0.0)
        until(lambda: tries)
        sync.broker.drop_out(it._instance.group, it._instance.id)
        until(lambda: sink.doubts)
        run.stop()


@pytest.mark.parametrize("in_doubt", [False, True])
def test_it_says_as_it_ends_whether_anything_is_in_doubt(sync: MemorySync, *, in_doubt: bool) -> None:
    """The next instance believes it, and looks at what it finds or does not."""
    first, second = Sink(), Sink()
    with running(worker(sync, first)) as (run,):
        until(first.caught_up_seen.is_set)
        if in_doubt:
            first.outage = Unavailable("the side is away")
            sync.write("a", 1)
            until(lambda: first.tries)
        run.stop()
    with running(worker(sync, second)) as (run,):
        until(lambda: second.clean is not None)
        run.stop()
    assert second.clean is not in_doubt
