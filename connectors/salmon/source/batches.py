"""
Encodes a source's batch as the records of one transaction. What cannot be encoded becomes a dead letter.

If Kafka refuses a record, only the field that causes this is left out, and the change says so; the other fields are written.

Pure except for the codecs. A batch is encoded once, before the transaction, so that a repeated write is the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from confluent_kafka import Message

from salmon.errors import BadRecordKey, DataError, RecordTooLarge
from salmon.kafka.codecs.events import Events
from salmon.kafka.codecs.outbox import Documents, Outcomes, Published, document_event_id
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.codecs.serdes import Changes, Identities
from salmon.kafka.dead_letters import dead_letter_headers
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.output import Output
from salmon.kafka.topics import Topics
from salmon.model.change import NOT_OF_TYPE, Change, Misfit
from salmon.model.reducing import without, without_largest, without_values
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import DeadLetter, EventRecord, SourceBatch, SourceRecord

IsTaken = Callable[[Sequence[Output]], bool]
"""Tells whether Kafka accepts these records (their size and format; not whether it can be reached)."""


@dataclass(slots=True)
class Encoded:
    """The records of one transaction. *changes*, *events*: index in *outputs* -> what is written there."""

    outputs: list[Output] = field(default_factory=list)
    changes: dict[int, SourceRecord] = field(default_factory=dict)
    events: dict[int, EventRecord] = field(default_factory=dict)
    dead_letters: int = 0
    set_aside: set[tuple[str, str]] = field(default_factory=set)  # object or event, and key

    @property
    def failures(self) -> int:
        """Records of which nothing is written but a dead letter."""
        written = {(each.object, each.key) for each in self.changes.values()}
        return len(self.set_aside - written)

    @property
    def written(self) -> list[SourceRecord]:
        """All changes of the transaction."""
        return list(self.changes.values())


class BatchEncoder:
    """
    Args:
        schemas: Object -> schema, of all synced objects.
        events: Platform event -> schema, of those that are read.
        outboxes: The platform events that documents become; each with whether the documents are told what became of it.
        task_class: Name of the task's class, for the headers of dead letters.
    """

    def __init__(
        self,
        connector: str,
        topics: Topics,
        registry: Registry,
        schemas: Mapping[str, ObjectSchema],
        entries: OffsetStore,
        *,
        task_class: str,
        events: Mapping[str, ObjectSchema] = MappingProxyType({}),
        outboxes: Mapping[str, bool] = MappingProxyType({}),
    ) -> None:
        self._connector, self._topics, self._entries, self._task_class = (
            connector,
            topics,
            entries,
            task_class,
        )
        self._schemas = schemas
        self._changes = {name: Changes(s, registry, topics.changes(name)) for name, s in schemas.items()}
        self._events = {name: Events(s, registry, topics.events(name)) for name, s in events.items()}
        self._documents = {name: Documents(registry, topics.outbox(name)) for name in outboxes}
        self._outcomes = {
            name: Outcomes(registry, topics.outcomes(name)) for name, tells in outboxes.items() if tells
        }
        self._identities = {name: Identities(registry, topics.identity(name)) for name in schemas}

    def encode(self, batch: SourceBatch) -> Encoded:
        """Encode a batch. Raises Unavailable if the registry does not answer."""
        encoded = Encoded()
        add = encoded.outputs.append
        for identity in batch.identities:
            value = None if identity.key is None else self._identities[identity.object].encode(identity.key)
            add(Output(self._topics.identity(identity.object), identity.native_id, value))
        for record in batch.records:
            self._add(record, encoded)
        for event in batch.events:
            self._add_event(event, encoded)
        for letter in batch.dead_letters:
            self._set_aside(letter, encoded)
        for partition, position in batch.positions.items():
            add(self._entries.output(self._connector, partition, position))
        return encoded

    def set_aside(
        self, subject: str, key: str | None, original: bytes | None, error: Exception, stage: str
    ) -> Output:
        """
        Make a dead letter: the original bytes, with Kafka Connect's headers that say why it was set aside.

        Args:
            subject: The object or event.
        """
        headers = dead_letter_headers(
            None, error, connector=self._connector, stage=stage, class_name=self._task_class, subject=subject
        )
        return Output(self._topics.dlq(self._connector), key, original, tuple(headers))

    def signal_set_aside(self, message: Message, error: Exception) -> Output:
        """Make a dead letter of a signal that cannot be followed."""
        headers = dead_letter_headers(
            message,
            error,
            connector=self._connector,
            stage="VALUE_CONVERTER",
            class_name=self._task_class,
        )
        return Output(self._topics.dlq(self._connector), message.key(), message.value(), tuple(headers))

    def without_refused(self, encoded: Encoded, error: DataError, is_taken: IsTaken) -> Encoded:
        """
        Return *encoded* without the part of one record that Kafka refuses.

        If the record is a change that is too large, its largest value is left out; for any other refusal, all its values. A dead
        letter is written without its original. Positions and identities are never left out: without them, more
        than one record would be lost.

        Args:
            error: The error with which Kafka refused the batch.

        Raises:
            DataError: *error*, if Kafka accepts every change and every dead letter by itself.
        """
        at = self._at_fault(encoded, is_taken)
        if at is None:
            raise error
        less = replace(
            encoded,
            outputs=list(encoded.outputs),
            changes=dict(encoded.changes),
            events=dict(encoded.events),
        )
        if (event := less.events.pop(at, None)) is not None:
            less.outputs[at] = self.set_aside(event.event, event.key, None, error, "KAFKA_PRODUCE")
            less.outputs += self._told(event.event, event.key, error)
            less.dead_letters += 1
            return less
        refused, record = less.outputs[at], less.changes.pop(at, None)
        smaller = None if record is None else self._smaller(record, error)
        if record is None:
            less.outputs[at] = self._shortened(refused, error)
            return less
        if smaller is None:
            less.outputs[at] = self.set_aside(record.object, record.key, None, error, "KAFKA_PRODUCE")
        else:
            less.outputs[at] = self._output(smaller)
            less.changes[at] = smaller
            left_out = sorted(smaller.change.misfits.keys() - record.change.misfits.keys())
            reasons = DataError(" ".join(smaller.change.misfits[name].reason for name in left_out))
            reasons.__cause__ = error
            rest = _as_json(smaller.change)
            less.outputs.append(self.set_aside(record.object, record.key, rest, reasons, "KAFKA_PRODUCE"))
        less.dead_letters += 1
        return less

    def _at_fault(self, encoded: Encoded, is_taken: IsTaken) -> int | None:
        """Find the index of the first change, event or dead letter that Kafka refuses, by halving; None if it accepts all."""
        codecs = (*self._changes.values(), *self._events.values(), *self._documents.values())
        topics = {codec.topic for codec in codecs}
        topics.add(self._topics.dlq(self._connector))
        suspects = [at for at, output in enumerate(encoded.outputs) if output.topic in topics]
        while len(suspects) > 1:
            half = suspects[: len(suspects) // 2]
            taken = is_taken([encoded.outputs[at] for at in half])
            suspects = suspects[len(half) :] if taken else half
        if not suspects or is_taken([encoded.outputs[suspects[0]]]):
            return None
        return suspects[0]

    def _smaller(self, record: SourceRecord, error: DataError) -> SourceRecord | None:
        reduce = without_largest if isinstance(error, RecordTooLarge) else without_values
        change = reduce(record.change, self._schemas[record.object])
        return None if change is None else replace(record, change=change)

    def _shortened(self, letter: Output, error: DataError) -> Output:
        """Leave out a dead letter's original; its headers stay. Raises *error* if it has no original."""
        if letter.value is None:
            raise error
        return replace(letter, value=None)

    def _add(self, record: SourceRecord, encoded: Encoded) -> None:
        try:
            output = self._output(record)
        except DataError as error:
            readable = self._without_unencodable(record, error)
            self._set_aside(
                DeadLetter(record.object, record.key, _as_json(record.change), error, "VALUE_CONVERTER"),
                encoded,
            )
            if readable is None:
                return
            record, output = readable, self._output(readable)
        encoded.changes[len(encoded.outputs)] = record
        encoded.outputs.append(output)

    def _add_event(self, event: EventRecord, encoded: Encoded) -> None:
        try:
            output = self._event_output(event)
        except DataError as error:
            self._set_aside(
                DeadLetter(event.event, event.key, event.original, error, "VALUE_CONVERTER"), encoded
            )
            return
        encoded.events[len(encoded.outputs)] = event
        encoded.outputs.append(output)

    def _event_output(self, event: EventRecord) -> Output:
        if (documents := self._documents.get(event.event)) is not None:
            return Output(documents.topic, event.key, documents.encode(event.fields, event.published_at))
        codec = self._events[event.event]
        return Output(codec.topic, event.key, codec.encode(event.fields))

    def _output(self, record: SourceRecord) -> Output:
        value = self._changes[record.object].encode(record.change)
        return Output(self._topics.changes(record.object), record.key, value)

    def _without_unencodable(self, record: SourceRecord, error: DataError) -> SourceRecord | None:
        """Return the record without the values that cannot be encoded; None if no single value is the cause."""
        codec, schema = self._changes[record.object], self._schemas[record.object]
        change = record.change
        names = [
            name
            for name, value in change.fields.items()
            if name in schema.by_name and not _encodes(codec, replace(change, fields={name: value}))
        ]
        if not names:
            return None
        less = without(change, schema, names, lambda _name: Misfit(NOT_OF_TYPE, str(error)))
        return replace(record, change=less) if _encodes(codec, less) else None

    def _set_aside(self, letter: DeadLetter, encoded: Encoded) -> None:
        encoded.outputs.append(
            self.set_aside(letter.object, letter.key, letter.original, letter.error, letter.stage)
        )
        encoded.outputs += self._told(letter.object, letter.key, letter.error)
        encoded.dead_letters += 1
        encoded.set_aside.add((letter.object, letter.key))

    def _told(self, event: str, key: str, error: Exception) -> list[Output]:
        """What tells a document of an outbox why it becomes no event. One whose _id is no key cannot be told."""
        codec = self._outcomes.get(event)
        if codec is None or isinstance(error, BadRecordKey):
            return []
        event_id = document_event_id(self._topics.outbox(event), key)
        return [
            Output(codec.topic, key, codec.encode(Published(event_id, round(time.time() * 1000), str(error))))
        ]


def _encodes(codec: Changes, change: Change) -> bool:
    try:
        codec.encode(change)
    except DataError:
        return False
    return True


def _as_json(change: Change) -> bytes:
    """Format the values of a change for the person who reads the dead letter."""
    return json.dumps(dict(change.fields), default=str, ensure_ascii=False).encode(errors="replace")
