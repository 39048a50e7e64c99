"""What a query shows of its rows: fields, groups of fields, TYPEOF, labels, and the children of subqueries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from salmon.simulator.org.presenting import Presenter
from salmon.simulator.org.transaction import Row
from salmon.simulator.soql.names import Scope
from salmon.simulator.soql.syntax import (
    FieldGroup,
    Function,
    Path,
    Query,
    Selected,
    TypeOf,
    invalid_field,
    invalid_type,
    malformed,
)

FIELDS_LIMIT_MAX = 200

Show = Callable[[Row, str], Any]
# The name of a child subquery's relationship, and how to show a parent's children.
Children = Callable[[Query], tuple[str, Show]]


class Selection:
    """The select list of a query that is not grouped."""

    def __init__(self, scope: Scope, query: Query, children: Children) -> None:
        self._scope = scope
        self._query = query
        self._children = children
        self._paths: list[tuple[str, ...]] = []
        self._shown: dict[str, Show] = {}

    def presenter(self) -> Presenter:
        """Shows the rows. Raises BadRequest where the list cannot be."""
        for item in self._query.select:
            if isinstance(item, FieldGroup):
                self._add_group(item)
            elif isinstance(item, TypeOf):
                self._add_type_of(item)
            elif isinstance(item, Query):
                name, show = self._children(item)
                self._add((name,), item.source_at, show)
            else:
                self._add_field(item)
        return Presenter(self._scope.org, self._scope.table, self._paths, self._shown)

    def _add(self, path: tuple[str, ...], at: int, show: Show | None = None) -> None:
        if path in self._paths:
            raise malformed(self._query.text, at, f"duplicate field selected: {'.'.join(path)}")
        self._paths.append(path)
        if show is not None:
            self._shown[path[0]] = show

    def _add_field(self, item: Selected) -> None:
        text, what = self._query.text, item.what
        if isinstance(what, Path):
            if item.alias:
                raise malformed(text, what.at, "only aggregate expressions use field aliasing")
            self._add(self._scope.canonical(what), what.at)
            return
        if what.name != "TOLABEL":
            field = self._scope.getter(what)[0]
            raise malformed(text, what.at, f"Field must be grouped or aggregated: {field.name}")
        self._add_label(item, what)

    def _add_label(self, item: Selected, function: Function) -> None:
        """toLabel(field) AS alias, or by the field's own name; of the object itself, not of a parent."""
        text, path = self._query.text, function.argument
        if not isinstance(path, Path) or self._scope.resolve(path)[0]:
            raise malformed(text, function.at, "toLabel of a parent's field is not served by the simulator")
        field, get = self._scope.getter(function)
        self._add((item.alias or field.name,), function.at, lambda row, _version: get(row))

    def _add_group(self, group: FieldGroup) -> None:
        query = self._query
        unbounded = (
            group.which != "standard"
        )  # "FIELDS()": the org does not know beforehand how many there are
        if unbounded and (query.limit is None or query.limit > FIELDS_LIMIT_MAX):
            what = f"The SOQL FIELDS function must have a LIMIT of at most {FIELDS_LIMIT_MAX}"
            raise malformed(query.text, query.source_at, what)
        for field in self._scope.table.type.fields:
            if group.which == "all" or (group.which == "custom") == field.name.endswith("__c"):
                self._add((field.name,), group.at)

    def _add_type_of(self, item: TypeOf) -> None:
        scope, text = self._scope, self._query.text
        reference = scope.relationship(item.relationship)
        if len(reference.reference_to) < 2:
            what = f"TYPEOF can only be used with polymorphic relationships: {reference.relationship}"
            raise invalid_field(text, item.relationship.at, what)
        presenters: dict[str, Presenter] = {}
        for kind, fields in item.whens:
            name = scope.org.object_name(".".join(kind.parts))
            if name is None or name not in reference.reference_to:
                raise invalid_type(text, kind.at, ".".join(kind.parts))
            presenters[name] = self._presenter_of(name, fields)
        names = [
            name for name in reference.reference_to if name in scope.org.tables and name not in presenters
        ]
        if item.otherwise:
            for path in item.otherwise:  # They are fields of a Name, whatever it is.
                scope.resolve(Path((*item.relationship.parts, *path.parts), path.at))
            for name in names:
                known = [path for path in item.otherwise if scope.org.tables[name].type.field(path.parts[0])]
                presenters[name] = self._presenter_of(name, known)

        def show(row: Row, version: str) -> Any:
            target = row.get(reference.name)
            table = None if target is None else scope.org.by_prefix.get(str(target)[:3])
            found = None if table is None else table.get(str(target), with_deleted=True)
            if table is None or found is None:
                return None
            presenter = presenters.get(table.type.name) or Presenter(scope.org, table, [])
            return presenter.record(found, version)

        self._add((str(reference.relationship),), item.relationship.at, show)

    def _presenter_of(self, name: str, fields: Sequence[Path]) -> Presenter:
        scope = Scope(self._scope.org, self._scope.org.tables[name], self._query.text, with_deleted=True)
        return Presenter(scope.org, scope.table, [scope.canonical(path) for path in fields])
