"""
The loop that tries again, with the waits of salmon.backoff between two tries.

Only the error's branch (salmon.errors) says what may be tried again. Each try is reported to health and metrics through the
observer that the caller passes in.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Protocol, TypeVar

import structlog

from salmon.backoff import Backoff
from salmon.errors import FatalError, RetriableError, SignInRefused

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Stopping(Exception):
    """We were told to stop while we waited. Unwinds to the loop; never an error."""


class Observer(Protocol):
    """Who is told that something is tried again: health and metrics."""

    def failing(self, doing: str, error: Exception) -> None:
        """*doing* failed and will be tried again."""

    def recovered(self) -> None:
        """It worked, after at least one failure."""


@dataclass(frozen=True, slots=True)
class Retrying:
    """Repeats calls that raise RetriableError, until they work or *stop* is set."""

    stop: Event
    observer: Observer
    backoff: Backoff = Backoff()
    rng: random.Random = random.Random()  # noqa: RUF009 - one source of randomness is meant
    clock: Callable[[], float] = time.monotonic

    def until_it_works(
        self,
        doing: str,
        call: Callable[[], T],
        *,
        give_up_after_s: float | None = None,
        refused_too: bool = False,
    ) -> T:
        """
        Return what *call* returns.

        Args:
            doing: For logs and health, e.g. "reading the positions".
            give_up_after_s: After so long the next error goes to the caller; None for no end.
            refused_too: The server has accepted us before: where it does not now, that is tried again as well.

        Raises:
            Stopping: when told to stop before it worked.
        """
        streak = Streak(self)
        began = self.clock()
        while True:
            try:
                answer = call()
            except (RetriableError, SignInRefused) as error:
                if isinstance(error, SignInRefused) and not refused_too:
                    raise
                if give_up_after_s is not None and self.clock() - began >= give_up_after_s:
                    raise
                streak.failed(doing, error)
            else:
                tries = streak.failures + 1
                if streak.worked():
                    log.info("recovered", doing=doing, tries=tries)
                return answer

    def first_contact(self, doing: str, call: Callable[[], object], *, max_s: float) -> None:
        """
        Reach a server for the first time in this process.

        Args:
            max_s: How long; math.inf for one that was reached before: then all that may heal is waited for.

        Raises:
            FatalError: it was not reached; the sentence says what to correct. Stopping: told to stop meanwhile.
        """
        try:
            self.until_it_works(doing, call, give_up_after_s=max_s, refused_too=math.isinf(max_s))
        except RetriableError as error:
            raise FatalError(
                f"{error} This was tried for {max_s:.0f} s and has never worked. Correct what the message names, or start again "
                f"when the server runs."
            ) from error

    def wait(self, doing: str, error: Exception, attempt: int) -> None:
        """Say that try number *attempt* failed, and wait. Raises Stopping when told to stop meanwhile."""
        self.observer.failing(doing, error)
        delay_s = self.backoff.delay_s(attempt, error, rng=self.rng)
        log.warning(
            "try_failed",
            doing=doing,
            attempt=attempt,
            next_in_s=round(delay_s, 3),
            error=type(error).__name__,
            reason=str(error),
        )
        if self.stop.wait(delay_s):
            raise Stopping from None


@dataclass(slots=True)
class Streak:
    """The failures in a row of what a loop tries once a turn, and does not repeat by itself."""

    retrying: Retrying
    failures: int = 0

    def failed(self, doing: str, error: Exception) -> None:
        """It failed once more: say so, and wait the longer, the longer the streak. Raises Stopping."""
        self.failures += 1
        self.retrying.wait(doing, error, self.failures)

    def worked(self) -> bool:
        """It worked; whether that ends a streak, which is then told."""
        if not self.failures:
            return False
        self.failures = 0
        self.retrying.observer.recovered()
        return True
