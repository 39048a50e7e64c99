"""Who leads a source: what it means to lose the lead."""

from __future__ import annotations

import random
from threading import Event

import pytest
from confluent_kafka import TopicPartition

from salmon.errors import ClientLost
from salmon.kafka.clients import Clients
from salmon.kafka.topics import Topics
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from salmon.runtime.instance import Instance
from salmon.runtime.retry import Retrying
from salmon.source.leadership import Leadership
from support.runtime import registry_of

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
    with pytest.raises(ClientLost, match=r"has lost the lead.* begins again"):
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


def test_a_rebalance_that_takes_nothing_away_is_no_loss() -> None:
    """Another replica has come or gone."""
    calls = Calls()
    it = leadership(calls)
    it._taken_away(it._consumer, [])
    it.check()
    assert calls.depositions == 0
    it.close()
