"""
What is read from another server and kept for a while, so that no request can make us ask that server at will, or wait for it long.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Final, Generic, TypeVar

import structlog

from salmon.backoff import Backoff
from salmon.errors import SalmonError, Unavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")

READ_AGAIN_S: Final = 5.0  # never more often
_AGAIN: Final = Backoff(first_s=READ_AGAIN_S, max_s=30.0)  # between attempts that fail
_TURN_MAX_S: Final = 1.0  # a request that cannot go on without what another one reads


class Kept(Generic[T]):
    """
    One thread reads; the others go on with what is there, or wait a moment for it. While reading fails, the pauses grow, and what was read
    before counts on.

    Args:
        what: Is read; for the log.
        read: Reads it. Raises our errors.
        kept_s: For how long it counts.
    """

    def __init__(
        self, what: str, read: Callable[[], T], *, kept_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what, self._read, self._kept_s, self._clock = what, read, kept_s, clock
        self._lock = Lock()
        self._value: T | None = None
        self._read_at = self._next_at = -float("inf")
        self._failures = 0
        self._away = f"{what} cannot be read yet. Try again in a moment."

    def get(self, enough: Callable[[T], bool] = lambda _value: True) -> T:
        """
        Return it. If it is not *enough* for this request, it is read again, unless that was done a moment ago.

        Raises:
            Unavailable: it cannot be read, and what was read before is not enough.
        """
        if self._is_due(enough) and self._turn(enough):
            try:
                if self._is_due(enough):
                    self._read_again()
            finally:
                self._lock.release()
        value = self._value
        if value is None or (self._failures and not enough(value)):
            raise Unavailable(self._away)
        return value

    def _turn(self, enough: Callable[[T], bool]) -> bool:
        """Whether this thread reads. False: another one does, and what is there will do meanwhile."""
        if self._lock.acquire(blocking=False):
            return True
        if self._value is not None and enough(self._value):
            return False
        if self._lock.acquire(timeout=_TURN_MAX_S):
            return True
        raise Unavailable(f"{self._what} takes long to be read. Try again in a moment.")

    def _is_due(self, enough: Callable[[T], bool]) -> bool:
        now, value = self._clock(), self._value
        if now < self._next_at:
            return False
        return value is None or now - self._read_at >= self._kept_s or not enough(value)

    def _read_again(self) -> None:
        try:
            self._value = self._read()
        except SalmonError as error:
            log.warning("not_read", what=self._what, reason=str(error))
            self._failures, self._away = self._failures + 1, str(error)
            self._next_at = self._clock() + _AGAIN.bound_s(self._failures)
            return
        self._failures = 0
        self._read_at = self._clock()
        self._next_at = self._read_at + READ_AGAIN_S
