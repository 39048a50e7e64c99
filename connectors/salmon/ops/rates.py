"""
What Kafka Connect shows of a task besides its counts: rates, averages, extremes and shares, all of them of the last minute.

Prometheus works such things out of the counts itself. These are for dashboards and tools that were made for Kafka Connect.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

WINDOW_S: Final = 60.0
_SAMPLES_MAX: Final = 10_000  # in one window

Clock = Callable[[], float]


class Recent:
    """Values of the last minute. Safe between threads."""

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._values: deque[tuple[float, float]] = deque(maxlen=_SAMPLES_MAX)

    def add(self, value: float) -> None:
        with self._lock:
            self._values.append((self._clock(), value))

    def values(self) -> list[float]:
        """Those of the last minute; of very many, the last ones."""
        since = self._clock() - WINDOW_S
        with self._lock:
            while self._values and self._values[0][0] < since:
                self._values.popleft()
            return [value for _, value in self._values]


class Timed:
    """A histogram that also keeps its latest values, in milliseconds."""

    def __init__(self, histogram: Histogram, recent: Recent) -> None:
        self._histogram, self._recent = histogram, recent

    def observe(self, seconds: float) -> None:
        self._histogram.observe(seconds)
        self._recent.add(seconds * 1000)


class Level:
    """A gauge that also keeps its latest values."""

    def __init__(self, gauge: Gauge, recent: Recent) -> None:
        self._gauge, self.recent = gauge, recent

    def set(self, value: float) -> None:
        self._gauge.set(value)
        self.recent.add(value)


class Paced:
    """A counter that also knows how fast it rises. It keeps one number for each second of the last minute."""

    def __init__(self, counter: Counter, *, clock: Clock = time.monotonic) -> None:
        self._counter, self._clock, self._lock = counter, clock, Lock()
        self._began = clock()
        self._seconds: deque[list[float]] = deque()  # [second, how many]

    def inc(self, amount: float = 1) -> None:
        self._counter.inc(amount)
        second = float(int(self._clock()))
        with self._lock:
            if self._seconds and self._seconds[-1][0] == second:
                self._seconds[-1][1] += amount
            else:
                self._seconds.append([second, amount])
            self._forget(second)

    def per_s(self) -> float:
        """Of the last minute, or of the time since the start while that is shorter."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            count = sum(amount for _, amount in self._seconds)
        return count / max(1.0, min(WINDOW_S, now - self._began))

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] <= now - WINDOW_S:
            self._seconds.popleft()


class Worked(Collector):
    """
    Values that are worked out at each scrape.

    Args:
        labels: Of all of them.
        of: Name -> sentence, and what works it out.
    """

    def __init__(self, labels: Mapping[str, str], of: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        self._labels, self._of = labels, of

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, (sentence, value) in self._of.items():
            family = GaugeMetricFamily(f"kafka_connect_{name}", sentence, labels=tuple(self._labels))
            family.add_metric(tuple(self._labels.values()), value())
            yield family


def extremes(
    name: str, sentence: str, recent: Recent, *, unit: str = "", of: Sequence[str] = ("avg", "max")
) -> dict[str, tuple[str, Callable[[], float]]]:
    """The average and the extremes of the last minute, for Worked. *of*: avg, max and min, as far as Kafka Connect has them."""
    return {
        f"{name}_{which}{unit}": (f"{sentence}: {word} of the last minute.", partial(_worked, value, recent))
        for which, (word, value) in _EXTREMES.items()
        if which in of
    }


def rate(name: str, sentence: str, paced: Paced) -> dict[str, tuple[str, Callable[[], float]]]:
    """How fast a counter rises, for Worked."""
    return {f"{name}_rate": (f"{sentence}, per second of the last minute.", paced.per_s)}


def mean(values: Sequence[float]) -> float:
    """Their average; 0 if there are none."""
    return sum(values) / len(values) if values else 0.0


_EXTREMES: Final[Mapping[str, tuple[str, Callable[[Sequence[float]], float]]]] = {
    "avg": ("average", mean),
    "max": ("maximum", lambda values: max(values, default=0.0)),
    "min": ("minimum", lambda values: min(values, default=0.0)),
}


def _worked(value: Callable[[Sequence[float]], float], recent: Recent) -> float:
    return value(recent.values())
