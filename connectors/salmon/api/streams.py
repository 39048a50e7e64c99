"""
Bounds of answers that do not end by themselves (server-sent events): how many there are, how many of one caller, and for how long.

A stream ends after some time so that whoever has it is checked again: the client comes back by itself. Streams have threads of their own, so
that they take none from other requests.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from threading import Lock
from typing import Any, Final, TypeVar

from anyio import CapacityLimiter
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from salmon.api.problems import Problem
from salmon.api.threads import in_thread

T = TypeVar("T")

STREAMS_MAX: Final = 32
OF_ONE_MAX: Final = 4
SECONDS_MAX: Final = 300.0
_RETRY_AFTER: Final = {"Retry-After": "10"}


class Streams:
    """The streams of one address of the API."""

    def __init__(self) -> None:
        self._lock, self._of = Lock(), Counter[str]()
        self._threads: CapacityLimiter | None = None

    @property
    def count(self) -> int:
        return self._of.total()

    def begin(self, name: str) -> None:
        """Count a stream of this caller; give it back to end(). Raises Problem: 429, 503."""
        with self._lock:
            if self._of[name] >= OF_ONE_MAX:
                raise Problem(
                    429,
                    "too-many-streams",
                    f"This key or user has {OF_ONE_MAX} streams open. Close one first.",
                    headers=_RETRY_AFTER,
                )
            if self._of.total() >= STREAMS_MAX:
                raise Problem(503, "busy", "Too many streams are open.", headers=_RETRY_AFTER)
            self._of[name] += 1

    def end(self, name: str) -> None:
        with self._lock:
            self._of[name] -= 1
            self._of += Counter()  # forgets those who have none

    async def in_thread(self, call: Callable[..., T], *args: Any) -> T:
        """As threads.in_thread(), in a thread of the streams' own."""
        if self._threads is None:
            self._threads = CapacityLimiter(STREAMS_MAX)
        return await in_thread(call, *args, limiter=self._threads)


def lasting() -> Callable[[], bool]:
    """Says whether a stream that begins now may go on."""
    until_s = time.monotonic() + SECONDS_MAX
    return lambda: time.monotonic() < until_s


class Streamed(StreamingResponse):
    """
    Server-sent events.

    Args:
        ended: Is called once when it is over, also if the client is gone before the first event: the generator has not begun then.
    """

    def __init__(self, events: AsyncIterator[Any], ended: Callable[[], Awaitable[None]]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._ended()
