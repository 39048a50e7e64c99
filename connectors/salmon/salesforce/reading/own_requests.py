"""Requests to read again that a part of the source makes of itself. What answers them is of no concern to the topic of signals."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from salmon.plugin.contract import Signal, SignalKind
from salmon.salesforce.reading.draft import Harvest

Purpose = TypeVar("Purpose")

# A signal of the topic has its offset for an id, and the worker's own ones are -1, -2 ...: one for each object.
_ids: Final = itertools.count(-1_000_000, -1)


class OwnRequests(Generic[Purpose]):
    """The requests of one part that are not answered yet, each with what it is for."""

    def __init__(self) -> None:
        self._asked: dict[int, Purpose] = {}

    def __bool__(self) -> bool:
        return bool(self._asked)

    def ask(
        self,
        request: Callable[[Signal], None],
        purpose: Purpose,
        kind: SignalKind,
        name: str,
        *,
        keys: tuple[str, ...] = (),
        native_ids: tuple[str, ...] = (),
        reason: str,
    ) -> None:
        """Make a request of these records of an object, or of all of it."""
        signal = Signal(next(_ids), kind, name, keys, native_ids, reason)
        self._asked[signal.id] = purpose
        request(signal)

    def answered(self, harvest: Harvest) -> list[Purpose]:
        """Take out of the harvest what it answers of these, and return what that was for."""
        ids = self._asked.keys() & harvest.answered
        harvest.answered -= ids
        return [self._asked.pop(each) for each in sorted(ids, reverse=True)]
