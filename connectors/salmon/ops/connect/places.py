"""
Where a connector continues, read and changed for Kafka Connect's offsets resource (KIP-875), while it is stopped.

Nothing may be lost by it. So a sink can only be sent back: writes are carried out again after their markers were read, events are carried
again. A source's
parts can be reset: it then reads all records again, deletions included, as after a hole. Another position could pass over changes, or report
old ones as new. Merge cannot be moved at all, because its state belongs to its place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from salmon.errors import Fenced
from salmon.kafka import clients
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.output import Output
from salmon.kafka.reader import Place
from salmon.ops.connect.access import Refused
from salmon.ops.connect.bodies import Offset
from salmon.ops.connect.groups import OFFSET, Group, still_works
from salmon.plugin.contract import FIRST_READ, Position

PART: Final = "part"  # of a source's position
_TOPIC, _PARTITION, _EVENT = "kafka_topic", "kafka_partition", "event"
_CLEAN: Final = "clean/"  # a sink's entries: whether the instance with this ordinal left no write in doubt


class SourcePlaces:
    """
    The parts of a source's position.

    Args:
        group: Also the transactional id of the source's leader, which is fenced before anything is changed.
    """

    def __init__(self, kafka: clients.Brokers, entries: OffsetStore, connector: str, group: str) -> None:
        self._kafka, self._entries, self._connector, self._group = kafka, entries, connector, group

    def read(self) -> list[Offset]:
        stored = self._entries.load(self._connector)
        return [Offset(partition={PART: part}, offset=dict(stored[part])) for part in sorted(stored)]

    def alter(self, wanted: Sequence[Offset]) -> str:
        stored = self._entries.load(self._connector)
        changes: dict[str, Position | None] = {}
        for each in wanted:
            part = each.partition.get(PART)
            if set(each.partition) != {PART} or not isinstance(part, str):
                raise Refused(400, f'partition: must be {{"{PART}": NAME}}, as GET shows it.')
            if part not in stored:
                raise Refused(
                    400, f"{part!a}: the source has no such part. It has {', '.join(sorted(stored))}."
                )
            if part in changes:
                raise Refused(400, f"{part}: is named twice.")
            self._check_change(part, stored[part], each.offset)
            changes[part] = each.offset
        moved = {part: position for part, position in changes.items() if position != stored[part]}
        self._write(moved)
        return f"The offsets for this connector have been altered successfully: {_named(moved) or 'nothing to change'}."

    def reset(self) -> str:
        stored = self._entries.load(self._connector)
        self._write({part: None for part in stored if not part.startswith(FIRST_READ)})
        return "The offsets for this connector have been reset successfully. When it is resumed, it reads all records again."

    def _check_change(self, part: str, stored: Position, offset: Mapping[str, Any] | None) -> None:
        if offset == stored:
            return
        if part.startswith(FIRST_READ):
            raise Refused(
                400,
                f"{part}: cannot be changed, because it says what has been read already. To read the object again, run `salmon "
                f"snapshot`.",
            )
        if offset is not None:
            raise Refused(400, _only_reset(part))

    def _write(self, changes: Mapping[str, Position | None]) -> None:
        if not changes:
            return
        producer = clients.producer(
            self._kafka, transactional_id=self._group, client_id=f"{self._group}-offsets"
        )
        try:
            producer.start()
            with producer.transaction() as transaction:
                for part, position in changes.items():
                    transaction.produce(
                        self._entries.topic, *self._entries.record(self._connector, part, position)
                    )
        except Fenced:
            raise Refused(409, still_works(self._connector)) from None
        finally:
            producer.close()


class SinkPlaces:
    """
    The committed offsets of a sink's consumer groups: of its writes, and of each kind of event that it carries.

    Args:
        groups: That of its writes is the first.
    """

    def __init__(self, entries: OffsetStore, connector: str, groups: Sequence[Group]) -> None:
        self._entries, self._connector = entries, connector
        self._groups = {each.event: each for each in groups}

    def read(self) -> list[Offset]:
        return [
            Offset(partition=_partition_of(place, group), offset={OFFSET: offset})
            for group in self._groups.values()
            for place, offset in sorted(group.committed().items())
        ]

    def alter(self, wanted: Sequence[Offset]) -> str:
        committed: dict[str, Mapping[Place, int]] = {}
        asked: dict[str, dict[Place, int | None]] = {}
        for each in wanted:
            event, place, offset = _event_of(each), _place_of(each), _offset_of(each)
            if event not in self._groups:
                raise Refused(
                    400, f"{event!a}: the sink carries no such event. GET shows those that it does."
                )
            if event not in committed:
                committed[event] = self._groups[event].committed()
            if place not in committed[event]:
                raise Refused(
                    400,
                    f"{place[0]!a}/{place[1]}: the sink has committed no offset there. GET shows its partitions.",
                )
            if place in asked.setdefault(event, {}):
                raise Refused(400, f"{place[0]}/{place[1]}: is named twice.")
            asked[event][place] = offset
        self._go_back(committed, asked)
        return (
            "The offsets for this connector have been altered successfully. What follows them is carried out again."
            f"{self._published_again(asked)}"
        )

    def reset(self) -> str:
        harmless = {event: group for event, group in self._groups.items() if not group.published}
        committed = {event: group.committed() for event, group in harmless.items()}
        self._go_back(committed, {event: dict.fromkeys(places) for event, places in committed.items()})
        left = sorted(self._groups.keys() - harmless.keys())
        kept = (
            f" Not those of {', '.join(left)}: who listens would get events of the past again. PATCH them by name if that is meant."
            if left
            else ""
        )
        return f"The offsets for this connector have been reset successfully. All that Kafka still has is carried out again.{kept}"

    def _published_again(self, asked: Mapping[str, Mapping[Place, int | None]]) -> str:
        again = sorted(event for event, places in asked.items() if places and self._groups[event].published)
        return f" Who listens to {', '.join(again)} gets events of the past again." if again else ""

    def _go_back(
        self, committed: Mapping[str, Mapping[Place, int]], asked: Mapping[str, Mapping[Place, int | None]]
    ) -> None:
        """All or nothing is asked for; what is cut short by a kill can be asked for again."""
        targets = {
            event: self._groups[event].targets(committed[event], places) for event, places in asked.items()
        }
        stored = self._entries.load(self._connector)
        marks = {entry: mark for entry, mark in stored.items() if entry.startswith(_CLEAN)}
        for event, places in targets.items():
            notes: dict[str, list[Output]] = {entry.removeprefix(_CLEAN): [] for entry in marks}
            if not event:
                # Its writes are in doubt now: a sink that has stopped cleanly would not read the markers before it writes again.
                for entry, mark in marks.items():
                    in_doubt = self._entries.output(self._connector, entry, {**mark, "clean": False})
                    notes[entry.removeprefix(_CLEAN)].append(in_doubt)
            if places or not event:
                self._groups[event].send_back(places, notes)


class MergePlaces:
    """Where merge continues in `changes`. It can be read, and not changed."""

    def __init__(self, entries: OffsetStore, connector: str) -> None:
        self._entries, self._connector = entries, connector

    def read(self) -> list[Offset]:
        found = []
        for entry, position in sorted(self._entries.load(self._connector).items()):
            topic, _, number = entry.rpartition("/")
            if topic and number.isdigit():
                place = {_TOPIC: topic, _PARTITION: int(number)}
                found.append(Offset(partition=place, offset={OFFSET: position["offset"]}))
        return found

    def alter(self, wanted: Sequence[Offset]) -> str:
        raise Refused(400, _NOT_MERGE)

    def reset(self) -> str:
        raise Refused(400, _NOT_MERGE)


_NOT_MERGE: Final = (
    "The offsets of merge cannot be changed: its state was made of all changes before them. To read records again, run `salmon "
    "snapshot`."
)


class Late:
    """Places that can be asked once Kafka and the registry have been reached."""

    def __init__(self) -> None:
        self.found: SourcePlaces | SinkPlaces | MergePlaces | None = None

    def read(self) -> list[Offset]:
        return self._places.read()

    def alter(self, wanted: Sequence[Offset]) -> str:
        return self._places.alter(wanted)

    def reset(self) -> str:
        return self._places.reset()

    @property
    def _places(self) -> SourcePlaces | SinkPlaces | MergePlaces:
        if self.found is None:
            raise Refused(503, "This process has not reached Kafka yet. Try again when /health is healthy.")
        return self.found


def _partition_of(place: Place, group: Group) -> dict[str, Any]:
    named = {_TOPIC: place[0], _PARTITION: place[1]}
    return {**named, _EVENT: group.event} if group.event else named


def _event_of(offset: Offset) -> str:
    """The event that a partition is named with; "": it is one of writes. One topic may be read for several events."""
    event = offset.partition.get(_EVENT, "")
    if not isinstance(event, str):
        raise Refused(400, f"partition: {_EVENT} must be the name of an event, as GET shows it.")
    return event


def _place_of(offset: Offset) -> Place:
    topic, number = offset.partition.get(_TOPIC), _whole(offset.partition.get(_PARTITION))
    if (
        set(offset.partition) - {_EVENT} != {_TOPIC, _PARTITION}
        or not isinstance(topic, str)
        or number is None
    ):
        raise Refused(400, f'partition: must be {{"{_TOPIC}": TOPIC, "{_PARTITION}": NUMBER}}.')
    return topic, number


def _offset_of(offset: Offset) -> int | None:
    if offset.offset is None:
        return None
    value = _whole(offset.offset.get(OFFSET))
    if set(offset.offset) != {OFFSET} or value is None:
        raise Refused(400, f'offset: must be {{"{OFFSET}": NUMBER}}, or null for the beginning.')
    return value


def _whole(value: Any) -> int | None:
    """A whole number, also as text, as some tools send it; None: it is something else."""
    if type(value) is int:  # true is none, although Python takes it for 1
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def _only_reset(part: str) -> str:
    return (
        f"{part}: can only be reset (offset null): then all records are read again, and nothing is lost. Another position could pass "
        f"over changes, or report old ones as new."
    )


def _named(parts: Collection[str]) -> str:
    return ", ".join(sorted(parts))
