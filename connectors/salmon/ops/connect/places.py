"""
Where a connector continues, read and changed for Kafka Connect's offsets resource (KIP-875), while it is stopped.

Nothing may be lost by it. So a sink can only be sent back: the writes are carried out again, after their markers were read. A source's
parts can be reset: it then reads all records again, deletions included, as after a hole. Another position could pass over changes, or report
old ones as new. Merge cannot be moved at all, because its state belongs to its place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from salmon.errors import Fenced
from salmon.kafka import clients, cluster
from salmon.kafka.errors import translated
from salmon.kafka.extents import extents_of
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.reader import Place
from salmon.ops.connect.access import Refused
from salmon.ops.connect.bodies import Offset
from salmon.plugin.contract import FIRST_READ, Position

PART: Final = "part"  # of a source's position
_TOPIC, _PARTITION, _OFFSET = "kafka_topic", "kafka_partition", "kafka_offset"
_CLEAN: Final = "clean/"  # a sink's entries: whether the instance with this ordinal left no write in doubt
_ASK_S: Final = 10.0


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
            raise Refused(409, _runs(self._connector)) from None
        finally:
            producer.close()


class SinkPlaces:
    """
    The committed offsets of a sink's consumer group.

    Args:
        topics: The topics of its writes.
        stopped: The ordinals of the instances that have reported that they are stopped.
    """

    def __init__(
        self,
        kafka: clients.Brokers,
        entries: OffsetStore,
        connector: str,
        group: str,
        topics: Collection[str],
        *,
        stopped: Callable[[], Collection[int]],
    ) -> None:
        self._kafka, self._entries, self._connector, self._group = kafka, entries, connector, group
        self._topics, self._stopped = frozenset(topics), stopped

    def read(self) -> list[Offset]:
        return [
            Offset(partition={_TOPIC: topic, _PARTITION: number}, offset={_OFFSET: offset})
            for (topic, number), offset in sorted(self._committed().items())
        ]

    def alter(self, wanted: Sequence[Offset]) -> str:
        committed, asked = self._committed(), dict[Place, int | None]()
        for each in wanted:
            place, offset = _place_of(each), _offset_of(each)
            if place not in committed:
                raise Refused(
                    400,
                    f"{place[0]!a}/{place[1]}: the sink has committed no offset there. GET shows its partitions.",
                )
            if place in asked:
                raise Refused(400, f"{place[0]}/{place[1]}: is named twice.")
            asked[place] = offset
        self._go_back(committed, asked)
        return "The offsets for this connector have been altered successfully. Writes from there on are carried out again."

    def reset(self) -> str:
        committed = self._committed()
        self._go_back(committed, dict.fromkeys(committed))
        return "The offsets for this connector have been reset successfully. All writes that Kafka still has are carried out again."

    def _committed(self) -> dict[Place, int]:
        admin = clients.admin(self._kafka)
        consumer = clients.consumer(self._kafka, group_id=self._group, client_id=f"{self._group}-offsets")
        try:
            found = admin.list_topics(timeout=_ASK_S).topics
            places = [
                TopicPartition(topic, number)
                for topic in sorted(self._topics & found.keys())
                for number in found[topic].partitions
            ]
            answers = consumer.committed(places, timeout=_ASK_S) if places else []
        except KafkaException as error:
            raise translated(error, f"asking for the offsets of {self._group}") from error
        finally:
            clients.close(consumer)
        return {(each.topic, each.partition): each.offset for each in answers if each.offset >= 0}

    def _go_back(self, committed: Mapping[Place, int], asked: Mapping[Place, int | None]) -> None:
        admin = clients.admin(self._kafka)
        self._check_members(admin)
        starts = {place: extent.start for place, extent in extents_of(admin, asked).items()}
        targets: dict[Place, int] = {}
        for place, offset in asked.items():
            target = starts[place] if offset is None else offset
            if not starts[place] <= target <= max(committed[place], starts[place]):
                raise Refused(
                    400,
                    f"{place[0]}/{place[1]}: {_OFFSET} must be between {starts[place]}, where the partition begins, and "
                    f"{committed[place]}, where the sink is: what lies ahead of it would never be written.",
                )
            targets[place] = target
        self._write(targets)

    def _check_members(self, admin: AdminClient) -> None:
        """
        Refuse if an instance may still commit. One that has stopped stays a member for a while (it is a static one), and does
        nothing more: it has reported that.
        """
        stopped = {f"{self._group}-{ordinal}" for ordinal in self._stopped()}
        if any(member.client_id not in stopped for member in cluster.members(admin, self._group)):
            raise Refused(409, _runs(self._connector))

    def _write(self, targets: Mapping[Place, int]) -> None:
        """
        Commit offsets under the transactional ids of all instances, which fences one that still runs. The same transactions note
        that writes are in doubt: a sink that has stopped cleanly would not read the markers before it writes again.
        """
        stored = self._entries.load(self._connector)
        marks = {entry: mark for entry, mark in stored.items() if entry.startswith(_CLEAN)}
        for entry, mark in marks.items():
            name = f"{self._group}-{entry.removeprefix(_CLEAN)}"
            producer = clients.producer(
                self._kafka, transactional_id=name, client_id=f"{self._group}-offsets"
            )
            try:
                producer.start()
                with producer.transaction() as transaction:
                    record = self._entries.record(self._connector, entry, {**mark, "clean": False})
                    transaction.produce(self._entries.topic, *record)
                    if entry == max(marks):
                        self._send_offsets(transaction, targets)
            except Fenced:
                raise Refused(409, _runs(self._connector)) from None
            finally:
                producer.close()

    def _send_offsets(self, transaction: clients.Transaction, targets: Mapping[Place, int]) -> None:
        # Of no member: so brokers take them also while members that have stopped are still in the group.
        consumer = clients.consumer(self._kafka, group_id=self._group, client_id=f"{self._group}-offsets")
        offsets = [TopicPartition(topic, number, offset) for (topic, number), offset in targets.items()]
        try:
            transaction.send_offsets(offsets, consumer.consumer_group_metadata())
        finally:
            clients.close(consumer)


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
                found.append(Offset(partition=place, offset={_OFFSET: position["offset"]}))
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


def _place_of(offset: Offset) -> Place:
    topic, number = offset.partition.get(_TOPIC), offset.partition.get(_PARTITION)
    is_whole = isinstance(number, int) or (isinstance(number, str) and number.isascii() and number.isdigit())
    if set(offset.partition) != {_TOPIC, _PARTITION} or not isinstance(topic, str) or not is_whole:
        raise Refused(400, f'partition: must be {{"{_TOPIC}": TOPIC, "{_PARTITION}": NUMBER}}.')
    return topic, int(number or 0)


def _offset_of(offset: Offset) -> int | None:
    if offset.offset is None:
        return None
    value = offset.offset.get(_OFFSET)
    is_whole = isinstance(value, int) or (isinstance(value, str) and value.isascii() and value.isdigit())
    if set(offset.offset) != {_OFFSET} or not is_whole:
        raise Refused(400, f'offset: must be {{"{_OFFSET}": NUMBER}}, or null for the beginning.')
    return int(value or 0)


def _runs(connector: str) -> str:
    return f"A process of {connector} still works, or has just stopped and Kafka has not noticed yet. Try again in ten seconds."


def _only_reset(part: str) -> str:
    return (
        f"{part}: can only be reset (offset null): then all records are read again, and nothing is lost. Another position could pass "
        f"over changes, or report old ones as new."
    )


def _named(parts: Collection[str]) -> str:
    return ", ".join(sorted(parts))
