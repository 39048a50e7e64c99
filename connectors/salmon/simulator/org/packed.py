"""
Rows that take a third of the memory: those of objects with very many records.

They are read and written like the plain rows of a table, at a few microseconds each. A row that is read is a copy; the
table never changes a row in place, so nobody notices.
"""

from __future__ import annotations

import marshal
from collections.abc import ItemsView, Iterable, Iterator, ValuesView
from decimal import Decimal
from typing import Any, TypeVar

from salmon.simulator.org.transaction import Row

D = TypeVar("D")
_FORMAT = 2  # of marshal: without references between values, which cost more than they save here


class PackedRows(dict[str, Row]):
    """Rows by id. Values are held as bytes, except of rows with a number that only a Decimal can hold."""

    def __init__(self, rows: Iterable[tuple[str, Row]] = ()) -> None:
        super().__init__()
        self._names: list[str] = []
        self._places: dict[str, int] = {}
        for record_id, row in rows:
            self[record_id] = row

    def __setitem__(self, record_id: str, row: Row) -> None:
        super().__setitem__(record_id, self._packed(row))

    def __getitem__(self, record_id: str) -> Row:
        return self._row(super().__getitem__(record_id))

    def get(self, record_id: str, default: Any = None) -> Any:
        held: Any = super().get(record_id)
        return default if held is None else self._row(held)

    def pop(self, record_id: str, *default: Any) -> Any:
        held = super().pop(record_id, *default)
        return self._row(held) if isinstance(held, bytes) else held

    def values(self) -> ValuesView[Row]:  # type: ignore[override]
        return _Values(self)

    def items(self) -> ItemsView[str, Row]:  # type: ignore[override]
        return ItemsView(self)

    def _packed(self, row: Row) -> Any:
        places = self._places
        if any(name not in places for name in row):
            for name in row:
                if name not in places:
                    places[name] = len(self._names)
                    self._names.append(name)
        if any(isinstance(value, Decimal) for value in row.values()):
            return row
        values: list[Any] = [row.get(name) for name in self._names]
        return marshal.dumps(tuple(values), _FORMAT)

    def _row(self, held: Any) -> Row:
        if not isinstance(held, bytes):
            return held  # type: ignore[no-any-return]
        values = marshal.loads(held)
        # A row that was packed before a name was known ends before it.
        return {name: value for name, value in zip(self._names, values, strict=False) if value is not None}


class _Values(ValuesView[Row]):
    """The rows, each read as it is asked for."""

    def __init__(self, rows: PackedRows) -> None:
        super().__init__(rows)
        self._rows = rows

    def __iter__(self) -> Iterator[Row]:
        return (self._rows[record_id] for record_id in self._rows)
