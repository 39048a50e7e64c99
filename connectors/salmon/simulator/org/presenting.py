"""Rows as the REST API shows them: attributes, parents inline, compound addresses, nulls spelt out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from salmon.simulator.org.objects.object_types import Field
from salmon.simulator.org.org import Org
from salmon.simulator.org.table import Table
from salmon.simulator.org.transaction import Row

# The parts of a compound value by the ending of their field's name (Object Reference, "Compound Fields").
_ADDRESS_PARTS = {
    "City": "city", "Country": "country", "CountryCode": "countryCode", "GeocodeAccuracy": "geocodeAccuracy",
    "Latitude": "latitude", "Longitude": "longitude", "PostalCode": "postalCode", "State": "state",
    "StateCode": "stateCode", "Street": "street",
}  # fmt: skip
# What all objects share that a polymorphic lookup may lead to (Object Reference, "Name"), by their names in lower case.
NAME_FIELDS = {
    name.lower(): name
    for name in (
        "Alias", "Email", "FirstName", "Id", "IsActive", "LastName", "LastReferencedDate", "LastViewedDate", "Name",
        "Phone", "ProfileId", "RecordTypeId", "Title", "Type", "Username", "UserRoleId",
    )
}  # fmt: skip
_LOCATION_PARTS = {"__Latitude__s": "latitude", "__Longitude__s": "longitude"}


class Presenter:
    """
    Shows rows of one table with the wanted fields, given as paths in the describes' own spelling.

    A path whose name is in *shown* is no field of the table: it is shown as that says.
    """

    def __init__(
        self,
        org: Org,
        table: Table,
        paths: Sequence[tuple[str, ...]],
        shown: Mapping[str, Callable[[Row, str], Any]] = MappingProxyType({}),
    ) -> None:
        object_type = table.type
        self._org = org
        self._name = object_type.name
        self._plain: list[str] = []
        self._special: dict[str, Callable[[Row, str], Any]] = {}
        order: list[str] = []
        nested: dict[str, list[tuple[str, ...]]] = {}
        for path in paths:
            if path[0] in shown:
                pass
            elif len(path) > 1:
                nested.setdefault(path[0], []).append(path[1:])
            elif path[0] in object_type.compounds:
                parts = _parts(object_type.compounds[path[0]])
                self._special[path[0]] = partial(_compound, parts)
            elif path[0] in object_type.base64_fields:
                self._special[path[0]] = partial(_blob_url, object_type.name, path[0])
            if path[0] not in order:
                order.append(path[0])
        for relationship, below in nested.items():
            field = object_type.relationship(relationship)
            if field is not None:
                self._special[relationship] = self._parent(field, below)
        self._special.update(shown)
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
                presenters[table.type.key_prefix] = (table, self._parent_presenter(field, table, below))

        def show(row: Row, version: str) -> Any:
            parent_id = row.get(field.name)
            found = None if parent_id is None else presenters.get(str(parent_id)[:3])
            if found is None:
                return None
            table, presenter = found
            parent = table.get(str(parent_id), with_deleted=True)
            return None if parent is None else presenter.record(parent, version)

        return show

    def _parent_presenter(self, field: Field, table: Table, below: list[tuple[str, ...]]) -> Presenter:
        if len(field.reference_to) < 2:
            return Presenter(self._org, table, below)
        # Of a Name, what this kind of record lacks is null, and its type is the object's name.
        name = table.type.name
        shown: dict[str, Callable[[Row, str], Any]] = {"Type": lambda _row, _version: name}
        return Presenter(
            self._org, table, below, {each: show for each, show in shown.items() if (each,) in below}
        )


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


def _blob_url(object_name: str, field: str, row: Row, version: str) -> str | None:
    """Where the bytes of a base64 field are, which is what it is shown as."""
    return f"/services/data/v{version}/sobjects/{object_name}/{row['Id']}/{field}" if row.get(field) else None


def _compound(parts: list[tuple[str, str]], row: Row, _version: str) -> dict[str, Any] | None:
    value = {name: row.get(field) for name, field in parts}
    return value if any(part is not None for part in value.values()) else None
