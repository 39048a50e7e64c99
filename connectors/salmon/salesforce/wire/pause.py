"""
Not asking a server that has asked us to slow down.

Whoever asks meanwhile hears so at once: loops go on turning, hear a stop, and spend nothing of the allowance.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final

from salmon.backoff import LIMITED, Tries
from salmon.errors import RateLimited

_WISH_MIN_S: Final = 0.5
_WISH_MAX_S: Final = 3600.0  # what a Retry-After may say; a proxy may say anything
# Who needs an answer asks again at once when the pause is over. Where nobody has, nobody waits.
_ASKED_WITHIN_S: Final = 30.0


class Pause:
    """
    The pause that one server has asked for. Threads may share it.

    Args:
        clock: Seconds that only ever grow.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, rng: random.Random | None = None
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tries = Tries(LIMITED, rng or random.Random())
        self._since = self._until = 0.0
        self._why = ""
        self._of_all = False

    def look(self, *, is_counted: bool = True) -> None:
        """Raises RateLimited while it lasts. *is_counted*: the call uses some of an allowance."""
        with self._lock:
            left_s = self._until - self._clock()
            if left_s > 0 and (is_counted or self._of_all):
                raise RateLimited(f"{self._why} It is asked again in {left_s:.0f} s.")

    def begin(self, error: RateLimited, *, of_all: bool = False) -> None:
        """
        The server has asked for it (again); each pause in a row may be longer than the one before. *of_all*: it wants no call at
        all, and not only none that uses some of an allowance.
        """
        with self._lock:
            self._of_all = of_all
            now = self._clock()
            if not self._why:
                self._since = now
            self._why = str(error)
            wish_s = min(error.retry_after_s or 0.0, _WISH_MAX_S)
            # Who says when it serves again is asked then; who only says that an allowance is used up, less and less often.
            self._until = now + (max(wish_s, _WISH_MIN_S) if of_all else max(wish_s, self._tries.failed()))

    def over(self) -> None:
        """The server answers."""
        with self._lock:
            self._why, self._until = "", 0.0
            self._tries.worked()

    def waiting(self) -> tuple[float, str] | None:
        """For how many seconds the server has served us no more, and why; None if it does, or nobody asks it any more."""
        with self._lock:
            now = self._clock()
            return (
                (now - self._since, self._why) if self._why and now < self._until + _ASKED_WITHIN_S else None
            )
