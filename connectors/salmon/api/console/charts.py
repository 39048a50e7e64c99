"""Where the parts of a report's chart are: bars, a line for each series, or a funnel. Pure; a template draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from salmon.api.reports.computing import Result
from salmon.mongodb.reports.report import FUNNEL, LINE, TABLE, BoundGroup
from salmon.mongodb.reports.rows import Row, buckets

BARS_MAX: Final = 40
POINTS_MAX: Final = 400
SERIES_MAX: Final = 6
_WIDTH: Final = 720.0
_LABELS: Final = 190.0  # room for the names of bars on the left, and
_VALUES: Final = 76.0  # for their numbers on the right
_BAR, _GAP = 18.0, 10.0
_HEIGHT, _TOP, _BOTTOM, _LEFT, _RIGHT = 260.0, 14.0, 34.0, 66.0, 14.0
_TICKS: Final = 4
_SPAN_MIN: Final = 1e-9  # all below counts as nothing
_SPAN_MAX: Final = 1e307  # beyond it, there are no doubles for the axis
_DATES_MAX: Final = 8
_NAME_MAX: Final = 26  # characters of a name that are drawn
_SAID_MAX: Final = 12  # values that the chart's sentence has
EMPTY: Final = "(empty)"


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar, with the number at its end. *series*: from 0."""

    x: float
    y: float
    width: float
    height: float
    series: int
    value: str
    value_x: float
    value_y: float


@dataclass(frozen=True, slots=True)
class Text:
    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A series: the points of its line, and each of them as x, y."""

    series: int
    points: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """
    Args:
        says: The same in words.
        legend: The names of the series; empty for one.
        left_out: What is only in the table, in a sentence.
    """

    kind: str
    width: float
    height: float
    says: str
    bars: tuple[Bar, ...] = ()
    names: tuple[Text, ...] = ()
    lines: tuple[Line, ...] = ()
    ticks: tuple[Text, ...] = ()
    legend: tuple[str, ...] = ()
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What is drawn: the names along the axis, the series, and a value for each of both."""

    names: tuple[str, ...]
    series: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]  # series by series


def chart_of(result: Result, labels: Mapping[str, Mapping[Any, str]]) -> Chart | None:
    """
    Draw the first measure that is a number. None for a table, and where there is nothing to draw.

    Args:
        labels: Picklist -> value -> what the org shows for it.
    """
    report, measure = result.bound.report, result.bound.drawn
    if report.chart == TABLE or measure is None or not result.rows:
        return None
    at = result.bound.measures.index(measure)
    drawn, left_out = _drawn(result, at, labels, POINTS_MAX if report.chart == LINE else BARS_MAX)
    flat = [0.0, *(value for values in drawn.values for value in values if value is not None)]
    if not drawn.names or not max(flat) - min(flat) <= _SPAN_MAX:
        return None
    says = _sentence(report.chart, report.title, drawn)
    legend = drawn.series if len(drawn.series) > 1 else ()
    if report.chart == LINE:
        return _lines(drawn, says, legend, left_out)
    return _bars(drawn, report.chart, says, legend, left_out)


def named(
    group: BoundGroup, row: Row, n: int, result: Result, labels: Mapping[str, Mapping[Any, str]]
) -> str:
    """What people call the value of a group."""
    value = row.groups[n]
    if value is None:
        return EMPTY
    if group.label is not None and (name := result.names[group.label.column].get(value)):
        return str(name)
    if group.every:
        return bucket_named(value, group.every)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return labels.get(group.name, {}).get(value) or str(value)


def bucket_named(start: str, every: str) -> str:
    """What people call a time: 2026-11, 2026 Q4, 2026 W48."""
    day = date.fromisoformat(start)
    match every:
        case "year":
            return str(day.year)
        case "quarter":
            return f"{day.year} Q{(day.month + 2) // 3}"
        case "month":
            return f"{day.year}-{day.month:02}"
        case "week":
            year, week, _ = day.isocalendar()
            return f"{year} W{week:02}"
        case _:
            return start


def number_named(value: float | None) -> str:
    """A number in few characters: 950, 1.2k, 3.4M."""
    if value is None:
        return ""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}" if abs(value) < size * 1e3 else f"{value:.2e}"
    return f"{value:.3g}"


def _drawn(result: Result, at: int, labels: Mapping[str, Mapping[Any, str]], most: int) -> tuple[_Drawn, str]:
    """What there is to draw, and what is left out."""
    groups, rows = result.bound.groups, list(result.rows)
    if result.bound.report.chart == LINE and groups[0].every:
        rows = [row for row in rows if row.groups[0] is not None]  # it is at no place of the axis
    names = _axis(result, rows, labels)
    series: dict[Any, str] = {None: ""}
    if len(groups) > 1:
        series = {row.groups[1]: named(groups[1], row, 1, result, labels) for row in rows}
    shown, drawn_series = dict(list(names.items())[:most]), dict(list(series.items())[:SERIES_MAX])
    values: dict[tuple[Any, Any], float] = {}
    for row in rows:
        second = row.groups[1] if len(groups) > 1 else None
        if row.measures[at] is not None:
            values[row.groups[0], second] = float(row.measures[at])
    left_out = [
        f"{len(every) - len(kept)} of {len(every)} {what}"
        for every, kept, what in ((names, shown, "groups"), (series, drawn_series, "series"))
        if len(kept) < len(every)
    ]
    empty = result.bound.measures[at].zero if len(groups) > 1 else None
    table = tuple(tuple(values.get((n, s), empty) for n in shown) for s in drawn_series)
    sentence = f"Only in the table: {', '.join(left_out)}." if left_out else ""
    return _Drawn(tuple(shown.values()), tuple(drawn_series.values()), table), sentence


def _axis(result: Result, rows: Sequence[Row], labels: Mapping[str, Mapping[Any, str]]) -> dict[Any, str]:
    """The values of the first group, with the times between them, -> their names."""
    first = result.bound.groups[0]
    names = {row.groups[0]: named(first, row, 0, result, labels) for row in rows}
    if result.bound.report.chart != LINE or not first.every or len(result.bound.groups) == 1:
        return names
    starts = buckets([each for each in names if each is not None], first.every, most=POINTS_MAX)
    return {start: bucket_named(start, first.every) for start in starts}


def _sentence(kind: str, title: str, drawn: _Drawn) -> str:
    said = []
    for name, values in zip(drawn.series, drawn.values, strict=True):
        each = [
            f"{of} {number_named(value) or 'nothing'}" for of, value in zip(drawn.names, values, strict=True)
        ]
        more = f" and {len(each) - _SAID_MAX} more" if len(each) > _SAID_MAX else ""
        said.append(f"{f'{name}: ' if name else ''}{', '.join(each[:_SAID_MAX])}{more}")
    return f"{title}, as a {kind}: {'; '.join(said)}. The table has all values."


def _short(name: str) -> str:
    return name if len(name) <= _NAME_MAX else f"{name[: _NAME_MAX - 1]}…"


# Bars, one below the other, so that their names can be read.


def _bars(drawn: _Drawn, kind: str, says: str, legend: tuple[str, ...], left_out: str) -> Chart:
    flat = [value for values in drawn.values for value in values if value is not None]
    least, most = min(0.0, *flat, 0.0), max(0.0, *flat, 0.0)
    room = _WIDTH - _LABELS - _VALUES
    scale = room / (most - least if most - least > _SPAN_MIN else 1.0)
    zero = _LABELS - least * scale
    each = _BAR * len(drawn.series)
    bars: list[Bar] = []
    names: list[Text] = []
    for n, name in enumerate(drawn.names):
        top = _GAP / 2 + n * (each + _GAP)
        names.append(Text(_LABELS - 8, _rounded(top + each / 2 + 4), _short(name)))
        for s, values in enumerate(drawn.values):
            if (value := values[n]) is None:
                continue
            width = abs(value) * scale
            x = zero if value >= 0 else zero - width
            if kind == FUNNEL:
                x = _LABELS + (room - width) / 2
            y = top + s * _BAR
            end = x + width if value >= 0 else zero
            bars.append(
                Bar(
                    _rounded(x), _rounded(y), _rounded(max(width, 1.0)), _BAR - 2, s, number_named(value),
                    _rounded(end + 6), _rounded(y + _BAR / 2 + 3),
                )
            )  # fmt: skip
    height = len(drawn.names) * (each + _GAP) + _GAP / 2
    return Chart(kind, _WIDTH, height, says, tuple(bars), tuple(names), legend=legend, left_out=left_out)


# Lines.


def _lines(drawn: _Drawn, says: str, legend: tuple[str, ...], left_out: str) -> Chart:
    flat = [value for values in drawn.values for value in values if value is not None]
    marks = ticks_of(min(0.0, *flat, 0.0), max(0.0, *flat, 0.0))
    low, high = marks[0], marks[-1]
    scale = (_HEIGHT - _TOP - _BOTTOM) / (high - low)
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(drawn.names) - 1)

    def place(n: int, value: float) -> tuple[float, float]:
        return _rounded(_LEFT + n * step), _rounded(_TOP + (high - value) * scale)

    lines = []
    for s, values in enumerate(drawn.values):
        dots = tuple(place(n, value) for n, value in enumerate(values) if value is not None)
        lines.append(Line(s, " ".join(f"{x},{y}" for x, y in dots), dots))
    every = max(1, math.ceil(len(drawn.names) / _DATES_MAX))
    names = [
        Text(place(n, low)[0], _HEIGHT - 12, _short(name))
        for n, name in enumerate(drawn.names)
        if n % every == 0
    ]
    ticks = [Text(_LEFT - 8, place(0, mark)[1], number_named(mark)) for mark in marks]
    return Chart(LINE, _WIDTH, _HEIGHT, says, (), tuple(names), tuple(lines), tuple(ticks), legend, left_out)


def ticks_of(low: float, high: float) -> list[float]:
    """Round numbers from at most *low* to at least *high*."""
    span = high - low if high - low > _SPAN_MIN else 1.0
    size = 10.0 ** math.floor(math.log10(span / _TICKS))
    step = next(each * size for each in (1, 2, 5, 10) if span / (each * size) <= _TICKS)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [n * step for n in range(first, max(last, first + 1) + 1)]


def _rounded(place: float) -> float:
    return round(place, 1)
