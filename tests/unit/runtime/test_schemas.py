"""The schemas of the objects: one process registers them, the others wait for them."""

from __future__ import annotations

from threading import Event

import pytest

from salmon.errors import ConfigError, SetupError
from salmon.kafka.topics import Topics
from salmon.runtime import schemas
from salmon.runtime.health import Health
from salmon.runtime.retry import Stopping
from salmon.runtime.tasks import SINKS, SOURCES, task_class
from support.registries import MemoryRegistry
from support.runtime import OBJECT, SCHEMA

TOPICS = Topics("crm")


def test_what_one_registers_the_others_read() -> None:
    """Every subject of the object is there, `records` last: whoever sees it can read all the others."""
    registry = MemoryRegistry()
    schemas.register(registry, TOPICS, {OBJECT: SCHEMA})
    assert list(registry.subjects)[-1] == f"crm.records.{OBJECT}-value"
    assert {f"crm.changes.{OBJECT}-value", f"crm.writes.mongodb.{OBJECT}-value"} <= set(registry.subjects)
    found = schemas.await_schemas(registry, TOPICS, [OBJECT], stop=Event(), health=Health())
    assert found == {OBJECT: SCHEMA}


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


@pytest.mark.parametrize("group", [SOURCES, SINKS])
def test_the_connectors_are_found_by_entry_point(group: str) -> None:
    """Salmon's own, like anybody's; what is not installed is named, with what is."""
    for name in ("salesforce", "mongodb"):
        assert callable(task_class(group, name))
    with pytest.raises(ConfigError, match="found: mongodb, salesforce"):
        task_class(group, "sap")
