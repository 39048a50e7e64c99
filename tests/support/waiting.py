"""Waiting for something that another process does: until it is so, and never for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_POLL_S = 0.02


def until(
    asked: Callable[[], T | None],
    what: str = "what was waited for",
    *,
    within_s: float = 60.0,
    every_s: float = _POLL_S,
    seen: Callable[[], object] = lambda: "",
    between: Callable[[], object] | None = None,
) -> T:
    """
    Ask again and again until the answer is true; return it. Fails, naming *what* and what was *seen* last.

    Args:
        between: Is done after each answer that is not true, in place of a pause: what brings the answer nearer.
    """
    deadline = time.monotonic() + within_s
    while not (answer := asked()):
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what} {seen()}"
        time.sleep(every_s) if between is None else between()
    return answer


async def until_async(asked: Callable[[], object], what: str, *, within_s: float = 60.0) -> None:
    """The same in a loop of asyncio, whose other tasks go on meanwhile."""
    deadline = time.monotonic() + within_s
    while not asked():
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        await asyncio.sleep(0.001)
