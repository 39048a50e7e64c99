"""
Brings the working copies of `state` up to date when partitions are assigned.

A copy needs only the records that were written to its topic after its mark, by this instance or by other owners of the
partition. If the mark is not valid any more, the whole partition is read.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import structlog

from salmon.kafka import clients, tables
from salmon.kafka.extents import Extent, extents, extents_of
from salmon.kafka.tables import Decode
from salmon.merge.cache import Mark, Origin, StateCache

log = structlog.get_logger(__name__)

Key = TypeVar("Key")
OpenCache = Callable[[str, int], StateCache]  # (topic, partition) -> its copy, in its last state

_REPORT_EVERY_S: Final = 5.0
# Part of the time for which tombstones are kept. A copy must read them before they are removed; the rest is for reading.
_AGE_MAX: Final = 0.9


@dataclass(frozen=True, slots=True)
class Start:
    """Where to start reading. *stale*: why the copy cannot be used, so that everything is read; None if it can."""

    offset: int
    stale: str | None = None


def start_of(mark: Mark | None, origin: Origin, extent: Extent, *, now_ms: int, tombstones_ms: int) -> Start:
    """
    Decide from where a copy with *mark* must read its topic.

    Args:
        origin: The partition as it is now.
        extent: The offsets that are in it now.
        tombstones_ms: How long the topic keeps tombstones (delete.retention.ms).
    """

    def stale() -> str | None:
        if mark is None:
            return "it is new"
        if mark.origin != origin:
            return "it is of another topic"
        if not extent.start <= mark.offset <= extent.end:
            return "its topic no longer has the offset of its mark"
        # A key that was removed meanwhile would stay in the copy, if its tombstone was removed as well.
        if not 0 <= now_ms - mark.at_ms < tombstones_ms * _AGE_MAX:
            return "it is too old"
        return None

    if (reason := stale()) is not None:
        return Start(extent.start, reason)
    assert mark is not None
    return Start(mark.offset)


class Restoring:
    """
    Brings one copy up to the end of its partition. If it is interrupted, the next one continues at that point.

    Args:
        now_ms: The time before *extent* was asked for, in ms since 1970.
    """

    def __init__(
        self, cache: StateCache, origin: Origin, extent: Extent, *, now_ms: int, tombstones_ms: int
    ) -> None:
        mark = cache.mark
        self.cache, self._origin, self._began_ms = cache, origin, now_ms
        self.start = start_of(mark, origin, extent, now_ms=now_ms, tombstones_ms=tombstones_ms)
        # Until the end is reached, the copy's time is that of its old mark.
        self._since_ms = now_ms if self.start.stale or mark is None else mark.at_ms
        if self.start.stale:
            if mark is not None:
                log.info(
                    "cache_not_used",
                    topic=origin.topic,
                    partition=origin.partition,
                    reason=self.start.stale,
                )
            cache.clear()

    def take(self, rows: Mapping[str, bytes | None], offset: int) -> None:
        """Write changes to the copy, in the log's order. *offset*: the next one to read."""
        self.cache.write(rows, Mark(self._origin, offset, self._since_ms))

    def finish(self, end: int) -> None:
        """Mark the copy as complete up to *end*, which is not before the end of the extent."""
        self.cache.write({}, Mark(self._origin, end, self._began_ms))
        log.info(
            "states_restored",
            topic=self._origin.topic,
            partition=self._origin.partition,
            keys_about=len(self.cache),
            read_from=self.start.offset,
            read_to=end,
            from_cache=self.start.stale is None,
        )


class Restorer:
    """
    Opens the copies of the partitions that this process merges, and brings them up to date.

    Args:
        open_cache: Opens the copy of a partition.
    """

    def __init__(
        self, kafka: clients.Brokers, open_cache: OpenCache, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._kafka, self._open, self._clock = kafka, open_cache, clock
        self._admin = clients.admin(kafka)

    def restored(
        self,
        topic: str,
        partitions: Collection[int],
        turned: Callable[[], None] = lambda: None,
        *,
        check: Decode = tables.as_it_is,
    ) -> dict[int, StateCache]:
        """
        Open the copies of *partitions* of a `state` topic, and bring them up to the topic's end at the time of the call.

        Args:
            turned: Called now and then during the reading. An error that it raises stops the reading; the next call
                continues at that point.
            check: Returns its argument, or raises DataError for a foreign value, which is then skipped.

        Raises:
            Unavailable, SetupError: the brokers' answer.
            CacheDamaged: a copy was deleted; call again.
        """
        began_ms = self._now_ms()
        described = tables.describe(self._admin, topic)
        found = extents(self._admin, topic, partitions)
        restorings: dict[int, Restoring] = {}
        opened: list[StateCache] = []
        try:
            for partition in partitions:
                opened.append(cache := self._open(topic, partition))
                restorings[partition] = Restoring(
                    cache,
                    Origin(described.cluster_id, topic, described.topic_id, partition),
                    found[partition],
                    now_ms=began_ms,
                    tombstones_ms=described.tombstones_ms,
                )
            ends = tables.replay(
                self._kafka,
                topic,
                {partition: each.start.offset for partition, each in restorings.items()},
                lambda partition, rows, offset: restorings[partition].take(rows, offset),
                decode=check,
                progress=_Progress(topic, turned),
            )
            for partition, each in restorings.items():
                each.finish(ends[partition])
        except BaseException:
            for cache in opened:
                cache.close()
            raise
        _give_back()
        return {partition: each.cache for partition, each in restorings.items()}

    def marks(self, marks: Mapping[Key, Mark]) -> dict[Key, Mark]:
        """
        Return the marks, moved to the present ends of their partitions.

        Raises:
            Unavailable, SetupError: the brokers' answer.
        """
        now_ms = self._now_ms()
        origins = {key: (mark.origin.topic, mark.origin.partition) for key, mark in marks.items()}
        found = extents_of(self._admin, dict.fromkeys(origins.values()))
        return {
            key: replace(mark, offset=found[origins[key]].end, at_ms=now_ms) for key, mark in marks.items()
        }

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _give_back() -> None:
    """Make the C library return the memory of the reading to the system; otherwise it keeps up to a hundred megabytes."""
    with suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


class _Progress:
    """Logs every few seconds how far a long reading has come."""

    def __init__(self, topic: str, turned: Callable[[], None]) -> None:
        self._topic, self._turned = topic, turned
        self._began_at = self._reported_at = time.monotonic()

    def __call__(self, passed: int, total: int) -> None:
        self._turned()
        now = time.monotonic()
        if now - self._reported_at > _REPORT_EVERY_S:
            self._reported_at = now
            log.info(
                "states_being_restored",
                topic=self._topic,
                passed=passed,
                total=total,
                per_s=round(passed / (now - self._began_at)),
            )
