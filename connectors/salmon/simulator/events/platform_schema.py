"""
Describe -> the Avro schema of a platform event, made the way Salesforce makes it, and events in it.

CreatedDate and CreatedById come first and are never null; then the event's fields in the order of the describe, each of
which may be null, also where REST insists on it. ReplayId and EventUuid are in the envelope.
Sources: a recorded schema of Order_Event__e with its id (of which a test is made), Pub/Sub API ("Event Deserialization
Considerations", "Publish RPC Method"). No schema of a standard event was at hand: those follow the same rule.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import fastavro

from salmon.simulator.events.cdc_schema import NAMESPACE, Json, conversion_of, plain_field, schema_id_of
from salmon.simulator.org.objects.platform_events import Published

_ENVELOPE: Final = frozenset({"Id", "ReplayId", "EventUuid"})
_SYSTEM: Final = (
    {"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
    {"name": "CreatedById", "type": "string", "doc": "CreatedBy:EntityId"},
)


class BadPayload(ValueError):
    """The bytes are no event of the schema."""


@dataclass(frozen=True, slots=True, eq=False)
class PlatformSchema:
    """The schema of one platform event at one time."""

    name: str
    schema_id: str
    schema_json: str
    parsed: Any = field(repr=False)  # fastavro's form
    converters: Mapping[str, Callable[[Any], Any]] = field(repr=False)

    def payload(self, published: Published) -> bytes:
        """An event that was published over REST, as one Avro datum."""
        body: dict[str, Any] = {"CreatedDate": published.created_ms, "CreatedById": published.user_id}
        for name, convert in self.converters.items():
            value = published.values.get(name)
            body[name] = None if value is None else convert(value)
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, self.parsed, body)
        return buffer.getvalue()

    def fields_of(self, payload: bytes) -> Mapping[str, Any]:
        """The values in an event of this schema."""
        found: Any = fastavro.schemaless_reader(io.BytesIO(payload), self.parsed, None)
        return dict(found)

    def check(self, payload: bytes) -> None:
        """Raises BadPayload unless the bytes are one event of this schema, and nothing else."""
        buffer = io.BytesIO(payload)
        try:
            fastavro.schemaless_reader(buffer, self.parsed, None)
        except (EOFError, ValueError, IndexError, UnicodeDecodeError, MemoryError, OverflowError) as error:
            raise BadPayload(f"the payload is not an event of the schema ({type(error).__name__})") from None
        if buffer.tell() != len(payload):
            raise BadPayload("there is something behind the event in the payload")


def platform_schema(describe: Json) -> PlatformSchema:
    """Make the schema of a platform event."""
    name = str(describe["name"])
    fields: list[dict[str, Any]] = [dict(each) for each in _SYSTEM]
    converters: dict[str, Callable[[Any], Any]] = {}
    taken = {each["name"] for each in _SYSTEM}
    for each in describe["fields"]:
        if each["name"] in _ENVELOPE | taken or (plain := plain_field(name, each)) is None:
            continue
        fields.append(plain)
        converters[each["name"]] = conversion_of(each)
    schema = {"type": "record", "name": name, "namespace": NAMESPACE, "fields": fields}
    return PlatformSchema(
        name=name,
        schema_id=schema_id_of(schema),
        schema_json=json.dumps(schema, separators=(",", ":")),
        parsed=fastavro.parse_schema(schema),
        converters=converters,
    )
