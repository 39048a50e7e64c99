"""Bounds of requests: how many a caller may make, and how large a body may be."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from salmon.api.problems import Problem

CALLERS_MAX: Final = 10_000  # whoever has not called for longest is forgotten, and begins with a full bucket


@dataclass(slots=True)
class Buckets:
    """A bucket of tokens for each caller, which fills up again with time."""

    clock: Callable[[], float] = time.monotonic
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)  # tokens, at
    _lock: Lock = field(default_factory=Lock)

    def take(self, name: str, *, per_s: float, burst: float, tokens: float = 1) -> float:
        """Take a token of this caller. Returns 0; or, if there is none, in how many seconds there will be one."""
        now = self.clock()
        with self._lock:
            left, at = self._left.pop(name, (burst, now))
            left = min(burst, left + (now - at) * per_s)
            wait_s = 0.0 if left >= tokens else (tokens - left) / per_s
            self._left[name] = (left if wait_s else left - tokens, now)
            while len(self._left) > CALLERS_MAX:
                self._left.popitem(last=False)
        return wait_s


def too_many(wait_s: float) -> Problem:
    """The problem of a caller that makes too many requests."""
    return Problem(
        429,
        "too-many-requests",
        "Too many requests of this key or user. Wait as long as Retry-After says; api.rate_per_s is the limit.",
        headers={"Retry-After": str(max(1, math.ceil(wait_s)))},
    )


class BodyLimit:
    """Refuses a body that is too large, by its announced length or as it comes in. *most*: returns the limit, in bytes."""

    def __init__(self, app: ASGIApp, most: Callable[[], int]) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most, seen = self._most(), 0
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if said.isdigit() and int(said) > most:
            await _too_large(most).response()(scope, receive, send)
            return

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                raise HTTPException(413, headers={"Connection": "close"})
            return message

        await self._app(scope, counted, send)


def _too_large(most: int) -> Problem:
    return Problem(
        413,
        "body-too-large",
        f"The body has more than {most} bytes. Send fewer records at a time; api.body_bytes_max is the limit.",
        headers={"Connection": "close"},
    )
