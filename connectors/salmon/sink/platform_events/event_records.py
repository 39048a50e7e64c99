"""
Records of Kafka -> what a sink task carries of platform events: an event to insert, or a change to publish. Pure, but for codecs.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

from confluent_kafka import Message

from salmon.config.events import EventConfig
from salmon.errors import SchemaMismatch, SetupError
from salmon.kafka.codecs.events import Events
from salmon.kafka.codecs.outbox import IDS, Documents, Outcomes, Published, document_event_id
from salmon.kafka.codecs.serdes import Changes
from salmon.kafka.dead_letters import origin_of
from salmon.kafka.output import Output
from salmon.model.change import Change, Op, Value, Write, WriteOp
from salmon.model.convert import to_rest
from salmon.model.event_schema import CREATED
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.plugin.contract import SinkRecord
from salmon.plugin.events import CHANGE, CHANGED_AT, KEY

# An event is inserted, or published, once and never changed: each has the marker of a first write.
_SEQ: Final = 1
_NAMES: Final = {Op.CREATE: "create", Op.UPDATE: "update", Op.DELETE: "delete"}
_AT: Final = FieldSchema("at", "datetime", Kind.DATETIME)


def event_decoder(event: str, codec: Events) -> Callable[[Message], SinkRecord]:
    """What makes a creation of a record of the events' topic: its key is the EventUuid."""

    def decode(message: Message) -> SinkRecord:
        event_uuid, value = _key_and_value(message, codec.topic)
        fields = {name: shown for name, shown in codec.decode(value).items() if shown is not None}
        created = fields.get(CREATED)
        # As all record keys: a text that begins with $ gets a second one.
        key = f"${event_uuid}" if event_uuid.startswith("$") else event_uuid
        since = created if isinstance(created, int) else 0
        return SinkRecord(event, key, Write(_SEQ, WriteOp.CREATE, fields=fields, committed_at=since))

    return decode


def change_decoder(
    name: str, event: EventConfig, schema: ObjectSchema, codec: Changes
) -> Callable[[Message], SinkRecord | None]:
    """
    What makes an event to publish of a change that a user of the configured side made; None of all others: what Salmon wrote
    itself, what the side did because of it, and what was only read. Of an update, the event has the fields that changed.

    The key of the result is the event's id: always the same for the same change.

    Raises:
        SetupError: the object has no such field.
    """
    own = [each for each in event.fields.values() if not each.startswith("$")]
    if missing := sorted(set(own) - schema.by_name.keys()):
        raise SetupError(
            f"{schema.name} has no synced field {', '.join(missing)}. Correct events.{name}.fields."
        )

    def decode(message: Message) -> SinkRecord | None:
        key, value = _key_and_value(message, codec.topic)
        change = codec.decode(value)
        kind = _NAMES.get(change.op)
        is_users = change.origin == event.side and change.ack is None and not change.by_us
        if not is_users or kind not in event.when:
            return None
        shown = {target: _shown(source, key, kind, change, schema) for target, source in event.fields.items()}
        write = Write(_SEQ, WriteOp.CREATE, fields=shown, committed_at=change.committed_at)
        return SinkRecord(name, event_id(message), write)

    return decode


def document_decoder(name: str, codec: Documents) -> Callable[[Message], SinkRecord | None]:
    """What makes an event to publish of a document of an outbox; None of a tombstone. The key of the result is the event's id."""

    def decode(message: Message) -> SinkRecord | None:
        if message.value() is None:
            return None
        key, value = _key_and_value(message, codec.topic)
        fields, inserted_at = codec.decode(value)
        write = Write(_SEQ, WriteOp.CREATE, fields=fields, committed_at=inserted_at)
        return SinkRecord(name, document_event_id(codec.topic, key), write)

    return decode


def outcome_decoder(name: str, codec: Outcomes) -> Callable[[Message], SinkRecord | None]:
    """What makes, of an outcome, a record with the document's key for what tells the document; None of a tombstone."""

    def decode(message: Message) -> SinkRecord | None:
        if message.value() is None:
            return None
        key, value = _key_and_value(message, codec.topic)
        told = codec.decode(value)
        fields: dict[str, Value] = {"event": told.event_uuid, "at": told.at, "error": told.error}
        return SinkRecord(name, key, Write(_SEQ, WriteOp.CREATE, fields=fields, committed_at=told.at))

    return decode


def cleared(topic: str) -> Callable[[Message, str], Sequence[Output]]:
    """What clears a record of *topic*, a table of what is owed: it was carried out, or is a dead letter."""

    def clear(message: Message, _: str) -> Sequence[Output]:
        key = message.key()
        return [Output(topic, key, None)] if key else ()

    return clear


def outcome_teller(topic: str, codec: Outcomes) -> Callable[[Message, str], Sequence[Output]]:
    """What clears a record of the outbox's *topic*, and says what became of it: why it was refused, or "" for published."""
    clear = cleared(topic)

    def tell(message: Message, error: str) -> Sequence[Output]:
        try:
            key, _ = _key_and_value(message, topic)
        except SchemaMismatch:
            return clear(message, error)  # no document is meant
        outcome = Published(document_event_id(topic, key), round(time.time() * 1000), error)
        return [*clear(message, error), Output(codec.topic, key, codec.encode(outcome))]

    return tell


def event_id(message: Message) -> str:
    """The id of the event that is published for a record of Kafka: the same one if an operator has it published again."""
    first = origin_of(message)
    # With the time, because a topic that is deleted and created again counts from 0 again.
    return str(uuid.uuid5(IDS, f"{first.topic}/{first.partition}/{first.offset}/{first.at_ms}"))


def _shown(source: str, key: str, kind: str, change: Change, schema: ObjectSchema) -> Any:
    if source == KEY:
        return key
    if source == CHANGE:
        return kind
    if source == CHANGED_AT:
        return to_rest(_AT, change.committed_at or None)
    return to_rest(schema.by_name[source], change.fields.get(source))


def _key_and_value(message: Message, topic: str) -> tuple[str, bytes]:
    key, value = message.key(), message.value()
    if not key or value is None:
        raise SchemaMismatch(f"{topic}: a record has no key or no value. Find out who wrote it.")
    try:
        return key.decode() if isinstance(key, bytes) else key, value
    except UnicodeDecodeError:
        raise SchemaMismatch(f"{topic}: a key is not UTF-8. Find out who wrote it.") from None
