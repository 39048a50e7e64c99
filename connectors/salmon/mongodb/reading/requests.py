"""Keeps which records of which objects the source still has to read, and reads them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from salmon.errors import Unavailable
from salmon.mongodb.reading.snapshot import Rows

_KEYS_A_READ_MAX: Final = 500
_READS_A_TURN_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class _Wanted:
    object: str
    keys: tuple[str, ...]
    due: bool
    answers: frozenset[int]


class Requests:
    """
    Records that are to be read again, in the order of the requests.

    Args:
        read: Reads records of an object by their keys, at most 500.
    """

    def __init__(self, read: Callable[[str, Sequence[str]], list[Rows]]) -> None:
        self._read = read
        self._wanted: list[_Wanted] = []

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def add(
        self, name: str, keys: Sequence[str], *, due: bool = False, answers: Collection[int] = ()
    ) -> None:
        """
        Add a request to read records.

        Args:
            name: The object.
            keys: Their keys.
            due: Whether an event asks for it, and not a signal. After a crash, an event does not ask again.
            answers: The signals that are answered when all of *keys* have been reported.
        """
        *first, last = pieces_of(keys) or [()]
        self._wanted += [_Wanted(name, tuple(piece), due, frozenset()) for piece in first]
        self._wanted.append(_Wanted(name, tuple(last), due, frozenset(answers)))

    def read(self, *, not_before: int) -> list[Rows]:
        """
        Read some of the requested records.

        Args:
            not_before: The cluster time of the last event that was taken. The rows must include that event.

        Raises:
            RetriableError, FatalError: the server cannot be read. What was not read stays requested.
        """
        done: list[Rows] = []
        turn = self._wanted[:_READS_A_TURN_MAX]
        for wanted in turn:
            rows = self._read(wanted.object, wanted.keys)
            due = frozenset(wanted.keys) if wanted.due else frozenset()
            # The last rows of a request answer it, whichever of its reads they come from.
            done += [*rows[:-1], replace(rows[-1], due=due, answered=wanted.answers)]
        if any(rows.as_of < not_before for rows in done):
            raise Unavailable("a read was answered by a MongoDB member that lags behind the stream.")
        del self._wanted[: len(turn)]
        return done

    def due(self, read: Sequence[Rows]) -> Mapping[str, Sequence[str]]:
        """Return what events asked for and is not reported yet: not read, or in *read*, which is still waiting."""
        keys: dict[str, set[str]] = {}
        for wanted in self._wanted:
            if wanted.due:
                keys.setdefault(wanted.object, set()).update(wanted.keys)
        for rows in read:
            if rows.due:
                keys.setdefault(rows.object, set()).update(rows.due)
        return {name: sorted(some) for name, some in sorted(keys.items())}


def pieces_of(keys: Sequence[str]) -> list[Sequence[str]]:
    """Split the keys into groups that are small enough for one read."""
    return [keys[i : i + _KEYS_A_READ_MAX] for i in range(0, len(keys), _KEYS_A_READ_MAX)]
