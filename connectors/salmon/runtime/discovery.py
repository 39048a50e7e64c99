"""
Finds what packages offer by entry point: sides and their task classes, transforms and predicates. The tasks of Salmon's own sides are
found in the same way.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, Final

from pydantic import BaseModel

from salmon.errors import ConfigError
from salmon.plugin.contract import SinkFactory, SourceFactory
from salmon.plugin.sides import SidePlugin
from salmon.plugin.transforms import SHOWN_AS, PredicatePlugin, TransformPlugin

SOURCES: Final = "salmon.sources"
SINKS: Final = "salmon.sinks"
SIDES: Final = "salmon.sides"
TRANSFORMS: Final = "salmon.transforms"
PREDICATES: Final = "salmon.predicates"


def source_factory(side: str) -> SourceFactory:
    """Return the factory of a side's source task. Raises ConfigError: no package offers one, or its import fails."""
    factory: SourceFactory = _loaded(SOURCES, side)
    return factory


def sink_factory(side: str) -> SinkFactory:
    """Return the factory of a side's sink task. Raises ConfigError: no package offers one, or its import fails."""
    factory: SinkFactory = _loaded(SINKS, side)
    return factory


def offered(group: str, name: str | None = None) -> list[EntryPoint]:
    """Return what installed packages offer in a group, under this name or any."""
    return [each for each in _offered(group, tuple(sys.path)) if name in (None, each.name)]


@lru_cache(maxsize=32)
def _offered(group: str, _path: tuple[str, ...]) -> EntryPoints:
    """To look through all packages takes milliseconds, and a configuration asks for each of its transforms."""
    return entry_points(group=group)


def further_sides() -> tuple[str, ...]:
    """List the sides that installed packages offer, beside Salmon's own."""
    return tuple(sorted({each.name for each in offered(SIDES)}))


def side_plugin(name: str) -> SidePlugin:
    """Return what a package says of its side. Raises ConfigError: no package offers it, or it cannot be used."""
    found = _loaded(SIDES, name)
    if not isinstance(found, SidePlugin):
        raise ConfigError(
            f"the side {name!r} is a {type(found).__name__}, but must be a salmon.plugin.SidePlugin. Correct the plugin's entry "
            f"point (group {SIDES})."
        )
    return found


def transforms() -> tuple[str, ...]:
    """List the transforms and predicates that installed packages offer."""
    return tuple(sorted({each.name for group in (TRANSFORMS, PREDICATES) for each in offered(group)}))


def transform_plugin(name: str) -> TransformPlugin[Any] | PredicatePlugin[Any]:
    """
    Return what a package says of its transform or predicate. A transform comes first, if one name is both.

    Raises:
        ConfigError: no package offers it, or it cannot be used.
    """
    group = TRANSFORMS if offered(TRANSFORMS, name) else PREDICATES
    wanted = TransformPlugin if group == TRANSFORMS else PredicatePlugin
    found = _loaded(group, name)
    if not isinstance(found, wanted):
        raise ConfigError(
            f"{name!r} is a {type(found).__name__}, but must be a salmon.plugin.{wanted.__name__}. Correct the plugin's entry point "
            f"(group {group})."
        )
    if wrong := "; ".join(_faults_of(found)):
        raise ConfigError(
            f"{name!r} cannot be used: {wrong}. Correct the plugin (entry point group {group})."
        )
    return found


def version_of_transform(name: str) -> str:
    """The version of the package that offers a transform or predicate; empty, if it does not say."""
    found = next(iter(offered(TRANSFORMS, name) or offered(PREDICATES, name)), None)
    return found.dist.version if found is not None and found.dist is not None else ""


def _faults_of(plugin: TransformPlugin[Any] | PredicatePlugin[Any]) -> list[str]:
    settings = plugin.settings
    if not (isinstance(settings, type) and issubclass(settings, BaseModel)):
        return ["`settings` must be a pydantic model"]
    faults = [
        f"its setting {name} has no description"
        for name, field in settings.model_fields.items()
        if not field.description
    ]
    faults += [
        f"its setting {name} has a `validation_alias`: give it an `alias`"
        for name, field in settings.model_fields.items()
        if field.validation_alias not in (None, field.alias)
    ]
    if settings.model_config.get("extra") != "forbid":
        faults.append('the model of its settings must refuse unknown keys (extra="forbid")')
    if isinstance(plugin, TransformPlugin) and plugin.kind is not None:
        if plugin.reads is None:
            faults.append("without `reads`, it gives values of the field's own kind: it must have no `kind`")
        if plugin.kind not in SHOWN_AS:
            faults.append(f"`kind` must be one of {', '.join(sorted(SHOWN_AS))}")
    return faults


def _loaded(group: str, name: str) -> Any:
    """Import what an entry point names. Raises ConfigError: no package offers it, or its import fails."""
    found = offered(group, name)
    if not found:
        known = ", ".join(sorted({each.name for each in offered(group)})) or "none"
        raise ConfigError(
            f"no installed package offers {name!r} (entry point group {group}; found: {known}). Install it."
        )
    try:
        return found[0].load()
    except Exception as error:
        raise ConfigError(
            f"{group}: {found[0].value} cannot be imported ({type(error).__name__}: {error}). Install it again."
        ) from error
