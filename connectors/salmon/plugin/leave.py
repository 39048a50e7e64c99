"""What a sink may offer whose put() is not one call but many: it asks before each whether it may still send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable


def always() -> bool:
    """Where nobody has said whom to ask."""
    return True


@runtime_checkable
class AsksForLeave(Protocol):
    """
    A sink that makes several calls in one put(). It asks before each whether it may still send what it was given: if the process was
    suspended, or its partitions were taken away, another instance may have sent newer writes of the same records. It may be held
    up by asking, until that is known. If it may not, it raises Unavailable.
    """

    def ask_leave(self, may_send: Callable[[], bool]) -> None:
        """Take whom to ask, from any thread within put(). Before start()."""
