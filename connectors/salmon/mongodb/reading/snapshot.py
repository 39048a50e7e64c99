"""
Snapshots: a thread reads whole collections in chunks, ahead of need, while streaming continues.

Each chunk shows the collection at one cluster time, so it is certain which commits a row includes. The source puts the
chunk into the stream at that time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import structlog

from salmon.backoff import Tries
from salmon.errors import RetriableError
from salmon.model.change import SINCE, Change, Op
from salmon.mongodb.stored import id_from_json, id_to_json
from salmon.plugin.contract import FIRST_READ, DeadLetter, Position, SnapshotProgress, WaitingObject

log = structlog.get_logger(__name__)

SNAPSHOT: Final = (
    FIRST_READ  # followed by the object's name: the partition of the object's position (its Place)
)
_CHUNKS_AHEAD_MAX: Final = 4  # read, but not yet released to the worker
WAITS_MIN_S: Final = 10.0  # a shorter failure is not reported


@dataclass(frozen=True, slots=True)
class Place:
    """How far the snapshot of one object has come: the position of the partition `snapshot/<Object>`."""

    after: bytes = b""  # the last `_id` that was read (see stored_id); empty before the first
    part: int = 0  # which of the object's collections
    read: int = 0
    total: int | None = None  # MongoDB's estimate at the start
    done: bool = False
    # Whether it is read again because events were lost, or passed while the object was not synced. Until it is done, a
    # record's first event is preceded by its row. In the position it is called "anew".
    again: bool = False
    signals: tuple[int, ...] = ()  # the requests that it answers when it is done
    # "collection.field", for each field whose changes were all reported since, by rows or events. Empty if the object is no
    # longer synced.
    covers: frozenset[str] = frozenset()
    collections: tuple[str, ...] = ()  # the object's, when it was last streamed
    since: int = (
        0  # the cluster time since which it does without a collection that it had; 0: it always had these
    )
    others: frozenset[str] = frozenset()  # the collections that it has only since then

    @property
    def unanswered(self) -> tuple[int, ...]:
        return () if self.done else self.signals

    def synced_with(self, covers: frozenset[str]) -> Place:
        """Return where to continue with *covers*: at the beginning, if the stream has passed changes of some of these fields."""
        if covers == self.covers or (covers <= self.covers and not self.part):
            return replace(self, covers=covers)
        return self.anew(covers)

    def in_collections(self, names: tuple[str, ...], now: int) -> Place:
        """Return the same for an object that has the collections *names* at the cluster time *now*."""
        before = set(self.collections)
        if not before and self.covers:
            # Stored by a version that did not name them. "": another one.
            before = {n for n in names if any(each.startswith(f"{n}.") for each in self.covers)} or {""}
        if before <= set(names):
            return replace(self, collections=names)
        return replace(self, collections=names, since=now, others=frozenset(names) - before)

    def replaced(self, lost: Collection[str], since: int) -> Place:
        """Return the same after the collections *lost* were dropped, or others got their names, at the cluster time *since*."""
        mine = frozenset(self.collections) & frozenset(lost)
        return replace(self, since=max(since, self.since), others=self.others | mine) if mine else self

    def is_of_before(self, collection: str, at: int) -> bool:
        """Whether an event is of the time before the object had its collection. It is no news of the record, which is to be read."""
        return at <= self.since and collection in self.others

    def told(self, row: Change) -> Change:
        """Return a row as it is told: what was not found was perhaps in a collection that the object has no longer, see SINCE."""
        if row.op is not Op.ABSENT or not self.others:
            return row
        return replace(row, source={**row.source, SINCE: "\0".join([str(self.since), *sorted(self.others)])})

    def anew(self, covers: frozenset[str], *signals: int, again: bool = True) -> Place:
        """Return the beginning, which answers *signals* as well."""
        return Place(
            again=again,
            signals=(*self.unanswered, *signals),
            covers=covers,
            collections=self.collections,
            since=self.since,
            others=self.others,
        )

    def position(self) -> Position:
        return {
            "after": [id_to_json(self.after)] if self.after else [],
            **({"part": self.part} if self.part else {}),
            "read": self.read,
            "total": self.total,
            "done": self.done,
            "anew": self.again,
            "signals": list(self.signals),
            "covers": sorted(self.covers),
            "collections": list(self.collections),
            "since": self.since,
            "others": sorted(self.others),
        }

    @classmethod
    def of(cls, position: Position) -> Place:
        return cls(
            after=b"".join(id_from_json(last) for last in position["after"]),
            part=position.get("part", 0),
            read=position["read"],
            total=position["total"],
            done=position["done"],
            again=position["anew"],
            signals=tuple(position["signals"]),
            covers=frozenset(position.get("covers", ())),
            collections=tuple(position.get("collections", ())),
            since=position.get("since", 0),
            others=frozenset(position.get("others", ())),
        )


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the source continues after a start."""

    places: dict[str, Place]  # of each object that is streamed
    unstored: set[str]  # objects whose place here is not the stored one
    left: dict[str, Place]  # of objects that are no longer streamed; these places are not stored yet, either
    passed_by: list[str]  # objects that are read again because the stream has passed changes of theirs


def beginning(
    positions: Mapping[str, Position],
    covers: Mapping[str, frozenset[str]],
    collections: Mapping[str, tuple[str, ...]],
    *,
    now: int,
) -> Beginning:
    """
    Return where to continue after the stored *positions*.

    Args:
        covers: Of each object that is streamed now (see Place).
        collections: Object -> its collections now.
        now: The cluster time. What is read from now on is read after it.
    """
    stored = {
        partition.removeprefix(SNAPSHOT): Place.of(position)
        for partition, position in positions.items()
        if partition.startswith(SNAPSHOT)
    }
    places = {
        name: stored.get(name, Place(covers=some)).in_collections(collections[name], now).synced_with(some)
        for name, some in covers.items()
    }
    nothing = frozenset[str]()
    return Beginning(
        places,
        unstored={name for name, place in places.items() if place != stored.get(name)},
        left={
            n: place.synced_with(nothing) for n, place in stored.items() if n not in covers and place.covers
        },
        passed_by=[name for name in places if name in stored and not covers[name] <= stored[name].covers],
    )


@dataclass(frozen=True, slots=True)
class Rows:
    """What one read of one object showed. It goes into the stream at the cluster time *as_of*."""

    object: str
    as_of: int
    rows: Sequence[tuple[str, Change]]  # (record key, ROW or ABSENT)
    dead_letters: Sequence[DeadLetter] = ()
    due: frozenset[str] = frozenset()  # keys whose events did not contain a field's whole value
    answered: frozenset[int] = frozenset()  # the signals that these rows answer
    place: Place | None = None  # of a snapshot: how far it has come with these rows
    run: int = 0  # of a snapshot: the number of the object's snapshot


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of a snapshot."""

    rows: Rows
    size: int  # number of documents, including those without a record key
    last: bytes  # the `_id` of its last document; empty at the end
    total: int | None = None  # an estimate, with the first chunk
    is_last: bool = True  # whether the object has no collection after this one


class Snapshots:
    """
    The snapshots of a source's objects, one after the other.

    Args:
        places: How far each object has come, in the order in which they are read.
        read: Reads the chunk of an object after an `_id`, in one of its collections; called in the thread.
        chunk_came: Called in the thread after each read, also if it failed.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        places: Mapping[str, Place],
        read: Callable[[str, bytes, int], Chunk],
        chunk_came: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.places = dict(places)  # without rows that are read but not released
        self._read = read
        self._chunk_came = chunk_came
        self._clock = clock
        self._tries = Tries()
        self._again_at_s = 0.0
        self._failing: tuple[str, float, str] | None = None  # object, since when, why
        self._runs = dict.fromkeys(places, 0)
        self._ahead: dict[str, Place] = {}  # with all rows that are read
        self._not_released = 0
        self._reading: tuple[str, int, Future[Chunk]] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mongodb-snapshot")

    def advance(self) -> list[Rows]:
        """
        Return what was read since the last call, and start reading the next chunk. If the server could not be read, the same
        chunk is read again after a while, and streaming continues (see waiting).

        Raises:
            FatalError: a person must correct something.
        """
        rows = self._finished()
        if (
            self._reading is None
            and self._not_released < _CHUNKS_AHEAD_MAX
            and self._clock() >= self._again_at_s
            and (name := self._next()) is not None
        ):
            place = self._ahead_of(name)
            future = self._thread.submit(self._read, name, place.after, place.part)
            self._reading = (name, self._runs[name], future)
            future.add_done_callback(lambda _: self._chunk_came())
        return rows

    def release(self, rows: Rows) -> bool:
        """Note that rows of a snapshot go out now. Returns False if that snapshot was restarted: then drop the rows."""
        assert rows.place is not None
        self._not_released -= 1
        if rows.run != self._runs[rows.object]:
            return False
        self.places[rows.object] = rows.place
        return True

    def begin(self, name: str, place: Place) -> None:
        """Read the object from the beginning. Rows of it that are read but not released are dropped."""
        self.places[name] = place
        self._ahead.pop(name, None)
        self._runs[name] += 1

    def progress(self) -> list[SnapshotProgress]:
        """How far each object has come."""
        places = dict(self.places)
        return [SnapshotProgress(name, place.read, place.total, place.done) for name, place in places.items()]

    def waiting(self) -> list[WaitingObject]:
        """The object whose snapshot cannot be read, from the first failure until a read works."""
        if self._failing is None:
            return []
        name, since, why = self._failing
        since_s = self._clock() - since
        if since_s < WAITS_MIN_S:
            return []
        sentence = f"The documents of {name} have not been readable for {since_s:.0f} s: {why} Changes are reported meanwhile."
        return [WaitingObject(name, since_s, sentence)]

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _finished(self) -> list[Rows]:
        if self._reading is None or not self._reading[2].done():
            return []
        (name, run, future), self._reading = self._reading, None
        try:
            chunk = future.result()
        except RetriableError as error:
            self._failed(name, error)
            return []
        self._worked()
        if run != self._runs[name]:
            return []
        before = self._ahead_of(name)
        goes_on = not (chunk.last or chunk.is_last)  # in the object's next collection
        place = replace(
            before,
            after=b"" if goes_on else chunk.last or before.after,
            part=before.part + goes_on,
            read=before.read + chunk.size,
            total=before.total if chunk.total is None else chunk.total,
            done=not (chunk.last or goes_on),
        )
        self._ahead[name] = place
        self._not_released += 1
        answered = frozenset(place.signals) if place.done else frozenset[int]()
        return [replace(chunk.rows, answered=answered, place=place, run=run)]

    def _failed(self, name: str, error: RetriableError) -> None:
        now_s, wait_s = self._clock(), self._tries.failed()
        since = now_s if self._failing is None else self._failing[1]
        self._failing, self._again_at_s = (name, since, str(error)), now_s + wait_s
        log.warning(
            "snapshot_waits", object=name, failures=self._tries.failures, reason=str(error), again_in_s=wait_s
        )

    def _worked(self) -> None:
        self._tries.worked()
        if self._failing is not None:
            log.info("snapshot_goes_on", object=self._failing[0])
            self._failing = None

    def _next(self) -> str | None:
        return next((name for name in self.places if not self._ahead_of(name).done), None)

    def _ahead_of(self, name: str) -> Place:
        return self._ahead.get(name, self.places[name])
