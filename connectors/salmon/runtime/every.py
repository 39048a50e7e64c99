"""A timer for what a loop does once per period and not at each turn."""

from __future__ import annotations

import time
from collections.abc import Callable


class Every:
    """
    Args:
        period_s: Seconds between two times at which due() is true; the first one is a period after the start.
    """

    def __init__(self, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s, self._clock = period_s, clock
        self._last = clock()

    def due(self) -> bool:
        """Whether the period has passed. If it has, a new one begins."""
        now = self._clock()
        if now - self._last < self._period_s:
            return False
        self._last = now
        return True
