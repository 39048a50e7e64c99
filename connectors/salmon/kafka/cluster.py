"""Asks the brokers whether they answer, and how many partitions each member of a consumer group has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from salmon.kafka.errors import answered, translated

_TIMEOUT_S: Final = 10.0


def ask(admin: AdminClient, *, timeout_s: float = _TIMEOUT_S) -> None:
    """
    Check whether a broker answers, with the cheapest request that needs no topic.

    Raises:
        Unavailable: no broker answered within *timeout_s*.
        SetupError: the brokers refuse us.
    """
    # Not describe_cluster: if no broker answers in time, librdkafka may end the whole process because of it
    # (rd_kafka_admin_response_parse: Assertion `rko_result' failed; seen with Apache Kafka suspended for 8 s).
    try:
        admin.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise translated(error, "asking Kafka for an answer") from error


def brokers(admin: AdminClient, *, timeout_s: float = _TIMEOUT_S) -> Sequence[int]:
    """Return the ids of the cluster's brokers. Raises as `ask`."""
    try:
        return sorted(admin.list_topics(timeout=timeout_s).brokers)
    except KafkaException as error:
        raise translated(error, "asking for the brokers") from error


def partitions_held(admin: AdminClient, group: str) -> Sequence[int]:
    """
    Return how many partitions each member of a consumer group has; nothing during a rebalance.

    Raises:
        Unavailable, SetupError: the brokers' answer.
    """
    found = admin.describe_consumer_groups([group], request_timeout=_TIMEOUT_S)[group]
    description = answered(found, _TIMEOUT_S, f"asking for the members of the group {group}")
    if description.state is not ConsumerGroupState.STABLE:
        return []
    return [len(member.assignment.topic_partitions) for member in description.members]
