"""
The loop that tries again, with the waits of salmon.backoff between two tries.

Only the error's branch (salmon.errors) says what may be tried again. Each try is reported to health and metrics through the
listener that the caller passes in.
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
from salmon.errors import FatalError, RetriableError, Stopping, UnfitServer

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Listener(Protocol):
    """Is called when something is tried again; health and metrics show it."""

    def failing(self, doing: str, error: Exception) -> None:
        """*doing* failed and will be tried again."""

    def recovered(self) -> None:
        """It worked, after at least one failure."""


@dataclass(frozen=True, slots=True)
class Retrying:
    """Repeats calls that raise RetriableError, until they work or *stop* is set."""

    stop: Event
    listener: Listener
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
            give_up_after_s: Seconds after which the next error is raised; None: never.
            refused_too: Also repeat where the server refuses us or is not as we need it, because it has served us before.

        Raises:
            Stopping: the process was asked to stop before the call worked.
            UnfitServer: the server refused us, or is not as we need it, and *refused_too* is false.
        """
        streak = Streak(self)
        began = self.clock()
        while True:
            try:
                answer = call()
            except (RetriableError, UnfitServer) as error:
                if isinstance(error, UnfitServer) and not refused_too:
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
            max_s: Seconds to try. math.inf for a server that was reached before: then also a
                refused sign-in, or a server that is not as we need it, is waited out.

        Raises:
            FatalError: the server was not reached; the message says what to correct.
            Stopping: the process was asked to stop meanwhile.
        """
        try:
            self.until_it_works(doing, call, give_up_after_s=max_s, refused_too=math.isinf(max_s))
        except RetriableError as error:
            raise FatalError(
                f"{error} This was tried for {max_s:.0f} s and has never worked. Correct what the message names, or start again "
                f"when the server runs."
            ) from error

    def wait(self, doing: str, error: Exception, attempt: int) -> None:
        """Report that attempt number *attempt* failed, and wait. Raises Stopping if asked to stop meanwhile."""
        self.listener.failing(doing, error)
        delay_s = self.backoff.delay_s(attempt, rng=self.rng)
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
    """Counts failures in a row of something that a loop tries once per turn."""

    retrying: Retrying
    failures: int = 0

    def failed(self, doing: str, error: Exception) -> None:
        """Report one more failure, and wait; each failure in a row makes the wait longer. Raises Stopping."""
        self.failures += 1
        self.retrying.wait(doing, error, self.failures)

    def worked(self) -> bool:
        """Note a success. Returns whether there were failures before it; if so, the recovery is reported."""
        if not self.failures:
            return False
        self.failures = 0
        self.retrying.listener.recovered()
        return True
