"""
Answers a parsed query from the org's tables: resolves names, chooses an index, filters, sorts and shows rows.

A query sees one moment of the org: it filters under the org's lock. The rows that it found never change, so
its pages may be shown later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from salmon.simulator.org.object_types import TEXT_TYPES, Field
from salmon.simulator.org.org import Org
from salmon.simulator.org.presenting import Presenter
from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.org.sessions import User
from salmon.simulator.org.table import Table
from salmon.simulator.org.transaction import Row, Stored
from salmon.simulator.soql.parsing import (
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    Constant,
    Not,
    Order,
    Path,
    Query,
    invalid_field,
    invalid_type,
    malformed,
    parse,
)
from salmon.simulator.soql.values import Mistyped, date_span, like_pattern, stored_constant

PARENT_STEPS_MAX = 5  # SOQL Reference, "Understanding Relationship Query Limitations"
OFFSET_MAX = 2000
FIELDS_LIMIT_MAX = 200

Test = Callable[[Row], bool]
Getter = Callable[[Row], Stored]


@dataclass(frozen=True, slots=True)
class Result:
    """What a query found: *rows* to be shown through *presenter*, or ready-made *aggregates*, or a bare count."""

    total: int
    rows: Sequence[Row] = ()
    presenter: Presenter | None = None
    aggregates: tuple[dict[str, Any], ...] = ()

    def records(self, start: int, end: int, version: str) -> list[dict[str, Any]]:
        """Records *start* to *end* as the REST API of *version* shows them."""
        if self.presenter is None:
            return list(self.aggregates[start:end])
        return self.presenter.records(self.rows[start:end], version)


def run_query(org: Org, text: str, *, with_deleted: bool = False, user: User | None = None) -> Result:
    """
    Answer the query *text*; *with_deleted* as queryAll does. *user*: who asks, where something may be hidden from them.

    Raises:
        BadRequest: MALFORMED_QUERY, INVALID_TYPE, INVALID_FIELD and their like, with the place in the text.
    """
    query = parse(text)
    name = org.object_name(query.object_name)
    if name is None:
        raise invalid_type(text, query.object_at, query.object_name)
    hidden = frozenset[str]() if user is None else org.hidden(user, name)
    if hidden is None:
        raise invalid_type(text, query.object_at, query.object_name)
    for path in query.select:
        if path.parts[0] in hidden:
            raise invalid_field(text, path.at, f"No such column '{path.parts[0]}' on entity '{name}'")
    return _Plan(org, org.tables[name], query, with_deleted).run()


class _Plan:
    def __init__(self, org: Org, table: Table, query: Query, with_deleted: bool) -> None:
        self._org = org
        self._table = table
        self._query = query
        self._with_deleted = with_deleted

    def run(self) -> Result:
        query = self._query
        if query.offset > OFFSET_MAX:
            raise BadRequest("NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {OFFSET_MAX}")
        presenter = None if query.count_all or query.counts else self._presenter()
        counted = [(count.alias, self._getter(count.path)[1]) for count in query.counts]
        test = None if query.where is None else self._test(query.where)
        sorts = [(self._sort_key(item), item.descending) for item in query.order]
        end = None if query.limit is None or query.count_all else query.offset + query.limit
        by_id = not sorts or (len(sorts) == 1 and not sorts[0][1] and self._is_id(query.order[0]))
        with self._org.lock:
            found: Iterable[Row] = self._candidates()
            if test is not None:
                found = filter(test, found)
            rows = list(islice(found, end if by_id and not counted else None))
            # From the last criterion to the first: sorting is stable, and rows come by Id.
            for key, descending in reversed(sorts) if not by_id else ():
                rows.sort(key=key, reverse=descending)
        if query.count_all:
            return Result(min(len(rows), query.limit) if query.limit is not None else len(rows))
        if counted:
            counts = {alias: sum(1 for row in rows if getter(row) is not None) for alias, getter in counted}
            return Result(1, aggregates=({"attributes": {"type": "AggregateResult"}, **counts},))
        rows = rows[query.offset : end]
        return Result(len(rows), rows, presenter)

    # What is shown

    def _presenter(self) -> Presenter:
        query, object_type = self._query, self._table.type
        if query.field_group:
            if query.limit is None or query.limit > FIELDS_LIMIT_MAX:
                what = "The SOQL FIELDS function must have a LIMIT of at most 200"
                raise malformed(query.text, query.object_at, what)
            wanted = [
                (field.name,)
                for field in object_type.fields
                if query.field_group == "all" or (query.field_group == "custom") == field.name.endswith("__c")
            ]
            return Presenter(self._org, self._table, wanted)
        seen: dict[tuple[str, ...], Path] = {}
        for path in query.select:
            canonical = self._canonical(path)
            if canonical in seen:
                raise malformed(query.text, path.at, f"duplicate field selected: {'.'.join(canonical)}")
            seen[canonical] = path
        return Presenter(self._org, self._table, list(seen))

    def _canonical(self, path: Path) -> tuple[str, ...]:
        """The path as the describes spell it."""
        steps, field = self._resolve(path)
        return (*(str(step.relationship) for step in steps), field.name)

    # Names

    def _resolve(self, path: Path) -> tuple[tuple[Field, ...], Field]:
        """The references to follow, and the field at the end."""
        text, tables = self._query.text, [self._table]
        if len(path.parts) - 1 > PARENT_STEPS_MAX:
            raise malformed(text, path.at, "SOQL relationships cannot go beyond five levels")
        steps: list[Field] = []
        for part in path.parts[:-1]:
            step = next((found for table in tables if (found := table.type.relationship(part))), None)
            parents = (
                []
                if step is None
                else [self._org.tables[n] for n in step.reference_to if n in self._org.tables]
            )
            if step is None or not parents:
                what = (
                    f"Didn't understand relationship '{part}' in field path. If you are attempting to use a custom "
                    f"relationship, be sure to append the '__r' after the custom relationship name. Please "
                    f"reference your WSDL or the describe call for the appropriate names."
                )
                raise invalid_field(text, path.at, what)
            steps.append(step)
            tables = parents
        name = path.parts[-1]
        field = next((found for table in tables if (found := table.type.field(name))), None)
        if field is None:
            what = (
                f"No such column '{name}' on entity '{tables[0].type.name}'. If you are attempting to use a custom "
                f"field, be sure to append the '__c' after the custom field name. Please reference your WSDL or "
                f"the describe call for the appropriate names."
            )
            raise invalid_field(text, path.at, what)
        return tuple(steps), field

    def _getter(self, path: Path) -> tuple[Field, Getter]:
        steps, field = self._resolve(path)
        name = field.name
        if not steps:
            return field, lambda row: row.get(name)
        by_prefix, names = self._org.by_prefix, [step.name for step in steps]

        def get(row: Row) -> Stored:
            current: Row | None = row
            for step in names:
                parent_id = None if current is None else current.get(step)
                holder = None if parent_id is None else by_prefix.get(str(parent_id)[:3])
                current = None if holder is None else holder.get(str(parent_id), with_deleted=True)
            return None if current is None else current.get(name)

        return field, get

    def _is_id(self, order: Order) -> bool:
        steps, field = self._resolve(order.path)
        return not steps and field.type == "id"

    def _sort_key(self, order: Order) -> Callable[[Row], Any]:
        field, get = self._getter(order.path)
        if not field.filterable:
            raise invalid_field(
                self._query.text, order.path.at, f"field '{field.name}' can not be sorted in a query call"
            )
        # Nulls come first unless the query says otherwise, ascending and descending alike.
        null_rank = (1 if order.nulls_last else -1) * (-1 if order.descending else 1)
        fold = field.type in TEXT_TYPES

        def key(row: Row) -> tuple[int, Any]:
            value = get(row)
            if value is None:
                return (null_rank, 0)
            return (0, value.lower() if fold and isinstance(value, str) else value)

        return key

    # Conditions

    def _test(self, condition: Condition) -> Test:
        if isinstance(condition, AllOf):
            tests = [self._test(part) for part in condition.conditions]
            return lambda row: all(test(row) for test in tests)
        if isinstance(condition, AnyOf):
            tests = [self._test(part) for part in condition.conditions]
            return lambda row: any(test(row) for test in tests)
        if isinstance(condition, Not):
            inner = self._test(condition.condition)
            return lambda row: not inner(row)
        return self._compare(condition)

    def _compare(self, comparison: Comparison) -> Test:
        field, get = self._getter(comparison.path)
        at, operator = comparison.path.at, comparison.operator
        if not field.filterable:
            what = f"field '{field.name}' can not be filtered in a query call"
            raise invalid_field(self._query.text, at, what)
        if operator in {"INCLUDES", "EXCLUDES"}:
            return self._compare_choices(comparison, field, get)
        if operator == "LIKE":
            return self._compare_like(comparison, field, get)
        if comparison.values[0].kind == "dateword":
            return self._compare_dates(comparison, field, get)
        fold = field.type in TEXT_TYPES and not field.case_sensitive
        values = [self._value(field, constant, at, fold=fold) for constant in comparison.values]

        def read(row: Row) -> Any:
            value = get(row)
            return value.lower() if fold and isinstance(value, str) else value

        wanted = values[0]
        if operator == "=":
            return lambda row: read(row) == wanted
        if operator == "!=":
            return lambda row: read(row) != wanted
        if operator == "IN":
            among = frozenset(values)
            return lambda row: read(row) in among
        if operator == "NOT IN":
            among = frozenset(values)
            return lambda row: read(row) not in among
        if wanted is None or field.type == "boolean":
            raise invalid_field(self._query.text, at, f"invalid operator on {field.type} field")
        if operator == "<":
            return lambda row: (value := read(row)) is not None and value < wanted
        if operator == "<=":
            return lambda row: (value := read(row)) is not None and value <= wanted
        if operator == ">":
            return lambda row: (value := read(row)) is not None and value > wanted
        return lambda row: (value := read(row)) is not None and value >= wanted

    def _compare_choices(self, comparison: Comparison, field: Field, get: Getter) -> Test:
        if field.type != "multipicklist":
            what = f"invalid operator on {field.type} field"
            raise invalid_field(self._query.text, comparison.path.at, what)
        # Each item may itself ask for several at once: INCLUDES ('a;b', 'c').
        wanted = [frozenset(constant.text.lower().split(";")) for constant in comparison.values]

        def includes(row: Row) -> bool:
            chosen = frozenset(str(get(row) or "").lower().split(";"))
            return any(group <= chosen for group in wanted)

        return includes if comparison.operator == "INCLUDES" else lambda row: not includes(row)

    def _compare_like(self, comparison: Comparison, field: Field, get: Getter) -> Test:
        [constant] = comparison.values
        if field.type not in TEXT_TYPES or constant.kind != "string":
            what = f"invalid operator on {field.type} field"
            raise invalid_field(self._query.text, comparison.path.at, what)
        pattern = like_pattern(constant.like)
        return lambda row: (value := get(row)) is not None and pattern.fullmatch(str(value)) is not None

    def _compare_dates(self, comparison: Comparison, field: Field, get: Getter) -> Test:
        [constant] = comparison.values
        span = date_span(field, constant.text, self._org.clock.now_ms())
        if span is None:
            raise malformed(self._query.text, comparison.path.at, f"unexpected token: '{constant.text}'")
        first, after = span
        tests: dict[str, Callable[[str], bool]] = {
            "=": lambda value: first <= value < after,
            "!=": lambda value: not first <= value < after,
            "<": lambda value: value < first,
            "<=": lambda value: value < after,
            ">": lambda value: value >= after,
            ">=": lambda value: value >= first,
        }
        if comparison.operator not in tests:
            raise malformed(self._query.text, comparison.path.at, f"unexpected token: '{constant.text}'")
        test = tests[comparison.operator]
        return lambda row: (value := get(row)) is not None and test(str(value))

    def _value(self, field: Field, constant: Constant, at: int, *, fold: bool) -> Any:
        try:
            return stored_constant(field, constant, fold=fold)
        except Mistyped as error:
            raise invalid_field(self._query.text, at, str(error)) from None

    # Where to look

    def _candidates(self) -> Iterable[Row]:
        """The rows that may match, by Id: as few as the indexes make possible."""
        after = ""
        for comparison in _conjuncts(self._query.where):
            if len(comparison.path.parts) != 1:
                continue
            field = self._table.type.field(comparison.path.parts[0])
            if field is None or any(constant.kind == "null" for constant in comparison.values):
                continue
            at = comparison.path.at
            if comparison.operator in {"=", "IN"} and field.type == "id":
                ids = [self._value(field, constant, at, fold=False) for constant in comparison.values]
                return self._table.rows_of(ids, with_deleted=self._with_deleted)
            if comparison.operator in {"=", "IN"} and field.indexed and not self._with_deleted:
                found: set[str] = set()
                for constant in comparison.values:
                    found.update(self._table.find(field, self._value(field, constant, at, fold=False)))
                return self._table.rows_of(found)
            if comparison.operator in {">", ">="} and field.type == "id":
                bound = self._value(field, comparison.values[0], at, fold=False)
                after = max(after, bound if comparison.operator == ">" else "")
        return self._table.rows(with_deleted=self._with_deleted, after=after)


def _conjuncts(condition: Condition | None) -> Iterable[Comparison]:
    """The comparisons that every match must pass."""
    if isinstance(condition, Comparison):
        yield condition
    elif isinstance(condition, AllOf):
        for part in condition.conditions:
            yield from _conjuncts(part)
