"""
Partitions read once, from some place to their ends as they are now: for commands that look something up.

Only what is asked for is handed on, by its key, so that nothing else is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from salmon.errors import SetupError, Unavailable
from salmon.kafka import clients, tables
from salmon.kafka.errors import translated
from salmon.kafka.tables import Progress
from salmon.kafka.topics import partition_counts

Place = tuple[str, int]  # topic, partition

_BATCH: Final = 10_000
_WAIT_S: Final = 1.0
_SILENCE_S_MAX: Final = 30.0
_ANSWER_S: Final = 15.0
# Producers' clocks differ: what is said to be later may stand a little before.
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
        since_ms: Nothing before this time is wanted, in ms since 1970: some earlier records may come all the same.
        begins: Where to begin; a place that is not in it is read from its beginning.
        progress: Told how many offsets of how many have been passed.

    Raises:
        SetupError: a topic is missing.
        Unavailable: no broker answers.
    """
    spans = _spans(admin, places)
    wanted = None if keys is None else {key.encode() for key in keys}
    consumer = clients.consumer(
        kafka, group_id="salmon-scan", client_id="salmon-scan", enable_partition_eof=True
    )
    try:
        begins = {place: span.start for place, span in spans.items()} | dict(begins or {})
        if since_ms is not None:
            begins |= _from_time(consumer, spans, max(0, since_ms - _CLOCKS_MS))
        left = {place for place, begin in begins.items() if begin < spans[place].end}
        consumer.assign([TopicPartition(*place, begins[place]) for place in sorted(left)])
        total = sum(spans[place].end - begins[place] for place in left)
        passed = dict.fromkeys(left, 0)
        silences = 0
        while left:
            heard = clients.arrived(consumer, _BATCH, _WAIT_S)
            silences = 0 if heard else silences + 1
            if silences * _WAIT_S > _SILENCE_S_MAX:
                raise Unavailable(f"{min(left)[0]}: it cannot be read to its end. Check the brokers.")
            for message in heard:
                topic, partition, offset = clients.place_of(message)
                place = topic, partition
                if (trouble := message.error()) is not None:
                    if trouble.code() != KafkaError._PARTITION_EOF:
                        raise translated(trouble, f"reading {topic}")
                    left.discard(place)
                    continue
                passed[place] = offset + 1 - begins[place]
                if offset + 1 >= spans[place].end:
                    left.discard(place)
                if offset < spans[place].end and (wanted is None or message.key() in wanted):
                    take(message)
            if progress is not None:
                progress(min(sum(passed.values()), total), total)
    finally:
        consumer.close()


def all_places(admin: AdminClient, topics: Collection[str]) -> list[Place]:
    """
    Every partition of *topics*.

    Raises:
        SetupError: one is missing.
        Unavailable: no broker answers.
    """
    counts = partition_counts(admin)
    if missing := sorted(set(topics) - counts.keys()):
        raise SetupError(
            f"{', '.join(missing)} does not exist. Start the connectors of this sync: they create it."
        )
    return [(topic, number) for topic in topics for number in range(counts[topic])]


def _spans(admin: AdminClient, places: Collection[Place]) -> dict[Place, tables.Extent]:
    of: dict[str, list[int]] = {}
    for topic, partition in places:
        of.setdefault(topic, []).append(partition)
    return {
        (topic, partition): extent
        for topic, partitions in of.items()
        for partition, extent in tables.extents(admin, topic, partitions).items()
    }


def _from_time(consumer: Consumer, spans: Mapping[Place, tables.Extent], ms: int) -> dict[Place, int]:
    """Where records of that time and later begin; a partition that has none is read from its beginning."""
    try:
        found = consumer.offsets_for_times([TopicPartition(*place, ms) for place in spans], timeout=_ANSWER_S)
    except KafkaException as error:
        raise translated(error, "asking for offsets by time") from error
    return {
        (each.topic, each.partition): each.offset
        for each in found
        if each.error is None and each.offset is not None and each.offset >= 0
    }
