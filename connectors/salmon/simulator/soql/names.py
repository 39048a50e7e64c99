"""
What the names in a query stand for: fields of the object, of its parents, and functions of them.

A relationship that may lead to several objects (Owner, Who, What) leads to a Name: it has the fields that all of them
share, and Type, the name of the object (SOQL and SOSL Reference, "Understanding Polymorphic Keys and Relationships").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from salmon.simulator.org.objects.object_types import Field
from salmon.simulator.org.org import Org
from salmon.simulator.org.presenting import NAME_FIELDS
from salmon.simulator.org.table import Table
from salmon.simulator.org.transaction import Row, Stored
from salmon.simulator.soql import functions
from salmon.simulator.soql.syntax import (
    AGGREGATES,
    Expression,
    Function,
    Path,
    Query,
    invalid_field,
    malformed,
)

PARENT_STEPS_MAX = 5  # SOQL Reference, "Understanding Relationship Query Limitations"

Getter = Callable[[Row], Stored]


class Scope:
    """The object that a query is about, and the text that its errors point into."""

    def __init__(self, org: Org, table: Table, text: str, *, with_deleted: bool) -> None:
        self.org = org
        self.table = table
        self.text = text
        self.with_deleted = with_deleted

    @classmethod
    def of(cls, org: Org, table: Table, query: Query, *, with_deleted: bool) -> Scope:
        """The scope of a query on *table*."""
        return cls(org, table, query.text, with_deleted=with_deleted)

    def resolve(self, path: Path) -> tuple[tuple[Field, ...], Field]:
        """The references to follow, and the field at the end. Raises BadRequest: INVALID_FIELD."""
        tables = [self.table]
        if len(path.parts) - 1 > PARENT_STEPS_MAX:
            raise malformed(self.text, path.at, "SOQL relationships cannot go beyond five levels")
        steps: list[Field] = []
        for part in path.parts[:-1]:
            step, tables = self._step(tables, path, part)
            steps.append(step)
        name = path.parts[-1]
        if steps and len(steps[-1].reference_to) > 1:
            return tuple(steps), self._name_field(tables, path, steps[-1], name)
        field = tables[0].type.field(name)
        if field is None:
            self._no_such_column(path, name, tables[0].type.name)
        return tuple(steps), field

    def relationship(self, path: Path) -> Field:
        """The reference field whose relationship *path* names, of this object itself."""
        if len(path.parts) != 1:
            raise malformed(self.text, path.at, f"unexpected token: '{'.'.join(path.parts)}'")
        return self._step([self.table], path, path.parts[0])[0]

    def canonical(self, path: Path) -> tuple[str, ...]:
        """The path as the describes spell it."""
        steps, field = self.resolve(path)
        return (*(str(step.relationship) for step in steps), field.name)

    def getter(self, what: Expression) -> tuple[Field, Getter]:
        """What an expression is like, as a field, and how to get it of a row."""
        if isinstance(what, Function):
            return self._function(what)
        steps, field = self.resolve(what)
        name = field.name
        if not steps:
            return field, lambda row: row.get(name)
        names = [step.name for step in steps]
        if len(steps[-1].reference_to) > 1 and name == "Type":
            # The object of a polymorphic lookup is told by its id.
            *before, last = names
            return field, lambda row: self._type_name(self._follow(row, before), last)

        def get(row: Row) -> Stored:
            parent = self._follow(row, names)
            return None if parent is None else parent.get(name)

        return field, get

    def _follow(self, row: Row, steps: Sequence[str]) -> Row | None:
        current: Row | None = row
        for step in steps:
            parent_id = None if current is None else current.get(step)
            holder = None if parent_id is None else self.org.by_prefix.get(str(parent_id)[:3])
            current = None if holder is None else holder.get(str(parent_id), with_deleted=True)
        return current

    def _type_name(self, row: Row | None, reference: str) -> str | None:
        target = None if row is None else row.get(reference)
        holder = None if target is None else self.org.by_prefix.get(str(target)[:3])
        return None if holder is None else holder.type.name

    def _step(self, tables: Sequence[Table], path: Path, part: str) -> tuple[Field, list[Table]]:
        step = next((found for table in tables if (found := table.type.relationship(part))), None)
        parents = (
            [] if step is None else [self.org.tables[n] for n in step.reference_to if n in self.org.tables]
        )
        if step is None or not parents:
            what = (
                f"Didn't understand relationship '{part}' in field path. If you are attempting to use a custom "
                f"relationship, be sure to append the '__r' after the custom relationship name. Please "
                f"reference your WSDL or the describe call for the appropriate names."
            )
            raise invalid_field(self.text, path.at, what)
        return step, parents

    def _name_field(self, tables: Sequence[Table], path: Path, reference: Field, name: str) -> Field:
        canonical = NAME_FIELDS.get(name.lower())
        if canonical is None:
            self._no_such_column(path, name, "Name")
        if canonical != "Type":
            found = next((field for table in tables if (field := table.type.field(canonical))), None)
            if found is not None:
                return found
        return replace(
            reference, name=canonical, label=canonical, type="string", reference_to=(), relationship=None
        )

    def _no_such_column(self, path: Path, name: str, entity: str) -> NoReturn:
        what = (
            f"No such column '{name}' on entity '{entity}'. If you are attempting to use a custom "
            f"field, be sure to append the '__c' after the custom field name. Please reference your WSDL or "
            f"the describe call for the appropriate names."
        )
        raise invalid_field(self.text, path.at, what)

    def _function(self, function: Function) -> tuple[Field, Getter]:
        if function.name in AGGREGATES or function.name == "GROUPING" or function.argument is None:
            what = f"Aggregate function is not allowed here: {function.name}"
            raise malformed(self.text, function.at, what)
        field, get = self.getter(function.argument)
        if function.name == "TOLABEL":
            labels = self._labels(function.argument)
            return field, lambda row: _label(labels, get(row))
        if function.name == "CONVERTTIMEZONE":  # to that of the user, which is GMT
            if field.type != "datetime":
                self._wrong_type(function, field)
            return field, get
        if field.type not in {"date", "datetime"} or (
            function.name in functions.OF_TIME and field.type == "date"
        ):
            self._wrong_type(function, field)
        kind = "date" if function.name == "DAY_ONLY" else "int"
        apply = functions.DATE_FUNCTIONS[function.name]

        def applied(row: Row) -> Stored:
            value = get(row)
            return None if value is None else apply(str(value))

        return replace(field, type=kind, filterable=True, groupable=True, sortable=True), applied

    def _wrong_type(self, function: Function, field: Field) -> NoReturn:
        what = f"function {function.name} cannot be used with field '{field.name}' of type {field.type}"
        raise invalid_field(self.text, function.at, what)

    def _labels(self, argument: Expression) -> dict[str, str]:
        if not isinstance(argument, Path):
            raise malformed(self.text, argument.at, "toLabel takes a field")
        steps, field = self.resolve(argument)
        holder = self.table if not steps else self.org.tables[steps[-1].reference_to[0]]
        entries: Any = holder.type.describe["fields"]
        found = next((each.get("picklistValues") for each in entries if each["name"] == field.name), None)
        return {each["value"]: each.get("label") or each["value"] for each in found or ()}


def _label(labels: dict[str, str], value: Stored) -> Stored:
    if not isinstance(value, str):
        return value
    return ";".join(labels.get(part, part) for part in value.split(";"))
