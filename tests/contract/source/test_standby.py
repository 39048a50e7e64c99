"""A standby in a group that gives the lead to nobody, on real brokers."""

from __future__ import annotations

import pytest

from salmon.source.worker import SourceWorker
from support.at_hand.memory_sync import reading
from support.impatient_members import look_every
from support.raw_member import ForgetsTheFirst, RawMember
from support.runtime import OBJECT, Source, Sync, running
from support.waiting import until

CONNECTOR = "mongodb-source"


def test_a_standby_joins_again_where_the_group_has_forgotten_it(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group is stable, nobody leads, and no rebalance is to come: it makes one, as a new member, and leads."""
    look_every(2.0, monkeypatch)
    instance, source = sync.instance(CONNECTOR), Source()
    brokers, topic = sync.kafka["bootstrap.servers"], sync.topics.signals(CONNECTOR)
    with (
        RawMember(brokers, instance.group, topic, "coordinator") as other,
        other.leading(ForgetsTheFirst()),
        running(SourceWorker(instance, source, (OBJECT,))) as (run,),
    ):
        until(lambda: source.started_with, "it leads", within_s=60)
        assert reading(instance.metrics.rejoins) >= 1
        assert instance.health.report().ready
        run.stop()
