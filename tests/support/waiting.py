"""Waiting for something that another process does: until it is so, and never for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_POLL_S = 0.02


def until(
    asked: Callable[[], T],
    what: str,
    *,
    within_s: float = 30.0,
    every_s: float = _POLL_S,
    seen: Callable[[], object] = lambda: "",
) -> T:
    """Ask again and again until the answer is true; return it. Fails, naming *what* and what was *seen* last."""
    deadline = time.monotonic() + within_s
    while not (answer := asked()):
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what} {seen()}"
        time.sleep(every_s)
    return answer
