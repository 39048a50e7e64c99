"""
The writes that a sink was given and that have not come back: since when the oldest waits, and which edit each is of.

Merge deletes a command (a tombstone in `writes`) when the side has reported the write through its source and nothing more is owed. So
a command without a tombstone was not carried out, or its echo was not seen. Not known here: what was finished before this instance
took the partition.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final, NamedTuple

from confluent_kafka import Message

from salmon.ops import trail
from salmon.ops.metrics import Metrics
from salmon.plugin.contract import SinkRecord
from salmon.sink.commands import Key, Place

WRITES_MAX: Final = 100_000  # the oldest ones; about 20 MB
_EARLY_MAX: Final = 1_000


class _Done(NamedTuple):
    """What the trail needs of a write that was carried out: its fields are not kept."""

    seq: int
    correlation: str
    edited_at_ms: int


@dataclass(slots=True)
class _Waiting:
    since_ms: int
    offset: int  # of the newest command, and when merge wrote it
    at_ms: int
    carried_out: _Done | None = None  # that command


class Unanswered:
    """
    Safe between threads: the loop calls read(), the putters carried_out(), and metrics since_ms().

    Args:
        objects: Topic of `writes` -> the object.
        metrics: Where the age of the oldest write is shown; None: nowhere.
        unread: The objects that nobody reads on this side, because it is their only target. Their writes are answered when they are
            carried out.
        most: How many writes are remembered. Of more, those that came last are not.
    """

    def __init__(
        self,
        objects: Mapping[str, str],
        metrics: Metrics | None = None,
        *,
        unread: Collection[str] = (),
        most: int = WRITES_MAX,
    ) -> None:
        self._objects, self._unread, self._most = objects, frozenset(unread), most
        if metrics is not None:
            metrics.watch_writes(self.since_ms)
        self._lock = Lock()
        self._writes: dict[Place, OrderedDict[str, _Waiting]] = {}
        self._count = 0
        # (place, key) -> the offset of a command whose echo came before its outcome: the side answers us last.
        self._early: OrderedDict[tuple[Place, str], int] = OrderedDict()

    def read(self, place: Place, record: Key, message: Message) -> None:
        """A command was read, or the tombstone of one."""
        name, key = record
        if message.value() is not None:
            self._begin(place, key, message.offset() or 0, max(0, message.timestamp()[1]))
        elif (done := self._end(place, key)) is not None:
            _came_back(name, key, done)

    def carried_out(self, place: Place, offset: int, record: SinkRecord) -> None:
        """The side confirmed the write at *offset*. Its echo is awaited from now on."""
        write = record.write
        done = _Done(write.seq, write.correlation, write.committed_at)
        with self._lock:
            is_back = self._early.pop((place, record.key), None) == offset
        if is_back:
            _came_back(record.object, record.key, done)
            return
        with self._lock:
            writes = self._writes.get(place)
            if writes is None or (waiting := writes.get(record.key)) is None:
                return
            if waiting.offset == offset and record.object in self._unread:
                del writes[record.key]
                self._count -= 1
            elif waiting.offset == offset:
                waiting.carried_out = done
            else:
                # A newer command of the record was read meanwhile. That one is what is owed now.
                waiting.since_ms = waiting.at_ms
                writes.move_to_end(record.key)

    def keep(self, places: Collection[Place]) -> None:
        """Forget all partitions but these."""
        with self._lock:
            for place in self._writes.keys() - set(places):
                self._count -= len(self._writes.pop(place))

    def since_ms(self) -> Mapping[str, int]:
        """Object -> since when its oldest write is unanswered, in ms since 1970; 0 if none is."""
        since = dict.fromkeys(self._objects.values(), 0)
        with self._lock:
            for (topic, _), writes in self._writes.items():
                if writes:
                    name, first = self._objects[topic], next(iter(writes.values())).since_ms
                    since[name] = min(first, since[name] or first)
        return since

    def _begin(self, place: Place, key: str, offset: int, at_ms: int) -> None:
        with self._lock:
            writes = self._writes.setdefault(place, OrderedDict())
            known = writes.get(key)
            if known is None:
                if self._count < self._most:
                    writes[key] = _Waiting(at_ms, offset, at_ms)
                    self._count += 1
                return
            if known.carried_out is not None:
                # The record was edited again before the echo came. That is not one old write.
                known.since_ms, known.carried_out = at_ms, None
                writes.move_to_end(key)
            known.offset, known.at_ms = offset, at_ms

    def _end(self, place: Place, key: str) -> _Done | None:
        """Return what was carried out, if that is known."""
        with self._lock:
            writes = self._writes.get(place)
            if writes is None or (waiting := writes.pop(key, None)) is None:
                return None
            self._count -= 1
            if waiting.carried_out is None:
                self._early[place, key] = waiting.offset
                if len(self._early) > _EARLY_MAX:
                    self._early.popitem(last=False)
            return waiting.carried_out


def _came_back(name: str, key: str, done: _Done) -> None:
    if trail.followed():
        trail.went(
            trail.Step.CAME_BACK,
            correlation=done.correlation,
            object=name,
            key=key,
            edited_at_ms=done.edited_at_ms,
            seq=done.seq,
        )
