"""Something that a loop does from time to time, not at each turn."""

from __future__ import annotations

import time
from collections.abc import Callable


class Every:
    """Says when it is time again."""

    def __init__(self, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s, self._clock = period_s, clock
        self._last = clock()

    def due(self) -> bool:
        now = self._clock()
        if now - self._last < self._period_s:
            return False
        self._last = now
        return True
