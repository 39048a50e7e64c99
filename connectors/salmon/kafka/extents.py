"""
Asks where partitions begin and end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from salmon.kafka.errors import answered, translated
from salmon.kafka.reader import Place

# Shorter than a process may take to stop, because a caller that waits cannot react to a stop meanwhile.
ANSWER_MAX_S: Final = 8.0


@dataclass(frozen=True, slots=True)
class Extent:
    """The offsets of a partition, from *start* up to but not including *end*."""

    start: int
    end: int


def lag(consumer: Consumer, following: Mapping[Place, int]) -> int:
    """
    The largest number of records before a partition's end, by the ends that the consumer knows. The marks at the ends of
    transactions count.

    Args:
        following: Partition -> the offset that is read next.
    """
    lags = [0]
    for (topic, number), position in following.items():
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, number), cached=True)
        lags.append(high - position)  # A high watermark that is not known is below every position.
    return max(lags)


def extents(admin: AdminClient, topic: str, partitions: Collection[int]) -> dict[int, Extent]:
    """
    Ask for the first offset and the end of partitions of a topic. Uncommitted records are included.

    Raises:
        Unavailable, SetupError: the brokers' answer.
    """
    found = extents_of(admin, _places(topic, partitions))
    return {partition: extent for (_, partition), extent in found.items()}


def first_offsets(admin: AdminClient, topic: str, partitions: Collection[int]) -> dict[int, int]:
    """Ask for the first offsets alone. Raises as extents()."""
    (found,) = _asked(admin, _places(topic, partitions), [OffsetSpec.earliest()])  # type: ignore[no-untyped-call]
    return {partition: offset for (_, partition), offset in found.items()}


def end_offsets(admin: AdminClient, topic: str, partitions: Collection[int]) -> dict[Place, int]:
    """Ask for the ends alone. Uncommitted records are included. Raises as extents()."""
    (found,) = _asked(admin, _places(topic, partitions), [OffsetSpec.latest()])  # type: ignore[no-untyped-call]
    return found


def extents_of(
    admin: AdminClient, places: Iterable[Place], *, committed: bool = False, timeout_s: float = ANSWER_MAX_S
) -> dict[Place, Extent]:
    """
    Ask for the first offset and the end of partitions of any topics.

    Args:
        committed: Whether the end is before the first transaction that is still open, instead of the end of the log.
        timeout_s: How long each of three requests may take.

    Raises:
        Unavailable, SetupError: the brokers' answer.
    """
    asked = list(places)
    specs = [OffsetSpec.earliest(), OffsetSpec.latest()]  # type: ignore[no-untyped-call]
    first, end = _asked(admin, asked, specs, committed=committed, timeout_s=timeout_s)
    return {place: Extent(first[place], end[place]) for place in asked}


def _places(topic: str, partitions: Collection[int]) -> list[Place]:
    return [(topic, partition) for partition in partitions]


def _asked(
    admin: AdminClient,
    places: Collection[Place],
    specs: Sequence[OffsetSpec],
    *,
    committed: bool = False,
    timeout_s: float = ANSWER_MAX_S,
) -> list[dict[Place, int]]:
    if not places:
        return [{} for _ in specs]
    what = f"asking for the ends of {', '.join(sorted({topic for topic, _ in places}))}"
    isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    try:
        # First of all the leaders. If librdkafka has to look for them during list_offsets, two of its threads work on one
        # request, and the process can crash (rd_kafka_topic_partition_list_query_leaders_async in librdkafka 2.12). It also
        # finds leaders that have moved only if it is asked for all topics.
        admin.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise translated(error, what) from error
    requests = [
        admin.list_offsets(
            {TopicPartition(*place): spec for place in places},
            isolation_level=isolation,
            request_timeout=timeout_s,
        )
        for spec in specs
    ]
    return [
        {
            (each.topic, each.partition): answered(answer, timeout_s, what).offset
            for each, answer in answers.items()
        }
        for answers in requests
    ]
