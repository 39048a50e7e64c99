"""
Finds out whether a part with a consumer group of its own lacks partitions: it has none, and is no spare.

What health itself looks at is the group of the connector (salmon.ops.spares).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from salmon.errors import SalmonError
from salmon.ops.health import PARTITIONS_MAX_S
from salmon.ops.spares import is_spare

log = structlog.get_logger(__name__)

_LOOK_EVERY_S: Final = 30.0


class Lacking:
    """
    Args:
        held: Returns how many partitions each instance of ours has in the group; empty during a rebalance.
    """

    def __init__(
        self, group: str, held: Callable[[], Sequence[int]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._group, self._held, self._clock = group, held, clock
        self._since: float | None = None
        self._looked_at = float("-inf")
        self._lacks = False

    def seen(self, *, has_some: bool) -> tuple[float, str] | None:
        """Since when partitions are lacking, by the clock, and what to do; None if they are not, or not for long. Asks Kafka now and then."""
        now = self._clock()
        if has_some or self._since is None:
            self._since, self._lacks = None if has_some else now, False
            return None
        if now - self._since >= PARTITIONS_MAX_S and now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            try:
                self._lacks = not is_spare(self._held())
            except SalmonError as trouble:
                log.debug(
                    "group_not_looked_at", reason=str(trouble)
                )  # the calls to Kafka are watched elsewhere
        if not self._lacks:
            return None
        return self._since, (
            f"Kafka has not given this instance a partition, so it has nothing to do. Another member of the consumer group {self._group} may "
            f"have them, or may have ended without leaving the group. Look at its members, and stop any that should not run."
        )
