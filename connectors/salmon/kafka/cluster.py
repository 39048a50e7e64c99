"""Asks the brokers whether they answer, and how many partitions each member of a consumer group has."""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from salmon.kafka.errors import translated
from salmon.kafka.topics import partition_counts

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


@dataclass(frozen=True, slots=True)
class Member:
    """
    A member of a consumer group.

    Args:
        client_id: Of its consumer; ours are named like their instance.
        partitions: How many it has.
    """

    client_id: str
    partitions: int


def members(admin: AdminClient, group: str, *, timeout_s: float = _TIMEOUT_S) -> Sequence[Member]:
    """
    Return the members of a consumer group; during a rebalance, with no partitions.

    Raises:
        Unavailable, SetupError: the brokers' answer.
    """
    doing = f"asking for the members of the group {group}"
    # Not describe_consumer_groups: if the coordinator does not answer in time, librdkafka may end the whole process because of
    # it (rd_kafka_enq_once_del_source_return: Assertion `eonce->refcnt > 0' failed; seen with Apache Kafka suspended).
    # The older request is marked as deprecated, and answers the same.
    try:
        found = admin.list_groups(group, timeout=timeout_s)
    except KafkaException as error:
        raise translated(error, doing) from error
    for each in found:
        if each.error is not None:
            raise translated(each.error, doing)
    return [
        Member(one.client_id or "", _assigned(one.assignment or b""))
        for each in found
        for one in each.members
    ]


@dataclass(frozen=True, slots=True)
class Shares:
    """
    How a consumer group has shared out the partitions of its topics.

    Args:
        held: How many each member has; during a rebalance, none.
        nobodys: How many nobody has.
    """

    held: Sequence[int]
    nobodys: int


def shares(admin: AdminClient, group: str, topics: Collection[str]) -> Shares:
    """
    Return how *group* has shared out the partitions of *topics*.

    Another program's member of the group is left out: whatever it has, nobody works at.

    Raises:
        Unavailable, SetupError: the brokers' answer.
    """
    # As Instance.id: the group and an ordinal.
    ours = re.compile(rf"{re.escape(group)}-\d+")
    held = [each.partitions for each in members(admin, group) if ours.fullmatch(each.client_id)]
    counts = partition_counts(admin, timeout_s=_TIMEOUT_S)
    return Shares(held, max(0, sum(counts.get(topic, 0) for topic in topics) - sum(held)))


def _assigned(assignment: bytes) -> int:
    """
    Return how many partitions an assignment names.

    Args:
        assignment: As in Kafka's ConsumerProtocolAssignment.json: a version, then for each topic its name and partitions.
            Empty during a rebalance.
    """
    if not assignment:
        return 0
    count, at = 0, 2
    (topics,) = struct.unpack_from(">i", assignment, at)
    at += 4
    for _ in range(topics):
        (length,) = struct.unpack_from(">h", assignment, at)
        at += 2 + length
        (partitions,) = struct.unpack_from(">i", assignment, at)
        at += 4 + 4 * partitions
        count += partitions
    return count
