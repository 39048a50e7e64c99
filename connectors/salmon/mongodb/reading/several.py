"""Reads the documents of an object that has several collections, as they all were at one cluster time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo.database import Database

from salmon.errors import BadRecordKey
from salmon.mongodb.keys import id_of, key_of
from salmon.mongodb.reading.reads import read_chunk, read_documents
from salmon.mongodb.wire.client import Document

_IDS: Final = {"_id": 1}
_IDS_A_READ: Final = 500


@dataclass(frozen=True, slots=True)
class Placed:
    """
    Documents of several collections at the cluster time *as_of*.

    Args:
        found: Record key -> collection -> its document.
        ids: The requested `_id`s.
        last: Of a chunk: see Seen.
        without_key: Documents whose `_id` cannot be a record key, each with the error.
    """

    as_of: int
    found: Mapping[str, Mapping[str, Document]]
    ids: Sequence[Any] = ()
    last: bytes = b""
    without_key: Sequence[tuple[Document, BadRecordKey]] = ()


def read_placed(
    database: Database[Document],
    collections: Sequence[str],
    ids: Sequence[Any],
    *,
    projection: Mapping[str, int],
    at: int | None = None,
) -> list[Placed]:
    """Read documents by `_id` in all *collections*. Several reads, *at*, and errors: see read_documents."""
    first, *others = collections
    found = []
    for seen in read_documents(database, first, ids, projection=projection, at=at):
        by_place = {first: list(seen.documents)}
        for name in others:
            reads = read_documents(database, name, seen.ids, projection=projection, at=seen.as_of)
            by_place[name] = [document for read in reads for document in read.documents]
        by_key, without_key = _by_key(by_place)
        found.append(Placed(seen.as_of, by_key, seen.ids, without_key=without_key))
    return found


def read_placed_chunk(
    database: Database[Document],
    collections: Sequence[str],
    part: int,
    *,
    after: bytes,
    limit: int,
    projection: Mapping[str, int],
) -> Placed:
    """
    Read the next documents of one collection, and what the others have under the same `_id`s. Errors: see read_chunk.

    Args:
        part: Which of the collections.
    """
    name = collections[part]
    seen = read_chunk(database, name, after=after, limit=limit, projection=projection)
    by_place = {name: list(seen.documents)}
    ids = [document["_id"] for document in seen.documents]
    for other in collections:
        if other == name or not ids:
            continue
        reads = read_documents(database, other, ids, projection=_IDS, at=seen.as_of)
        by_place[other] = [document for read in reads for document in read.documents]
    by_key, without_key = _by_key(by_place)
    return Placed(seen.as_of, by_key, last=seen.last, without_key=without_key)


def places_of_keys(
    database: Database[Document], collections: Sequence[str], keys: Sequence[str], *, at: int | None = None
) -> tuple[Mapping[str, int], int]:
    """
    Return record key -> how many of the collections have a document with it, and the earliest cluster time of these looks.

    Args:
        at: The cluster time to look at. None: now.

    Raises:
        SnapshotGone: the server no longer knows what was there at that time.
        RetriableError, FatalError: the server cannot be read.
    """
    counts: dict[str, int] = {}
    times: list[int] = []
    for n in range(0, len(keys), _IDS_A_READ):
        ids = [id_of(key) for key in keys[n : n + _IDS_A_READ]]
        for read in read_placed(database, collections, ids, projection=_IDS, at=at):
            times.append(read.as_of)
            counts.update((key, len(places)) for key, places in read.found.items())
    return counts, min(times)


def _by_key(
    by_place: Mapping[str, Iterable[Document]],
) -> tuple[dict[str, dict[str, Document]], list[tuple[Document, BadRecordKey]]]:
    found: dict[str, dict[str, Document]] = {}
    without_key = []
    for name, documents in by_place.items():
        for document in documents:
            try:
                found.setdefault(key_of(document["_id"]), {})[name] = document
            except BadRecordKey as error:
                without_key.append((document, error))
    return found, without_key
