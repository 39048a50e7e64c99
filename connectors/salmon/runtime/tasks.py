"""
How tasks are found, and what they may offer beyond the contract of model.connector.

A connector is an entry point: a class made with (its side's config, the sync's objects, the sync's name).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final, Protocol, runtime_checkable

from salmon.calls import Calls, Peer, Probe
from salmon.errors import ConfigError
from salmon.model.schema import ObjectSchema

SOURCES: Final = "salmon.sources"
SINKS: Final = "salmon.sinks"


@runtime_checkable
class Connects(Protocol):
    """Can reach its side, and find what only a person can mend, before it is started."""

    def connect(self) -> None: ...


@runtime_checkable
class TellsSchemas(Protocol):
    """A source that describes the objects: what it says is registered for everybody. After connect()."""

    def schemas(self) -> Mapping[str, ObjectSchema]: ...


@runtime_checkable
class UsesSchemas(Protocol):
    """A source that needs the objects' schemas before start()."""

    def use(self, schemas: Mapping[str, ObjectSchema]) -> None: ...


@runtime_checkable
class CatchesUp(Protocol):
    """A sink that wants to know when everything is put that was owed when it started, or last took partitions."""

    def caught_up(self) -> None: ...


@runtime_checkable
class Doubts(Protocol):
    """
    A sink that must know when partitions were taken after its start: their last owner may have carried out writes
    whose offsets were never committed. What is put from then on may be a repetition, until caught_up().
    """

    def doubt(self) -> None: ...


@runtime_checkable
class CountsCalls(Protocol):
    """Counts its calls to the side, by resource."""

    def api_calls(self) -> Mapping[str, int]: ...


@runtime_checkable
class Watched(Protocol):
    """Tells of its calls to the side, so that a side that hangs is noticed. Before everything else."""

    def watch(self, calls: Calls) -> Mapping[Peer, Probe]:
        """Tell of every call from now on; return how each peer can be asked while nothing else asks it."""


@runtime_checkable
class Notes(Protocol):
    """Has something to say to a person, though all is well; empty where it has not. For health."""

    def note(self) -> str: ...


@runtime_checkable
class Closes(Protocol):
    """Holds connections, to be given up when nothing is polled or put any more."""

    def close(self) -> None: ...


def task_class(group: str, name: str) -> Any:
    """
    The class behind an entry point.

    Raises:
        ConfigError: nobody offers it, or it cannot be imported.
    """
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
            f"{group}: {found[0].value} cannot be imported ({error}). Install it anew."
        ) from error
