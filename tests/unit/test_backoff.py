"""How long to wait before the next try."""

from __future__ import annotations

import random

from salmon.backoff import LIMITED, Backoff, Tries


def test_the_bound_doubles_and_the_wait_is_anywhere_below_it() -> None:
    """Full jitter: 0.2, 0.4, 0.8 ... at most, and never above the greatest."""
    backoff = Backoff(first_s=0.2, max_s=1.0)
    assert [backoff.bound_s(attempt) for attempt in (1, 2, 3, 4, 1000)] == [0.2, 0.4, 0.8, 1.0, 1.0]
    rng = random.Random(1)
    delays = [backoff.delay_s(3, rng=rng) for _ in range(200)]
    assert 0 <= min(delays) < 0.1
    assert 0.7 < max(delays) <= 0.8


def test_where_a_server_asks_us_to_slow_down_the_waits_grow_to_minutes() -> None:
    """From seconds, as for concurrent requests, to five minutes, as for an allowance of a day; never next to nothing."""
    assert [LIMITED.bound_s(attempt) for attempt in (1, 2, 3, 100)] == [5.0, 10.0, 20.0, 300.0]
    rng = random.Random(1)
    delays = [LIMITED.delay_s(100, rng=rng) for _ in range(200)]
    assert 150 <= min(delays) < max(delays) <= 300


def test_waits_grow_with_failures_in_a_row_and_are_short_again_after_a_success() -> None:
    """Each failure doubles the bound; one success ends the row."""

    class Longest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    tries = Tries(Backoff(first_s=1.0, max_s=3.0), rng=Longest())
    assert [tries.failed() for _ in range(4)] == [1.0, 2.0, 3.0, 3.0]
    tries.worked()
    assert tries.failed() == 1.0
