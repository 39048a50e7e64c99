"""
What waits for a person now: letters that nobody has dealt with, and fields that are not sent to a side.

The counters of the processes begin at their start, and a letter stays in its queue after it was dealt with. So these are read in
Kafka: the queues beside the table of what was dealt with, and merge's states. If there is too much to read, the answer is an estimate, or none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from confluent_kafka import Message

from salmon.app.sync import Sync
from salmon.kafka import clients, scans, tables
from salmon.kafka.codecs.serdes import Offsets
from salmon.kafka.dead_letters import mark_of
from salmon.kafka.extents import extents_of
from salmon.kafka.foreign import decoded
from salmon.model.change import MISFIT_CODES
from salmon.model.state import Park, State
from salmon.status.counting import Count

MISFIT: Final = "misfit"
WHY: Final = (*(why.value.lower() for why in Park), MISFIT)
STATES_READ_MAX: Final = 200_000
# Avro writes text as it is: a state without any of these has nothing that waits, and need not be decoded.
_IN_A_STATE: Final = tuple(text.encode() for text in (*(why.value for why in Park), *sorted(MISFIT_CODES)))


def undealt(sync: Sync, queues: Mapping[str, Count], *, marks_exist: bool) -> dict[str, Count]:
    """
    Count the dead letters that nobody has replayed, edited or discarded.

    Args:
        queues: Connector -> all records in its queue.
        marks_exist: Whether the table of what was dealt with is there.

    Raises:
        Unavailable, SetupError: Kafka or the registry cannot be used.
    """
    if not marks_exist or not any(count.records for count in queues.values()):
        return dict(queues)
    codec = Offsets(sync.registry, sync.topics.handled)
    marks = tables.load(sync.kafka, codec.topic, codec.decode).keys()
    found = {}
    for queue, count in queues.items():
        if not count.exact:
            of_queue = sum(mark.startswith(f"{queue}/") for mark in marks)
            found[queue] = Count(max(0, count.records - of_queue), exact=False)
        elif count.records and any(mark.startswith(f"{queue}/") for mark in marks):
            found[queue] = Count(_unmarked(sync, queue, marks))
        else:
            found[queue] = count
    return found


def parked(sync: Sync, name: str) -> dict[str, int] | None:
    """
    Count the fields of an object that are not sent to a side now, by why; None if there are too many states to read.

    Raises:
        Unavailable, SetupError, ConfigError: Kafka or the registry cannot be used.
    """
    codec = sync.state_codec(name)
    places = scans.all_places(sync.admin, [codec.topic])
    spans = extents_of(sync.admin, places)
    if sum(span.end - span.start for span in spans.values()) > STATES_READ_MAX:
        return None
    waiting: dict[bytes, dict[str, int]] = {}

    def take(message: Message) -> None:
        key, value = message.key() or b"", message.value()
        waiting.pop(key, None)
        if value is None or not any(text in value for text in _IN_A_STATE):
            return
        if (state := decoded(message, codec.decode)) is not None and (found := parked_in(state)):
            waiting[key] = found

    scans.scan(sync.kafka, sync.admin, places, take)
    return {why: sum(each.get(why, 0) for each in waiting.values()) for why in WHY}


def parked_in(state: State) -> dict[str, int]:
    """Count the fields of a record that are not sent to a side, by why."""
    counts: dict[str, int] = {}
    for side in state.sides.values():
        whys = [each.why.value.lower() for each in side.parked.values()]
        for why in [*whys, *([MISFIT] * len(side.misfits) if state.lives else [])]:
            counts[why] = counts.get(why, 0) + 1
    return counts


def _unmarked(sync: Sync, queue: str, marks: Collection[str]) -> int:
    number = 0

    def take(message: Message) -> None:
        nonlocal number
        offset = clients.place_of(message)[2]
        number += mark_of(queue, offset, message.timestamp()[1]) not in marks

    scans.scan(sync.kafka, sync.admin, scans.all_places(sync.admin, [sync.topics.dlq(queue)]), take)
    return number
