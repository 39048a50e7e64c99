"""
Snapshots: reading whole collections chunk by chunk, ahead of need, in a thread, while streaming goes on.

Each chunk is seen at one moment of the cluster's time, so there is no window in which it is unsure what a row
shows. The source puts a chunk into the stream where that moment lies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

from salmon.model.change import Change
from salmon.mongodb.stored import id_from_json, id_to_json
from salmon.plugin.contract import DeadLetter, Position

SNAPSHOT: Final = "snapshot/"  # and the object's name: the partition of the position that its Place is
_CHUNKS_AHEAD_MAX: Final = 4  # read, but not yet told


@dataclass(frozen=True, slots=True)
class Place:
    """How far the reading of one object has come: the position of its partition `snapshot/<Object>`."""

    after: tuple[Any, ...] = ()  # the last `_id` read, in its own type; none before the first
    read: int = 0
    total: int | None = None  # MongoDB's estimate when it began
    done: bool = False
    # Events were lost, or have passed while it was not synced: until it is done, a record's first event is preceded
    # by its row.
    anew: bool = False
    signals: tuple[int, ...] = ()  # the requests that it answers when it is done
    # Where rows or events have told everything since: "collection.field". Nowhere, once it is synced no more.
    covers: frozenset[str] = frozenset()

    @property
    def unanswered(self) -> tuple[int, ...]:
        return () if self.done else self.signals

    def synced_with(self, covers: frozenset[str]) -> Place:
        """Where to go on with *covers*: from the beginning, if the stream has passed some of it by."""
        if covers <= self.covers:
            return replace(self, covers=covers)
        return Place(anew=True, signals=self.unanswered, covers=covers)

    def position(self) -> Position:
        return {
            "after": [id_to_json(last) for last in self.after],
            "read": self.read,
            "total": self.total,
            "done": self.done,
            "anew": self.anew,
            "signals": list(self.signals),
            "covers": sorted(self.covers),
        }

    @classmethod
    def of(cls, position: Position) -> Place:
        return cls(
            after=tuple(id_from_json(last) for last in position["after"]),
            read=position["read"],
            total=position["total"],
            done=position["done"],
            anew=position["anew"],
            signals=tuple(position["signals"]),
            covers=frozenset(position.get("covers", ())),
        )


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a start of the source goes on."""

    places: dict[str, Place]  # of each object that is streamed
    untold: set[str]  # those of them whose position is not stored as it is here
    left: dict[str, Place]  # of objects that are streamed no more, not stored so either
    passed_by: list[str]  # objects that are read anew


def beginning(positions: Mapping[str, Position], covers: Mapping[str, frozenset[str]]) -> Beginning:
    """Where to go on behind the stored *positions*. *covers*: of each object that is streamed now (see Place)."""
    stored = {
        partition.removeprefix(SNAPSHOT): Place.of(position)
        for partition, position in positions.items()
        if partition.startswith(SNAPSHOT)
    }
    places = {name: stored.get(name, Place(covers=some)).synced_with(some) for name, some in covers.items()}
    nowhere = frozenset[str]()
    return Beginning(
        places,
        untold={name for name, place in places.items() if place != stored.get(name)},
        left={
            n: place.synced_with(nowhere) for n, place in stored.items() if n not in covers and place.covers
        },
        passed_by=[name for name in places if name in stored and not covers[name] <= stored[name].covers],
    )


@dataclass(frozen=True, slots=True)
class Rows:
    """What one read of one object showed, on its way into the stream to where *as_of* lies."""

    object: str
    as_of: int
    rows: Sequence[tuple[str, Change]]  # (record key, ROW or ABSENT)
    dead_letters: Sequence[DeadLetter] = ()
    due: frozenset[str] = frozenset()  # keys whose events did not give a field's whole value
    answered: frozenset[int] = frozenset()  # the signals that it answers
    place: Place | None = None  # of a snapshot: how far it has come with these rows
    life: int = 0  # of a snapshot: which reading of the object it belongs to


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one chunk of a snapshot showed."""

    rows: Rows
    size: int  # documents, those without a key included
    last: tuple[Any, ...]  # the `_id` of its last document; none: that was the end
    total: int | None = None  # an estimate, with the first chunk


class Snapshots:
    """
    The snapshots of a source's objects, one after the other.

    Args:
        places: How far each object has come, in the order in which they are to be read.
        read: Reads the chunk of an object behind an `_id`; called in the thread.
        chunk_came: Called from the thread, whenever a chunk has been read or could not be.
    """

    def __init__(
        self,
        places: Mapping[str, Place],
        read: Callable[[str, tuple[Any, ...]], Chunk],
        chunk_came: Callable[[], None],
    ) -> None:
        self.places = dict(places)  # as told: rows that are read, but not told, are not in it
        self._read = read
        self._chunk_came = chunk_came
        self._lives = dict.fromkeys(places, 0)
        self._ahead: dict[str, Place] = {}  # as read
        self._untold = 0
        self._reading: tuple[str, int, Future[Chunk]] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mongodb-snapshot")

    def advance(self) -> list[Rows]:
        """
        Return what has been read since the last call, and see to it that the next chunk is being read.

        Raises:
            RetriableError, FatalError: as the server says; the same chunk is read again by the next call.
        """
        rows = self._finished()
        if self._reading is None and self._untold < _CHUNKS_AHEAD_MAX and (name := self._next()) is not None:
            future = self._thread.submit(self._read, name, self._ahead_of(name).after)
            self._reading = (name, self._lives[name], future)
            future.add_done_callback(lambda _: self._chunk_came())
        return rows

    def told(self, rows: Rows) -> bool:
        """Rows of a snapshot go out now. False: they belong to a reading that was begun anew; drop them."""
        assert rows.place is not None
        self._untold -= 1
        if rows.life != self._lives[rows.object]:
            return False
        self.places[rows.object] = rows.place
        return True

    def begin(self, name: str, place: Place) -> None:
        """Read the object from the beginning; what has been read of it and is not told is forgotten."""
        self.places[name] = place
        self._ahead.pop(name, None)
        self._lives[name] += 1

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _finished(self) -> list[Rows]:
        if self._reading is None or not self._reading[2].done():
            return []
        (name, life, future), self._reading = self._reading, None
        chunk = future.result()
        if life != self._lives[name]:
            return []
        before = self._ahead_of(name)
        place = replace(
            before,
            after=chunk.last or before.after,
            read=before.read + chunk.size,
            total=before.total if chunk.total is None else chunk.total,
            done=not chunk.last,
        )
        self._ahead[name] = place
        self._untold += 1
        answered = frozenset(place.signals) if place.done else frozenset[int]()
        return [replace(chunk.rows, answered=answered, place=place, life=life)]

    def _next(self) -> str | None:
        return next((name for name in self.places if not self._ahead_of(name).done), None)

    def _ahead_of(self, name: str) -> Place:
        return self._ahead.get(name, self.places[name])
