"""The schemas of an org's events: made of the describes as they are now, and kept by id for ever."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from salmon.simulator.events.cdc_schema import EventSchema, event_schema
from salmon.simulator.events.platform_schema import PlatformSchema, platform_schema

Describe = Callable[[str], Mapping[str, Any]]
T = TypeVar("T")


class Schemas:
    """Those of one bus. *of_object* and *of_event* return the describe of a name. The bus holds its lock around each call."""

    def __init__(self, of_object: Describe, of_event: Describe) -> None:
        self._of_object = of_object
        self._of_event = of_event
        # Each with the describe that it was made of: another describe makes another schema.
        self._changes: dict[str, tuple[Mapping[str, Any], EventSchema]] = {}
        self._events: dict[str, tuple[Mapping[str, Any], PlatformSchema]] = {}
        self._texts: dict[str, str] = {}
        self._by_id: dict[str, EventSchema] = {}
        self._events_by_id: dict[str, PlatformSchema] = {}

    def of_changes(self, entity: str) -> EventSchema:
        """That of an object's change events now."""
        schema = _made(self._changes, entity, self._of_object(entity), event_schema)
        self._by_id[schema.schema_id] = schema
        self._texts[schema.schema_id] = schema.schema_json
        return schema

    def of_event(self, name: str) -> PlatformSchema:
        """That of a platform event now. Raises KeyError if there is no such event."""
        schema = _made(self._events, name, self._of_event(name), platform_schema)
        self._texts[schema.schema_id] = schema.schema_json
        self._events_by_id[schema.schema_id] = schema
        return schema

    def known(self, schema_id: str) -> EventSchema:
        """A schema that change events were made by. Raises KeyError."""
        return self._by_id[schema_id]

    def fields_of(self, schema_id: str, payload: bytes) -> Mapping[str, Any]:
        """What a platform event tells that was published by this schema: Avro's values by field. Raises KeyError."""
        return self._events_by_id[schema_id].fields_of(payload)

    def text(self, schema_id: str) -> str | None:
        """The Avro schema with this id, if any event or topic ever had it."""
        return self._texts.get(schema_id)


def _made(
    known: dict[str, tuple[Mapping[str, Any], T]],
    name: str,
    describe: Mapping[str, Any],
    make: Callable[[Mapping[str, Any]], T],
) -> T:
    """The schema of *name*, made again only of another describe."""
    if name not in known or known[name][0] is not describe:
        known[name] = (describe, make(describe))
    return known[name][1]
