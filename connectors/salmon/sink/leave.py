"""
Whether a sink task may still send what it was given, while it is at it.

A put may be many calls, and last for minutes. The buffer gives nothing out without a lease; this is the same for each further call.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from salmon.sink.buffer import SinkBuffer
from salmon.sink.commands import Command

_LOOK_S: Final = 0.05


class Leave:
    """Safe between threads."""

    def __init__(self, buffer: SinkBuffer) -> None:
        self._buffer = buffer
        self._in_hand: dict[int, Sequence[Command]] = {}  # thread -> what it puts
        self._never = threading.Event()

    @contextmanager
    def holding(self, commands: Sequence[Command]) -> Iterator[None]:
        """This thread puts these commands meanwhile."""
        thread = threading.get_ident()
        self._in_hand[thread] = commands
        try:
            yield
        finally:
            del self._in_hand[thread]

    def may_send(self) -> bool:
        """
        Whether everything that is being put is still ours to send. Waits until the loop has found that out, if the lease has
        expired; not if a partition is to be handed over, or the sink is to end, because then nobody may find it out any more.
        """
        while True:
            expired = self._buffer.lease_expired  # before the partitions: the loop looks at them first, too
            partitions = {id(c.partition): c.partition for some in list(self._in_hand.values()) for c in some}
            if any(each.lost for each in partitions.values()):
                return False
            if not expired:
                return True
            if self._buffer.stopped or any(each.closing for each in partitions.values()):
                return False
            self._never.wait(_LOOK_S)
