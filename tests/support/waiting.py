"""Waiting for something that another process does: until it is so, and never for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_POLL_S = 0.02
_POLL_MAX_S = 0.15
_POLL_SHARE = 0.05  # of what was waited already: whoever waits long asks more rarely, as each question takes CPU from what is waited for


def until(
    asked: Callable[[], T | None],
    what: str = "what was waited for",
    *,
    within_s: float = 60.0,
    every_s: float | None = None,
    seen: Callable[[], object] = lambda: "",
    between: Callable[[], object] | None = None,
) -> T:
    """
    Ask again and again until the answer is true; return it. Fails, naming *what* and what was *seen* last.

    Args:
        every_s: Seconds between two questions. None: 0.02 at first, and more the longer it takes, up to 0.15.
        between: Is done after each answer that is not true, in place of a pause: what brings the answer nearer.
    """
    began = time.monotonic()
    while not (answer := asked()):
        waited_s = time.monotonic() - began
        assert waited_s < within_s, f"not within {within_s:.0f} s: {what} {seen()}"
        if between is not None:
            between()
        else:
            rarely_s = min(max(_POLL_S, waited_s * _POLL_SHARE), _POLL_MAX_S)
            time.sleep(rarely_s if every_s is None else every_s)
    return answer


async def until_async(asked: Callable[[], object], what: str, *, within_s: float = 60.0) -> None:
    """The same in a loop of asyncio, whose other tasks go on meanwhile."""
    deadline = time.monotonic() + within_s
    while not asked():
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        await asyncio.sleep(0.001)
