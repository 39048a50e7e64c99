"""
What documents and events mean, where an object has several collections. Pure.

A document is in one of them, or in none. If several have a document with the same `_id`, the row says so, and nothing of any of them.

An insert and a deletion may be halves of a move. So they are reported only after a look into all collections:

    insert      one document, or none any more: as it is; the fold knows whether the document has moved. Several: the row alone
    deletion    none: as it is. If there is one, it has moved, or was made again: the row alone. So a move is no deletion, even if the
                source is killed between its two events
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salmon.errors import SchemaMismatch
from salmon.model.change import PLACE
from salmon.mongodb.documents import DocumentShape, twice_in
from salmon.mongodb.reading.events import Reported, absent, row_of, twice


def is_for_a_row(operation: str, places: int) -> bool:
    """Whether an event says less than a row. *places*: how many collections have the document, by a look after the event."""
    return places > 1 if operation == "insert" else operation == "delete" and places > 0


def row_of_places(
    key: str, found: Mapping[str, Mapping[str, Any]], shape: DocumentShape, *, as_of: int
) -> Reported:
    """
    Convert what the collections have of a record to a row, or to its absence.

    Args:
        found: Collection -> its document with that key.

    Raises:
        BadRecordKey: its `_id` cannot be a record key.
    """
    if not found:
        return Reported(key, absent(as_of=as_of))
    if len(found) > 1:
        return Reported(
            key, twice(as_of=as_of, places=found), misfits={PLACE: SchemaMismatch(twice_in(found))}
        )
    [(place, document)] = found.items()
    return row_of(document, shape, as_of=as_of, place=place)
