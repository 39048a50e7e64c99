"""
Looks for the documents of inserts and deletions, where an object has several collections: see salmon.mongodb.reading.placed.

One look is for all such events of a batch, and shows a time after all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from pymongo.database import Database

from salmon.errors import Unavailable
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.reading.events import Reported, time_of
from salmon.mongodb.reading.placed import is_for_a_row
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
    Return what events report, in their order, once it is known where their documents are.

    Args:
        collections: Object -> its collections.
        told: Object, what its event reports, and the event.

    Raises:
        RetriableError, FatalError: the server cannot be read.
    """
    halves = [
        (name, reported.key, time_of(event))
        for name, reported, event in told
        if shapes[name].placed and event["operationType"] in _HALVES
    ]
    places: dict[tuple[str, str], int] = {}
    for name in {name for name, _, _ in halves}:
        keys = list(dict.fromkeys(key for of, key, _ in halves if of == name))
        counts, as_of = places_of_keys(database, collections[name], keys)
        if any(as_of < at for of, _, at in halves if of == name):
            raise Unavailable("a read was answered by a MongoDB member that lags behind the stream.")
        places |= {(name, key): counts.get(key, 0) for key in keys}
    return [
        replace(reported, change=None, incomplete=True, misfits={})
        if is_for_a_row(event["operationType"], places.get((name, reported.key), 0))
        else reported
        for name, reported, event in told
    ]
