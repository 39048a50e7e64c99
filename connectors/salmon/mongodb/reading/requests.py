"""
Keeps which records of which objects the source still has to read, and reads them.

What events ask for is in the stream's position, so it is bounded: if too many records of an object are due, they are forgotten, and the
object is read as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from salmon.errors import Unavailable
from salmon.mongodb.reading.snapshot import Place, Rows

log = structlog.get_logger(__name__)

DUE_MAX: Final = 10_000  # records of one object: 250 kB of the position with an ObjectId each
_KEYS_A_READ_MAX: Final = 500
_READS_A_TURN_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class _Wanted:
    object: str
    keys: tuple[str, ...]
    answers: frozenset[int]


class Requests:
    """
    Records that are to be read again: those that events ask for, each once, and those that signals ask for, in their order.

    Args:
        read: Reads records of an object by their keys, at most 500.
    """

    def __init__(self, read: Callable[[str, Sequence[str]], list[Rows]]) -> None:
        self._read = read
        self._due: dict[str, dict[str, None]] = {}  # object -> keys, in the order of their events
        self._whole: set[str] = set()  # objects of which too many were due
        self._asked: list[_Wanted] = []

    def __bool__(self) -> bool:
        return bool(self._due or self._asked)

    def add(self, name: str, keys: Sequence[str], *, answers: Collection[int] = ()) -> None:
        """Add a signal's request to read records. *answers*: the signals that are answered when all have been reported."""
        *first, last = pieces_of(keys) or [()]
        self._asked += [_Wanted(name, tuple(piece), frozenset()) for piece in first]
        self._asked.append(_Wanted(name, tuple(last), frozenset(answers)))

    def add_due(self, name: str, keys: Sequence[str] | None) -> None:
        """Add what an event asks for; after a crash, it does not ask again. *keys*: None for the object as a whole."""
        if keys is None:
            self._whole.add(name)
        elif name not in self._whole and keys:
            self._due.setdefault(name, {}).update(dict.fromkeys(keys))

    def add_incomplete(self, events: Iterable[tuple[str, str, int]], waiting: Sequence[Rows]) -> list[Rows]:
        """
        Add the records of events that did not contain a field's whole value, as (object, key, cluster time).

        Args:
            waiting: Rows that are read and not yet reported. An event before them asks for nothing: they show the value.

        Returns:
            *waiting*, as it is to be kept: what is due of an object that is to be read as a whole is not due any more.
        """
        shown = {(rows.object, key): rows.as_of for rows in waiting for key in rows.due}
        for name, key, at in events:
            if shown.get((name, key), -1) < at:
                self.add_due(name, (key,))
        counts = {name: len(keys) for name, keys in self._due.items()}
        for name, _ in shown:
            counts[name] = counts.get(name, 0) + 1
        for name, count in counts.items():
            if count > DUE_MAX:
                log.warning(
                    "object_read_as_a_whole", object=name, why=f"{count} of its records are to be read"
                )
                self._due.pop(name, None)
                self._whole.add(name)
        return [replace(rows, due=frozenset()) if rows.object in self._whole else rows for rows in waiting]

    def take_whole(self, places: Mapping[str, Place]) -> list[str]:
        """Return the objects that are to be read as a whole from now on: those that are not being read (by *places*)."""
        names = sorted(name for name in self._whole if name in places and places[name].done)
        self._whole.difference_update(names)
        return names

    def read(self, *, not_before: int) -> list[Rows]:
        """
        Read some of the requested records.

        Args:
            not_before: The cluster time of the last event that was taken. The rows must include that event.

        Raises:
            RetriableError, FatalError: the server cannot be read. What was not read stays requested.
        """
        done: list[Rows] = []
        pieces = [(name, piece) for name, keys in self._due.items() for piece in pieces_of(list(keys))]
        for name, piece in (turn := pieces[:_READS_A_TURN_MAX]):
            done += [
                replace(rows, due=frozenset(key for key, _ in rows.rows)) for rows in self._read(name, piece)
            ]
        asked = self._asked[:_READS_A_TURN_MAX]
        for wanted in asked:
            rows = self._read(wanted.object, wanted.keys)
            # The last rows of a request answer it, whichever of its reads they come from.
            done += [*rows[:-1], replace(rows[-1], answered=wanted.answers)]
        if any(rows.as_of < not_before for rows in done):
            raise Unavailable("a read was answered by a MongoDB member that lags behind the stream.")
        for name, piece in turn:
            for key in piece:
                del self._due[name][key]
            if not self._due[name]:
                del self._due[name]
        del self._asked[: len(asked)]
        return done

    def due(self, read: Sequence[Rows]) -> Mapping[str, Sequence[str] | None]:
        """
        Return what events asked for and is not reported yet: not read, or in *read*, which is still waiting. None for an object
        that is to be read as a whole.
        """
        keys = {name: set(some) for name, some in self._due.items()}
        for rows in read:
            if rows.due:
                keys.setdefault(rows.object, set()).update(rows.due)
        found: dict[str, Sequence[str] | None] = {name: sorted(some) for name, some in keys.items()}
        return dict(sorted((found | dict.fromkeys(self._whole)).items()))


def pieces_of(keys: Sequence[str]) -> list[Sequence[str]]:
    """Split the keys into groups that are small enough for one read."""
    return [keys[i : i + _KEYS_A_READ_MAX] for i in range(0, len(keys), _KEYS_A_READ_MAX)]
