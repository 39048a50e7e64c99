"""
The guard against mass deletes: it limits how many records of an object a sink deletes before it asks a person.

A broken mapping, a dropped collection or a wrong filter looks just like users who delete. Deletes are counted by
object in a sliding window, by the time of the commits that caused them. So what users deleted during a month of outage
is not a mass delete, and the count does not depend on when a sink runs. Beyond the limit an object is *paused*: all its
deletes are held back until a person approves or discards them. Its other writes, and other objects, continue.

Pure except for a clock and a lock. The loop loads, approves and resumes; the putters ask. Counting the records of an
object takes long, so it is done before the lock is taken. The counts are stored by partition, so that they move with
it to another instance. An instance that has a part of the partitions has the same part of the limit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

from salmon.config.sections.deletions import DeleteGuardConfig
from salmon.plugin.contract import Position

PREFIX: Final = "guard/"
_BUCKETS: Final = 60  # per window, so the window is exact to a sixtieth of its length
_SIZE_GOOD_S: Final = 60.0
PartitionId = tuple[str, int]  # object, partition


@dataclass(frozen=True, slots=True)
class Delete:
    """A delete that a sink is about to carry out. *at*: commit time of the change that caused it, in ms since 1970."""

    object: str
    key: str
    seq: int
    partition: int
    offset: int
    at: int


@dataclass(slots=True)
class _Guarded:
    """
    What is known of one object.

    Args:
        counts: Partition -> start of a bucket in ms -> number of deletes.
        approved: Partition -> the offset up to which deletes are approved.
        passed: Key -> seq of a delete that was counted and may be carried out, until it has landed.
        alerted: Whether the limit was reported, and the window has not been below it since.
        size: When the records were counted (by the clock), and how many there are.
    """

    counts: dict[int, dict[int, int]] = field(default_factory=dict)
    approved: dict[int, int] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    paused: bool = False
    alerted: bool = False
    size: tuple[float, int | None] = (-math.inf, None)


class DeleteGuard:
    """
    Args:
        settings: Object -> its limits. An object that is not named is not guarded.
        size_of: Counts an object's records; None: so many that a share of them does not matter. Called only if the share
            may matter, and once a minute at most. held_back() raises its errors.
        tripped: Called with (object, deletes in the window) when an object's deletes exceed the limit.
    """

    def __init__(
        self,
        settings: Mapping[str, DeleteGuardConfig],
        *,
        size_of: Callable[[str], int | None],
        tripped: Callable[[str, int], None] = lambda _object, _count: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._partitions = settings, 1
        self._size_of, self._tripped, self._clock = size_of, tripped, clock
        self._lock = Lock()
        self._objects: dict[str, _Guarded] = {}
        self._changed: set[PartitionId] = set()

    # The putters' view.

    def held_back(self, deletes: Iterable[Delete]) -> list[Delete]:
        """
        Return the deletes that must wait. The others are counted; they may be carried out, also repeatedly.

        Deletes that come together are judged together: if they exceed the limit, all of them are held back.
        """
        by_object: dict[str, list[Delete]] = {}
        for each in deletes:
            by_object.setdefault(each.object, []).append(each)
        return [each for name, group in by_object.items() for each in self._judged(name, group)]

    def landed(self, object: str, key: str) -> None:  # noqa: A002
        """Note that a write of the key is finished, whatever its outcome."""
        with self._lock:
            if (guarded := self._objects.get(object)) is not None:
                guarded.passed.pop(key, None)

    # The loop's view.

    def own(
        self, places: Collection[PartitionId], entries: Mapping[str, Position], *, partitions: int
    ) -> None:
        """
        Guard exactly these partitions from now on.

        Args:
            entries: What all instances have stored about them, by entry (see entries()).
            partitions: How many partitions each topic has.
        """
        with self._lock:
            self._partitions = partitions
            ours = {name for name, _ in places}
            known = {name: self._objects.get(name) or _Guarded() for name in ours | self._objects.keys()}
            # Partitions come in steps: what was approved of an object counts also when its turn comes later.
            self._objects = {
                name: replace(former, counts={}, paused=False)
                if name in ours
                else _Guarded(approved=former.approved)
                for name, former in known.items()
            }
            for name, partition in places:
                former, guarded = known[name], self._objects[name]
                kept = entries.get(f"{PREFIX}{name}/{partition}", {})
                if (name, partition) in self._changed:  # what is known is newer than what was kept
                    guarded.counts[partition] = former.counts.get(partition, {})
                    guarded.paused = guarded.paused or former.paused
                else:
                    guarded.counts[partition] = {int(at): int(count) for at, count in kept.get("counts", ())}
                    guarded.paused = guarded.paused or bool(kept.get("paused"))

    def approve(self, object: str, until: Sequence[int], *, is_new: bool) -> None:  # noqa: A002
        """
        Approve the deletes before these offsets.

        Args:
            until: One offset for each partition.
            is_new: The approval was given now, and not read again at a start. It also resets the counts and ends the pause.
        """
        with self._lock:
            guarded = self._objects.setdefault(object, _Guarded())
            for partition, offset in enumerate(until):
                guarded.approved[partition] = max(offset, guarded.approved.get(partition, 0))
            if is_new:
                guarded.counts = {partition: {} for partition in guarded.counts}
                self._resume(object, guarded)

    def resume(self, object: str) -> None:  # noqa: A002
        """End the pause, because nothing is held back any more. New deletes are counted from zero."""
        with self._lock:
            if (guarded := self._objects.get(object)) is not None:
                self._resume(object, guarded)

    @property
    def paused(self) -> frozenset[str]:
        """The objects whose deletes are held back."""
        with self._lock:
            return frozenset(name for name, guarded in self._objects.items() if guarded.paused)

    def entries(self, held: Mapping[PartitionId, int]) -> dict[str, Position]:
        """Return what has changed since the last call, for `offsets`. *held*: number of deletes that wait, by partition."""
        with self._lock:
            changed, self._changed = self._changed, set()
            return {
                f"{PREFIX}{name}/{partition}": {
                    "paused": self._objects[name].paused,
                    "held": held.get((name, partition), 0),
                    "counts": sorted(self._objects[name].counts[partition].items()),
                }
                for name, partition in sorted(changed)
                if partition in self._objects[name].counts
            }

    def keep(self, entries: Iterable[str]) -> None:
        """Let the next call of entries() return these: they have changed, or Kafka did not accept them."""
        with self._lock:
            for entry in entries:
                name, _, partition = entry.removeprefix(PREFIX).partition("/")
                self._changed.add((name, int(partition)))

    def _judged(self, name: str, group: Sequence[Delete]) -> list[Delete]:
        while True:
            with self._lock:
                if not self._size_is_wanted(name, group):
                    return self._held(name, group)
            size = self._size_of(name)
            with self._lock:
                self._objects.setdefault(name, _Guarded()).size = (self._clock(), size)

    # Helpers. All are called with the lock held.

    def _size_is_wanted(self, name: str, group: Sequence[Delete]) -> bool:
        """Whether a share of the object's records may be the limit, and they were not counted in the last minute."""
        guarded = self._objects.get(name) or _Guarded()
        asked = self._asked(name, guarded, group)
        if not asked or guarded.paused or self._clock() - guarded.size[0] <= _SIZE_GOOD_S:
            return False
        settings = self._settings[name]
        count = self._count(guarded, *_starts(asked, settings))
        return settings.share_floor < min(count / self._ours(guarded), settings.deletes_max)

    def _asked(self, name: str, guarded: _Guarded, group: Sequence[Delete]) -> list[Delete]:
        """Return the deletes that the guard has to judge: neither approved nor counted before."""
        settings = self._settings.get(name)
        if settings is None or settings.beyond == "allow":
            return []
        return [
            each
            for each in group
            if each.offset >= guarded.approved.get(each.partition, 0)
            and guarded.passed.get(each.key) != each.seq
        ]

    def _held(self, name: str, group: Sequence[Delete]) -> list[Delete]:
        guarded = self._objects.setdefault(name, _Guarded())
        asked = self._asked(name, guarded, group)
        if not asked:
            return []
        settings = self._settings[name]
        starts, window_ms = _starts(asked, settings)
        if guarded.paused:
            self._changed.update((name, each.partition) for each in asked)
            return asked
        count = self._count(guarded, starts, window_ms)
        beyond = count > self._limit(guarded, settings, count)
        if beyond and settings.beyond == "pause":
            guarded.paused = True
            self._changed.update((name, partition) for partition in guarded.counts)
            self._changed.update((name, each.partition) for each in asked)
            self._tripped(name, count)
            return asked
        if beyond and not guarded.alerted:
            self._tripped(name, count)
        guarded.alerted = beyond
        for each, start in zip(asked, starts, strict=True):
            buckets = guarded.counts.setdefault(each.partition, {})
            buckets[start] = buckets.get(start, 0) + 1
            guarded.passed[each.key] = each.seq
            self._changed.add((name, each.partition))
        newest = max(max(buckets) for buckets in guarded.counts.values() if buckets)
        for partition, buckets in guarded.counts.items():
            guarded.counts[partition] = {at: n for at, n in buckets.items() if at > newest - window_ms}
        return []

    @staticmethod
    def _count(guarded: _Guarded, starts: Sequence[int], window_ms: int) -> int:
        """Return the largest number of deletes in any window that starts or ends with one of *starts*, these included."""
        total: dict[int, int] = {}
        for buckets in guarded.counts.values():
            for at, count in buckets.items():
                total[at] = total.get(at, 0) + count
        for at in starts:
            total[at] = total.get(at, 0) + 1
        return max(
            max(
                sum(count for at, count in total.items() if start - window_ms < at <= start),
                sum(count for at, count in total.items() if start <= at < start + window_ms),
            )
            for start in set(starts)
        )

    def _limit(self, guarded: _Guarded, settings: DeleteGuardConfig, count: int) -> int:
        """Return how many deletes this instance may carry out in a window."""
        ours = self._ours(guarded)
        limit = settings.deletes_max
        _, size = guarded.size
        if settings.share_floor < min(count / ours, limit) and size is not None:
            # What is counted as deleted is no longer among the records.
            share = math.floor(settings.share_max * (size + count / ours))
            limit = min(limit, max(settings.share_floor, share))
        return math.ceil(limit * ours)

    def _ours(self, guarded: _Guarded) -> float:
        """Return our share of the object's partitions, from 0 to 1."""
        return max(1, len(guarded.counts)) / self._partitions

    def _resume(self, name: str, guarded: _Guarded) -> None:
        guarded.paused = False
        self._changed.update((name, partition) for partition in guarded.counts)


def _starts(asked: Sequence[Delete], settings: DeleteGuardConfig) -> tuple[list[int], int]:
    """Return the start of each delete's bucket, and the length of the window; both in ms."""
    window_ms = round(settings.window_s * 1000)
    width_ms = max(1, window_ms // _BUCKETS)
    return [each.at // width_ms * width_ms for each in asked], window_ms
