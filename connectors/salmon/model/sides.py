"""
The sides of a sync as data: what each is called, and what it does that the other does not.

Whoever needs to know this asks here; so a third side is one more line, and the task classes that it brings
(runtime.discovery). What a side's records mean to the fold is in model.rules, not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from salmon.model.change import MONGODB, SALESFORCE


@dataclass(frozen=True, slots=True)
class Side:
    """
    Args:
        name: Also of its section in the configuration, and of its entry points (`salmon.sources`, `salmon.sinks`).
        describes: Its source registers the schemas of all objects, so that one starts first.
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
        """The direction to it, as objects are configured and metrics are labelled."""
        return f"to_{self.name}"


ALL: Final = (Side(SALESFORCE, describes=True), Side(MONGODB))
SOURCES: Final = tuple(side.source for side in ALL)
DESCRIBING: Final = next(side for side in ALL if side.describes)
_BY_NAME: Final = {side.name: side for side in ALL}


def named(name: str) -> Side:
    """The side of that name. KeyError, a mistake of ours, if there is none."""
    return _BY_NAME[name]


def side_of(connector: str) -> Side | None:
    """The side that a connector reads or writes; None for merge."""
    return next((side for side in ALL if connector in (side.source, side.sink)), None)
