"""A report as programs get it: as JSON, and as CSV that a spreadsheet takes for data and never for a formula. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from salmon.api.grants import Caller
from salmon.api.reports.computing import Result
from salmon.mongodb.reports.report import BoundReport
from salmon.mongodb.reports.rows import Row

CSV: Final = "text/csv; charset=utf-8"
# What a spreadsheet takes for the beginning of a formula (OWASP, CSV Injection), also in full width: at the beginning of a cell, and behind
# what another country's spreadsheet takes for the end of one.
_FORMULA: Final = re.compile(r"(^|[;,|\t\r\n])(?=\s*[=+\-@＝＋－＠])|^(?=[\t\r\n])")


@dataclass(frozen=True, slots=True)
class Column:
    """
    Args:
        role: group; label, the Name of the record that the group before it points to; or measure.
        place: Which group, or which measure it is.
    """

    name: str
    role: str
    place: int
    about: Mapping[str, Any]


def columns_of(bound: BoundReport, caller: Caller | None = None) -> list[Column]:
    """The columns that the caller may see; None: all. Who may not read an object, does not see the names of its records."""
    found: list[Column] = []
    for n, group in enumerate(bound.groups):
        about = {"label": group.field.label or group.name, "type": group.field.type}
        found.append(
            Column(group.name, "group", n, {**about, **({"every": group.every} if group.every else {})})
        )
        label = group.label
        if label is not None and (caller is None or caller.may("read", label.object)):
            found.append(Column(label.column, "label", n, {"label": label.column, "type": "string"}))
    for n, measure in enumerate(bound.measures):
        of = {} if measure.field is None else {"field": measure.field.name}
        kind = "int" if measure.field is None else measure.field.type
        about = {"label": measure.name.replace("_", " ").capitalize(), "type": kind, "how": measure.how, **of}
        found.append(Column(measure.name, "measure", n, about))
    return found


def cells_of(result: Result, row: Row, columns: Sequence[Column]) -> Iterator[Any]:
    """The values of a row, column by column."""
    for each in columns:
        if each.role == "measure":
            yield row.measures[each.place]
        elif each.role == "group":
            yield row.groups[each.place]
        else:
            yield result.names[each.name].get(row.groups[each.place])


def about_dict(bound: BoundReport, caller: Caller | None) -> dict[str, Any]:
    """What a report is, without its rows."""
    report = bound.report
    return {
        "name": report.name,
        "title": report.title,
        "object": report.object,
        "chart": report.chart,
        "columns": [
            {"name": each.name, "role": each.role, **each.about} for each in columns_of(bound, caller)
        ],
    }


def as_dict(result: Result, caller: Caller | None) -> dict[str, Any]:
    """A report as JSON."""
    columns = columns_of(result.bound, caller)
    names = [each.name for each in columns]
    return {
        **about_dict(result.bound, caller),
        "rows": [dict(zip(names, cells_of(result, row, columns), strict=True)) for row in result.rows],
        "more": result.more,
        "as_of": datetime.fromtimestamp(result.at_s, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
    }


def as_csv(result: Result, caller: Caller | None) -> str:
    """A report as CSV (RFC 4180), with a line of names."""
    columns = columns_of(result.bound, caller)
    text = io.StringIO(newline="")
    written = csv.writer(text)
    written.writerow(each.name for each in columns)
    for row in result.rows:
        written.writerow(_cell(each) for each in cells_of(result, row, columns))
    return text.getvalue()


def _cell(value: Any) -> Any:
    """What would be a formula gets an apostrophe before it, as a person would type it; a number stays one."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not _is_number(value):
        return _FORMULA.sub(r"\1'", value)
    return "" if value is None else value


def _is_number(text: str) -> bool:
    """Whether it is a decimal, which JSON writes as text where no double has its digits."""
    return text.isascii() and text.removeprefix("-").replace(".", "", 1).isdigit()
