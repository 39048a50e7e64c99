"""The schema registry of a configuration."""

from __future__ import annotations

from salmon.calls import Calls
from salmon.config.models import SyncConfig
from salmon.kafka.codecs.registry import SchemaRegistry


def registry_of(config: SyncConfig, *, calls: Calls | None = None) -> SchemaRegistry:
    """A client of it, whose calls are watched by *calls*; whoever makes it closes it."""
    said = config.schema_registry
    certificate = said.certificate_file and said.key_file and (said.certificate_file, said.key_file)
    return SchemaRegistry(
        said.url,
        username=said.username,
        password=said.password.get_secret_value() if said.password else None,
        token=said.token.get_secret_value() if said.token else None,
        ca_file=said.ca_file,
        certificate=certificate or None,
        calls=calls,
    )
