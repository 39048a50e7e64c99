"""
Filters of a request, in PostgREST's form, as a tree: `Amount=gte.1000`, `or=(StageName.eq.Won,not.Name.like.A*)`. Pure.

What they mean for MongoDB is in salmon.api.records.matching. The form is bounded: so many conditions, so deep, so long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from salmon.api.problems import Problem, at_fault
from salmon.api.records.scanning import Scanner

CONDITIONS_MAX: Final = 50
DEPTH_MAX: Final = 5
TEXT_MAX: Final = 10_000  # characters of one parameter
LIST_MAX: Final = 200  # values of one `in`
OPERATORS: Final = ("eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "in", "is", "cs")
_LOGICAL: Final = ("and", "or")


@dataclass(frozen=True, slots=True)
class Condition:
    """One field's. *values*: of `in` and `cs` any number, otherwise one."""

    field: str
    operator: str
    values: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """All of them (and), or any of them (or)."""

    operator: str
    parts: tuple[Condition | Group, ...]
    negated: bool = False


def filters_of(parameters: Iterable[tuple[str, str]]) -> Group:
    """
    The filters among a request's parameters; all of them count together.

    Raises:
        Problem: 400, naming the parameter.
    """
    budget = _Budget()
    return Group("and", tuple(_of_parameter(name, text, budget) for name, text in parameters))


class _Budget:
    """How many conditions there may still be."""

    def __init__(self) -> None:
        self.left = CONDITIONS_MAX

    def take(self, name: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise at_fault(name, "too-many-conditions", f"there are more than {CONDITIONS_MAX} conditions")


def _of_parameter(name: str, text: str, budget: _Budget) -> Condition | Group:
    if len(text) > TEXT_MAX:
        raise at_fault(_short(name), "too-long", f"is longer than {TEXT_MAX} characters")
    negated, word = _negated(name)
    if word in _LOGICAL:
        return _Parser(name, text, budget).group(word, negated)
    negated, rest = _negated(text)
    operator, dot, value = rest.partition(".")
    if not dot or operator not in OPERATORS:
        raise at_fault(
            _short(name),
            "unknown-operator",
            f"must begin with one of {', '.join(OPERATORS)} and a dot, e.g. eq.5",
        )
    budget.take(_short(name))
    values = _listed(name, value) if operator in {"in", "cs"} else (value,)
    return Condition(name, operator, values, negated)


def _negated(text: str) -> tuple[bool, str]:
    return (True, text.removeprefix("not.")) if text.startswith("not.") else (False, text)


def _listed(name: str, text: str) -> tuple[str, ...]:
    parser = _Parser(name, text, _Budget())
    values = parser.values()
    parser.end()
    return values


def _short(name: str) -> str:
    return ascii(name[:80])[1:-1]


class _Parser(Scanner):
    """Reads (a.eq.1,or(...),not.b.in.(x,"y,z")). Values in quotes may have anything; \\ takes the next character as it is."""

    def __init__(self, name: str, text: str, budget: _Budget) -> None:
        super().__init__(text)
        self._name, self._budget = _short(name), budget

    def group(self, operator: str, negated: bool) -> Group:
        """The whole text."""
        found = Group(operator, tuple(self._parts(1)), negated)
        self.end()
        return found

    def values(self) -> tuple[str, ...]:
        """(a,b,"c,d")"""
        found: list[str] = []
        self._expect("(")
        while not self._takes(")"):
            if found:
                self._expect(",")
            found.append(self._value())
            if len(found) > LIST_MAX:
                raise at_fault(self._name, "too-many-values", f"has more than {LIST_MAX} values")
        return tuple(found)

    def end(self) -> None:
        if self._at != len(self._text):
            raise self._wrong("has something after its end")

    def _parts(self, depth: int) -> Iterator[Condition | Group]:
        if depth > DEPTH_MAX:
            raise at_fault(self._name, "too-deep", f"is nested deeper than {DEPTH_MAX} levels")
        self._expect("(")
        first = True
        while first or not self._takes(")"):
            if not first:
                self._expect(",")
            first = False
            yield self._part(depth)

    def _part(self, depth: int) -> Condition | Group:
        negated = self._takes("not.")
        for word in _LOGICAL:
            if self._text.startswith(f"{word}(", self._at):
                self._at += len(word)
                return Group(word, tuple(self._parts(depth + 1)), negated)
        self._budget.take(self._name)
        field = self._until(".")
        negated = self._takes("not.") or negated
        operator = self._until(".")
        if operator not in OPERATORS:
            raise at_fault(
                self._name, "unknown-operator", f"has an operator that is none of {', '.join(OPERATORS)}"
            )
        values = self.values() if operator in {"in", "cs"} else (self._value(),)
        return Condition(field, operator, values, negated)

    def _value(self) -> str:
        if not self._takes('"'):
            return self._before(",)")
        found: list[str] = []
        while not self._takes('"'):
            if self._takes("\\") and self._at >= len(self._text):
                break
            if self._at >= len(self._text):
                break
            found.append(self._text[self._at])
            self._at += 1
        else:
            return "".join(found)
        raise self._wrong("has a quote that is never closed")

    def _until(self, mark: str) -> str:
        end = self._text.find(mark, self._at)
        if end < 0:
            raise self._wrong("has a condition that is not FIELD.OPERATOR.VALUE")
        found, self._at = self._text[self._at : end], end + 1
        return found

    def _expect(self, mark: str) -> None:
        if not self._takes(mark):
            raise self._wrong(f"lacks a {mark}")

    def _wrong(self, reason: str) -> Problem:
        return at_fault(self._name, "not-understood", f"{reason}; write e.g. (Name.eq.Acme,Amount.gt.5)")
