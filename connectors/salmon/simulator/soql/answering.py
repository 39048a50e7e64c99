"""
Answers a parsed query from the org's tables: chooses an index, filters, sorts and shows rows, with those of subqueries.

A query sees one moment of the org: it filters under the org's lock. The rows that it found never change, so
its pages may be shown later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from salmon.simulator.org.objects.access_objects import OWN_RIGHTS
from salmon.simulator.org.objects.object_types import Field
from salmon.simulator.org.org import Org
from salmon.simulator.org.presenting import Presenter
from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.org.sessions import User
from salmon.simulator.org.table import Table
from salmon.simulator.org.transaction import Row
from salmon.simulator.soql.conditions import Conditions, Test
from salmon.simulator.soql.grouping import Grouped
from salmon.simulator.soql.names import Scope
from salmon.simulator.soql.parsing import parse
from salmon.simulator.soql.selecting import Selection
from salmon.simulator.soql.sorting import Sort
from salmon.simulator.soql.syntax import (
    AllOf,
    Comparison,
    Condition,
    Path,
    Query,
    Selected,
    SemiJoin,
    invalid_child,
    invalid_field,
    invalid_type,
    malformed,
)

OFFSET_MAX = 2000
DEPTH_MAX = 5  # a parent and four levels of children, since API version 58


# Which rows of a table a search is about.
Matching = Callable[[Table], Test]


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


# How to show the children of one parent, for an API version: all of them, or a first page.
Pager = Callable[[Result, str], dict[str, Any]]


def all_at_once(found: Result, version: str) -> dict[str, Any]:
    """Children in one page, however many there are."""
    return {"totalSize": found.total, "done": True, "records": found.records(0, found.total, version)}


def run_query(
    org: Org,
    text: str,
    *,
    with_deleted: bool = False,
    pager: Pager = all_at_once,
    user: User | None = None,
) -> Result:
    """
    Answer the query *text*; *with_deleted* as queryAll does; *pager* shows the children of subqueries. *user*: who asks,
    where something may be hidden from them.

    Raises:
        BadRequest: MALFORMED_QUERY, INVALID_TYPE, INVALID_FIELD and their like, with the place in the text.
    """
    return run_parsed(org, parse(text), with_deleted=with_deleted, pager=pager, user=user)


def run_parsed(
    org: Org,
    query: Query,
    *,
    with_deleted: bool = False,
    also: Matching | None = None,
    pager: Pager = all_at_once,
    user: User | None = None,
) -> Result:
    """Answer a query that was read before; of the rows of its table, only those that *also* says."""
    name = org.object_name(query.source)
    if name is None:
        raise invalid_type(query.text, query.source_at, query.source)
    hidden = frozenset[str]() if user is None else org.hidden(user, name)
    if hidden is None:
        raise invalid_type(query.text, query.source_at, query.source)
    for item in query.select if hidden else ():
        if isinstance(item, Selected) and isinstance(path := item.what, Path) and path.parts[0] in hidden:
            what = f"No such column '{path.parts[0]}' on entity '{name}'"
            raise invalid_field(query.text, path.at, what)
    table = org.tables[name]
    with org.lock:
        if name in (OWN_RIGHTS, "ObjectPermissions") and user is not None:
            org.show_rights(user)
        plan = _Plan(org, table, query, with_deleted=with_deleted, pager=pager)
        unseen = None if user is None else org.unseen(user, name)
        seen = None if unseen is None else (lambda row: not unseen(str(row["Id"])))
        if query.scope == "mine":
            seen = _both(seen, _owned_by(user, table, query))
        found = plan.run(_both(seen, None if also is None else also(table)))
    if query.viewed and user is not None:
        # When that was is not kept: each user would have a time of their own.
        for row in found.rows:
            org.recent.touch(user.user_id, str(row["Id"]))
    return found


def _owned_by(user: User | None, table: Table, query: Query) -> Test:
    if user is None or table.type.field("OwnerId") is None:
        raise malformed(query.text, query.source_at, f"the scope mine is not supported by {table.type.name}")
    return lambda row: row.get("OwnerId") == user.user_id


def row_test(org: Org, object_name: str, condition: str) -> Test:
    """A condition as it would stand in WHERE, as a test of rows of one object. Raises BadRequest, as run_query."""
    query = parse(f"SELECT Id FROM {object_name} WHERE {condition}")
    if query.where is None or query.order or query.limit is not None:
        raise malformed(query.text, query.source_at, "a condition is needed, and nothing else")
    scope = Scope.of(org, org.tables[object_name], query, with_deleted=False)

    def refuse(join: SemiJoin) -> Test:
        raise malformed(query.text, join.left.at, "Semi join sub-selects are not allowed here")

    return Conditions(query.text, scope.getter, refuse, org.clock.now_ms()).test(query.where)


class _Plan:
    """One query on one table; those inside it have plans of their own."""

    def __init__(
        self,
        org: Org,
        table: Table,
        query: Query,
        *,
        with_deleted: bool,
        pager: Pager = all_at_once,
        depth: int = 1,
    ) -> None:
        self._org = org
        self._table = table
        self._query = query
        self._with_deleted = with_deleted
        self._pager = pager
        self._depth = depth
        self._scope = Scope.of(org, table, query, with_deleted=with_deleted)
        self._joined: dict[int, frozenset[str]] = {}  # what a semi-join found, by the place of its field
        now_ms = org.clock.now_ms()
        self._conditions = Conditions(query.text, self._scope.getter, self._membership, now_ms)
        self._now_ms = now_ms

    def run(self, also: Test | None = None) -> Result:
        query = self._query
        if query.offset > OFFSET_MAX:
            raise BadRequest("NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {OFFSET_MAX}")
        if query.having is not None and not query.group_by:
            raise malformed(query.text, query.source_at, "HAVING needs a GROUP BY")
        test = _both(also, None if query.where is None else self._conditions.test(query.where))
        if query.counts_rows and not query.group_by:
            return self._count(test)
        if query.grouped:
            grouped = Grouped(self._scope, query, self._now_ms)
            records = grouped.records(list(self._found(test)))
            return Result(len(records), aggregates=tuple(records))
        presenter = Selection(self._scope, query, self._children).presenter()
        rows = self._rows(test)
        return Result(len(rows), rows, presenter)

    def _count(self, test: Test | None) -> Result:
        query = self._query
        if query.order:
            raise malformed(query.text, query.order[0].by.at, "unexpected token: 'ORDER'")
        count = sum(1 for _row in self._found(test))
        return Result(min(count, query.limit) if query.limit is not None else count)

    def _rows(self, test: Test | None) -> list[Row]:
        query = self._query
        sort = Sort(query, self._scope.getter)
        end = None if query.limit is None else query.offset + query.limit
        by_id = not query.order or (
            len(query.order) == 1 and not query.order[0].descending and self._is_by_id()
        )
        rows = list(islice(self._found(test), end if by_id else None))
        if not by_id:
            sort.apply(rows)
        return rows[query.offset : end]

    def _found(self, test: Test | None) -> Iterable[Row]:
        found = self._candidates()
        return found if test is None else filter(test, found)

    def _is_by_id(self) -> bool:
        by = self._query.order[0].by
        if not isinstance(by, Path):
            return False
        steps, field = self._scope.resolve(by)
        return not steps and field.type == "id"

    # Subqueries

    def _children(self, query: Query) -> tuple[str, Callable[[Row, str], Any]]:
        """The relationship of a child subquery as the describe spells it, and how to show a parent's children."""
        child = self._table.type.child(query.source)
        table = None if child is None else self._org.tables.get(child[0])
        reference = None if child is None or table is None else table.type.field(child[1])
        if table is None or reference is None:
            raise invalid_child(query.text, query.source_at, query.source)
        if self._depth >= DEPTH_MAX:
            what = f"a query cannot have more than {DEPTH_MAX} levels of subqueries"
            raise malformed(query.text, query.source_at, what)
        if query.grouped or query.counts_rows:
            what = "Aggregate functions are not supported in subqueries"
            raise malformed(query.text, query.source_at, what)
        plan = _Plan(
            self._org,
            table,
            query,
            with_deleted=self._with_deleted,
            pager=self._pager,
            depth=self._depth + 1,
        )
        return self._table.type.child_name(query.source), plan.of_parents(reference)

    def of_parents(self, reference: Field) -> Callable[[Row, str], Any]:
        """How to show the children of one parent. They are found now, in the same moment as the parents."""
        query = self._query
        test = None if query.where is None else self._conditions.test(query.where)
        presenter = Selection(self._scope, query, self._children).presenter()
        sort = Sort(query, self._scope.getter)
        families: dict[str, list[Row]] = {}
        for row in self._found(test):
            if (parent := row.get(reference.name)) is not None:
                families.setdefault(str(parent), []).append(row)
        end = None if query.limit is None else query.offset + query.limit
        for parent, rows in families.items():
            sort.apply(rows)
            families[parent] = rows[query.offset : end]

        def show(row: Row, version: str) -> Any:
            children = families.get(str(row["Id"]))
            return self._pager(Result(len(children), children, presenter), version) if children else None

        return show

    def _membership(self, join: SemiJoin) -> Test:
        steps, field = self._scope.resolve(join.left)
        text = self._query.text
        if field.type not in {"id", "reference"}:
            what = f"The left operand field in the where expression for outer query should be an id field, cannot use: '{field.name}'"
            raise malformed(text, join.left.at, what)
        ids = self._inner_ids(join, steps, field)
        get = self._scope.getter(join.left)[1]
        if join.anti:
            return lambda row: get(row) not in ids
        if not steps:
            self._joined[join.left.at] = ids
        return lambda row: get(row) in ids

    def _inner_ids(self, join: SemiJoin, steps: Sequence[Field], outer: Field) -> frozenset[str]:
        inner, text = join.inner, self._query.text
        name = self._org.object_name(inner.source)
        if name is None:
            raise invalid_type(text, inner.source_at, inner.source)
        if name == self._table.type.name and not steps and outer.type == "id":
            what = "The inner and outer selects should not be on the same object type"
            raise malformed(text, inner.source_at, what)
        [item, *more] = inner.select
        if more or not isinstance(item, Selected) or not isinstance(item.what, Path):
            what = "semi join sub-selects can only query id fields, and one of them"
            raise malformed(text, inner.source_at, what)
        if inner.order or inner.limit is not None or inner.offset or inner.group_by:
            what = "semi join sub-selects cannot use ORDER BY, LIMIT, OFFSET or GROUP BY"
            raise malformed(text, inner.source_at, what)
        if any(isinstance(each, SemiJoin) for each in _conjuncts(inner.where)):
            raise malformed(text, inner.source_at, "Nesting of semi join sub-selects is not supported")
        plan = _Plan(self._org, self._org.tables[name], inner, with_deleted=False)
        inner_steps, field = plan._scope.resolve(item.what)
        if len(inner_steps) > 1:
            what = "inner select field cannot have more than one level of relationships"
            raise malformed(text, item.what.at, what)
        if field.type not in {"id", "reference"}:
            what = f"The inner select field '{field.name}' cannot be used: it is no id field"
            raise malformed(text, item.what.at, what)
        if not _targets(self._table, steps, outer) & _targets(plan._table, inner_steps, field):
            what = (
                f"The selected field '{field.name}' in the subquery and the left operand field '{outer.name}' in the "
                f"where expression in the outer query should point to the same object type"
            )
            raise malformed(text, item.what.at, what)
        return plan.ids_of(item.what)

    def ids_of(self, path: Path) -> frozenset[str]:
        """The ids in a field of the rows that the query finds."""
        get = self._scope.getter(path)[1]
        test = None if self._query.where is None else self._conditions.test(self._query.where)
        return frozenset(str(value) for row in self._found(test) if (value := get(row)) is not None)

    # Where to look

    def _candidates(self) -> Iterable[Row]:
        """The rows that may match, by Id: as few as the indexes make possible."""
        after, to = "", None
        for condition in _conjuncts(self._query.where):
            if isinstance(condition, SemiJoin):
                found = self._of_join(condition)
                if found is not None:
                    return found
                continue
            if not isinstance(condition.left, Path) or len(condition.left.parts) != 1:
                continue
            field = self._table.type.field(condition.left.parts[0])
            if field is None or any(constant.kind == "null" for constant in condition.values):
                continue
            at, value = condition.left.at, self._conditions.value
            if condition.operator in {"=", "IN"} and field.type == "id":
                ids = [value(field, constant, at, fold=False) for constant in condition.values]
                return self._table.rows_of(ids, with_deleted=self._with_deleted)
            if condition.operator in {"=", "IN"} and field.indexed and not self._with_deleted:
                keys: set[str] = set()
                for constant in condition.values:
                    keys.update(self._table.find(field, value(field, constant, at, fold=False)))
                return self._table.rows_of(keys)
            if condition.operator in {">", ">="} and field.type == "id":
                bound = value(field, condition.values[0], at, fold=False)
                after = max(after, bound if condition.operator == ">" else "")
            if condition.operator in {"<", "<="} and field.type == "id":
                bound = value(field, condition.values[0], at, fold=False)
                to = bound if to is None else min(to, bound)
        return self._table.rows(with_deleted=self._with_deleted, after=after, to=to)

    def _of_join(self, join: SemiJoin) -> Iterable[Row] | None:
        """The rows that a semi-join leaves over, if an index knows them."""
        ids = self._joined.get(join.left.at)
        field = self._table.type.field(join.left.parts[0])
        if ids is None or join.anti or field is None:
            return None
        if field.type == "id":
            return self._table.rows_of(ids, with_deleted=self._with_deleted)
        if self._with_deleted:
            return None
        return self._table.rows_of(each for value in ids for each in self._table.find(field, value))


def _both(one: Test | None, other: Test | None) -> Test | None:
    if one is None or other is None:
        return other if one is None else one
    return lambda row: one(row) and other(row)


def _targets(table: Table, steps: Sequence[Field], field: Field) -> set[str]:
    """The objects that an id field may lead to."""
    if field.type != "id":
        return set(field.reference_to)
    return set(steps[-1].reference_to) if steps else {table.type.name}


def _conjuncts(condition: Condition | None) -> Iterable[Comparison | SemiJoin]:
    """The comparisons that every match must pass."""
    if isinstance(condition, Comparison | SemiJoin):
        yield condition
    elif isinstance(condition, AllOf):
        for part in condition.conditions:
            yield from _conjuncts(part)
