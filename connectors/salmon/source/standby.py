"""
Stands by until this instance of a source leads.

Where nobody leads although this instance stands for election, it joins the group again: the group may have forgotten it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from salmon.errors import ClientLost, Stopping
from salmon.runtime.instance import Instance
from salmon.runtime.retry import Retrying
from salmon.source.leadership import Leadership, seat_of

log = structlog.get_logger(__name__)

STANDBY_LOOK_S: Final = 0.5
STANDBY_AFTER_S: Final = 2.0  # if no instance leads, the lead is taken sooner


class Standby:
    """
    Args:
        elected, deposed: See Leadership.

    Attributes:
        leadership: That of the present membership.
    """

    def __init__(
        self,
        instance: Instance,
        retrying: Retrying,
        *,
        elected: Callable[[], None],
        deposed: Callable[[], None],
    ) -> None:
        self._instance, self._stop = instance, retrying.stop
        self._candidate = partial(Leadership, instance, retrying, elected=elected, deposed=deposed)
        self.leadership = self._candidate()

    def await_lead(self) -> None:
        """
        Return when this instance leads.

        Raises:
            StartAgain, FatalError: see Leadership.check().
            Stopping: the process was asked to stop meanwhile.
        """
        instance = self._instance
        self.leadership.start()
        if not self.leadership.wait(STANDBY_AFTER_S):
            instance.health.standing_by()
            log.info("standing_by", instance=instance.id)
            with seat_of(instance).watched(instance.health, instance.metrics, instance.rng) as membership:
                while not self.leadership.wait(STANDBY_LOOK_S):
                    instance.health.turned()
                    if self._stop.is_set():
                        raise Stopping
                    if membership.must_join_again():
                        self._join_again()
            log.info("lead_taken_over", instance=instance.id)
        instance.health.holds(1)

    def close(self) -> None:
        """Leave the group. Idempotent."""
        self.leadership.close()

    def _join_again(self) -> None:
        """Stand for election with a new consumer."""
        self.leadership.close()
        if (
            self.leadership.chosen
        ):  # just now; to fence the former leader may have begun, and is not begun twice
            raise ClientLost(
                f"{self._instance.connector}: this instance was given the lead while it left the group to join it again. It restarts."
            )
        self.leadership = self._candidate(again=True)
        self.leadership.start()
