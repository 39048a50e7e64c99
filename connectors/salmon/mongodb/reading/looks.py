"""
Looks for the documents of inserts and deletions, where an object has several collections: see salmon.mongodb.reading.placed.

One look is for all such events of a batch. It shows the time of the last one, and what was there before is counted back. A batch may
end within a transaction, so the events of its last time have a look of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from pymongo.database import Database

from salmon.errors import Unavailable
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.reading.events import Reported, time_of
from salmon.mongodb.reading.placed import Half, is_for_a_row, places_after
from salmon.mongodb.reading.reads import SnapshotGone
from salmon.mongodb.reading.several import places_of_keys
from salmon.mongodb.wire.client import Document

_HALVES: Final = frozenset({"insert", "delete"})


def after_a_look(
    database: Database[Document],
    collections: Mapping[str, tuple[str, ...]],
    shapes: Mapping[str, DocumentShape],
    told: Sequence[tuple[str, Reported, Document]],
) -> list[Reported]:
    """
    Return what events report, in their order, once it is known where their documents were.

    Args:
        collections: Object -> its collections.
        told: Object, what its event reports, and the event.

    Raises:
        RetriableError, FatalError: the server cannot be read.
    """
    last = max((time_of(event) for _, _, event in told), default=0)
    halves: dict[tuple[str, bool], dict[int, Half]] = {}
    for number, (name, reported, event) in enumerate(told):
        if shapes[name].placed and event["operationType"] in _HALVES:
            half = Half(event["operationType"], reported.key, time_of(event))
            halves.setdefault((name, half.at == last), {})[number] = half
    after: dict[int, int] = {}
    for (name, _), some in halves.items():
        places = _places(database, collections[name], list(some.values()))
        after |= dict(zip(some, places, strict=True))
    return [
        replace(reported, change=None, incomplete=True, misfits={})
        if number in after and is_for_a_row(event["operationType"], after[number])
        else reported
        for number, (_, reported, event) in enumerate(told)
    ]


def _places(
    database: Database[Document], collections: Sequence[str], halves: Sequence[Half]
) -> Sequence[int]:
    """Return how many *collections* had the document right after each event."""
    keys = list(dict.fromkeys(half.key for half in halves))
    try:
        counts, _ = places_of_keys(database, collections, keys, at=halves[-1].at)
        return places_after(halves, counts)
    except SnapshotGone:
        # The source is minutes behind. What is there now says the same, unless a document had a copy and both are gone.
        counts, as_of = places_of_keys(database, collections, keys)
        if as_of < halves[-1].at:
            raise Unavailable(
                "a read was answered by a MongoDB member that lags behind the stream."
            ) from None
        return [counts.get(half.key, 0) for half in halves]
