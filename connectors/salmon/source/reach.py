"""
Up to when the positions reach that Kafka has of a source: what its side reported until then is in Kafka.

This is the source's freshness, and what to hold against the side's retention: a position that is older than what the side keeps is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from salmon.plugin.contract import Position
from salmon.plugin.dates import PositionDates


@dataclass(frozen=True, slots=True)
class StreamAge:
    """How old a stream's position is, and for how long its side keeps what follows; None: not known."""

    stream: str
    age_s: float
    kept_s: float | None


class Reach:
    """Follows the positions of one source; of one without dates, nothing. The loop calls stored(), and metrics ages()."""

    def __init__(self, dates: PositionDates | None, *, clock: Callable[[], float] = time.time) -> None:
        self._dates, self._clock = dates, clock
        self._lock = Lock()
        self._positions: dict[str, Position] = {}
        self._reached_s: dict[str, float] = {}  # in seconds since 1970

    def stored(self, positions: Mapping[str, Position | None]) -> None:
        """These positions are in Kafka: they were committed now, or by an earlier process."""
        if self._dates is None:
            return
        now_s = self._clock()
        with self._lock:
            for partition, position in positions.items():
                before = self._positions.pop(partition, None)
                if position is None:
                    self._reached_s.pop(partition, None)
                    continue
                self._positions[partition] = position
                if (at_s := self._dates.reached_s(partition, position, before, now_s)) is not None:
                    self._reached_s[partition] = at_s

    def ages(self) -> Sequence[StreamAge]:
        """Return how old each stream's position is now."""
        now_s = self._clock()
        kept_s = None if self._dates is None else self._dates.kept_s(now_s)
        with self._lock:
            reached = sorted(self._reached_s.items())
        return [StreamAge(partition, max(0.0, now_s - at_s), kept_s) for partition, at_s in reached]
