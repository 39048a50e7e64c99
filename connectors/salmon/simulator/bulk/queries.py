"""
Query jobs: what SOQL they take, and their results as CSV.

Source: Bulk API 2.0 Developer Guide ("Understanding Bulk API 2.0 Query", "Get Results for a Query Job"), and refusals
recorded in public issue threads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from salmon.simulator.org.objects.object_types import COMPOUND_TYPES, Field
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.org.sessions import User
from salmon.simulator.soql.answering import run_parsed
from salmon.simulator.soql.names import Scope
from salmon.simulator.soql.parsing import parse
from salmon.simulator.soql.syntax import FieldGroup, Path, Query, Selected, TypeOf

_DATETIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})\+0000")

Names = tuple[str, ...]


def check_query(org: Org, text: str, user: User) -> tuple[str, Query]:
    """
    The object of a new job, and its query, read.

    Raises:
        BadRequest: It is no SOQL, names what the org does not have, or asks for what bulk queries do not give.
    """
    query = parse(text)
    if what := _not_served(query):
        raise BadRequest("API_ERROR", f"{what} not supported in Bulk Query")
    # Asked for nothing, it shows whether everything that it names is there.
    run_parsed(org, replace(query, limit=0), user=user)
    name = str(org.object_name(query.source))
    if any(field.type in COMPOUND_TYPES for _names, field in _columns(org, query)):
        raise BadRequest("API_ERROR", "Selecting compound data not supported in Bulk Query")
    return name, query


def run(org: Org, text: str, user: User, *, with_deleted: bool) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the results: every value as text, nulls as empty text."""
    query = parse(text)
    found = run_parsed(org, query, with_deleted=with_deleted, user=user)
    columns = [(names, _shower(field)) for names, field in _columns(org, query)]
    records = found.records(0, found.total, "0.0")
    rows = [[show(_reach(record, names)) for names, show in columns] for record in records]
    return [".".join(names) for names, _show in columns], rows


def _not_served(query: Query) -> str | None:
    """What of the query Bulk API 2.0 does not serve, in the words of its refusal; None if it serves all of it."""
    if any(isinstance(item, Query) for item in query.select):
        return "Aggregate Relationships"
    if any(isinstance(item, TypeOf) for item in query.select):
        return "TYPEOF"
    if any(isinstance(item, FieldGroup) and item.which.lower() != "standard" for item in query.select):
        return "FIELDS(ALL) and FIELDS(CUSTOM)"
    if query.group_by:
        return "GROUP BY"
    if query.grouped or query.counts_rows:
        return "Aggregate Functions"
    if any(isinstance(item, Selected) and not isinstance(item.what, Path) for item in query.select):
        return "Functions in SELECT"
    return "OFFSET" if query.offset else None


def _columns(org: Org, query: Query) -> list[tuple[Names, Field]]:
    """The fields that the query selects, each with its path as the describes spell it."""
    table = org.tables[str(org.object_name(query.source))]
    scope = Scope.of(org, table, query, with_deleted=True)
    columns: list[tuple[Names, Field]] = []
    for item in query.select:
        if isinstance(item, Selected) and isinstance(item.what, Path):
            columns.append((scope.canonical(item.what), scope.resolve(item.what)[1]))
        elif isinstance(item, FieldGroup):
            standard = (field for field in table.type.fields if not field.name.endswith("__c"))
            columns += [((field.name,), field) for field in standard if field.type not in COMPOUND_TYPES]
    return columns


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


def _reach(record: Any, names: Names) -> Any:
    for step in names:
        if record is None:
            return None
        record = record.get(step)
    return record
