"""
Reads partitions once, up to their present ends, for commands that look something up.

Only the records with the requested keys are handed on, so that no others are decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from salmon.errors import SetupError
from salmon.kafka import clients
from salmon.kafka.errors import translated
from salmon.kafka.extents import Extent, extents_of
from salmon.kafka.reader import Place, Reader
from salmon.kafka.tables import Progress
from salmon.kafka.topics import partition_counts

_NAME: Final = "salmon-scan"
_ANSWER_S: Final = 15.0
# The producers' clocks differ, so a record with a later time may come a little earlier in the log.
_CLOCKS_MS: Final = 300_000


def scan(
    kafka: Mapping[str, Any],
    admin: AdminClient,
    places: Collection[Place],
    take: Callable[[Message], None],
    *,
    keys: Collection[str] | None = None,
    since_ms: int | None = None,
    begins: Mapping[Place, int] | None = None,
    progress: Progress | None = None,
) -> None:
    """
    Hand the committed records of *places* to *take*, each partition's in its order.

    Args:
        keys: Only the records of these keys; None for all.
        since_ms: Start at about this time, in ms since 1970; some earlier records may be included.
        begins: Partition -> the first offset to read; the other partitions are read from their beginning.
        progress: Called with the number of offsets read so far, and their number in all.

    Raises:
        SetupError: a topic is missing.
        Unavailable: no broker answers.
    """
    spans = extents_of(admin, places)
    wanted = None if keys is None else {key.encode() for key in keys}
    begins = {place: span.start for place, span in spans.items()} | dict(begins or {})
    if since_ms is not None:
        begins |= _from_time(kafka, spans, max(0, since_ms - _CLOCKS_MS))
    starts = {place: begin for place, begin in sorted(begins.items()) if begin < spans[place].end}
    if not starts:
        return
    ends = {place: spans[place].end for place in starts}

    def taken(records: Sequence[Message], _: Mapping[Place, int]) -> None:
        for message in records:
            topic, partition, offset = clients.place_of(message)
            if offset < ends[topic, partition] and (wanted is None or message.key() in wanted):
                take(message)

    with Reader(kafka, starts, name=_NAME) as reader:

        def turned() -> None:
            if progress is not None:
                progress(*reader.passed(ends))

        reader.read_to_end(taken, ends=ends, turned=turned)


def all_places(admin: AdminClient, topics: Collection[str]) -> list[Place]:
    """
    List every partition of *topics*.

    Raises:
        SetupError: a topic is missing.
        Unavailable: no broker answers.
    """
    counts = partition_counts(admin)
    if missing := sorted(set(topics) - counts.keys()):
        raise SetupError(
            f"{', '.join(missing)} does not exist. Start the connectors of this sync: they create it."
        )
    return [(topic, number) for topic in topics for number in range(counts[topic])]


def _from_time(kafka: Mapping[str, Any], spans: Mapping[Place, Extent], ms: int) -> dict[Place, int]:
    """Find the first offset at or after a time; if a partition has none, its first offset."""
    consumer = clients.consumer(kafka, group_id=_NAME, client_id=_NAME)
    try:
        found = consumer.offsets_for_times([TopicPartition(*place, ms) for place in spans], timeout=_ANSWER_S)
    except KafkaException as error:
        raise translated(error, "asking for offsets by time") from error
    finally:
        clients.close(consumer)
    return {
        (each.topic, each.partition): each.offset
        for each in found
        if each.error is None and each.offset is not None and each.offset >= 0
    }
