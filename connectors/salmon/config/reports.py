"""Settings of the reports: what is counted and summed up of an object's records in MongoDB, and how it is drawn."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from salmon.config.faults import as_value_error, type_named
from salmon.config.sections.fields import FieldsConfig
from salmon.mongodb.reports.report import CALCULATED, COUNT, FUNNEL, Group, Measure, Report
from salmon.transforms.expressions import condition
from salmon.transforms.nearest import nearest

REPORTS_MAX: Final = 100
GROUPS_MAX: Final = 2
_MEASURES_MAX: Final = 10
FIELD_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_]*$"
ReportName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
FieldName = Annotated[str, StringConstraints(pattern=FIELD_PATTERN)]
MeasureName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")]
KeyPath = tuple[str, ...]


class GroupConfig(BaseModel):
    """By what records are grouped. A plain word is the field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: FieldName = Field(description="The field.")
    every: Literal["day", "week", "month", "quarter", "year"] | None = Field(
        default=None,
        description="Of a date: the length of the time that is one group. Weeks begin on Monday.",
    )


class MeasureConfig(BaseModel):
    """What is worked out of each group: exactly one of them. The plain word count counts records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: Literal[True] | None = Field(default=None, description="How many records there are.")
    sum: FieldName | None = Field(default=None, description="The sum of a field that is a number.")
    avg: FieldName | None = Field(default=None, description="Its average, without those that are empty.")
    min: FieldName | None = Field(default=None, description="The least value of a number, a date or a text.")
    max: FieldName | None = Field(default=None, description="The greatest.")

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        if value == COUNT:
            return {COUNT: True}
        if isinstance(value, Mapping):
            return value
        raise ValueError(f"is {type_named(value)}, but must be count, or a mapping such as {{sum: Amount}}")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.said) != 1:
            raise ValueError(
                f"must have exactly one of {COUNT}, {', '.join(CALCULATED)}, e.g. {{sum: Amount}}"
            )
        return self

    @property
    def said(self) -> Mapping[str, str]:
        """How -> the field; empty for count."""
        named = {how: name for how in CALCULATED if (name := getattr(self, how)) is not None}
        return {**({COUNT: ""} if self.count else {}), **named}

    def measure(self, name: str) -> Measure:
        ((how, of),) = self.said.items()
        return Measure(name, how, of)


class ReportConfig(BaseModel):
    """One report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    object: str = Field(min_length=1, description="The synced object whose records are counted.")
    title: str | None = Field(
        default=None, min_length=1, max_length=100, description="For people. Default: the report's name."
    )
    filter: str | None = Field(
        default=None,
        min_length=1,
        description="The records that count, as in a filter of `transforms`, e.g. `IsClosed == false`.",
    )
    # Pydantic counts those entries alone that are right, so the number is checked by ourselves.
    by: tuple[GroupConfig, ...] = Field(
        json_schema_extra={"minItems": 1, "maxItems": GROUPS_MAX},
        description="A field, or {field: CloseDate, every: day, week, month, quarter or year}; or a list of two of them: the second one makes "
        "the series of the chart.",
    )
    measures: dict[MeasureName, MeasureConfig] = Field(
        min_length=1,
        max_length=_MEASURES_MAX,
        description="Name -> count, or one of {sum: FIELD}, {avg: FIELD}, {min: FIELD}, {max: FIELD}. The chart shows the first one that is a "
        "number.",
    )
    chart: Literal["bar", "line", "funnel", "table"] = Field(
        default="bar", description="How the console draws it."
    )
    sort: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z][A-Za-z0-9_]*(\.(asc|desc))?$",
        description="A measure, or the field of a group; with .desc the greatest comes first. Default: the order of time, of the org's "
        "picklist or of the values; of a lookup, the greatest first.",
    )
    limit: int = Field(default=200, ge=1, le=2_000, description="Most rows.")
    time_zone: str = Field(
        default="UTC",
        description="Where a day begins, for buckets of dates with a time of day, e.g. Europe/Berlin. A date without one is the same everywhere.",
    )

    @field_validator("by", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        several = value if isinstance(value, list | tuple) else (value,)
        if not 1 <= len(several) <= GROUPS_MAX:
            raise ValueError(
                f"is {type_named(value)} with {len(several)} entries, but must have 1 or {GROUPS_MAX}"
            )
        return [{"field": each} if isinstance(each, str) else each for each in several]

    @field_validator("by")
    @classmethod
    def _not_twice(cls, value: tuple[GroupConfig, ...]) -> tuple[GroupConfig, ...]:
        if len({each.field for each in value}) < len(value):
            raise ValueError(f"names {value[0].field} twice: name another field, or one alone")
        return value

    @field_validator("filter")
    @classmethod
    def _is_condition(cls, value: str | None) -> str | None:
        if value is not None:
            as_value_error(condition, value)
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                "must be the name of a time zone, e.g. UTC, Europe/Berlin or America/New_York"
            ) from None
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        fields = [each.field for each in self.by]
        if taken := sorted(self.measures.keys() & set(fields)):
            raise ValueError(
                f"measures.{taken[0]} has the name of a field in `by`: give the measure another name"
            )
        if self.sort is not None and (named := self.sort.partition(".")[0]) not in {*self.measures, *fields}:
            known = [*self.measures, *fields]
            raise ValueError(
                f"sort must be one of {', '.join(known)}, with or without .desc{nearest(named, known)}"
            )
        if self.chart == FUNNEL and len(self.by) > 1:
            raise ValueError("chart: funnel needs one field in `by`; draw two with bar or line")
        return self

    @property
    def fields(self) -> Iterator[tuple[KeyPath, str]]:
        """The fields that it names, each with the path of its key."""
        if self.filter is not None:
            yield from ((("filter",), name) for name in sorted(condition(self.filter).fields))
        yield from ((("by",), each.field) for each in self.by)
        for name, measure in self.measures.items():
            yield from ((("measures", name), of) for of in measure.said.values() if of)

    def report(self, name: str, *, archived: str | None, collections: tuple[str, ...]) -> Report:
        """It as others work with it. *archived*, *collections*: of its object."""
        sort, _, direction = (self.sort or "").partition(".")
        return Report(
            name,
            self.object,
            self.title or name.replace("_", " ").replace("-", " ").capitalize(),
            tuple(Group(each.field, each.every or "") for each in self.by),
            tuple(each.measure(measure) for measure, each in self.measures.items()),
            self.chart,
            self.filter,
            (sort, direction == "desc") if sort else None,
            self.limit,
            self.time_zone,
            archived,
            collections,
        )


def report_faults(raw: Mapping[Any, Any], objects: Mapping[Any, Any]) -> Iterator[tuple[KeyPath, str]]:
    """
    What is wrong with reports beside the objects: path of the key below `reports`, and a sentence.

    Args:
        raw, objects: As they are written. What is wrong by itself is skipped, since its model reports it.
    """
    fields: dict[str, FieldsConfig] = {}
    for name, each in objects.items():
        said = each.get("fields", {}) if isinstance(each, Mapping) else {}
        try:
            fields[str(name)] = FieldsConfig.model_validate(said)
        except ValidationError:
            fields[str(name)] = FieldsConfig()
    reports: dict[str, ReportConfig] = {}
    for name, each in raw.items():
        try:
            reports[str(name)] = ReportConfig.model_validate(each)
        except ValidationError:
            continue
    yield from faults_of_reports(reports, fields)


def faults_of_reports(
    reports: Mapping[str, ReportConfig], fields: Mapping[str, FieldsConfig]
) -> Iterator[tuple[KeyPath, str]]:
    """The same of reports that are right by themselves. *fields*: object -> its `fields`."""
    for name, report in reports.items():
        of = fields.get(report.object)
        if of is None:
            hint = nearest(report.object, fields)
            yield (
                (name, "object"),
                f"names an object that is not in `objects`{hint}. Correct it, or sync that object.",
            )
            continue
        for key, field in report.fields:
            if _is_left_out(field, of):
                yield (
                    (name, *key),
                    f"names {field}, which objects.{report.object}.fields leaves out. Correct the name, or sync the field.",
                )


def _is_left_out(field: str, of: FieldsConfig) -> bool:
    if field in of.computed:
        return False
    included: Collection[str] | None = of.include
    return field in of.exclude or (included is not None and field not in included)
