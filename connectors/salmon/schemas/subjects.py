"""
Every subject that the processes of a sync write, so that one command can register them all.

The processes register what they write by themselves, too (runtime.schemas). What is equal to the latest version is not
written again, so an account that may only read is enough for them afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from salmon.config.events import outboxes_in
from salmon.config.models import SyncConfig
from salmon.errors import SchemaMismatch
from salmon.kafka.codecs.avro import Codec
from salmon.kafka.codecs.events import Events
from salmon.kafka.codecs.outbox import Documents, Outcomes
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.codecs.serdes import Changes, Conflicts, Identities, Offsets, Records, Signals, Writes
from salmon.merge.settings import rules_of
from salmon.merge.states import States
from salmon.model.schema import ObjectSchema
from salmon.runtime.schemas import numbered, numbered_event


@dataclass(frozen=True, slots=True)
class Described:
    """
    What the org has.

    Attributes:
        objects, events: Name -> schema.
        descriptions: Object -> what people read of it (model.described), as a registry keeps it.
    """

    objects: Mapping[str, ObjectSchema]
    events: Mapping[str, ObjectSchema] = field(default_factory=dict)
    descriptions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class NoRegistry:
    """A registry that has nothing, for schemas that are only looked at."""

    def register(self, subject: str, schema: Mapping[str, Any]) -> int:
        raise NotImplementedError(f"{subject} is not registered anywhere")

    def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        raise SchemaMismatch(f"there is no schema {schema_id}.")

    def latest(self, subject: str) -> tuple[int, dict[str, Any]] | None:
        return None


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of one subject. *became*: "new", "new version" or "unchanged"."""

    subject: str
    became: str
    id: int
    level: str

    def as_dict(self) -> dict[str, Any]:
        return {"subject": self.subject, "became": self.became, "id": self.id, "compatibility": self.level}


def subjects(config: SyncConfig, described: Described, registry: Registry) -> dict[str, Mapping[str, Any]]:
    """
    Every subject, with its schema. Those of `records` come last, because processes wait for them.

    Raises:
        ConfigError: the rules of an object do not fit what the org has.
        SetupError, Unavailable: the registry refuses us, or does not answer.
    """
    topics = config.topic_names
    schemas = {
        name: numbered(registry, topics.records(name), schema) for name, schema in described.objects.items()
    }
    found: list[Codec] = [Offsets(registry, topics.offsets), Conflicts(registry, topics.conflicts)]
    for side in config.roster.sides:
        found += (Signals(registry, topics.signals(name)) for name in (side.source, side.sink))
    for name, schema in schemas.items():
        found += _of_object(config, schema, registry, name)
    for name, schema in described.events.items():
        topic = topics.events(name)
        found.append(Events(numbered_event(registry, topic, schema), registry, topic))
    for name in outboxes_in(config.events):
        found.append(Documents(registry, topics.outbox(name)))
        found.append(Outcomes(registry, topics.outcomes(name)))
    records = [Records(schema, registry, topics.records(name)) for name, schema in schemas.items()]
    return {
        **{codec.subject: codec.schema for codec in found},
        **{topics.described(name): shown for name, shown in described.descriptions.items()},
        **{codec.subject: codec.schema for codec in records},
    }


def _of_object(config: SyncConfig, schema: ObjectSchema, registry: Registry, name: str) -> Iterator[Codec]:
    topics, sides = config.topic_names, config.roster.of(name)
    yield Changes(schema, registry, topics.changes(name))
    for side in sides:
        yield Writes(schema, registry, topics.writes(side.name, name))
    yield Identities(registry, topics.identity(name))
    yield States(rules_of(schema, config.objects[name], sides), registry, topics.state(name))
