"""Finds sides and their task classes by entry point. The tasks of Salmon's own sides are found in the same way."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, Final

from salmon.errors import ConfigError
from salmon.plugin.contract import SinkFactory, SourceFactory
from salmon.plugin.sides import SidePlugin

SOURCES: Final = "salmon.sources"
SINKS: Final = "salmon.sinks"
SIDES: Final = "salmon.sides"


def source_factory(side: str) -> SourceFactory:
    """Return the factory of a side's source task. Raises ConfigError: no package offers one, or its import fails."""
    factory: SourceFactory = _loaded(SOURCES, side)
    return factory


def sink_factory(side: str) -> SinkFactory:
    """Return the factory of a side's sink task. Raises ConfigError: no package offers one, or its import fails."""
    factory: SinkFactory = _loaded(SINKS, side)
    return factory


def further_sides() -> tuple[str, ...]:
    """List the sides that installed packages offer, beside Salmon's own."""
    return tuple(sorted(entry_points(group=SIDES).names))


def side_plugin(name: str) -> SidePlugin:
    """Return what a package says of its side. Raises ConfigError: no package offers it, or it cannot be used."""
    found = _loaded(SIDES, name)
    if not isinstance(found, SidePlugin):
        raise ConfigError(
            f"the side {name!r} is a {type(found).__name__}, but must be a salmon.plugin.SidePlugin. Correct the plugin's entry "
            f"point (group {SIDES})."
        )
    return found


def _loaded(group: str, name: str) -> Any:
    """Import what an entry point names. Raises ConfigError: no package offers it, or its import fails."""
    found = list(entry_points(group=group, name=name))
    if not found:
        known = ", ".join(sorted(entry_points(group=group).names)) or "none"
        raise ConfigError(
            f"no installed package offers {name!r} (entry point group {group}; found: {known}). Install it."
        )
    try:
        return found[0].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{group}: {found[0].value} cannot be imported ({error}). Install it again."
        ) from error
