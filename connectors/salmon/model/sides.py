"""
The sides of a sync as data: the name of each side, its connectors, and what only it does.

All code that depends on this asks here. So a third side needs one more line here, and its task classes
(runtime.discovery). What a side's records mean to the fold is in model.rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from salmon.model.change import MONGODB, SALESFORCE


@dataclass(frozen=True, slots=True)
class Side:
    """
    Args:
        name: Also the name of its section in the configuration and of its entry points (`salmon.sources`, `salmon.sinks`).
        describes: Whether its source registers the schemas of all objects. That source starts first.
    """

    name: str
    describes: bool = False

    @property
    def source(self) -> str:
        """The connector that reads it."""
        return f"{self.name}-source"

    @property
    def sink(self) -> str:
        """The connector that writes it."""
        return f"{self.name}-sink"

    @property
    def direction(self) -> str:
        """The direction to it, as it is called in the configuration and in metrics."""
        return f"to_{self.name}"


ALL: Final = (Side(SALESFORCE, describes=True), Side(MONGODB))
SOURCES: Final = tuple(side.source for side in ALL)
DESCRIBING: Final = next(side for side in ALL if side.describes)
_BY_NAME: Final = {side.name: side for side in ALL}


def named(name: str) -> Side:
    """Return the side with that name. An unknown name is a fault in the program: KeyError."""
    return _BY_NAME[name]


def side_of(connector: str) -> Side | None:
    """Return the side that a connector reads or writes; None for merge."""
    return next((side for side in ALL if connector in (side.source, side.sink)), None)
