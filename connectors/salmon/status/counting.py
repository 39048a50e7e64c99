"""
Counts the records of a topic from some offset on.

Offsets alone are not enough: each transaction leaves a marker that uses an offset, and aborted records stay in the log. So
small numbers are counted by reading, and large ones are estimated from the offsets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from salmon.kafka import clients
from salmon.kafka.errors import translated
from salmon.kafka.extents import extents_of
from salmon.kafka.foreign import looks_ours
from salmon.kafka.reader import Place, Reader

COUNTED_MAX: Final = 10_000
_TIMEOUT_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Count:
    """*exact*: False if there were too many to read; then *records* is the difference of the offsets."""

    records: int = 0
    exact: bool = True

    def __add__(self, other: Count) -> Count:
        return Count(self.records + other.records, self.exact and other.exact)

    def __str__(self) -> str:
        return f"{'' if self.exact else '~'}{self.records:,}"


NONE: Final = Count()


def committed(kafka: Mapping[str, Any], group: str, places: Collection[Place]) -> dict[Place, int | None]:
    """
    Return the offset at which a consumer group continues; None if it never committed.

    Raises:
        Unavailable: no broker answers.
    """
    # This consumer does not join the group. It only asks.
    consumer = clients.consumer(kafka, group_id=group, client_id="salmon-status")
    try:
        found = consumer.committed([TopicPartition(*place) for place in places], timeout=_TIMEOUT_S)
    except KafkaException as error:
        raise translated(error, f"asking where {group} is") from error
    finally:
        clients.close(consumer)
    return {(each.topic, each.partition): each.offset if each.offset >= 0 else None for each in found}


def counts(
    kafka: Mapping[str, Any],
    admin: AdminClient,
    begins: Mapping[Place, int | None],
    *,
    owed: bool = False,
    most: int = COUNTED_MAX,
) -> dict[str, Count]:
    """
    Count the committed records of topics.

    Args:
        begins: Where to begin in each partition; None: at its beginning.
        owed: Count keys whose newest record is not a tombstone: the unfinished commands of a compacted topic.
        most: How many offsets of a topic are read at most.

    Returns:
        By topic.

    Raises:
        Unavailable: no broker answers.
    """
    found = extents_of(admin, begins, committed=True, timeout_s=_TIMEOUT_S)
    first = {place: extent.start for place, extent in found.items()}
    ends = {place: extent.end for place, extent in found.items()}
    froms = {place: max(begin or 0, first[place]) for place, begin in begins.items()}
    distance: dict[str, int] = {}
    for (topic, partition), begin in froms.items():
        distance[topic] = distance.get(topic, 0) + max(0, ends[topic, partition] - begin)
    result = {topic: Count(far, exact=False) if far > most else NONE for topic, far in distance.items()}
    to_read = {
        place: begin for place, begin in froms.items() if distance[place[0]] <= most and ends[place] > begin
    }
    for topic, records in _read(kafka, to_read, ends, owed=owed).items():
        result[topic] = Count(records)
    return result


def _read(
    kafka: Mapping[str, Any], begins: Mapping[Place, int], ends: Mapping[Place, int], *, owed: bool
) -> dict[str, int]:
    if not begins:
        return {}
    numbers: dict[str, int] = {}
    standing: dict[str, set[bytes]] = {}

    def take(records: Sequence[Message], _: Mapping[Place, int]) -> None:
        for message in records:
            if owed and not looks_ours(message):
                continue  # nobody is owed it
            topic = clients.place_of(message)[0]
            numbers[topic] = numbers.get(topic, 0) + 1
            keys = standing.setdefault(topic, set())
            (keys.discard if message.value() is None else keys.add)(message.key() or b"")

    with Reader(kafka, begins, name="salmon-status") as reader:
        reader.read_to_end(take, ends={place: ends[place] for place in begins})
    return {topic: len(keys) for topic, keys in standing.items()} if owed else numbers
