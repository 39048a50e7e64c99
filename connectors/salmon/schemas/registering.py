"""Registers every subject of a sync, each with its compatibility."""

from __future__ import annotations

from collections.abc import Iterator

from salmon.config.models import SyncConfig
from salmon.kafka.codecs.registry import SchemaRegistry
from salmon.schemas.subjects import Described, Registered, subjects


def register_all(config: SyncConfig, described: Described, registry: SchemaRegistry) -> Iterator[Registered]:
    """
    Register what is new, one subject after the other, and report each. It may be run again at any time.

    Raises:
        SchemaRefused: a subject does not take its new schema. Those before it are registered.
        SetupError, Unavailable: the registry refuses us, or does not answer.
    """
    for name, schema in subjects(config, described, registry).items():
        latest = registry.latest(name)
        schema_id = registry.register(name, schema)
        became = "new" if latest is None else "unchanged" if latest[0] == schema_id else "new version"
        yield Registered(name, became, schema_id, registry.level(name))
