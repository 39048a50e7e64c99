"""
Records of Kafka -> what a sink task carries of platform events: an event to insert, or a change to publish. Pure, but for codecs.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import Message

from salmon.config.events import CHANGE, CHANGED_AT, KEY, EventConfig
from salmon.errors import SchemaMismatch, SetupError
from salmon.kafka.codecs.events import Events
from salmon.kafka.codecs.serdes import Changes
from salmon.kafka.dead_letters import origin_of
from salmon.model.change import Change, Op, Write, WriteOp
from salmon.model.convert import to_rest
from salmon.model.event_schema import CREATED
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.plugin.contract import SinkRecord

# An event is inserted, or published, once and never changed: each has the marker of a first write.
_SEQ: Final = 1
_NAMES: Final = {Op.CREATE: "create", Op.UPDATE: "update", Op.DELETE: "delete"}
_AT: Final = FieldSchema("at", "datetime", Kind.DATETIME)
# Of the ids of published events (RFC 9562, UUIDs of version 5).
_NAMESPACE: Final = uuid.UUID("7d4f1c2e-6c0b-5d0a-9a3e-5a1b0c9f2e11")


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


def event_id(message: Message) -> str:
    """The id of the event that is published for a record of Kafka: the same one if an operator has it published again."""
    first = origin_of(message)
    # With the time, because a topic that is deleted and created again counts from 0 again.
    return str(uuid.uuid5(_NAMESPACE, f"{first.topic}/{first.partition}/{first.offset}/{first.at_ms}"))


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
