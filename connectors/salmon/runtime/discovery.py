"""Finds the task classes of the sides by entry point. Salmon's own are found in the same way."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, Final

from salmon.errors import ConfigError
from salmon.plugin.contract import SinkFactory, SourceFactory

SOURCES: Final = "salmon.sources"
SINKS: Final = "salmon.sinks"


def source_factory(side: str) -> SourceFactory:
    """Return the factory of a side's source task. Raises ConfigError: no package offers one, or its import fails."""
    factory: SourceFactory = _loaded(SOURCES, side)
    return factory


def sink_factory(side: str) -> SinkFactory:
    """Return the factory of a side's sink task. Raises ConfigError: no package offers one, or its import fails."""
    factory: SinkFactory = _loaded(SINKS, side)
    return factory


def _loaded(group: str, name: str) -> Any:
    """Import what an entry point names. Raises ConfigError: no package offers it, or its import fails."""
    found = list(entry_points(group=group, name=name))
    if not found:
        known = ", ".join(sorted(entry_points(group=group).names)) or "none"
        raise ConfigError(
            f"no installed package offers the connector {name!r} (entry point group {group}; found: {known}). "
            f"Install it."
        )
    try:
        return found[0].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{group}: {found[0].value} cannot be imported ({error}). Install it again."
        ) from error
