"""A parsed SOQL query as data, and the errors that name a place in its text (SOQL and SOSL Reference)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from salmon.simulator.org.refusals import BadRequest

LiteralKind = Literal["string", "datetime", "date", "number", "boolean", "null", "dateword"]
Operator = Literal["=", "!=", "<", "<=", ">", ">=", "LIKE", "IN", "NOT IN", "INCLUDES", "EXCLUDES"]


@dataclass(frozen=True, slots=True)
class Constant:
    """A value in a query; *text* is what is meant, without quotes and escapes."""

    kind: LiteralKind
    text: str
    like: str = ""  # of a string: with its backslashes, which LIKE needs


@dataclass(frozen=True, slots=True)
class Path:
    """A field, perhaps of a parent; *at* is where it stands in the text."""

    parts: tuple[str, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a field, or of another function; count() has no argument."""

    name: str  # in upper case
    argument: Expression | None
    at: int


Expression = Path | Function


@dataclass(frozen=True, slots=True)
class Comparison:
    """expression operator value(s)."""

    left: Expression
    operator: Operator
    values: tuple[Constant, ...]


@dataclass(frozen=True, slots=True)
class SemiJoin:
    """field IN (SELECT ...), or NOT IN."""

    left: Path
    inner: Query
    anti: bool


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class AllOf:
    """AND."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """OR."""

    conditions: tuple[Condition, ...]


Condition = Comparison | SemiJoin | Not | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class Order:
    """One ORDER BY item."""

    by: Expression
    descending: bool
    nulls_last: bool


@dataclass(frozen=True, slots=True)
class Selected:
    """A field or function, and the alias that was given to it."""

    what: Expression
    alias: str = ""


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """FIELDS(ALL), FIELDS(STANDARD) or FIELDS(CUSTOM)."""

    which: str
    at: int


@dataclass(frozen=True, slots=True)
class TypeOf:
    """TYPEOF relationship WHEN type THEN fields ... ELSE fields END."""

    relationship: Path
    whens: tuple[tuple[Path, tuple[Path, ...]], ...]
    otherwise: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query; a child subquery's *source* is the name of the relationship."""

    text: str
    source: str
    source_at: int
    select: tuple[Selected | FieldGroup | TypeOf | Query, ...]
    where: Condition | None = None
    group_by: tuple[Expression, ...] = ()
    group_kind: Literal["", "ROLLUP", "CUBE"] = ""
    having: Condition | None = None
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    scope: Literal["everything", "mine"] = "everything"
    viewed: bool = False  # FOR VIEW, FOR REFERENCE

    @property
    def counts_rows(self) -> bool:
        """Whether it is SELECT count() and nothing else."""
        only = self.select[0]
        return isinstance(only, Selected) and isinstance(only.what, Function) and only.what.argument is None

    @property
    def grouped(self) -> bool:
        """Whether it answers with groups of rows, not with rows."""
        return bool(self.group_by) or any(
            isinstance(item, Selected) and isinstance(item.what, Function) and item.what.name in AGGREGATES
            for item in self.select
        )


AGGREGATES = frozenset({"COUNT", "COUNT_DISTINCT", "SUM", "AVG", "MIN", "MAX"})


def malformed(text: str, at: int, what: str) -> BadRequest:
    """The query is no SOQL from here on."""
    return BadRequest("MALFORMED_QUERY", _pointing(text, at, what))


def invalid_field(text: str, at: int, what: str) -> BadRequest:
    """A field or relationship of the query does not exist, or not for this use."""
    return BadRequest("INVALID_FIELD", _pointing(text, at, what))


def invalid_type(text: str, at: int, name: str) -> BadRequest:
    """There is no such object."""
    what = (
        f"sObject type '{name}' is not supported. If you are attempting to use a custom object, be sure to append "
        f"the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names."
    )
    return BadRequest("INVALID_TYPE", _pointing(text, at, what))


def invalid_child(text: str, at: int, name: str) -> BadRequest:
    """There is no such relationship from a parent to its children."""
    what = (
        f"Didn't understand relationship '{name}' in FROM part of query call. If you are attempting to use a custom "
        f"relationship, be sure to append the '__r' after the custom relationship name. Please reference your WSDL "
        f"or the describe call for the appropriate names."
    )
    return BadRequest("INVALID_TYPE", _pointing(text, at, what))


def _pointing(text: str, at: int, what: str) -> str:
    start = max(0, at - 40)
    shown = " ".join(text[start : at + 40].splitlines()) or " "
    row = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return f"\n{shown}\n{' ' * (at - start)}^\nERROR at Row:{row}:Column:{column}\n{what}"
