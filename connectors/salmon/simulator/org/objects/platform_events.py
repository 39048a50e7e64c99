"""
Platform events of the org: what they are made of, and who hears of those that are published over REST.

A definition is a describe, as `/sobjects/Order_Event__e/describe` shows it; it has no Id, and its events are no records. Some
standard events (BatchApexErrorEvent, say) only the platform itself can fire: their describe is not createable.
Where events go is for salmon.simulator.events.eventbus, which also takes those that the Pub/Sub API publishes.
Source: Platform Events Developer Guide ("Publish Event Messages with Salesforce APIs", "Platform Event Allocations",
"BatchApexErrorEvent").
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from salmon.simulator.org.clock import OrgClock
from salmon.simulator.org.objects.describes import FIELD_DEFAULTS, Describe
from salmon.simulator.org.objects.object_types import ObjectType
from salmon.simulator.org.objects.spelling import spelled
from salmon.simulator.org.refusals import BadRequest, Refusal, not_writable, unknown_field
from salmon.simulator.org.saving.values import stored_value
from salmon.simulator.org.transaction import Row, Stored
from salmon.simulator.org.usage import PUBLISHED, Usage

PREFIX: Final = "/event/"
# Of a stranger's definition by the control API: what a custom field may be, by the names of the Metadata API.
_TYPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "Text": {"type": "string", "length": 255},
    "LongTextArea": {"type": "textarea", "length": 131_072},
    "Number": {"type": "double", "precision": 18, "scale": 2, "soapType": "xsd:double"},
    "Checkbox": {"type": "boolean", "nillable": False, "defaultValue": False, "soapType": "xsd:boolean"},
    "Date": {"type": "date", "soapType": "xsd:date"},
    "DateTime": {"type": "datetime", "soapType": "xsd:dateTime"},
}
_ENVELOPE: Final = frozenset(
    {"ReplayId", "CreatedDate", "CreatedById", "EventUuid"}
)  # what the org says of an event
_SYSTEM: Final = "ReplayId CreatedDate*:datetime CreatedById*:reference:User:CreatedBy EventUuid"


class BadEvent(ValueError):
    """A definition that cannot be; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Published:
    """One event, with values as REST shows them."""

    name: str
    event_id: str  # UUID
    created_ms: int
    user_id: str
    values: Row


class PlatformEvents:
    """The platform events of one org."""

    def __init__(self, describes: Mapping[str, Describe], clock: OrgClock, usage: Usage) -> None:
        self._types = {name: _type(describe) for name, describe in describes.items()}
        self._clock = clock
        self._usage = usage
        self._listeners: list[Callable[[Published], None]] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Of all of them."""
        return tuple(self._types)

    def find(self, name: str) -> ObjectType | None:
        """The event of this name, in any case; None if there is none."""
        found = self._types.get(name)
        return found or next(
            (each for each in self._types.values() if each.name.lower() == name.lower()), None
        )

    def describe(self, name: str) -> Describe:
        """Its describe (exact case). Raises KeyError if there is none."""
        return self._types[name].describe

    def define(self, describe: Describe) -> None:
        """Make an event, or let one have other fields from now on."""
        self._types = {**self._types, describe["name"]: _type(describe)}

    def add_listener(self, listener: Callable[[Published], None]) -> None:
        """Call *listener* for each event that is published over REST."""
        self._listeners.append(listener)

    def takes(self, name: str) -> bool:
        """Whether the APIs may publish this event (in any case); False if there is none."""
        event = self.find(name)
        return event is not None and bool(event.describe.get("createable", True))

    def publish(self, name: str, body: Mapping[str, Any], user_id: str, *, by_platform: bool = False) -> str:
        """
        Publish one event over REST; its UUID.

        Args:
            by_platform: The org itself publishes it, and sets also what the APIs may not set.

        Raises:
            BadRequest: A value of a type that its field cannot take.
            Refusal: An event that the APIs may not publish, a field that is not there, may not be set or is missing, or no events
                are left for this hour.
        """
        if not by_platform and not self.takes(name):
            message = f"entity type {name} does not support create"
            raise Refusal("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message)
        definition = self._types[name]
        values: dict[str, Stored] = dict(definition.defaults)
        for key, value in body.items():
            if key == "attributes":
                continue
            field = definition.field(key)
            if field is None:
                raise unknown_field(name, key)
            if field.name in _ENVELOPE or not (field.createable or by_platform):
                raise not_writable(field.name)
            values[field.name] = stored_value(field, value)
        missing = [field.name for field in definition.required_on_create if values.get(field.name) is None]
        if missing:
            message = f"Required fields are missing: [{', '.join(missing)}]"
            raise Refusal("REQUIRED_FIELD_MISSING", message, *missing)
        if not self.allow(1):
            raise Refusal("LIMIT_EXCEEDED", "The hourly limit of published platform events is exceeded")
        event_id = str(uuid.uuid4())
        published = Published(name, event_id, self._clock.now_ms(), user_id, values)
        for listener in self._listeners:
            listener(published)
        return event_id

    def allow(self, events: int) -> bool:
        """Whether so many more may be published now; if so, they are counted."""
        if self._usage.left(PUBLISHED) < events:
            return False
        self._usage.spend(PUBLISHED, events)
        return True


def _type(describe: Describe) -> ObjectType:
    return ObjectType(describe, describe.get("keyPrefix") or "e00")


def is_platform_event(describe: Describe) -> bool:
    """Custom ones end with __e; standard ones are known by the field ReplayId, which no object with records has."""
    return str(describe["name"]).endswith("__e") or any(f["name"] == "ReplayId" for f in describe["fields"])


def parse_event(body: Mapping[str, Any]) -> Describe:
    """
    The describe of an event that the control API defines: {"event": "Order_Event__e", "fields": {"Number__c": "Text"}},
    or {"describe": ...} as an org answers it.

    Raises:
        BadEvent: It is neither.
    """
    given = body.get("describe")
    if given is not None:
        fields = given.get("fields") if isinstance(given, dict) else None
        if not isinstance(fields, list) or not all(isinstance(f, dict) and f.get("type") for f in fields):
            raise BadEvent("describe must be the answer of /sobjects/X/describe")
        if not isinstance(given.get("name"), str) or not is_platform_event(given):
            raise BadEvent("describe is not that of a platform event: it has no field ReplayId")
        return dict(given)
    name, types = body.get("event"), body.get("fields")
    if not isinstance(name, str) or not name.endswith("__e") or not name.replace("_", "a").isalnum():
        raise BadEvent("event must be the name of a custom platform event, like Order_Event__e")
    if not isinstance(types, dict) or not all(
        str(each).endswith("__c") and kind in _TYPES for each, kind in types.items()
    ):
        raise BadEvent(
            f"fields must be an object of names like Number__c, each with one of {', '.join(_TYPES)}"
        )
    describe = spelled(name, "e00", _SYSTEM, writable=True)
    custom = [
        {**FIELD_DEFAULTS, "name": each, "label": each.removesuffix("__c").replace("_", " "), **_TYPES[kind]}
        for each, kind in types.items()
    ]
    return {**describe, "custom": True, "fields": [*describe["fields"], *custom]}


def not_a_record(name: str) -> BadRequest:
    """Events are published and heard; they cannot be read, changed or deleted."""
    return BadRequest("NOT_FOUND", f"{name} is a platform event and has no records", status=404)
