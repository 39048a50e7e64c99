"""A consumer takes and gives back its partitions itself, so that confluent-kafka asks librdkafka nothing that may hang."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from salmon.kafka import clients
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
