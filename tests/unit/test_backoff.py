"""How long to wait before the next try."""

from __future__ import annotations

import random

from salmon.backoff import Backoff, Tries
from salmon.errors import RateLimited


def test_the_bound_doubles_and_the_wait_is_anywhere_below_it() -> None:
    """Full jitter: 0.2, 0.4, 0.8 ... at most, and never above the greatest."""
    backoff = Backoff(first_s=0.2, max_s=1.0)
    assert [backoff.bound_s(attempt) for attempt in (1, 2, 3, 4, 1000)] == [0.2, 0.4, 0.8, 1.0, 1.0]
    rng = random.Random(1)
    delays = [backoff.delay_s(3, rng=rng) for _ in range(200)]
    assert 0 <= min(delays) < 0.1
    assert 0.7 < max(delays) <= 0.8


def test_what_the_server_asks_for_is_not_undercut() -> None:
    """A Retry-After is the least we wait."""
    error = RateLimited("slow down", retry_after_s=7.0)
    assert Backoff(first_s=0.1, max_s=1.0).delay_s(1, error, rng=random.Random(1)) == 7.0


def test_waits_grow_with_failures_in_a_row_and_are_short_again_after_a_success() -> None:
    """Each failure doubles the bound; one success ends the row."""

    class Longest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    tries = Tries(Backoff(first_s=1.0, max_s=3.0), rng=Longest())
    assert [tries.failed() for _ in range(4)] == [1.0, 2.0, 3.0, 3.0]
    tries.worked()
    assert tries.failed() == 1.0
