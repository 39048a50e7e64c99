"""WHERE and HAVING as tests of a row: which operators a field takes, and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from salmon.simulator.org.objects.object_types import TEXT_TYPES, Field
from salmon.simulator.org.transaction import Row
from salmon.simulator.soql.dates import date_span
from salmon.simulator.soql.names import Getter
from salmon.simulator.soql.syntax import (
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    Constant,
    Expression,
    Not,
    SemiJoin,
    invalid_field,
    malformed,
)
from salmon.simulator.soql.values import Mistyped, like_pattern, stored_constant

Test = Callable[[Row], bool]
# How an expression is like, as a field, and how to get it: of a row in WHERE, of a group in HAVING.
Reader = Callable[[Expression], tuple[Field, Getter]]
Membership = Callable[[SemiJoin], Test]

SEMI_JOINS_MAX = 2


class Conditions:
    """Makes tests of the conditions of one query. *membership* makes those of semi-joins."""

    def __init__(self, text: str, read: Reader, membership: Membership, now_ms: int) -> None:
        self._text = text
        self._read = read
        self._membership = membership
        self._now_ms = now_ms

    def test(self, condition: Condition) -> Test:
        """
        Whether a row passes.

        Raises:
            BadRequest: INVALID_FIELD or MALFORMED_QUERY, with the place.
        """
        check_semi_joins(self._text, condition)
        return self._test(condition)

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
        if isinstance(condition, SemiJoin):
            return self._membership(condition)
        return self._compare(condition)

    def _compare(self, comparison: Comparison) -> Test:
        field, get = self._read(comparison.left)
        at, operator = comparison.left.at, comparison.operator
        if not field.filterable:
            raise invalid_field(self._text, at, f"field '{field.name}' can not be filtered in a query call")
        if operator in {"INCLUDES", "EXCLUDES"}:
            return self._compare_choices(comparison, field, get)
        if operator == "LIKE":
            return self._compare_like(comparison, field, get)
        if comparison.values[0].kind == "dateword":
            return self._compare_dates(comparison, field, get)
        fold = field.type in TEXT_TYPES and not field.case_sensitive
        values = [self.value(field, constant, at, fold=fold) for constant in comparison.values]

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
            raise invalid_field(self._text, at, f"invalid operator on {field.type} field")
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
            raise invalid_field(self._text, comparison.left.at, what)
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
            raise invalid_field(self._text, comparison.left.at, what)
        pattern = like_pattern(constant.like)
        return lambda row: (value := get(row)) is not None and pattern.fullmatch(str(value)) is not None

    def _compare_dates(self, comparison: Comparison, field: Field, get: Getter) -> Test:
        constant = comparison.values[0]
        span = date_span(field, constant.text, self._now_ms)
        if span is None or len(comparison.values) > 1:
            raise malformed(self._text, comparison.left.at, f"unexpected token: '{constant.text}'")
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
            raise malformed(self._text, comparison.left.at, f"unexpected token: '{constant.text}'")
        test = tests[comparison.operator]
        return lambda row: (value := get(row)) is not None and test(str(value))

    def value(self, field: Field, constant: Constant, at: int, *, fold: bool) -> Any:
        """The constant as a row would hold it. Raises BadRequest where it is of another type than the field."""
        try:
            return stored_constant(field, constant, fold=fold)
        except Mistyped as error:
            raise invalid_field(self._text, at, str(error)) from None


def check_semi_joins(text: str, condition: Condition, *, top: bool = True) -> None:
    """Raises BadRequest where semi-joins stand where they may not: below OR, below NOT, or three of them."""
    if top and len(found := list(_semi_joins(condition))) > SEMI_JOINS_MAX:
        what = f"Maximum {SEMI_JOINS_MAX} semi join sub-selects are allowed"
        raise malformed(text, found[SEMI_JOINS_MAX].left.at, what)
    parts: tuple[Condition, ...] = ()
    if isinstance(condition, AllOf | AnyOf):
        parts = condition.conditions
    elif isinstance(condition, Not):
        parts = (condition.condition,)
    for part in parts:
        if isinstance(part, SemiJoin):
            if isinstance(condition, AnyOf):
                what = "Semi join sub-selects are not allowed with the 'OR' operator"
                raise malformed(text, part.left.at, what)
            if isinstance(condition, Not) or not top:
                what = "Semi join sub-selects are only allowed at the top level WHERE expressions"
                raise malformed(text, part.left.at, what)
        else:
            check_semi_joins(text, part, top=False)


def _semi_joins(condition: Condition) -> list[SemiJoin]:
    if isinstance(condition, SemiJoin):
        return [condition]
    if isinstance(condition, Not):
        return _semi_joins(condition.condition)
    if isinstance(condition, AllOf | AnyOf):
        return [found for part in condition.conditions for found in _semi_joins(part)]
    return []
