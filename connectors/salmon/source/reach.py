"""
Up to when the positions reach that Kafka has of a source: what its side reported until then is in Kafka.

This is the source's freshness, and what to hold against the side's retention: a position that is older than what the side keeps is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from salmon.plugin.contract import Position, WaitingObject
from salmon.plugin.dates import PositionDates

# A person should know when half of what the side keeps is used up; of a young or a small oplog, not within the first hour.
_USED_UP: Final = 0.5
_WORRIES_AFTER_S: Final = 3600.0


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

    def waiting(self) -> Sequence[WaitingObject]:
        """The positions that are nearly lost. For health."""
        return [
            WaitingObject(f"position of {each.stream}", each.age_s, _nearly_lost(each.age_s, each.kept_s))
            for each in self.ages()
            if each.kept_s is not None and each.age_s > max(_WORRIES_AFTER_S, _USED_UP * each.kept_s)
        ]


def _nearly_lost(age_s: float, kept_s: float) -> str:
    return (
        f"What was read last is {age_s / 3600:.1f} h old, and the side keeps what follows for about {kept_s / 3600:.0f} h. If it is not "
        f"read before, everything has to be read again. See what keeps the source from reading; in MongoDB, a larger oplog gives more time."
    )
