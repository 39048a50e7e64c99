"""
The sides of a sync as data: the name of each side, its connectors, and what only it does.

OWN are those that every sync has. A sync's configuration may name further ones (config.further), each of which is a plugin; so
whoever needs all sides of a sync asks its configuration. What a side's records mean to the fold is in model.rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from salmon.model.change import MONGODB, SALESFORCE

_SOURCE: Final = "-source"
_SINK: Final = "-sink"


@dataclass(frozen=True, slots=True)
class Side:
    """
    Args:
        name: Also the name of its entry points (`salmon.sources`, `salmon.sinks`) and of its settings in the configuration.
        describes: Whether its source registers the schemas of all objects. That source starts first.
        guarded: Whether its sink never overwrites a record with an older write: it compares the marker as it writes.
    """

    name: str
    describes: bool = False
    guarded: bool = False

    @property
    def source(self) -> str:
        """The connector that reads it."""
        return f"{self.name}{_SOURCE}"

    @property
    def sink(self) -> str:
        """The connector that writes it."""
        return f"{self.name}{_SINK}"

    @property
    def direction(self) -> str:
        """The direction to it, as it is called in the configuration and in metrics."""
        return f"to_{self.name}"


OWN: Final = (Side(SALESFORCE, describes=True), Side(MONGODB, guarded=True))
DESCRIBING: Final = next(side for side in OWN if side.describes)
_BY_NAME: Final = {side.name: side for side in OWN}


def named(name: str) -> Side:
    """Return the side with that name, for the names of its connectors."""
    return _BY_NAME.get(name) or Side(name)


def side_of(connector: str) -> Side | None:
    """Return the side that a connector reads or writes, by the connector's name; None for merge."""
    for ending in (_SOURCE, _SINK):
        if connector.endswith(ending):
            return named(connector.removesuffix(ending))
    return None


def connectors_of(sides: Sequence[Side]) -> tuple[str, ...]:
    """The connectors of a sync with these sides, in the order in which data flows: sources, merge, sinks."""
    return (*(side.source for side in sides), "merge", *(side.sink for side in reversed(sides)))


@dataclass(frozen=True, slots=True)
class Roster:
    """
    Who takes part in a sync.

    Args:
        sides: All of its sides.
        of_objects: Object -> its sides, for objects that not all sides have.
    """

    sides: tuple[Side, ...] = OWN
    of_objects: Mapping[str, tuple[Side, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all sides."""
        return tuple(side.name for side in self.sides)

    @property
    def connectors(self) -> tuple[str, ...]:
        """All connectors, merge among them."""
        return connectors_of(self.sides)

    def of(self, name: str) -> tuple[Side, ...]:
        """The sides that have an object."""
        return self.of_objects.get(name, self.sides)

    def names_of(self, name: str) -> tuple[str, ...]:
        """The names of the sides that have an object."""
        return tuple(side.name for side in self.of(name))

    def has(self, side: str, name: str) -> bool:
        """Whether a side has an object."""
        return side in self.names_of(name)


OWN_ROSTER: Final = Roster()
