"""
How long to wait before the next try: exponential, with full jitter. The one schedule of waiting in the house.

Where the one who waits is alone, or each has its own moment (a locked record, a page that is kept), the bound itself is the wait.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

_EXPONENT_MAX: Final = 30  # 2**30 * any first delay is beyond every bound; larger powers only cost time


@dataclass(frozen=True, slots=True)
class Backoff:
    """
    How long to wait before a try.

    Full jitter (a random time between nothing and the bound, and the bound doubles) spreads the tries of many
    clients best: "Exponential Backoff And Jitter", AWS Architecture Blog.
    """

    first_s: float = 0.2
    max_s: float = 5.0  # what was away is found again that soon at the latest
    least_share: float = 0.0  # of the bound, that is waited at least

    def bound_s(self, attempt: int) -> float:
        """The longest wait after try number *attempt* (from 1) has failed."""
        return min(self.max_s, self.first_s * 2.0 ** min(max(attempt - 1, 0), _EXPONENT_MAX))

    def delay_s(self, attempt: int, *, rng: random.Random) -> float:
        """A random wait up to the bound."""
        bound_s = self.bound_s(attempt)
        return rng.uniform(self.least_share * bound_s, bound_s)


# Where a server asks us to slow down: its allowance may be counted by the second (concurrent requests) or over a day.
LIMITED: Final = Backoff(first_s=5.0, max_s=300.0, least_share=0.5)


@dataclass(slots=True)
class Tries:
    """The tries of one thing that is repeated until it works: each wait may be longer than the one before."""

    backoff: Backoff = Backoff()
    rng: random.Random = field(default_factory=random.Random)
    failures: int = 0  # in a row

    def failed(self) -> float:
        """One more has failed: how long to wait before the next, in seconds."""
        self.failures += 1
        return self.backoff.delay_s(self.failures, rng=self.rng)

    def worked(self) -> None:
        """The wait after the next failure is a first one again."""
        self.failures = 0
