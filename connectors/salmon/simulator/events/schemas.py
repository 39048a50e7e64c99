"""The schemas of an org's events: made of the describes as they are now, and kept by id for ever."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from salmon.simulator.events.cdc_schema import EventSchema, event_schema
from salmon.simulator.events.platform_schema import PlatformSchema, platform_schema

Describe = Callable[[str], Mapping[str, Any]]


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

    def of_changes(self, entity: str) -> EventSchema:
        """That of an object's change events now."""
        describe = self._of_object(entity)
        known = self._changes.get(entity)
        if known is not None and known[0] is describe:
            return known[1]
        schema = event_schema(describe)
        self._changes[entity] = (describe, schema)
        self._by_id[schema.schema_id] = schema
        self._texts[schema.schema_id] = schema.schema_json
        return schema

    def of_event(self, name: str) -> PlatformSchema:
        """That of a platform event now. Raises KeyError if there is no such event."""
        describe = self._of_event(name)
        known = self._events.get(name)
        if known is not None and known[0] is describe:
            return known[1]
        schema = platform_schema(describe)
        self._events[name] = (describe, schema)
        self._texts[schema.schema_id] = schema.schema_json
        return schema

    def known(self, schema_id: str) -> EventSchema:
        """A schema that change events were made by. Raises KeyError."""
        return self._by_id[schema_id]

    def text(self, schema_id: str) -> str | None:
        """The Avro schema with this id, if any event or topic ever had it."""
        return self._texts.get(schema_id)
