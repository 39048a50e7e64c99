"""A sink in a group that gives the partitions to nobody, on real brokers."""

from __future__ import annotations

import pytest

from salmon.sink.worker import SinkWorker
from support.at_hand.memory_sync import reading
from support.impatient_members import look_every
from support.raw_member import ForgetsTheFirst, RawMember
from support.runtime import OBJECT, SCHEMA, Sink, Sync, running
from support.waiting import until

CONNECTOR = "mongodb-sink"


def test_a_sink_joins_again_where_the_group_has_forgotten_it(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group is stable, nobody has the partitions, and no rebalance is to come: it makes one, as a new member, and writes."""
    look_every(2.0, monkeypatch)
    instance, sink = sync.instance(CONNECTOR), Sink()
    brokers, topic = sync.kafka["bootstrap.servers"], sync.topics.writes("mongodb", OBJECT)
    sync.write("a", 1)
    with (
        RawMember(brokers, instance.group, topic, "coordinator", partitions=2) as other,
        other.leading(ForgetsTheFirst()),
        running(SinkWorker(instance, sink, {OBJECT: SCHEMA}, [OBJECT])) as (run,),
    ):
        until(lambda: sink.seqs("a") == [1], within_s=60)
        assert reading(instance.metrics.rejoins) >= 1
        run.stop()
