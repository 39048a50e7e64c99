"""A consumer takes and gives back its partitions itself, so that confluent-kafka asks librdkafka nothing that may hang."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from salmon.kafka import clients, cluster
from support.waiting import until


class Noting(clients._Consumer):
    """A consumer that notes what it asks of librdkafka."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.asked: list[str] = []

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self.asked.append("assign")
        super().incremental_assign(partitions)

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self.asked.append("unassign")
        super().incremental_unassign(partitions)


def _takes(consumer: Consumer, partitions: list[TopicPartition]) -> None:
    """As our workers do, which say where to begin."""
    consumer.incremental_assign([TopicPartition(each.topic, each.partition, 0) for each in partitions])


@pytest.mark.parametrize("callbacks", [{}, {"on_assign": _takes}], ids=["none", "takes"])
def test_each_rebalance_is_answered_once_with_or_without_a_callback_that_does_so(
    kafka: dict[str, Any], name: str, create: Callable[..., str], callbacks: dict[str, Any]
) -> None:
    """Also while the consumer is closed: there, librdkafka may never say which protocol it has (its issue 4041; case S3)."""
    opens = clients.Clients(kafka, consumer_kind=Noting)
    member = opens.consumer(group_id=name, client_id=name)
    assert isinstance(member, Noting)
    member.subscribe([create()], **callbacks)
    until(lambda: member.poll(0.05) or member.assignment(), "it has its partitions")
    assert member.asked == ["assign"]
    member.close()
    assert member.asked == ["assign", "unassign"]


def test_the_partitions_of_a_member_that_is_gone_for_longer_than_its_session_go_to_another(
    kafka: dict[str, Any], name: str, create: Callable[..., str]
) -> None:
    """A static member that ends does not leave its group, no more than one that is killed: it may come back. Else a spare has them."""
    topic, opens = create(), clients.Clients(kafka)
    first, spare = (opens.consumer(group_id=name, client_id=each, instance_id=each) for each in ("a", "b"))
    first.subscribe([topic], on_assign=_takes)
    until(lambda: first.poll(0.05) or first.assignment(), "the first has the partition")
    first.commit(offsets=[TopicPartition(topic, 0, 7)], asynchronous=False)
    spare.subscribe([topic], on_assign=_takes)
    admin = opens.admin(client_id="test")
    until(
        lambda: (first.poll(0.05), spare.poll(0.05), len(cluster.members(admin, name)) == 2)[-1],
        "the spare is in the group",
    )
    assert spare.assignment() == []
    first.close()
    until(lambda: spare.poll(0.05) or spare.assignment(), "the spare has taken over")
    assert spare.committed([TopicPartition(topic, 0)], timeout=10)[0].offset == 7, "it knows where to go on"
    spare.close()
