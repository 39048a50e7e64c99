"""Who leads a source: what it means to lose the lead."""

from __future__ import annotations

import random
from threading import Event

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from salmon.errors import ClientLost, Unavailable
from salmon.kafka.clients import Clients
from salmon.kafka.topics import Topics
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from salmon.plugin.contract import Signal, SignalKind
from salmon.runtime.instance import Instance
from salmon.runtime.retry import Retrying
from salmon.source.leadership import Leadership
from support.at_hand.memory_broker import error
from support.at_hand.memory_sync import MemorySync, retrying
from support.runtime import OBJECT, registry_of
from support.waiting import until

CONNECTOR = "mongodb-source"
# Nobody answers there: no step of these tests asks Kafka.
KAFKA = {"bootstrap.servers": "127.0.0.1:1"}


class Calls:
    """What the leadership has the worker do."""

    def __init__(self) -> None:
        self.elections = self.depositions = 0

    def elected(self) -> None:
        self.elections += 1

    def deposed(self) -> None:
        self.depositions += 1


def leadership(calls: Calls) -> Leadership:
    instance = Instance(
        "crm", CONNECTOR, "mongodb", Clients(KAFKA), registry_of(Topics("crm")), Health(), Metrics(CONNECTOR)
    )
    retrying = Retrying(Event(), Health(), rng=random.Random(1))
    return Leadership(instance, retrying, elected=calls.elected, deposed=calls.deposed)


SIGNALS = [TopicPartition("crm.signals.mongodb-source", 0)]


def test_a_lead_that_is_lost_is_begun_again_and_nobody_else_is_blamed() -> None:
    """Revoked or timed out: it proves nothing about others (cases S1, S2); but nothing more is written."""
    calls = Calls()
    it = leadership(calls)
    it._taken_away(it._consumer, SIGNALS)
    with pytest.raises(ClientLost, match=r"has lost the lead.* restarts"):
        it.check()
    assert calls.depositions == 1
    it.close()


def test_who_has_lost_the_lead_does_not_take_it_again_with_the_same_clients() -> None:
    """What happened meanwhile, only a new start knows: it reads the positions anew."""
    calls = Calls()
    it = leadership(calls)
    it._taken_away(it._consumer, SIGNALS)
    it._assigned(it._consumer, SIGNALS)
    assert calls.elections == 0
    it.close()


def test_who_leaves_is_not_elected_any_more() -> None:
    """It joins again with another consumer: two elections of one instance would fence each other."""
    calls = Calls()
    it = leadership(calls)
    it.close()
    it._assigned(it._consumer, SIGNALS)
    assert (calls.elections, it.chosen) == (0, False)


def test_a_rebalance_that_takes_nothing_away_is_no_loss() -> None:
    """Another replica has come or gone."""
    calls = Calls()
    it = leadership(calls)
    it._taken_away(it._consumer, [])
    it.check()
    assert calls.depositions == 0
    it.close()


# On a broker in memory: what the group does.


class Candidate:
    """One replica that would lead."""

    def __init__(self, sync: MemorySync, ordinal: int = 0) -> None:
        self.calls = Calls()
        self.instance = sync.instance(CONNECTOR, ordinal)
        self.it = Leadership(
            self.instance, retrying(), elected=self.calls.elected, deposed=self.calls.deposed
        )
        self.it.start()

    def reads(self, count: int) -> list[Message]:
        """The next signals, as soon as there are so many."""
        found: list[Message] = []

        def are_there() -> bool:
            found.extend(self.it.signals(count))
            return len(found) >= count

        until(are_there, "the signals are read")
        return found


@pytest.fixture
def sync(monkeypatch: pytest.MonkeyPatch) -> MemorySync:
    monkeypatch.setattr("salmon.source.leadership.POLL_S", 0.005)
    return MemorySync(partitions=1)


def snapshot(sync: MemorySync, reason: str) -> None:
    sync.signal(CONNECTOR, Signal(0, SignalKind.SNAPSHOT, OBJECT, reason=reason))


def test_one_of_two_leads_and_the_other_one_takes_over_when_it_has_gone(sync: MemorySync) -> None:
    """Nobody is elected twice, and the successor fences before it does anything else."""
    first = Candidate(sync)
    assert first.it.wait(10)
    second = Candidate(sync, 1)
    assert not second.it.wait(0.02)
    first.it.close()
    assert second.it.wait(10)
    assert (first.calls.elections, second.calls.elections) == (1, 1)
    assert first.calls.depositions == 0, "it left by itself"
    second.it.close()


def test_the_signals_that_nobody_has_answered_come_with_the_lead(sync: MemorySync) -> None:
    """From the first that is not committed on."""
    snapshot(sync, "answered")
    snapshot(sync, "not answered")
    candidate = Candidate(sync)
    taken = candidate.reads(2)
    offsets, group = candidate.it.offsets((taken[0].offset() or 0) + 1)
    producer = candidate.instance.leaders_producer()
    producer.start()
    with producer.transaction() as transaction:
        transaction.send_offsets(offsets, group)
    candidate.it.close()
    successor = Candidate(sync, 1)
    assert [message.offset() for message in successor.reads(1)] == [taken[1].offset()]
    successor.it.close()


def test_signals_that_were_deleted_before_they_were_read_are_known_to_be_lost(sync: MemorySync) -> None:
    """Whoever leads must read everything anew: nobody knows what they asked for."""
    snapshot(sync, "deleted")
    topic = sync.topics.signals(CONNECTOR)
    sync.broker.delete_before(topic, 0, 1)
    candidate = Candidate(sync)
    assert candidate.it.wait(10)
    assert candidate.it.signals_lost
    candidate.it.close()


def test_signals_that_are_lost_while_it_leads_end_nothing(sync: MemorySync) -> None:
    """Their topic was created again, and Kafka does not answer at once where it begins now."""
    candidate = Candidate(sync)
    for reason in ("one", "two"):
        snapshot(sync, reason)
    candidate.reads(2)
    sync.broker.fail("get_watermark_offsets", error(KafkaError._TRANSPORT))
    sync.broker.create(sync.topics.signals(CONNECTOR))
    until(lambda: candidate.it.signals_lost, "the loss is noticed")
    snapshot(sync, "three")
    assert [message.offset() for message in candidate.reads(1)] == [0]
    candidate.it.check()
    candidate.it.close()


def test_who_cannot_fence_the_one_before_tries_again_and_then_leads(sync: MemorySync) -> None:
    """Kafka did not answer: nobody leads meanwhile."""
    tries: list[int] = []

    def elected() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise Unavailable("Kafka does not answer")

    it = Leadership(sync.instance(CONNECTOR), retrying(), elected=elected, deposed=lambda: None)
    it.start()
    assert it.wait(10)
    assert len(tries) == 3
    it.close()


def test_who_is_given_up_by_the_group_hears_of_it_and_ends(sync: MemorySync) -> None:
    """Its lead may be somebody else's by now."""
    candidate = Candidate(sync)
    assert candidate.it.wait(10)
    sync.broker.drop_out(candidate.instance.group, candidate.instance.id)
    until(lambda: candidate.calls.depositions, "the loop is unblocked")
    with pytest.raises(ClientLost):
        candidate.it.check()
    candidate.it.close()
