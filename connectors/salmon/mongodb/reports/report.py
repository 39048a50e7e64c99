"""
A report as it is configured, and the same bound to the fields of its object. Pure.

What a report may name is checked here, against the schema, once for all who need it: the API, `salmon doctor` and `salmon setup`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NoReturn, TypeVar

from salmon.errors import ConfigError
from salmon.model.schema import FieldSchema, Kind
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.reports.conditions import Condition, condition_of
from salmon.transforms.nearest import nearest

T = TypeVar("T")

COUNT: Final = "count"
CALCULATED: Final = ("sum", "avg", "min", "max")
BUCKETS: Final = ("day", "week", "month", "quarter", "year")
FUNNEL: Final = "funnel"
LINE: Final = "line"
TABLE: Final = "table"
UTC: Final = "UTC"
_DATES: Final = frozenset({Kind.DATE, Kind.DATETIME})
NUMBERS: Final = frozenset({Kind.INT, Kind.LONG, Kind.DOUBLE, Kind.DECIMAL})
_CHOICES: Final = frozenset({"picklist", "combobox"})
_NAME: Final = "Name"


@dataclass(frozen=True, slots=True)
class Group:
    """A field by whose values the records are grouped. *every*: of a date, the length of its buckets; empty for each value."""

    field: str
    every: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """What is worked out of each group. *how*: COUNT, or one of CALCULATED. *field*: empty for count, which counts records."""

    name: str
    how: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """
    A report as it is configured.

    Args:
        sort: A measure, or the field of a group, and whether the greatest comes first; None: as suits the first group.
        limit: Most rows.
        time_zone: Of the buckets of dates with a time.
        archived: The checkbox that marks records which were deleted on the other side and kept here; they are left out.
        collections: Of the object.
    """

    name: str
    object: str
    title: str
    groups: tuple[Group, ...]
    measures: tuple[Measure, ...]
    chart: str
    filter: str | None = None
    sort: tuple[str, bool] | None = None
    limit: int = 200
    time_zone: str = UTC
    archived: str | None = None
    collections: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Label:
    """The names of the records that a lookup points to. *column*: e.g. Account.Name. *path*: of Name, in *collections*."""

    column: str
    object: str
    path: str
    collections: tuple[str, ...]


@dataclass(frozen=True)
class BoundGroup:
    """
    Args:
        choices: Of a picklist, its values in the org's order.
        label: None if the field is no lookup to an object of the sync, or if that has no Name.
    """

    field: FieldSchema
    every: str
    choices: tuple[str, ...] = ()
    label: Label | None = None

    @property
    def name(self) -> str:
        return self.field.name

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Value of the picklist -> its place in the org's order."""
        return {value: place for place, value in enumerate(self.choices)}


@dataclass(frozen=True)
class BoundMeasure:
    """*field*: None for count."""

    name: str
    how: str
    field: FieldSchema | None = None

    @property
    def is_number(self) -> bool:
        """Whether it can be drawn."""
        return self.field is None or self.field.kind in NUMBERS

    @property
    def zero(self) -> int | None:
        """Its value in a bucket without records."""
        return 0 if self.how in {COUNT, "sum"} else None


@dataclass(frozen=True)
class BoundReport:
    """A report that fits its object."""

    report: Report
    shape: DocumentShape
    groups: tuple[BoundGroup, ...]
    measures: tuple[BoundMeasure, ...]
    condition: Condition

    @property
    def name(self) -> str:
        return self.report.name

    @property
    def drawn(self) -> BoundMeasure | None:
        """The measure that the chart shows: the first one that is a number."""
        return next((each for each in self.measures if each.is_number), None)

    @property
    def labels(self) -> tuple[Label, ...]:
        return tuple(each.label for each in self.groups if each.label is not None)

    @property
    def watched(self) -> frozenset[str]:
        """The collections whose documents it shows something of."""
        return frozenset(self.report.collections).union(*(each.collections for each in self.labels))


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an object that reports may name. *choices*: picklist -> its values in the org's order."""

    shape: DocumentShape
    collections: tuple[str, ...]
    choices: Mapping[str, Sequence[str]]

    @property
    def hidden(self) -> Collection[str]:
        """The fields that are masked for a side."""
        return frozenset(each for masks in self.shape.flow.masks.values() for each in masks)


def bound(report: Report, known: Mapping[str, Known]) -> BoundReport:
    """
    Check a report against the fields of its object.

    Args:
        known: Object -> what is known of it.

    Raises:
        ConfigError: it names what is not there, or what cannot be grouped or measured: a line for each fault, with its key.
    """
    of = known.get(report.object)
    if of is None:
        raise ConfigError(f"reports.{report.name}.object: {report.object} has no schema yet.")
    binding = _Binding(report, of, known)
    found = binding.report()
    if binding.faults:
        raise ConfigError("\n  ".join(binding.faults))
    assert found is not None
    return found


class _Binding:
    """Collects all faults of one report."""

    def __init__(self, report: Report, of: Known, known: Mapping[str, Known]) -> None:
        self._report, self._of, self._known = report, of, known
        self.faults: list[str] = []

    def report(self) -> BoundReport | None:
        report, shape = self._report, self._of.shape
        condition = self._collected(self._condition)
        groups = [self._collected(self._group, n, each) for n, each in enumerate(report.groups)]
        measures = [self._collected(self._measure, each) for each in report.measures]
        found = tuple(each for each in measures if each is not None)
        if not self.faults:
            self._collected(self._drawn, found)
        if self.faults or condition is None:
            return None
        if report.archived is not None and report.archived in shape.schema.by_name:
            condition = condition.without(shape.path[report.archived])
        return BoundReport(
            report, shape, tuple(each for each in groups if each is not None), found, condition
        )

    def _condition(self) -> Condition:
        text = self._report.filter
        if text is None:
            return Condition()
        try:
            found = condition_of(text, self._of.shape)
        except ConfigError as error:
            self._fault("filter", str(error))
        for name in sorted(found.fields.intersection(self._of.hidden)):
            self._fault("filter", _masked(name))
        return found

    def _drawn(self, measures: Sequence[BoundMeasure]) -> None:
        chart = self._report.chart
        if chart != TABLE and not any(each.is_number for each in measures):
            self._fault(
                "chart", f"is {chart}, but no measure is a number. Use table, or add e.g. records: count"
            )

    def _group(self, number: int, group: Group) -> BoundGroup:
        key = "by" if len(self._report.groups) == 1 else f"by.{number}"
        field = self._field(key, group.field)
        if field.kind is Kind.STRINGS:
            self._fault(
                key, f"groups by {field.name}, a multi-select picklist: a record would be in several groups"
            )
        if group.every and field.kind not in _DATES:
            self._fault(
                key,
                f"has every: {group.every} for {field.name}, which is a {field.type} and no date. Remove `every`",
            )
        if not group.every and field.kind is Kind.DATETIME:
            self._fault(
                key,
                f"groups by {field.name}, which has a time of day. Write {{field: {field.name}, every: day}}, or a longer time",
            )
        choices = self._of.choices.get(field.name, ()) if field.type in _CHOICES else ()
        return BoundGroup(field, group.every, tuple(choices), self._label(field))

    def _label(self, field: FieldSchema) -> Label | None:
        if not field.reference_to or field.is_polymorphic:
            return None
        target = self._known.get(field.reference_to[0])
        name = None if target is None else target.shape.schema.by_name.get(_NAME)
        if target is None or name is None or name.kind is not Kind.STRING:
            return None
        if _NAME in target.hidden or _NAME in target.shape.flow.forms:
            return None
        column = f"{field.relationship or field.reference_to[0]}.{_NAME}"
        return Label(column, field.reference_to[0], target.shape.path[_NAME], target.collections)

    def _measure(self, measure: Measure) -> BoundMeasure:
        if measure.how == COUNT:
            return BoundMeasure(measure.name, COUNT)
        key = f"measures.{measure.name}"
        field = self._field(key, measure.field)
        if measure.how in {"sum", "avg"} and field.kind not in NUMBERS:
            self._fault(
                key,
                f"is the {measure.how} of {field.name}, which is a {field.type} and no number. Use count, or name a number",
            )
        if field.kind in {Kind.STRINGS, Kind.BOOLEAN} or field.reference_to:
            self._fault(
                key, f"is the {measure.how} of {field.name}, but a {field.type} is neither less nor more"
            )
        return BoundMeasure(measure.name, measure.how, field)

    def _field(self, key: str, name: str) -> FieldSchema:
        """A field that may be shown, and whose documents hold it in its own type."""
        shape = self._of.shape
        field = shape.schema.by_name.get(name)
        if field is None:
            self._fault(
                key,
                f"names {name}, but {self._report.object} has no field {name} that is synced"
                f"{nearest(name, shape.schema.by_name)}. Correct the name, or sync the field",
            )
        if name in self._of.hidden:
            self._fault(key, _masked(name))
        if name in shape.flow.forms:
            self._fault(
                key,
                f"names {name}, to which `transforms` give another type in documents: MongoDB cannot calculate with that. Name another field",
            )
        return field

    def _fault(self, key: str, sentence: str) -> NoReturn:
        raise ConfigError(f"reports.{self._report.name}.{key}: {sentence}.")

    def _collected(self, call: Callable[..., T], *args: Any) -> T | None:
        """What *call* returns; None where it found a fault."""
        try:
            return call(*args)
        except ConfigError as error:
            self.faults.append(str(error))
            return None


def _masked(name: str) -> str:
    return f"names {name}, which is masked for a side: a report would show what the mask hides. Name another field"
