"""
Query jobs: what SOQL they take, and their results as CSV.

Source: Bulk API 2.0 Developer Guide ("Understanding Bulk API 2.0 Query", "Get Results for a Query Job"), and refusals
recorded in public issue threads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

from salmon.simulator.org.object_types import COMPOUND_TYPES, Field
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.org.table import Table
from salmon.simulator.soql.answering import run_query
from salmon.simulator.soql.parsing import Query, parse

_STRINGS: Final = re.compile(r"'(?:[^'\\]|\\.)*'", re.DOTALL)
_DATETIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})\+0000")
# What Bulk API 2.0 does not serve; in the query without its string literals.
_REFUSED: Final = (
    (re.compile(r"\(\s*select\b[^()]*\bfrom\b[^()]*\)\s*(?:,|from\b)", re.IGNORECASE), "Aggregate Relationships"),
    (re.compile(r"\bgroup\s+by\b", re.IGNORECASE), "GROUP BY"),
    (re.compile(r"\boffset\s+\d", re.IGNORECASE), "OFFSET"),
    (re.compile(r"\btypeof\b", re.IGNORECASE), "TYPEOF"),
    (
        re.compile(r"\b(?:count|count_distinct|sum|avg|min|max)\s*\(", re.IGNORECASE),
        "Aggregate Functions",
    ),
    (re.compile(r"\bfields\s*\(\s*(?:all|custom)\b", re.IGNORECASE), "FIELDS(ALL) and FIELDS(CUSTOM)"),
)  # fmt: skip

Path = tuple[str, ...]


def check_query(org: Org, text: str) -> Query:
    """
    The query of a new job, read.

    Raises:
        BadRequest: It is no SOQL, names what the org does not have, or asks for what bulk queries do not give.
    """
    bare = _STRINGS.sub("''", text)
    for pattern, what in _REFUSED:
        if pattern.search(bare):
            raise BadRequest("API_ERROR", f"{what} not supported in Bulk Query")
    query = parse(text)
    # Asked for nothing, it shows whether everything that it names is there.
    run_query(org, text if query.limit is not None else f"{text} LIMIT 0")
    table = org.tables[str(org.object_name(query.object_name))]
    for path in query.select:
        if _field_of(org, table, path.parts)[1].type in COMPOUND_TYPES:
            raise BadRequest("API_ERROR", "Selecting compound data not supported in Bulk Query")
    return query


def run(org: Org, text: str, *, with_deleted: bool) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the results: every value as text, nulls as empty text."""
    query = parse(text)
    table = org.tables[str(org.object_name(query.object_name))]
    found = run_query(org, text, with_deleted=with_deleted)
    paths, shows = [], []
    for path in query.select:
        canonical, field = _field_of(org, table, path.parts)
        paths.append(canonical)
        shows.append(_shower(field))
    if not paths:  # FIELDS(STANDARD)
        standard = [
            field
            for field in table.type.fields
            if not field.name.endswith("__c") and field.type not in COMPOUND_TYPES
        ]
        paths, shows = [(field.name,) for field in standard], [_shower(field) for field in standard]
    records = found.records(0, found.total, "0.0")
    rows = [
        [show(_reach(record, path)) for path, show in zip(paths, shows, strict=True)] for record in records
    ]
    return [".".join(path) for path in paths], rows


def is_chunkable(query: Query) -> bool:
    """Whether Salesforce would split the query by primary key: ORDER BY and LIMIT keep it whole."""
    return not query.order and query.limit is None


def java_double(value: float | Decimal) -> str:
    """A double as Java writes it, and so as results show it: 1200.0, 1.25E7."""
    number = Decimal(repr(float(value)))
    if number == 0:
        return "0.0"
    if Decimal("0.001") <= abs(number) < Decimal(10) ** 7:
        plain = f"{number:f}"
        return plain if "." in plain else f"{plain}.0"
    sign, digits, exponent = number.normalize().as_tuple()
    assert isinstance(exponent, int)
    tail = "".join(map(str, digits[1:])) or "0"
    return f"{'-' if sign else ''}{digits[0]}.{tail}E{exponent + len(digits) - 1}"


def _shower(field: Field) -> Callable[[Any], str]:
    if field.type in {"double", "currency", "percent"}:
        return lambda value: "" if value is None else java_double(value)
    if field.type == "boolean":
        return lambda value: "" if value is None else str(value).lower()
    if field.type == "datetime":
        return lambda value: "" if value is None else _DATETIME.sub(r"\1Z", str(value))
    return lambda value: "" if value is None else str(value)


def _reach(record: Any, path: Path) -> Any:
    for step in path:
        if record is None:
            return None
        record = record.get(step)
    return record


def _field_of(org: Org, table: Table, parts: Sequence[str]) -> tuple[Path, Field]:
    """The path as the describes spell it, and the field at its end; the query has been checked already."""
    tables, canonical = [table], []
    for part in parts[:-1]:
        step = next(found for each in tables if (found := each.type.relationship(part)))
        canonical.append(str(step.relationship))
        tables = [org.tables[name] for name in step.reference_to if name in org.tables]
    field = next(found for each in tables if (found := each.type.field(parts[-1])))
    return (*canonical, field.name), field
