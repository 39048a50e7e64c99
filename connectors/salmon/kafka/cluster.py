"""What the brokers say when they are asked how it stands: whether they are there, and who holds what in a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from salmon.kafka.errors import answered, translated

_TIMEOUT_S: Final = 10.0


def ask(admin: AdminClient, *, timeout_s: float = _TIMEOUT_S) -> None:
    """
    See whether a broker answers; the cheapest request that needs no topic.

    Raises:
        Unavailable: none did within *timeout_s*. SetupError: they do not let us in.
    """
    # Not describe_cluster: where no broker answers in time, librdkafka may end the whole process over it
    # (rd_kafka_admin_response_parse: Assertion `rko_result' failed; seen with Apache Kafka suspended for 8 s).
    try:
        admin.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise translated(error, "asking Kafka whether it is there") from error


def partitions_held(admin: AdminClient, group: str) -> Sequence[int]:
    """
    How many partitions each member of a consumer group has; nothing while they are being shared out.

    Raises:
        Unavailable, SetupError: as the brokers answer.
    """
    found = admin.describe_consumer_groups([group], request_timeout=_TIMEOUT_S)[group]
    told = answered(found, _TIMEOUT_S, f"asking who is in the group {group}")
    if told.state is not ConsumerGroupState.STABLE:
        return []
    return [len(member.assignment.topic_partitions) for member in told.members]
