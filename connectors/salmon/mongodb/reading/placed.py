"""
What documents and events mean, where an object has several collections. Pure.

A document is in one of them, or in none. If several have a document with the same `_id`, the row says so, and nothing of any of them.

An insert and a deletion may be halves of a move. What they mean depends on what was in all collections at their own time:

    insert      one document: as it is; the fold knows whether the document has moved. Several: the row alone
    deletion    none: as it is. If there is one, it has moved, or had a twin: the row alone. So a move is no deletion, even if the
                source is killed between its two events

A later look would not do: of a document and its copy, both gone by then, the first end would be taken for the record's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from salmon.errors import SchemaMismatch
from salmon.model.change import PLACE
from salmon.mongodb.documents import DocumentShape, twice_in
from salmon.mongodb.reading.events import Reported, absent, row_of, twice


class Half(NamedTuple):
    """An insert or a deletion: the event's operation type, the record's key, and the cluster time."""

    operation: str
    key: str
    at: int


def places_after(halves: Sequence[Half], places: Mapping[str, int]) -> list[int]:
    """
    Return how many collections had the document right after each event. It is counted back from the last one.

    Args:
        halves: All of some time, in the stream's order. Those of one cluster time are one transaction: between them is no moment.
        places: Record key -> how many collections had its document at the time of the last event.
    """
    known, after = Counter(places), []
    for _, group in groupby(reversed(halves), key=lambda half: half.at):
        at_once = list(group)
        after += [known[half.key] for half in at_once]
        for half in at_once:
            known[half.key] += 1 if half.operation == "delete" else -1
    return after[::-1]


def is_for_a_row(operation: str, places: int) -> bool:
    """Whether an event says less than a row. *places*: how many collections had the document right after it."""
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
