"""ORDER BY: which fields sort, and where nulls go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from salmon.simulator.org.objects.object_types import TEXT_TYPES, Field
from salmon.simulator.org.transaction import Row
from salmon.simulator.soql.names import Getter
from salmon.simulator.soql.syntax import Expression, Order, Query, invalid_field

Reader = Callable[[Expression], tuple[Field, Getter]]


class Sort:
    """The order that a query asks for."""

    def __init__(self, query: Query, read: Reader) -> None:
        self._text = query.text
        self._keys = [(self._key(item, read), item.descending) for item in query.order]

    def apply(self, rows: list[Any]) -> None:
        """Sort in place: from the last criterion to the first, as sorting is stable."""
        for key, descending in reversed(self._keys):
            rows.sort(key=key, reverse=descending)

    def _key(self, order: Order, read: Reader) -> Callable[[Row], Any]:
        field, get = read(order.by)
        if not field.sortable:
            raise invalid_field(
                self._text, order.by.at, f"field '{field.name}' can not be sorted in a query call"
            )
        # Nulls come first unless the query says otherwise, ascending and descending alike.
        null_rank = (1 if order.nulls_last else -1) * (-1 if order.descending else 1)
        fold = field.type in TEXT_TYPES

        def key(row: Row) -> tuple[int, Any]:
            value = get(row)
            if value is None:
                return (null_rank, 0)
            return (0, value.lower() if fold and isinstance(value, str) else value)

        return key
