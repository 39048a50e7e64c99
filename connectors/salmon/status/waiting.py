"""
What waits for a person now: letters that nobody has dealt with, and fields that are not sent to a side. Beside it, how many documents
are in each collection of an object that has several.

The counters of the processes begin at their start, and a letter stays in its queue after it was dealt with. So these are read in
Kafka: the queues beside the table of what was dealt with, and merge's states. If there is too much to read, the answer is an estimate, or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from confluent_kafka import Message

from salmon.app.sync import Sync
from salmon.kafka import clients, scans, tables
from salmon.kafka.codecs.serdes import Offsets
from salmon.kafka.dead_letters import mark_of
from salmon.kafka.extents import extents_of
from salmon.kafka.foreign import decoded
from salmon.model.change import MISFIT_CODES, MONGODB, PLACE
from salmon.model.state import Park, State
from salmon.status.counting import Count

MISFIT: Final = "misfit"
WHY: Final = (*(why.value.lower() for why in Park), MISFIT)
STATES_READ_MAX: Final = 200_000
# To know where a document is, its state must be decoded. Of more records, only every second one, or every third, is looked at.
PLACES_READ_MAX: Final = 50_000
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


@dataclass(frozen=True, slots=True)
class InStates:
    """
    What merge's states of an object show.

    Args:
        waiting: Why -> fields that are not sent to a side now.
        places: Of an object that has several collections: collection -> documents there.
    """

    waiting: Mapping[str, int]
    places: Mapping[str, Count]


def in_states(sync: Sync, name: str) -> InStates | None:
    """
    Read merge's states of an object; None if there are too many.

    Raises:
        Unavailable, SetupError, ConfigError: Kafka or the registry cannot be used.
    """
    codec = sync.state_codec(name)
    spans = scans.all_places(sync.admin, [codec.topic])
    total = sum(span.end - span.start for span in extents_of(sync.admin, spans).values())
    if total > STATES_READ_MAX:
        return None
    waiting: dict[bytes, dict[str, int]] = {}
    places = _Places(sync.config.objects[name].places, of_every=-(-total // PLACES_READ_MAX))

    def take(message: Message) -> None:
        key, value = message.key() or b"", message.value()
        if value is None:
            waiting.pop(key, None)
            places.forget(key)
            return
        looks = places.looks_at(key)
        if not (looks or key in waiting or any(text in value for text in _IN_A_STATE)):
            return
        if (state := decoded(message, codec.decode)) is None:
            return  # foreign: the key keeps its former state
        waiting.pop(key, None)
        if found := parked_in(state):
            waiting[key] = found
        if looks:
            places.take(key, state)

    scans.scan(sync.kafka, sync.admin, spans, take)
    fields = {why: sum(each.get(why, 0) for each in waiting.values()) for why in WHY}
    return InStates(fields, places.counts())


class _Places:
    """Counts the documents of each collection; of one in *of_every* records, by its key, if there are many."""

    def __init__(self, names: Sequence[str], *, of_every: int) -> None:
        self._names, self._of_every = names, max(1, of_every)
        self._at: dict[bytes, str] = {}  # key -> where its document is

    def looks_at(self, key: bytes) -> bool:
        """Whether its state is to be decoded."""
        return len(self._names) > 1 and crc32(key) % self._of_every == 0

    def forget(self, key: bytes) -> None:
        """Nothing is known of it any more."""
        self._at.pop(key, None)

    def take(self, key: bytes, state: State) -> None:
        self.forget(key)
        side = state.sides.get(MONGODB)
        if side is not None and side.exists and isinstance(place := side.shadow.get(PLACE), str):
            self._at[key] = place

    def counts(self) -> dict[str, Count]:
        if len(self._names) < 2:
            return {}
        found = Counter(self._at.values())
        # Also one that the configuration names no longer.
        names = dict.fromkeys([*self._names, *sorted(found)])
        return {name: Count(found[name] * self._of_every, exact=self._of_every == 1) for name in names}


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
