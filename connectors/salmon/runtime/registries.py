"""The schema registry of a configuration."""

from __future__ import annotations

from salmon.calls import Calls
from salmon.kafka.registry import SchemaRegistry
from salmon.runtime.config import SyncConfig


def registry_of(config: SyncConfig, *, calls: Calls | None = None) -> SchemaRegistry:
    """A client of it, whose calls are watched by *calls*; whoever makes it closes it."""
    said = config.schema_registry
    password = said.password.get_secret_value() if said.password else None
    return SchemaRegistry(
        said.url, username=said.username, password=password, ca_file=said.ca_file, calls=calls
    )
