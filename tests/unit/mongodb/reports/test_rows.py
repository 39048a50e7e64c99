"""Buckets of time: none is left out between the first and the last, and they never are without end."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salmon.mongodb.reports.report import BUCKETS
from salmon.mongodb.reports.rows import buckets


@pytest.mark.parametrize(
    ("every", "starts", "all_of_them"),
    [
        ("day", ["2024-02-28", "2024-03-01"], ["2024-02-28", "2024-02-29", "2024-03-01"]),
        ("week", ["2023-12-25", "2024-01-08"], ["2023-12-25", "2024-01-01", "2024-01-08"]),
        ("month", ["2023-11-01", "2024-02-01"], ["2023-11-01", "2023-12-01", "2024-01-01", "2024-02-01"]),
        ("quarter", ["2023-10-01", "2024-04-01"], ["2023-10-01", "2024-01-01", "2024-04-01"]),
        ("year", ["2023-01-01", "2025-01-01"], ["2023-01-01", "2024-01-01", "2025-01-01"]),
        ("year", ["9998-01-01", "9999-01-01"], ["9998-01-01", "9999-01-01"]),
        ("month", [], []),
    ],
)
def test_the_times_between_are_there(every: str, starts: list[str], all_of_them: list[str]) -> None:
    """Over the ends of months and years, and up to the end of the calendar."""
    assert buckets(starts, every, most=100) == all_of_them


@given(
    days=st.lists(st.dates(date(1, 1, 1), date(9999, 12, 31)), min_size=1, max_size=5),
    every=st.sampled_from(BUCKETS),
    most=st.integers(1, 50),
)
def test_there_are_never_too_many(days: list[date], every: str, most: int) -> None:
    """Between two dates that are far apart, only those that are there are shown."""
    starts = sorted(
        {each.replace(month=1, day=1).isoformat() for each in days}
        if every != "week"
        else {days[0].isoformat()}
    )
    found = buckets(starts, every, most=max(most, len(starts)))
    assert set(starts) <= set(found)
    assert len(found) <= max(most, len(starts))
    assert found == sorted(found)
