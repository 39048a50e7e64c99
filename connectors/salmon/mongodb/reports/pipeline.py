"""The pipeline of a report, and how its answer becomes rows. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from salmon.model.schema import Kind
from salmon.mongodb.reports.report import COUNT, BoundGroup, BoundReport
from salmon.mongodb.reports.values import Expr, held

# Of a report whose order MongoDB does not know: all groups are fetched, up to so many.
GROUPS_MAX: Final = 10_000
_DAY_OF_BUCKET: Final = "%Y-%m-%d"
# A moment of the first or last day of the calendar has no date in some time zones.
_ZONES_DIFFER_MAX: Final = timedelta(days=1)
_WEEK_BEGINS: Final = "monday"
Document = dict[str, Any]


def key(number: int) -> str:
    """Where MongoDB's answer has the value of a group."""
    return f"g{number}"


def slot(number: int) -> str:
    """Where it has a measure."""
    return f"m{number}"


def pipeline_of(bound: BoundReport) -> list[Document]:
    """The stages, for the first of the object's collections; they join the others themselves."""
    report, match = bound.report, [{"$match": bound.condition.query}] if bound.condition.query else []
    others = [{"$unionWith": {"coll": name, "pipeline": match}} for name in report.collections[1:]]
    measures = {slot(n): _measured(bound, n) for n in range(len(bound.measures))}
    groups = {key(n): _grouped(bound, each) for n, each in enumerate(bound.groups)}
    return [
        *match,
        *others,
        {"$group": {"_id": groups, **measures}},
        *_ordered(bound),
    ]


def order_of(bound: BoundReport) -> tuple[str, bool]:
    """By what the rows are sorted, and whether the greatest comes first."""
    if bound.report.sort is not None:
        return bound.report.sort
    first = bound.groups[0]
    # The keys of records say nothing to anybody: those of which there is most come first.
    return (bound.measures[0].name, True) if first.field.reference_to else (first.name, False)


def _ordered(bound: BoundReport) -> list[Document]:
    name, descending = order_of(bound)
    names = [each.name for each in bound.groups]
    if name in names and any(each.choices for each in bound.groups):
        return [{"$limit": GROUPS_MAX + 1}]
    first = f"_id.{key(names.index(name))}" if name in names else _slot_of(bound, name)
    rest = [path for n in range(len(names)) if (path := f"_id.{key(n)}") != first]
    # MongoDB has null first, a report has it last.
    empty = {f"empty{n}": {"$eq": [f"${path}", None]} for n, path in enumerate([first, *rest])}
    order = {"empty0": 1, first: -1 if descending else 1}
    for n, path in enumerate(rest, start=1):
        order |= {f"empty{n}": 1, path: 1}
    # One more shows that there are more.
    return [{"$set": empty}, {"$sort": order}, {"$limit": bound.report.limit + 1}]


def _slot_of(bound: BoundReport, name: str) -> str:
    return next(slot(n) for n, each in enumerate(bound.measures) if each.name == name)


def _grouped(bound: BoundReport, group: BoundGroup) -> Expr:
    if not group.every:
        return held(bound.shape, group.field)
    is_moment = group.field.kind is Kind.DATETIME
    zone = bound.report.time_zone if is_moment else "UTC"
    value = held(bound.shape, group.field, margin=_ZONES_DIFFER_MAX if is_moment else timedelta())
    start = {"date": value, "unit": group.every, "timezone": zone, "startOfWeek": _WEEK_BEGINS}
    return {"$dateToString": {"date": {"$dateTrunc": start}, "format": _DAY_OF_BUCKET, "timezone": zone}}


def _measured(bound: BoundReport, number: int) -> Expr:
    measure = bound.measures[number]
    if measure.how == COUNT or measure.field is None:
        return {"$sum": 1}
    return {f"${measure.how}": held(bound.shape, measure.field)}
