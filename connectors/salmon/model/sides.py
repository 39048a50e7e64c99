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


ALL: Final = (Side(SALESFORCE, describes=True), Side(MONGODB))
SOURCES: Final = tuple(side.source for side in ALL)
DESCRIBING: Final = next(side for side in ALL if side.describes)


def side_of(connector: str) -> Side | None:
    """The side that a connector reads or writes; None for merge."""
    return next((side for side in ALL if connector in (side.source, side.sink)), None)
