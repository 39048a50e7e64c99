"""Threads for what blocks: MongoDB, Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

T = TypeVar("T")


async def in_thread(call: Callable[..., T], *args: Any, limiter: CapacityLimiter | None = None) -> T:
    """
    Call what blocks (MongoDB, Kafka) in a thread, and see it through even if the client goes away meanwhile.

    Args:
        limiter: Of how many threads it is one; None: of those of all requests.
    """
    running = asyncio.ensure_future(run_sync(partial(call, *args), limiter=limiter))
    return await asyncio.shield(running)
