"""GROUP BY, HAVING and the aggregate functions: rows in, one record for each group out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import combinations
from typing import Any, NoReturn

from salmon.simulator.org.objects.object_types import TEXT_TYPES, Field
from salmon.simulator.org.transaction import Row, Stored
from salmon.simulator.soql.conditions import Conditions
from salmon.simulator.soql.names import Getter, Scope
from salmon.simulator.soql.sorting import Sort
from salmon.simulator.soql.syntax import (
    AGGREGATES,
    Expression,
    Function,
    Path,
    Query,
    Selected,
    SemiJoin,
    malformed,
)

GROUPS_MAX = 2000  # an AggregateResult answer has no second page
_NUMBERS = frozenset({"double", "currency", "percent", "int", "long"})
_NOT_COUNTED = frozenset({"address", "location", "base64"})
_NOT_ORDERED = frozenset({"boolean", "reference", "id", "multipicklist", *_NOT_COUNTED})


@dataclass(frozen=True, slots=True)
class _Made:
    """One selected column: its name in the answer, and its value in a group."""

    name: str
    get: Getter


class Grouped:
    """What a grouped query answers. A group is held as a row of its own, of which HAVING and ORDER BY read."""

    def __init__(self, scope: Scope, query: Query, now_ms: int) -> None:
        self._scope = scope
        self._query = query
        self._keys = [(self._key_name(what), what, *self._key(what)) for what in query.group_by]
        self._aggregates: dict[str, Callable[[Sequence[Row]], Stored]] = {}
        self._columns = self._columns_of()
        conditions = Conditions(query.text, self._read, self._no_semi_join, now_ms)
        self._having = None if query.having is None else conditions.test(query.having)
        self._sort = Sort(query, self._read_ordered)
        self._check()

    def records(self, rows: Iterable[Row]) -> list[dict[str, Any]]:
        """The answer's records, in order, limited as the query says."""
        groups = [
            self._group(level, key, members)
            for level in self._levels()
            for key, members in self._split(level, rows)
        ]
        if self._having is not None:
            groups = [group for group in groups if self._having(group)]
        self._sort.apply(groups)
        query = self._query
        end = None if query.limit is None else query.offset + query.limit
        found = groups[query.offset : end]
        if len(found) > GROUPS_MAX:
            what = "Aggregate query has too many rows for direct assignment, use FOR loop"
            raise malformed(query.text, 0, what)
        return [
            {
                "attributes": {"type": "AggregateResult"},
                **{made.name: made.get(group) for made in self._columns},
            }
            for group in found
        ]

    # Groups

    def _levels(self) -> list[tuple[int, ...]]:
        """The sets of keys to group by: all of them, and with ROLLUP or CUBE fewer and fewer."""
        every = tuple(range(len(self._keys)))
        if self._query.group_kind == "ROLLUP":
            return [every[:count] for count in range(len(every), -1, -1)]
        if self._query.group_kind == "CUBE":
            return [chosen for count in range(len(every), -1, -1) for chosen in combinations(every, count)]
        return [every]

    def _split(self, level: Sequence[int], rows: Iterable[Row]) -> list[tuple[tuple[Stored, ...], list[Row]]]:
        found: dict[tuple[Any, ...], tuple[tuple[Stored, ...], list[Row]]] = {}
        for row in rows:
            key = tuple(self._keys[n][3](row) for n in level)
            folded = tuple(
                value.lower() if isinstance(value, str) and self._keys[n][2].type in TEXT_TYPES else value
                for n, value in zip(level, key, strict=True)
            )
            found.setdefault(folded, (key, []))[1].append(row)
        if not found and not level:  # Without groups there is one record, also of no rows.
            return [((), [])]
        return [found[key] for key in sorted(found, key=lambda each: [(v is not None, v) for v in each])]

    def _group(self, level: Sequence[int], key: Sequence[Stored], members: Sequence[Row]) -> Row:
        group: dict[str, Stored] = {}
        for n, (name, *_rest) in enumerate(self._keys):
            group[name] = key[level.index(n)] if n in level else None
            group[f"GROUPING({name})"] = 0 if n in level else 1
        for name, aggregate in self._aggregates.items():
            group[name] = aggregate(members)
        return group

    # What may be asked for

    def _columns_of(self) -> list[_Made]:
        columns: list[_Made] = []
        unnamed = 0
        for item in self._query.select:
            if not isinstance(item, Selected):
                what = "a grouped query selects grouped fields and aggregates only"
                raise malformed(self._query.text, self._query.source_at, what)
            name = item.alias
            get = self._read(item.what)[1]
            if not name and isinstance(item.what, Function):
                name = f"expr{unnamed}"
                unnamed += 1
            elif not name:
                name = self._scope.canonical(item.what)[-1]  # type: ignore[arg-type]
            if any(made.name.lower() == name.lower() for made in columns):
                raise malformed(self._query.text, item.what.at, f"duplicate alias: {name}")
            columns.append(_Made(name, get))
        return columns

    def _read(self, what: Expression) -> tuple[Field, Getter]:
        return self._read_as("Field must be grouped or aggregated", what)

    def _read_ordered(self, what: Expression) -> tuple[Field, Getter]:
        return self._read_as("Ordered field must be grouped or aggregated", what)

    def _read_as(self, rule: str, what: Expression) -> tuple[Field, Getter]:
        """An aggregate, or a key of the group, as a field of the group and how to get it of one."""
        if isinstance(what, Function) and what.name in AGGREGATES:
            return self._aggregate(what)
        asked = what
        if isinstance(what, Function) and what.name == "GROUPING" and what.argument is not None:
            asked = what.argument
        name = self._key_name(asked)
        found = next((field for key, _what, field, _get in self._keys if key == name), None)
        if found is None:
            raise malformed(self._query.text, asked.at, f"{rule}: {name}")
        if asked is not what:
            grouping = f"GROUPING({name})"
            return replace(found, type="int", filterable=True, sortable=True), lambda group: group.get(
                grouping
            )
        return found, lambda group: group.get(name)

    def _aggregate(self, function: Function) -> tuple[Field, Getter]:
        text, argument = self._query.text, function.argument
        if argument is None:
            raise malformed(text, function.at, "Grouped query cannot use count() in the SELECT list")
        field, get = self._scope.getter(argument)
        if isinstance(argument, Path) and any(key == self._key_name(argument) for key, *_rest in self._keys):
            raise malformed(text, argument.at, f"Grouped field should not be aggregated: {field.name}")
        wanted = {"SUM": field.type in _NUMBERS, "AVG": field.type in _NUMBERS}.get(
            function.name,
            field.type not in (_NOT_ORDERED if function.name in {"MIN", "MAX"} else _NOT_COUNTED)
            and field.filterable,
        )
        if not wanted:
            what = f"field {field.name} does not support aggregate operator {function.name}"
            raise malformed(text, function.at, what)
        name = f"{function.name}({self._key_name(argument)})"
        self._aggregates[name] = _aggregator(function.name, field, get)
        kind = (
            "double" if function.name in {"SUM", "AVG"} else "int" if "COUNT" in function.name else field.type
        )
        shape = replace(
            field, type=kind, filterable=True, sortable=True, case_sensitive=False, reference_to=()
        )
        return shape, lambda group: group.get(name)

    def _key(self, what: Expression) -> tuple[Field, Getter]:
        field, get = self._scope.getter(what)
        if not field.groupable:
            found = f"field '{field.name}' can not be grouped in a query call"
            raise malformed(self._query.text, what.at, found)
        return field, get

    def _key_name(self, what: Expression) -> str:
        """An expression in one spelling, so that the same is known in SELECT, GROUP BY, HAVING and ORDER BY."""
        if isinstance(what, Path):
            return ".".join(self._scope.canonical(what))
        return f"{what.name}({'' if what.argument is None else self._key_name(what.argument)})"

    def _check(self) -> None:
        query = self._query
        if not query.group_by and query.limit is not None:
            what = "Non-grouped query that uses overall aggregate functions cannot also use LIMIT"
            raise malformed(query.text, query.source_at, what)

    def _no_semi_join(self, join: SemiJoin) -> NoReturn:
        raise malformed(self._query.text, join.left.at, "Semi join sub-selects are not allowed in HAVING")


def _aggregator(name: str, field: Field, get: Getter) -> Callable[[Sequence[Row]], Stored]:
    def values(rows: Sequence[Row]) -> list[Any]:
        return [value for row in rows if (value := get(row)) is not None]

    def folded(value: Any) -> Any:
        return value.lower() if isinstance(value, str) and field.type in TEXT_TYPES else value

    def total(rows: Sequence[Row]) -> Stored:
        found = values(rows)
        return _plain(sum(Decimal(str(value)) for value in found)) if found else None

    def average(rows: Sequence[Row]) -> Stored:
        found = values(rows)
        return float(sum(Decimal(str(value)) for value in found) / len(found)) if found else None

    made: dict[str, Callable[[Sequence[Row]], Stored]] = {
        "COUNT": lambda rows: len(values(rows)),
        "COUNT_DISTINCT": lambda rows: len({folded(value) for value in values(rows)}),
        "SUM": total,
        "AVG": average,
        "MIN": lambda rows: min(values(rows), key=folded, default=None),
        "MAX": lambda rows: max(values(rows), key=folded, default=None),
    }
    return made[name]


def _plain(number: Decimal | int) -> Stored:
    nearest = float(number)
    return nearest if Decimal(repr(nearest)) == number else Decimal(number)
