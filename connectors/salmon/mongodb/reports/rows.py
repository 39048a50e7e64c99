"""
The rows of a report: values as JSON shows them, in the order that was asked for, and with the buckets of time in which nothing was. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from bson.decimal128 import Decimal128

from salmon.errors import DataError
from salmon.model.convert import to_json
from salmon.model.schema import FieldSchema, Kind
from salmon.mongodb.reports.pipeline import key, order_of, slot
from salmon.mongodb.reports.report import NUMBERS, BoundGroup, BoundMeasure, BoundReport

_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}
_DAYS: Final = {"day": 1, "week": 7}
_PLACES: Final = 6  # of an average, beyond those of the field


@dataclass(frozen=True, slots=True)
class Row:
    """
    Args:
        groups: The value of each group as JSON; None for records without one.
        measures: The value of each measure.
        sources: What documents hold for each group.
    """

    groups: tuple[Any, ...]
    measures: tuple[Any, ...]
    sources: tuple[Any, ...] = ()


def rows_of(bound: BoundReport, answer: Iterable[Mapping[str, Any]]) -> tuple[list[Row], bool]:
    """The rows of MongoDB's answer, and whether there are more than the report's limit."""
    found = [_row(bound, each) for each in answer]
    rows = _sorted(bound, found)
    limit = bound.report.limit
    more = len(rows) > limit
    return (rows[:limit], True) if more else (_filled(bound, rows), False)


def _row(bound: BoundReport, document: Mapping[str, Any]) -> Row:
    sources = tuple(document["_id"].get(key(n)) for n in range(len(bound.groups)))
    groups = tuple(
        _group_shown(bound, each, source) for each, source in zip(bound.groups, sources, strict=True)
    )
    measures = tuple(_measure_shown(each, document[slot(n)]) for n, each in enumerate(bound.measures))
    return Row(groups, measures, sources)


def _group_shown(bound: BoundReport, group: BoundGroup, source: Any) -> Any:
    if source is None or group.every:
        return source
    try:
        value = bound.shape.value(group.name, source)
        field = group.field
        return value if field.is_polymorphic else to_json(field, value)
    except DataError:
        return str(source)


def _measure_shown(measure: BoundMeasure, found: Any) -> Any:
    if found is None:
        return None
    field = measure.field
    if field is None:
        return int(found)
    if isinstance(found, Decimal128):
        found = found.to_decimal()
    if field.kind in {Kind.DATE, Kind.DATETIME, Kind.STRING, Kind.TIME}:
        return found if isinstance(found, str) else _moment(field, found)
    return _number(field, measure.how, found)


def _moment(field: FieldSchema, found: Any) -> str:
    if field.kind is Kind.DATE:
        return str(found.date().isoformat())
    return str(found.isoformat(timespec="milliseconds").replace("+00:00", "Z"))


def _number(field: FieldSchema, how: str, found: int | float | Decimal) -> Any:
    if not math.isfinite(found):
        return None  # a sum beyond the range of doubles
    if how == "avg":
        return round(float(found), field.scale + _PLACES)
    if field.kind is Kind.DECIMAL:
        return to_json(field, Decimal(found))
    if field.kind is Kind.DOUBLE and not isinstance(found, int):
        # The sum of amounts with two places has two places.
        return round(float(found), field.scale) if field.precision else float(found)
    return int(found)


# The order.


def _sorted(bound: BoundReport, rows: list[Row]) -> list[Row]:
    name, descending = order_of(bound)
    names = [each.name for each in bound.groups]
    for number in reversed(range(len(names))):
        rows = _by_group(rows, bound.groups[number], number, descending=descending and names[number] == name)
    if name not in names:
        at = next(n for n, each in enumerate(bound.measures) if each.name == name)
        field = bound.measures[at].field
        rows = _by(rows, lambda row: _comparable(field, row.measures[at]), descending=descending)
    elif name != names[0]:
        at = names.index(name)
        rows = _by_group(rows, bound.groups[at], at, descending=descending)
    return rows


def _by_group(rows: list[Row], group: BoundGroup, at: int, *, descending: bool) -> list[Row]:
    def place(row: Row) -> Any:
        value = row.groups[at]
        if value is None or not group.choices:
            return _comparable(group.field, value)
        return (group.places.get(value, len(group.choices)), str(value))

    return _by(rows, place, descending=descending)


def _comparable(field: FieldSchema | None, value: Any) -> Any:
    """JSON writes a decimal as a number or as text."""
    is_number = field is not None and field.kind in NUMBERS
    return Decimal(str(value)) if is_number and value is not None else value


def _by(rows: list[Row], what: Any, *, descending: bool) -> list[Row]:
    """Sorted, with those that have nothing at the end. Rows that are equal stay in their order."""
    there = [row for row in rows if what(row) is not None]
    there.sort(key=what, reverse=descending)
    return there + [row for row in rows if what(row) is None]


# Buckets of time.


def _filled(bound: BoundReport, rows: list[Row]) -> list[Row]:
    """The rows with those buckets between the first and the last in which nothing was. Only where time alone gives the order."""
    first = bound.groups[0]
    name, descending = order_of(bound)
    if len(bound.groups) > 1 or not first.every or name != first.name:
        return rows
    there = {row.groups[0]: row for row in rows if row.groups[0] is not None}
    starts = buckets(list(there), first.every, most=bound.report.limit - (len(rows) - len(there)))
    nothing = tuple(each.zero for each in bound.measures)
    filled = [there.get(start, Row((start,), nothing, (start,))) for start in starts]
    if descending:
        filled.reverse()
    return filled + [row for row in rows if row.groups[0] is None]


def buckets(starts: Sequence[str], every: str, *, most: int) -> list[str]:
    """All buckets from the first to the last; those that are there alone, if they would be more than *most*."""
    if not starts:
        return []
    at, last = date.fromisoformat(min(starts)), date.fromisoformat(max(starts))
    found = []
    while at <= last:
        found.append(at.isoformat())
        if len(found) > most or (following := _next(at, every)) is None:
            break
        at = following
    return found if len(found) <= most and set(starts) <= set(found) else sorted(starts)


def _next(start: date, every: str) -> date | None:
    """The next bucket; None where the calendar ends."""
    try:
        if (days := _DAYS.get(every)) is not None:
            return start + timedelta(days=days)
        months = start.year * 12 + start.month - 1 + _MONTHS[every]
        return date(months // 12, months % 12 + 1, 1)
    except (OverflowError, ValueError):
        return None
