"""
How many platform events may be published now: the org's allowance of an hour, of which some is left to others.

The org is asked seldom, because each look is an API call: before the first event, after a tenth of what was left, after an hour, and
each minute while nothing may be published, or something was not. Where the user may not see the allowance, it is not looked at any
more, and the org refuses what is too much.
Source: "Platform Event Allocations".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from salmon.errors import RequestRejected, RetriableError
from salmon.salesforce.config import Budget
from salmon.salesforce.wire.limits import Asks, read_limits

log = structlog.get_logger(__name__)

ALLOWANCE: Final = "HourlyPublishedPlatformEvents"
AGAIN_S: Final = 60.0
_HOUR_S: Final = 3600.0
_SPENT: Final = 0.1  # of what was left at the last look, after which the next is due


class Allowance:
    """
    Of one process. For one thread.

    Args:
        terms: How much of the org's allowance may be used up, by all that publish.
        again_s: After so long it is looked again, while nothing may be published.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        org: Asks,
        terms: Budget,
        *,
        again_s: float = AGAIN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._org, self._terms, self._again_s, self._clock = org, terms, again_s, clock
        self._left: int | None = None  # at the last look; None: it is not known
        self._most = 0
        self._spent = 0  # since
        self._looked_at_s: float | None = None
        self._is_visible = True
        self._is_in_doubt = False

    def left(self) -> int | None:
        """How many events may be published now; None: nobody knows. Never raises: an org that cannot be asked limits nothing."""
        if self._is_due():
            self._look()
        return None if self._left is None else max(0, self._left - self._spent)

    def published(self, count: int, *, others: int = 0) -> None:
        """So many were published, and *others* were not."""
        self._spent += count
        self._is_in_doubt = others > 0

    @property
    def is_used_up(self) -> bool:
        """Whether that is why an event was not published, as far as is known."""
        return self.left() == 0

    @property
    def sentence(self) -> str:
        """What a person should know while nothing may be published."""
        return (
            f"The org allows {self._most:,} published events an hour, and what is left of salesforce.publish_budget is used up. The"
            " events wait, and go on by themselves as the hour passes. See what else publishes (Setup, Platform Events), or order"
            " more from Salesforce."
        )

    def _is_due(self) -> bool:
        if not self._is_visible:
            return False
        if self._looked_at_s is None:
            return True
        since_s = self._clock() - self._looked_at_s
        if self._left is None or self._is_in_doubt or self._spent >= self._left:
            return since_s >= self._again_s
        return since_s >= _HOUR_S or self._spent > self._left * _SPENT

    def _look(self) -> None:
        self._looked_at_s, self._is_in_doubt = self._clock(), False
        try:
            limit = read_limits(self._org).get(ALLOWANCE)
        except RequestRejected as error:
            log.info("published_events_not_visible", code=error.code)
            self._is_visible, self._left = False, None
            return
        except RetriableError as error:
            log.info("published_events_not_looked_at", reason=str(error))
            return
        if limit is None:
            self._is_visible, self._left = False, None
            return
        self._most, self._spent = limit.most, 0
        kept = max(self._terms.floor, round(self._most * (1 - self._terms.share)))
        self._left = limit.left - kept
