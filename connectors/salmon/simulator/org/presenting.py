"""Rows as the REST API shows them: attributes, parents inline, compound addresses, nulls spelt out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from salmon.simulator.org.object_types import Field
from salmon.simulator.org.org import Org
from salmon.simulator.org.table import Table
from salmon.simulator.org.transaction import Row

# The parts of a compound value by the ending of their field's name (Object Reference, "Compound Fields").
_ADDRESS_PARTS = {
    "City": "city", "Country": "country", "CountryCode": "countryCode", "GeocodeAccuracy": "geocodeAccuracy",
    "Latitude": "latitude", "Longitude": "longitude", "PostalCode": "postalCode", "State": "state",
    "StateCode": "stateCode", "Street": "street",
}  # fmt: skip
_LOCATION_PARTS = {"__Latitude__s": "latitude", "__Longitude__s": "longitude"}


class Presenter:
    """Shows rows of one table with the wanted fields, given as paths in the describes' own spelling."""

    def __init__(self, org: Org, table: Table, paths: Sequence[tuple[str, ...]]) -> None:
        object_type = table.type
        self._org = org
        self._name = object_type.name
        self._plain: list[str] = []
        self._special: dict[str, Callable[[Row, str], Any]] = {}
        order: list[str] = []
        nested: dict[str, list[tuple[str, ...]]] = {}
        for path in paths:
            if len(path) > 1:
                nested.setdefault(path[0], []).append(path[1:])
            elif path[0] in object_type.compounds:
                parts = _parts(object_type.compounds[path[0]])
                self._special[path[0]] = partial(_compound, parts)
            if path[0] not in order:
                order.append(path[0])
        for relationship, below in nested.items():
            field = object_type.relationship(relationship)
            if field is not None:
                self._special[relationship] = self._parent(field, below)
        self._plain = order
        self._all_plain = not self._special

    def records(self, rows: Sequence[Row], version: str) -> list[dict[str, Any]]:
        """The rows as JSON objects; *version* is the API version of their URLs, like 64.0."""
        name, plain = self._name, self._plain
        base = f"/services/data/v{version}/sobjects/{name}/"
        shown: list[dict[str, Any]] = []
        for row in rows:
            record: dict[str, Any] = {"attributes": {"type": name, "url": f"{base}{row['Id']}"}}
            get = row.get
            record.update([(field, get(field)) for field in plain])
            if not self._all_plain:
                for field, make in self._special.items():
                    record[field] = make(row, version)
            shown.append(record)
        return shown

    def record(self, row: Row, version: str) -> dict[str, Any]:
        """One row as a JSON object."""
        return self.records((row,), version)[0]

    def _parent(self, field: Field, below: list[tuple[str, ...]]) -> Callable[[Row, str], Any]:
        """How to show the parent that *field* refers to; each kind of parent shows the fields it has."""
        presenters: dict[str, tuple[Table, Presenter]] = {}
        for name in field.reference_to:
            table = self._org.tables.get(name)
            if table is not None:
                has = [path for path in below if len(path) > 1 or table.type.field(path[0]) is not None]
                presenters[table.type.key_prefix] = (table, Presenter(self._org, table, has))

        def show(row: Row, version: str) -> Any:
            parent_id = row.get(field.name)
            found = None if parent_id is None else presenters.get(str(parent_id)[:3])
            if found is None:
                return None
            table, presenter = found
            parent = table.get(str(parent_id), with_deleted=True)
            return None if parent is None else presenter.record(parent, version)

        return show


def all_fields(table: Table) -> list[tuple[str, ...]]:
    """Every field of an object, as paths."""
    return [(field.name,) for field in table.type.fields]


def _parts(fields: Sequence[Field]) -> list[tuple[str, str]]:
    """(JSON name, field name) of the parts of a compound field, in the API's order."""
    parts = []
    for field in fields:
        endings = [
            (ending, name)
            for ending, name in {**_LOCATION_PARTS, **_ADDRESS_PARTS}.items()
            if field.name.endswith(ending)
        ]
        if endings:
            parts.append((max(endings, key=lambda pair: len(pair[0]))[1], field.name))
    return sorted(parts)


def _compound(parts: list[tuple[str, str]], row: Row, _version: str) -> dict[str, Any] | None:
    value = {name: row.get(field) for name, field in parts}
    return value if any(part is not None for part in value.values()) else None
