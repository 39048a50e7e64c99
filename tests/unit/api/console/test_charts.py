"""Charts: where their parts are, what they say in words, and that they stay within their drawing and their bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salmon.api.console.charts import (
    BARS_MAX,
    SERIES_MAX,
    Chart,
    bucket_named,
    chart_of,
    number_named,
    ticks_of,
)
from salmon.api.reports.computing import Result
from salmon.config.bound_reports import bound_reports
from salmon.config.models import SyncConfig
from salmon.mongodb.reports.rows import Row
from support.at_hand.api_room import schemas_of
from support.sync_config import sync_config


def result(rows: Sequence[tuple[tuple[Any, ...], Any]], **report: Any) -> Result:
    """A report with these rows: the values of its groups, and its measure."""
    whole = {
        "object": "Car__c",
        "by": "Make__c",
        "measures": {"worth": {"sum": "Price__c"}},
        "title": "Worth",
        **report,
    }
    objects = {"Car__c": {"collection": "cars"}}
    config = SyncConfig.model_validate(sync_config(objects=objects, reports={"r": whole}))
    bound = bound_reports(config, schemas_of("Car__c")).usable["r"]
    return Result(
        bound, [Row(groups, (value,), groups) for groups, value in rows], {}, more=False, at_s=0.0, began=0.0
    )


def drawn(rows: Sequence[tuple[tuple[Any, ...], Any]], **report: Any) -> Chart:
    found = chart_of(result(rows, **report), {"Make__c": {"A": "Audi"}})
    assert found is not None
    return found


def test_a_bar_is_as_long_as_its_value_and_named_as_in_the_org() -> None:
    """Below zero it goes to the left; the picklist's label is its name."""
    chart = drawn([(("A",), 100.0), (("B",), -50.0), ((None,), None)])
    assert [each.text for each in chart.names] == ["Audi", "B", "(empty)"]
    plus, minus = chart.bars
    assert plus.width == pytest.approx(2 * minus.width, abs=0.2)
    assert minus.x + minus.width == pytest.approx(plus.x, abs=0.2)
    assert (plus.value, minus.value) == ("100", "-50")
    assert chart.says == "Worth, as a bar: Audi 100, B -50, (empty) nothing. The table has all values."


@pytest.mark.parametrize("chart", ["bar", "line", "funnel"])
def test_numbers_beyond_any_axis_are_only_in_the_table(chart: str) -> None:
    """The span between the greatest and the least of all doubles is none."""
    rows = [(("A",), 1.7e308), (("B",), -1.7e308)]
    assert chart_of(result(rows, chart=chart), {}) is None
    assert chart_of(result(rows[:1], chart=chart), {}) is None


def test_a_funnel_is_in_the_middle() -> None:
    """All of its bars have the same middle."""
    chart = drawn([(("A",), 100), (("B",), 25)], chart="funnel")
    first, second = ((each.x + each.width / 2) for each in chart.bars)
    assert first == pytest.approx(second, abs=0.2)


def test_a_line_has_every_time_and_one_line_for_each_series() -> None:
    """A series that has nothing at a time is at zero there; those without a date are at no place."""
    rows = [
        (("2024-01-01", True), 1),
        (("2024-03-01", True), 3),
        (("2024-03-01", False), 2),
        ((None, True), 9),
    ]
    chart = drawn(rows, by=[{"field": "Built__c", "every": "month"}, "Electric__c"], chart="line")
    assert [each.text for each in chart.names] == ["2024-01", "2024-02", "2024-03"]
    assert chart.legend == ("yes", "no")
    assert [len(each.dots) for each in chart.lines] == [3, 3]
    ups, _ = chart.lines
    assert ups.dots[1][1] > ups.dots[0][1] > ups.dots[2][1], "zero is below one, and one below three"


def test_what_is_too_much_for_a_drawing_is_in_the_table() -> None:
    """And the page says so."""
    rows = [((f"make {n:03}", f"{m}"), 1) for n in range(BARS_MAX + 5) for m in range(SERIES_MAX + 2)]
    chart = drawn(rows, by=["Make__c", "Name"])
    assert len(chart.names) == BARS_MAX
    assert len(chart.legend) == SERIES_MAX
    assert chart.left_out == f"Only in the table: 5 of {BARS_MAX + 5} groups, 2 of {SERIES_MAX + 2} series."


def test_a_table_has_no_chart() -> None:
    """Nor has a report without rows."""
    assert chart_of(result([(("A",), 1)], chart="table"), {}) is None
    assert chart_of(result([]), {}) is None


VALUES = st.one_of(st.none(), st.floats(-1e18, 1e18), st.integers(-5, 5))


@given(values=st.lists(VALUES, min_size=1, max_size=12), kind=st.sampled_from(["bar", "funnel", "line"]))
def test_everything_is_within_the_drawing(values: list[Any], kind: str) -> None:
    """For any numbers at all."""
    chart = drawn([((f"m{n}",), value) for n, value in enumerate(values)], chart=kind)
    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= chart.width
        assert 0 <= bar.y <= bar.y + bar.height <= chart.height
    for line in chart.lines:
        assert all(0 <= x <= chart.width and 0 <= y <= chart.height for x, y in line.dots)


@given(low=st.floats(-1e12, 0), high=st.floats(0, 1e12))
def test_ticks_hold_all_values(low: float, high: float) -> None:
    """A handful of them, in order."""
    marks = ticks_of(low, high)
    assert marks[0] - 1e-9 <= low <= high <= marks[-1] + 1e-9
    assert 2 <= len(marks) <= 7
    assert marks == sorted(marks)


def test_numbers_and_times_have_short_names() -> None:
    """As people write them."""
    assert [number_named(each) for each in (None, 0, 7, 1234, -2_500_000, 3.14159, 12e9)] == [
        "", "0", "7", "1.23k", "-2.5M", "3.14", "12G"
    ]  # fmt: skip
    named = [bucket_named("2024-12-30", every) for every in ("day", "week", "month", "quarter", "year")]
    assert named == ["2024-12-30", "2025 W01", "2024-12", "2024 Q4", "2024"]
