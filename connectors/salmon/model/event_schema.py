"""
The Avro schema of a platform event, as the org publishes it -> our schema of the event, and its payloads -> values.

All is taken from the event's own schema, because standard events have no describe that every user may read. Two fields come
from the envelope: EventUuid, by which an event is recognized, and ReplayId, in hexadecimal digits.
Sources: Pub/Sub API, "Event Deserialization Considerations"; Platform Events Developer Guide, "Platform Event Fields". What
no Avro type of a field says (a record, a list) is kept as JSON text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from salmon.errors import SchemaMismatch
from salmon.model.change import Value
from salmon.model.convert import from_event, from_rest
from salmon.model.schema import FieldSchema, Kind, ObjectSchema

EVENT_UUID: Final = "EventUuid"
REPLAY_ID: Final = "ReplayId"
CREATED: Final = "CreatedDate"
CREATED_BY: Final = "CreatedById"
_MS_A_DAY: Final = 86_400_000

_JSON: Final = "json"
_ENVELOPE: Final = (
    FieldSchema(EVENT_UUID, "string", Kind.STRING, label="Event UUID", create=False, update=False),
    FieldSchema(REPLAY_ID, "string", Kind.STRING, label="Replay ID", create=False, update=False),
)
# The first part of a field's doc that is a type: `<role>:<Type>[:<field id>]`.
_BY_DOC: Final[Mapping[str, tuple[str, Kind]]] = {
    "DateTime": ("datetime", Kind.DATETIME),
    "DateOnly": ("date", Kind.DATE),
    "TimeOnly": ("time", Kind.TIME),
    "MultiEnum": ("multipicklist", Kind.STRINGS),
}
_BY_TYPE: Final[Mapping[str, tuple[str, Kind]]] = {
    "string": ("string", Kind.STRING),
    "boolean": ("boolean", Kind.BOOLEAN),
    "int": ("int", Kind.INT),
    "long": ("long", Kind.LONG),
    "float": ("double", Kind.DOUBLE),
    "double": ("double", Kind.DOUBLE),
}
_WIRE: Final[Mapping[Kind, str]] = {
    Kind.DATETIME: "long",
    Kind.DATE: "long",
    Kind.TIME: "long",
    Kind.STRINGS: "string",
}


def event_schema(name: str, avro: Mapping[str, Any]) -> ObjectSchema:
    """
    Return our schema of the event *name*.

    Raises:
        SchemaMismatch: *avro* is not the schema of a record.
    """
    fields = avro.get("fields")
    if not isinstance(fields, list) or not all(
        isinstance(each, Mapping) and "name" in each for each in fields
    ):
        raise SchemaMismatch(f"events.{name}: the org's schema of {name} is not that of an Avro record.")
    own = {each.name for each in _ENVELOPE}
    return ObjectSchema(name, (*_ENVELOPE, *(_field(each) for each in fields if each["name"] not in own)))


def with_former_fields(schema: ObjectSchema, former: ObjectSchema) -> ObjectSchema:
    """Return *schema* with the fields that only *former* has: events that were published before may still come."""
    gone = tuple(field for field in former.fields if field.name not in schema.by_name)
    return ObjectSchema(schema.name, (*schema.fields, *gone), schema.key_prefix)


def fields_of(
    schema: ObjectSchema,
    payload: Mapping[str, Any],
    *,
    event_uuid: str,
    replay_id: bytes,
    as_text: Callable[[Any], str] = str,
) -> dict[str, Value]:
    """
    Convert a payload; what is null is left out.

    Args:
        as_text: Makes text of a value that has no type of ours.

    Raises:
        SchemaMismatch: a value does not fit its field.
    """
    found: dict[str, Value] = {EVENT_UUID: event_uuid, REPLAY_ID: replay_id.hex()}
    for field in schema.fields[len(_ENVELOPE) :]:
        shown = payload.get(field.name)
        if field.type == _JSON and shown is not None:
            shown = as_text(shown)
        value = from_event(field, shown)
        if value is not None:
            found[field.name] = value
    return found


def payload_of(
    schema: ObjectSchema, shown: Mapping[str, Any], *, created_at: int, created_by: str
) -> dict[str, Any]:
    """
    Make the payload of an event that is published.

    Args:
        shown: Field of the event -> its value, as REST shows values. What is not in it is null.
        created_at, created_by: When, in ms, and by which user: the API insists on both.

    Raises:
        SchemaMismatch: the event has no such field, or a value does not fit it.
    """
    payload: dict[str, Any] = {}
    for name, value in shown.items():
        field = schema.by_name.get(name)
        if field is None or field in _ENVELOPE or field.type == _JSON:
            raise SchemaMismatch(
                f"{schema.name} has no field {name} that can be published. Correct events.{schema.name}.fields."
            )
        if field.kind is Kind.STRING and value is not None and not isinstance(value, str):
            value = str(value).lower() if isinstance(value, bool) else str(value)  # noqa: PLW2901
        try:
            payload[name] = _on_the_wire(field, from_rest(field, value))
        except SchemaMismatch:
            raise SchemaMismatch(
                f"{name}: a {type(value).__name__} is to be published, which is not a valid {field.type} ({field.kind.value}). "
                f"Correct the value where it comes from, or fill the field with another one (events.{schema.name}.fields)."
            ) from None
    return {**payload, CREATED: created_at, CREATED_BY: created_by}


def _on_the_wire(field: FieldSchema, value: Value) -> Any:
    match field.kind, value:
        case Kind.DATE, int():
            return value * _MS_A_DAY
        case Kind.STRINGS, tuple():
            return ";".join(value)
        case _:
            return value


def _field(avro: Mapping[str, Any]) -> FieldSchema:
    said = avro["type"]
    branches = [branch for branch in said if branch != "null"] if isinstance(said, list) else [said]
    plain = branches[0] if len(branches) == 1 and isinstance(branches[0], str) else ""
    type_, kind = _JSON, Kind.STRING
    if plain in _BY_TYPE:
        type_, kind = _BY_TYPE[plain]
        words = str(avro.get("doc", "")).split(":")
        known = next((_BY_DOC[word] for word in words[1:] if word in _BY_DOC), None)
        if known is not None and _WIRE[known[1]] == plain:
            type_, kind = known
    return FieldSchema(avro["name"], type_, kind, label=avro["name"], create=False, update=False)
