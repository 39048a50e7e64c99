"""
Registers the schemas of the synced objects, and waits for them.

The source that describes the objects registers them; all other processes read them from the registry. The subject of
`records` is registered last, because the others wait for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from threading import Event
from typing import Final

import structlog

from salmon.errors import SetupError, Stopping
from salmon.kafka.codecs.events import Events
from salmon.kafka.codecs.registry import Registry, SchemaRefused, object_schema
from salmon.kafka.codecs.serdes import Changes, Identities, Records, Signals, Writes
from salmon.kafka.topics import Topics
from salmon.model.event_schema import with_former_fields
from salmon.model.schema import ObjectSchema
from salmon.model.sides import OWN_ROSTER, Roster, Side
from salmon.ops.health import Health

log = structlog.get_logger(__name__)

LOOK_AGAIN_S: Final = 0.25
REPORT_EVERY_S: Final = 10.0
WAIT_MAX_S: Final = 3600.0  # If nothing has registered them for an hour, a person has to look.


def register(
    registry: Registry,
    topics: Topics,
    schemas: Mapping[str, ObjectSchema],
    *,
    roster: Roster = OWN_ROSTER,
    refused: Callable[[str, SetupError], ObjectSchema] | None = None,
    clock: Callable[[], float] = time.time,
) -> dict[str, ObjectSchema]:
    """
    Register the subjects of every object's topics. Idempotent.

    Args:
        roster: The sides of the sync, and of each object.
        refused: Is called with an object whose schema the registry does not accept, and the reason. Returns the registered
            schema that is used instead, or raises the reason.

    Returns:
        The schemas as they are registered. A schema that differs from the latest one gets a new generation. So it becomes
        the latest even if the object had the same fields at an earlier time, and all other processes see that theirs is
        older. A generation is the time, in seconds since 1970: it rises whatever an older version of Salmon, or a
        restored registry, holds.

    Raises:
        SetupError: a schema is not compatible with the registered one, or the registry refuses us.
        Unavailable: the registry does not answer.
    """
    now_s = int(clock())
    current = {
        name: numbered(registry, topics.records(name), schema, now_s) for name, schema in schemas.items()
    }
    for name, schema in current.items():
        try:
            _register(registry, topics, schema, roster.of(name))
        except SchemaRefused as error:
            if refused is None:
                raise
            current[name] = refused(name, error)
    for connector in (name for side in roster.sides for name in (side.source, side.sink)):
        Signals(registry, topics.signals(connector)).register()
    for name, schema in current.items():
        Records(schema, registry, topics.records(name)).register()
    return current


def registered(registry: Registry, topics: Topics, objects: Iterable[str]) -> dict[str, ObjectSchema]:
    """The latest schema of each object that has one. Raises as `register` does."""
    found = {name: object_schema(registry, topics.records(name)) for name in objects}
    return {name: schema for name, schema in found.items() if schema is not None}


def _register(registry: Registry, topics: Topics, schema: ObjectSchema, sides: Iterable[Side]) -> None:
    name = schema.name
    Changes(schema, registry, topics.changes(name)).register()
    for side in sides:
        Writes(schema, registry, topics.writes(side.name, name)).register()
    Identities(registry, topics.identity(name)).register()


def register_events(
    registry: Registry,
    topics: Topics,
    schemas: Mapping[str, ObjectSchema],
    *,
    clock: Callable[[], float] = time.time,
) -> tuple[dict[str, ObjectSchema], dict[str, str]]:
    """
    Register the schemas of platform events. Fields that an event has no longer are kept, since older events may still come.

    Returns:
        The schemas as they are registered; and of the others, why the registry does not accept them.

    Raises:
        SetupError: the registry refuses us. Unavailable: it does not answer.
    """
    now_s = int(clock())
    found: dict[str, ObjectSchema] = {}
    refused: dict[str, str] = {}
    for name, schema in schemas.items():
        topic = topics.events(name)
        current = numbered_event(registry, topic, schema, now_s)
        try:
            Events(current, registry, topic).register()
        except SchemaRefused as error:
            refused[name] = str(error)
        else:
            found[name] = current
    return found, refused


def numbered(registry: Registry, topic: str, schema: ObjectSchema, now_s: int | None = None) -> ObjectSchema:
    """Return *schema* as it is, or would be, registered for *topic*: with its generation. Raises as `register` does."""
    return _following(object_schema(registry, topic), schema, now_s)


def numbered_event(
    registry: Registry, topic: str, schema: ObjectSchema, now_s: int | None = None
) -> ObjectSchema:
    """Return an event's schema as it is, or would be, registered for *topic*, with the fields that the event had before."""
    latest = object_schema(registry, topic)
    return _following(latest, schema if latest is None else with_former_fields(schema, latest), now_s)


def _following(latest: ObjectSchema | None, schema: ObjectSchema, now_s: int | None) -> ObjectSchema:
    now_s = int(time.time()) if now_s is None else now_s
    if latest is None:
        return replace(schema, generation=now_s)
    if latest == schema and latest.generation:
        return latest
    generation = max(latest.generation + 1, now_s)
    since = {field.name: field.since for field in latest.fields}
    fields = tuple(replace(field, since=since.get(field.name, generation)) for field in schema.fields)
    return replace(schema, fields=fields, generation=generation)


def await_schemas(
    registry: Registry,
    topics: Topics,
    objects: Iterable[str],
    *,
    stop: Event,
    health: Health,
    look: Callable[[Registry, str], ObjectSchema | None] = object_schema,
    wait_max_s: float = WAIT_MAX_S,
) -> dict[str, ObjectSchema]:
    """
    Wait until every object's schema is registered.

    Raises:
        SetupError: they were not registered within *wait_max_s*.
        Stopping: the process was asked to stop meanwhile.
        Unavailable: the registry does not answer.
    """
    found: dict[str, ObjectSchema] = {}
    wanted = list(objects)
    began = time.monotonic()
    reported_at: float | None = None
    while missing := [name for name in wanted if name not in found]:
        for name in missing:
            if (schema := look(registry, topics.records(name))) is not None:
                found[name] = schema
        if len(found) == len(wanted):
            break
        lacking = ", ".join(name for name in wanted if name not in found)
        now = time.monotonic()
        if now - began > wait_max_s:
            raise SetupError(
                f"the schema of {lacking} is not in the registry after {wait_max_s:.0f} s. salesforce-source "
                f"registers it when it starts: see its log."
            )
        if reported_at is None or now - reported_at > REPORT_EVERY_S:
            health.starting(
                f"waiting for the schema of {lacking}",
                "salesforce-source registers it when it starts: check whether it runs, and what its /health says.",
            )
            log.info("waiting_for_schema", objects=lacking, waited_s=round(now - began))
            reported_at = now
        if stop.wait(LOOK_AGAIN_S):
            raise Stopping
    return found
