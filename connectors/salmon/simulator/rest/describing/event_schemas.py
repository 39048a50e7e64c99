"""
The schemas of events over REST: by id, as GetSchema of the Pub/Sub API answers it, and by the name of the event.

COMPACT is the Avro schema of what the bus carries, with its id as `uuid`. EXPANDED, which is the default, is that of what
Streaming API clients see as JSON: times are text there. Below version 43.0 there is no choice, and below 40.0 no such resource.
Sources: REST API Developer Guide, "Platform Event Schema by Event Name" and "by Schema ID". The code of a wrong payloadFormat
is our reading.
"""

from __future__ import annotations

import json
from typing import Any, Final, Protocol

from salmon.simulator.org.refusals import BadRequest, not_found
from salmon.simulator.rest.web import Answer, Call

COMPACT: Final = "COMPACT"
EXPANDED: Final = "EXPANDED"
_SINCE: Final = 40.0
_CHOICE_SINCE: Final = 43.0
_TIMES: Final = frozenset({"DateTime", "DateOnly", "TimeOnly", "Birthday"})


class Schemas(Protocol):
    """What is asked of the event bus."""

    def schema_id_for(self, topic: str) -> str | None: ...
    def schema_text(self, schema_id: str) -> str | None: ...


class EventSchemas:
    """The two resources."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas

    def by_id(self, call: Call, schema_id: str) -> Answer:
        """GET /event/eventSchema/<id>"""
        shown_as = _format(call)
        if (text := self._schemas.schema_text(schema_id)) is None:
            raise not_found()
        schema = {**json.loads(text), "uuid": schema_id}
        return Answer(200, schema if shown_as == COMPACT else _expanded(schema))

    def by_name(self, call: Call, name: str) -> Answer:
        """GET /sobjects/<event>/eventSchema, of a platform event or of an object's change events"""
        _format(call)
        event = call.org.platform_events.find(name)
        topic = f"/data/{name}" if event is None else f"/event/{event.name}"
        if not (schema_id := self._schemas.schema_id_for(topic)):
            raise not_found()
        return self.by_id(call, schema_id)


def _format(call: Call) -> str:
    """Raises BadRequest for a version that has no such resource, or no such parameter, or for another value."""
    version, asked = float(call.version), call.params.get("payloadFormat")
    if version < _SINCE:
        raise not_found()
    if asked is None:
        return COMPACT if version < _CHOICE_SINCE else EXPANDED
    if version < _CHOICE_SINCE or asked not in {COMPACT, EXPANDED}:
        message = f"payloadFormat must be {COMPACT} or {EXPANDED}, from version {_CHOICE_SINCE} on"
        raise BadRequest("INVALID_ARGUMENT_TYPE", message)
    return asked


def _expanded(schema: dict[str, Any]) -> dict[str, Any]:
    """The same event, as a message of the Streaming API: payload and replay id in an envelope."""
    event = {"type": "record", "name": "Event", "fields": [{"name": "replayId", "type": "long"}]}
    payload = {
        "type": "record",
        "name": "Payload",
        "doc": "",
        "fields": [_as_json(each) for each in schema["fields"]],
    }
    fields = [
        {"name": "schema", "type": "string"},
        {"name": "payload", "type": payload},
        {"name": "event", "type": event},
    ]
    data = {"type": "record", "name": "Data", "namespace": "", "fields": fields}
    return {
        "name": schema["name"],
        "namespace": schema["namespace"],
        "type": "expanded-record",
        "fields": [{"name": "data", "type": data}, {"name": "channel", "type": "string"}],
        "uuid": schema["uuid"],
    }


def _as_json(field: dict[str, Any]) -> dict[str, Any]:
    """A field of the payload: what is a number of milliseconds in Avro is text in JSON."""
    kind = str(field.get("doc", "")).split(":")[1:2]
    if not _TIMES.issuperset(kind) or not kind:
        return field
    return {**field, "type": ["null", "string"] if isinstance(field["type"], list) else "string"}
