"""
Bringing the copies of `state` up to date when partitions are assigned.

A copy needs only what its topic has got since its mark, whoever wrote it: other owners of a partition that was away
among them. Where the mark does not hold any more, the whole partition is read.
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
from salmon.kafka.tables import Decode, Extent
from salmon.merge.cache import Mark, Origin, StateCache

log = structlog.get_logger(__name__)

Key = TypeVar("Key")
OpenCache = Callable[[str, int], StateCache]  # topic and partition -> its copy, as it was left

_TELL_AFTER_S: Final = 5.0
# Of the time that tombstones are kept. A copy must have read them before they go; the rest is for the reading.
_AGE_MAX: Final = 0.9


@dataclass(frozen=True, slots=True)
class Start:
    """Where to go on reading. *stale*: why the copy is of no use, and all is read; None where it is."""

    offset: int
    stale: str | None = None


def start_of(mark: Mark | None, origin: Origin, extent: Extent, *, now_ms: int, tombstones_ms: int) -> Start:
    """
    Decide what a copy with *mark* lacks.

    Args:
        origin: The partition as it is now.
        extent: What is in it now.
        tombstones_ms: How long it keeps tombstones (delete.retention.ms).
    """

    def stale() -> str | None:
        if mark is None:
            return "it is new"
        if mark.origin != origin:
            return "it is of another topic"
        if not extent.start <= mark.offset <= extent.end:
            return "its topic does not reach to where it was"
        # A key that was removed meanwhile would live on in it, if the tombstone has gone as well.
        if not 0 <= now_ms - mark.at_ms < tombstones_ms * _AGE_MAX:
            return "it is too old"
        return None

    if (reason := stale()) is not None:
        return Start(extent.start, reason)
    assert mark is not None
    return Start(mark.offset)


class Restoring:
    """
    One copy on its way to the end of its partition. Cut off at any point, it goes on from there the next time.

    Args:
        now_ms: Wall clock, from before *extent* was asked for.
    """

    def __init__(
        self, cache: StateCache, origin: Origin, extent: Extent, *, now_ms: int, tombstones_ms: int
    ) -> None:
        mark = cache.mark
        self.cache, self._origin, self._began_ms = cache, origin, now_ms
        self.start = start_of(mark, origin, extent, now_ms=now_ms, tombstones_ms=tombstones_ms)
        # Until it has come to the end, a copy is no younger than what it was made of.
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
        """Take in changes, in the log's order; *offset* comes next."""
        self.cache.write(rows, Mark(self._origin, offset, self._since_ms))

    def finish(self, end: int) -> None:
        """All up to *end* was taken, which is no less than the extent's."""
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
    """Copies of the partitions that this process merges."""

    def __init__(
        self, kafka: clients.Brokers, open_cache: OpenCache, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._kafka, self._open, self._clock = kafka, open_cache, clock
        self._admin = clients.admin(kafka)

    def restored(
        self,
        topic: str,
        partitions: Collection[int],
        tell: Callable[[], None] = lambda: None,
        *,
        check: Decode = tables.as_it_is,
    ) -> dict[int, StateCache]:
        """
        Open the copies of *partitions* of a `state` topic, and bring them up to its end as it is at the call.

        Args:
            tell: Called now and then while it is read; what it raises ends the reading, which goes on from there
                the next time.
            check: Returns what it is given, or raises DataError for a foreign value, which no copy takes in.

        Raises:
            Unavailable, SetupError: as the brokers answer.
            CacheDamaged: call again.
        """
        began_ms = self._now_ms()
        told = tables.describe(self._admin, topic)
        extents = tables.extents(self._admin, topic, partitions)
        restorings: dict[int, Restoring] = {}
        opened: list[StateCache] = []
        try:
            for partition in partitions:
                opened.append(cache := self._open(topic, partition))
                restorings[partition] = Restoring(
                    cache,
                    Origin(told.cluster_id, topic, told.topic_id, partition),
                    extents[partition],
                    now_ms=began_ms,
                    tombstones_ms=told.tombstones_ms,
                )
            ends = tables.replay(
                self._kafka,
                topic,
                {partition: each.start.offset for partition, each in restorings.items()},
                lambda partition, rows, offset: restorings[partition].take(rows, offset),
                decode=check,
                progress=_Progress(topic, tell),
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
        The same marks, moved to the ends of their partitions as these are now.

        Raises:
            Unavailable, SetupError: as the brokers answer.
        """
        now_ms = self._now_ms()
        partitions: dict[str, list[int]] = {}
        for mark in marks.values():
            partitions.setdefault(mark.origin.topic, []).append(mark.origin.partition)
        reach = {topic: tables.extents(self._admin, topic, numbers) for topic, numbers in partitions.items()}
        return {
            place: replace(mark, offset=reach[mark.origin.topic][mark.origin.partition].end, at_ms=now_ms)
            for place, mark in marks.items()
        }

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _give_back() -> None:
    """Have the C library give back what the reading took: it keeps such memory, up to a hundred megabytes of it."""
    with suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


class _Progress:
    """Says in the log, every few seconds, how far a long reading has come."""

    def __init__(self, topic: str, tell: Callable[[], None]) -> None:
        self._topic, self._tell = topic, tell
        self._began_at = self._told_at = time.monotonic()

    def __call__(self, passed: int, total: int) -> None:
        self._tell()
        now = time.monotonic()
        if now - self._told_at > _TELL_AFTER_S:
            self._told_at = now
            log.info(
                "states_being_restored",
                topic=self._topic,
                passed=passed,
                total=total,
                per_s=round(passed / (now - self._began_at)),
            )
