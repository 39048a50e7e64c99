"""
Watches the sync while somebody looks at the overview: what `salmon status` says, and how it went in the last minutes.

All who look share one look, which is renewed not more often than every second, and takes at most a fifth of the time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Final

from salmon.api.streams import Streams
from salmon.config.models import SyncConfig
from salmon.errors import SalmonError
from salmon.status.overview import Look, Overview
from salmon.status.scraping import Samples, places_of

RENEW_S: Final = 1.0
_SHARE: Final = 4.0  # so many times as long as a look takes, nobody looks again
_WINDOW_S: Final = 60.0
_POINTS_MAX: Final = 120
_LAG: Final = "salmon_end_to_end_lag_seconds_bucket"


@dataclass(frozen=True, slots=True)
class Point:
    """A moment of the sync. *changes*, *writes*: process -> total so far, of those that report. *lag*: the buckets of merge's lags."""

    at_s: float
    changes: Mapping[str, float]
    writes: Mapping[str, float]
    lag: Samples


@dataclass(frozen=True, slots=True)
class Seen:
    """
    The newest look.

    Args:
        lags: Direction -> quantile -> seconds, in the last minute.
        slowest_s: Direction -> how p99 went, look by look; 0 where nothing came back.
    """

    at_s: float
    overview: Overview
    changes_per_s: Sequence[float | None]
    writes_per_s: Sequence[float | None]
    lags: Mapping[str, Mapping[str, float | None]]
    slowest_s: Mapping[str, Sequence[float]]


@dataclass(slots=True)
class History:
    """The last minutes."""

    points: deque[Point] = field(default_factory=lambda: deque(maxlen=_POINTS_MAX))

    def add(self, at_s: float, overview: Overview) -> None:
        merge = next((each.samples for each in overview.processes if each.connector == "merge"), Samples())
        total = {each.connector: each.samples for each in overview.processes if each.samples.lines}
        self.points.append(
            Point(
                at_s,
                {name: each.total("salmon_changes_total") for name, each in total.items()},
                {name: each.total("salmon_writes_total") for name, each in total.items()},
                Samples(tuple(line for line in merge.lines if line[0] == _LAG)),
            )
        )

    def rates(self, of: Callable[[Point], Mapping[str, float]]) -> list[float | None]:
        """
        How much more it was a second, between each two points; None where no process reported at both. A process that starts again
        begins from 0.
        """
        pairs = zip(list(self.points), list(self.points)[1:], strict=False)
        return [_more(of(a), of(b), b.at_s - a.at_s) for a, b in pairs if b.at_s > a.at_s]

    def lags(self, directions: Sequence[str]) -> dict[str, dict[str, float | None]]:
        """The quantiles of the last minute; where nothing came back in it, None."""
        if not self.points:
            return {}
        last = self.points[-1]
        first = next(each for each in self.points if each.at_s >= last.at_s - _WINDOW_S)
        since = _difference(last.lag, first.lag)
        name = _LAG.removesuffix("_bucket")
        return {
            direction: {
                "p50": since.quantile(name, 0.5, direction=direction),
                "p99": since.quantile(name, 0.99, direction=direction),
            }
            for direction in directions
        }


class Watching:
    """
    Args:
        live: Returns the configuration that counts now.
        config_path: Its file; a `ports.json` beside it says where the processes are.
    """

    def __init__(
        self,
        live: Callable[[], SyncConfig],
        config_path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._live, self._config_path, self._clock = live, config_path, clock
        self._lock, self._history = Lock(), History()
        self._slowest_s: dict[str, deque[float]] = {}
        self._seen: Seen | None = None
        self._again_at = 0.0
        self.streams = Streams()
        self.closing = Event()

    def close(self) -> None:
        """Let the streams of pages end. Idempotent."""
        self.closing.set()

    def seen(self) -> Seen:
        """The newest look. Blocks: in a thread only. Never raises our errors: what cannot be seen is in it."""
        # While somebody looks, the others get the look before, and no thread waits; only for the first there is none.
        if not self._lock.acquire(blocking=self._seen is None):
            assert self._seen is not None
            return self._seen
        try:
            if self._seen is None or self._clock() >= self._again_at:
                began = self._clock()
                self._seen = self._looked()
                took_s = self._clock() - began
                self._again_at = self._clock() + max(RENEW_S, _SHARE * took_s)
            return self._seen
        finally:
            self._lock.release()

    def _looked(self) -> Seen:
        config = self._live()
        look = Look(config, places_of(config, self._config_path))
        try:
            overview = look.overview()
        except SalmonError as trouble:
            overview = look.without_kafka(trouble)
        self._history.add(self._clock(), overview)
        lags = self._history.lags([side.direction for side in config.roster.sides])
        for direction, lag in lags.items():
            self._slowest_s.setdefault(direction, deque(maxlen=_POINTS_MAX)).append(lag["p99"] or 0.0)
        return Seen(
            time.time(),
            overview,
            self._history.rates(lambda point: point.changes),
            self._history.rates(lambda point: point.writes),
            lags,
            {direction: list(each) for direction, each in self._slowest_s.items()},
        )


def _more(before: Mapping[str, float], after: Mapping[str, float], within_s: float) -> float | None:
    both = before.keys() & after.keys()
    return sum(max(0.0, after[name] - before[name]) for name in both) / within_s if both else None


def _difference(last: Samples, first: Samples) -> Samples:
    """What was counted between the two."""
    before = {(name, *sorted(labels.items())): value for name, labels, value in first.lines}
    return Samples(
        tuple(
            (name, labels, max(0.0, value - before.get((name, *sorted(labels.items())), 0.0)))
            for name, labels, value in last.lines
        )
    )
