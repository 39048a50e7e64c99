"""The schemas of the objects: one process registers them, the others wait for them."""

from __future__ import annotations

from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from salmon.errors import SchemaOutdated, SetupError, Stopping, Unavailable
from salmon.kafka.topics import Topics
from salmon.model.schema import FieldSchema, Kind
from salmon.ops.health import Health
from salmon.runtime import schemas
from salmon.source.schema_watch import SchemaWatch
from support.at_hand.registries import MemoryRegistry
from support.runtime import OBJECT, SCHEMA
from support.waiting import until

TOPICS = Topics("crm")


def test_what_one_registers_the_others_read() -> None:
    """Every subject of the object is there, `records` last: whoever sees it can read all the others."""
    registry = MemoryRegistry()
    schemas.register(registry, TOPICS, {OBJECT: SCHEMA})
    assert list(registry.subjects)[-1] == f"crm.records.{OBJECT}-value"
    assert {f"crm.changes.{OBJECT}-value", f"crm.writes.mongodb.{OBJECT}-value"} <= set(registry.subjects)
    found = schemas.await_schemas(registry, TOPICS, [OBJECT], stop=Event(), health=Health())
    assert found == {OBJECT: SCHEMA}


def test_a_schema_that_comes_back_is_the_latest_again() -> None:
    """A field that is added and taken out: a registry would go on to answer with the one in between."""
    registry = MemoryRegistry()
    more = replace(SCHEMA, fields=(*SCHEMA.fields, FieldSchema("Site", "string", Kind.STRING)))
    generations = []
    for schema in (SCHEMA, SCHEMA, more, more, SCHEMA, SCHEMA):
        told = schemas.register(registry, TOPICS, {OBJECT: schema}, clock=lambda: 7.5)
        found = schemas.await_schemas(registry, TOPICS, [OBJECT], stop=Event(), health=Health())
        assert told == found == {OBJECT: schema}
        assert told[OBJECT].generation == found[OBJECT].generation
        generations.append(told[OBJECT].generation)
    assert generations == [7, 7, 8, 8, 9, 9], "and one that has not changed is the same schema"


def test_a_generation_rises_over_what_an_older_version_of_salmon_has_registered() -> None:
    """Its schemas have none, and its topics may hold records of any: after an upgrade nobody waits for a number."""
    registry = MemoryRegistry()
    newer = schemas.register(registry, TOPICS, {OBJECT: SCHEMA}, clock=lambda: 100.0)
    older = replace(SCHEMA, fields=SCHEMA.fields[:1])
    registry.register(f"{TOPICS.records(OBJECT)}-value", older.to_avro())
    again = schemas.register(registry, TOPICS, {OBJECT: older}, clock=lambda: 200.0)
    assert again[OBJECT].generation > newer[OBJECT].generation


def test_a_field_says_since_when_it_is_there() -> None:
    """A state of the time before, of a field that was taken out and put back, knows nothing of it."""
    registry, more = MemoryRegistry(), FieldSchema("Site", "string", Kind.STRING)
    told = [
        schemas.register(registry, TOPICS, {OBJECT: schema}, clock=lambda: 7.0)[OBJECT]
        for schema in (SCHEMA, replace(SCHEMA, fields=(*SCHEMA.fields, more)), SCHEMA)
    ]
    again = schemas.register(registry, TOPICS, {OBJECT: replace(SCHEMA, fields=(*SCHEMA.fields, more))})
    assert [schema.generation for schema in told] == [7, 8, 9]
    assert told[1].by_name["Site"].since == 8
    assert again[OBJECT].by_name["Site"].since == again[OBJECT].generation > 9
    assert {again[OBJECT].by_name[field.name].since for field in SCHEMA.fields} == {0}


def test_a_watch_sees_a_newer_schema_and_no_outage() -> None:
    """A registry that does not answer is asked again; what we write by is then outdated."""

    class Flickering(MemoryRegistry):
        outages = 2

        def latest(self, subject: str) -> tuple[int, dict[str, Any]] | None:
            self.outages -= 1
            if self.outages >= 0:
                raise Unavailable("the registry does not answer.")
            return super().latest(subject)

    registry = MemoryRegistry()
    told = schemas.register(registry, TOPICS, {OBJECT: SCHEMA})
    flickering = Flickering()
    flickering.schemas, flickering.subjects = registry.schemas, registry.subjects
    watch = SchemaWatch(flickering, TOPICS, told, every_s=0.001)
    until(lambda: flickering.outages < -3, "it looks again")
    watch.check()
    schemas.register(registry, TOPICS, {OBJECT: replace(SCHEMA, fields=SCHEMA.fields[:1])})

    def is_quiet() -> bool:
        watch.check()
        return True

    with pytest.raises(SchemaOutdated, match=OBJECT):
        until(lambda: not is_quiet(), "it sees the newer one")
    watch.close()


def test_while_it_waits_health_says_for_what() -> None:
    """And a signal ends the wait."""
    health, stop = Health(), Event()
    stop.set()
    with pytest.raises(Stopping):
        schemas.await_schemas(MemoryRegistry(), TOPICS, [OBJECT], stop=stop, health=health)
    assert f"waiting for the schema of {OBJECT}" in health.report().message


def test_nobody_waits_for_ever() -> None:
    """After its bound the wait is an error that names who should have come."""
    with pytest.raises(SetupError, match="salesforce-source"):
        schemas.await_schemas(
            MemoryRegistry(), TOPICS, [OBJECT], stop=Event(), health=Health(), wait_max_s=0.0
        )
