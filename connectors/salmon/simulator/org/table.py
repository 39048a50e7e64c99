"""
The records of one object: existing ones, the Recycle Bin, and the indexes to find them.

A stored row is never changed; a write replaces it by another. So a reader may keep a row.
Nothing is checked here: that is for records.py.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator

from salmon.simulator.org.ids import make_id
from salmon.simulator.org.objects.object_types import Field, ObjectType
from salmon.simulator.org.packed import PackedRows
from salmon.simulator.org.refusals import entity_is_deleted, invalid_cross_reference
from salmon.simulator.org.saving.conversions import conversions, converted
from salmon.simulator.org.transaction import Row, Stored


class Table:
    """Rows by id, in the order of their ids. Callers hold the org's lock."""

    def __init__(self, object_type: ObjectType) -> None:
        self.type = object_type
        self.live: dict[str, Row] = {}
        self.bin: dict[str, Row] = {}
        self.purged_ms = 0  # when records were last deleted for good
        self._ids: list[str] = []  # of live and deleted rows, sorted
        self._numbers_used = 0
        self._indexes: dict[str, dict[Stored, set[str]]] = {
            field.name: {} for field in object_type.indexed_fields
        }

    def retype(self, object_type: ObjectType) -> None:
        """
        Let the object have other fields: rows lose what is gone, get the default of a boolean that is new, and hold what a field of
        another type can take.
        """
        before, self.type = self.type, object_type
        gone = {field.name for field in before.fields} - {field.name for field in object_type.fields}
        new = {name: value for name, value in object_type.defaults.items() if before.field(name) is None}
        new = {name: value for name, value in new.items() if isinstance(value, bool)}
        retyped = list(conversions(before, object_type))
        for rows in (self.live, self.bin):
            for record_id, row in list(rows.items()):
                if new or retyped or not gone.isdisjoint(row):
                    kept = {key: value for key, value in row.items() if key not in gone}
                    values = {f.name: converted(row.get(f.name), f, to) for f, to in retyped}
                    rows[record_id] = {**new, **kept, **values}
        self._indexes = {field.name: {} for field in object_type.indexed_fields}
        for record_id, row in self.live.items():
            for field in object_type.indexed_fields:
                if (value := row.get(field.name)) is not None:
                    self._indexes[field.name].setdefault(field.index_key(value), set()).add(record_id)

    def pack(self) -> None:
        """Hold rows in a third of the memory from now on, and read and write them a little slower."""
        self.live = PackedRows(self.live.items())

    def new_id(self) -> str:
        """The next id; ids rise with the order of creation."""
        self._numbers_used += 1
        return make_id(self.type.key_prefix, self._numbers_used)

    def next_auto_number(self) -> str:
        """The number of the record that got the newest id, as an auto-number field shows it."""
        return f"{self._numbers_used:08d}"

    def alive(self, record_id: str) -> Row:
        """A live record. Raises Refusal: it is in the Recycle Bin, or was never there."""
        if (row := self.live.get(record_id)) is not None:
            return row
        raise entity_is_deleted() if record_id in self.bin else invalid_cross_reference()

    def put(self, row: Row) -> None:
        """Store a live row, in place of the one with its id."""
        record_id = str(row["Id"])
        before = self.live.get(record_id)
        if before is None and self.bin.pop(record_id, None) is None:
            self._add_id(record_id)
        self.live[record_id] = row
        for field in self.type.indexed_fields:
            name = field.name
            old, new = (None if before is None else before.get(name)), row.get(name)
            if old != new:
                self._unindex(field, old, record_id)
                if new is not None:
                    self._indexes[name].setdefault(field.index_key(new), set()).add(record_id)

    def discard(self, deleted: Row) -> None:
        """Move a live row to the Recycle Bin, where it looks like *deleted*."""
        record_id = str(deleted["Id"])
        self.remove(record_id)
        insort(self._ids, record_id)
        self.bin[record_id] = deleted

    def purge(self, ids: Iterable[str], now_ms: int) -> None:
        """Delete rows for good: not even the Recycle Bin has them any more."""
        for record_id in ids:
            self.remove(record_id)
            self.purged_ms = now_ms

    def remove(self, record_id: str) -> None:
        """Forget a row altogether, wherever it is."""
        if (row := self.live.pop(record_id, None)) is not None:
            for field in self.type.indexed_fields:
                self._unindex(field, row.get(field.name), record_id)
        elif self.bin.pop(record_id, None) is None:
            return
        place = bisect_right(self._ids, record_id) - 1
        del self._ids[place]

    def find(self, field: Field, value: Stored) -> list[str]:
        """The ids of the live rows with this value, sorted; *field* is Id or an indexed one."""
        if value is None:
            return []
        if field.type == "id":
            return [str(value)] if value in self.live else []
        return sorted(self._indexes[field.name].get(field.index_key(value), ()))

    def rows(self, *, with_deleted: bool = False, after: str = "", to: str | None = None) -> list[Row]:
        """All rows whose id is greater than *after*, and not greater than *to*, by id."""
        end = len(self._ids) if to is None else bisect_right(self._ids, to)
        return list(self._rows(self._ids[bisect_right(self._ids, after) : end], with_deleted))

    def rows_of(self, ids: Iterable[str], *, with_deleted: bool = False) -> list[Row]:
        """The rows with these ids, by id; ids without a row are passed over."""
        return list(self._rows(sorted(set(ids)), with_deleted))

    def get(self, record_id: str, *, with_deleted: bool = False) -> Row | None:
        """One row, or None."""
        row = self.live.get(record_id)
        return self.bin.get(record_id) if row is None and with_deleted else row

    def _rows(self, ids: Iterable[str], with_deleted: bool) -> Iterator[Row]:
        for record_id in ids:
            row = self.live.get(record_id)
            if row is None and with_deleted:
                row = self.bin.get(record_id)
            if row is not None:
                yield row

    def _add_id(self, record_id: str) -> None:
        if not self._ids or record_id > self._ids[-1]:
            self._ids.append(record_id)
        else:
            insort(self._ids, record_id)

    def _unindex(self, field: Field, value: Stored, record_id: str) -> None:
        if value is None:
            return
        key = field.index_key(value)
        if ids := self._indexes[field.name].get(key):
            ids.discard(record_id)
            if not ids:
                del self._indexes[field.name][key]
