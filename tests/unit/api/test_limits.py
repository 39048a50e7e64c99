"""The bounds of requests."""

from __future__ import annotations

from salmon.api.limits import CALLERS_MAX, Buckets


def test_a_bucket_fills_up_again() -> None:
    """So many at once, and so many a second in the long run."""
    now = [0.0]
    buckets = Buckets(clock=lambda: now[0])
    waits = [buckets.take("a", per_s=2, burst=3) for _ in range(4)]
    assert waits == [0, 0, 0, 0.5]
    now[0] = 0.5
    assert buckets.take("a", per_s=2, burst=3) == 0
    now[0] = 1_000
    assert [buckets.take("a", per_s=2, burst=3) for _ in range(4)] == [0, 0, 0, 0.5], (
        "never more than the burst"
    )


def test_whoever_comes_does_not_make_it_grow() -> None:
    """Whoever has not called for longest is forgotten."""
    buckets = Buckets(clock=lambda: 0.0)
    for number in range(CALLERS_MAX + 100):
        buckets.take(str(number), per_s=1, burst=1)
    assert len(buckets._left) == CALLERS_MAX
