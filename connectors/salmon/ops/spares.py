"""
Finds out whether an instance without partitions is a spare, because there are more instances than partitions.

If it is not a spare, something is wrong: another member of the group has more than its share, perhaps one that is dead and has
not timed out yet, or one that is not of this sync. A source's lead is the only partition of its group. A thread asks Kafka, because the answer may take long and the loop must turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from salmon.errors import SalmonError
from salmon.ops.health import Health

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 5.0


class SpareWatch:
    """
    Checks this whenever the instance has no partitions, from its creation until it is closed.

    Args:
        held: Returns how many partitions each member of the group has; empty during a rebalance.
    """

    def __init__(
        self, health: Health, held: Callable[[], Sequence[int]], *, every_s: float = LOOK_EVERY_S
    ) -> None:
        self._health, self._held, self._every_s = health, held, every_s
        self._closing = threading.Event()
        threading.Thread(target=self._run, name="spares", daemon=True).start()

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.wait(self._every_s):
            if self._health.without_partitions:
                self._look()

    def _look(self) -> None:
        try:
            self._health.spare(is_spare(self._held()))
        except SalmonError as trouble:
            log.debug("group_not_looked_at", reason=str(trouble))  # the calls to Kafka are watched elsewhere


def is_spare(held: Sequence[int]) -> bool:
    """
    Whether it is normal that a member has no partition. Kafka shares them out evenly, so if a member has two, it must give
    one away.
    """
    return max(held, default=0) == 1
