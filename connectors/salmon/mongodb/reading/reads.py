"""
Reads documents as they were at one cluster time, so that rows and events never contradict each other.

Each read is one command with read concern "snapshot", and returns the cluster time of what it shows: every commit up to
that time is included, and none after it (MongoDB Manual, Read Concern "snapshot").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from salmon.mongodb.reading.events import clock
from salmon.mongodb.stored import single
from salmon.mongodb.wire.client import CODEC, Document, border


@dataclass(frozen=True, slots=True)
class Seen:
    """Documents as they were at the cluster time *as_of*. *ids*: the requested `_id`s; those without a document were absent."""

    documents: Sequence[Document]
    as_of: int
    ids: Sequence[Any] = ()


def read_chunk(
    database: Database[Document],
    collection: str,
    *,
    after: Sequence[Any],
    limit: int,
    projection: Mapping[str, int],
) -> Seen:
    """
    Read the next documents in the order of `_id`, whatever the types of the `_id`s are.

    Args:
        after: Empty, or the one `_id` to continue after.
        limit: Most documents to return. There are fewer if the reply would be too large, and none only at the end.

    Raises:
        RetriableError, FatalError: the server cannot be read.
    """
    command: Document = {
        "find": collection,
        "sort": {"_id": 1},
        "hint": {"_id": 1},
        "limit": limit,
        "batchSize": limit,
        "singleBatch": True,
        "projection": dict(projection),
    }
    if after:
        # `$gt` compares only _ids of the same type; the index bound compares all. It is inclusive, hence `$ne`.
        command |= {"min": single("_id", after[0]), "filter": {"_id": single("$ne", after[0])}}
    cursor, as_of = _snapshot_read(database, command)
    return Seen(cursor["firstBatch"], as_of)


def read_documents(
    database: Database[Document], collection: str, ids: Sequence[Any], *, projection: Mapping[str, int]
) -> list[Seen]:
    """
    Read documents by `_id`. If one reply cannot hold them, there are several reads, each with its own cluster time.

    Raises:
        RetriableError, FatalError: the server cannot be read.
    """
    cursor, as_of = _snapshot_read(
        database,
        {
            "find": collection,
            "filter": {"_id": {"$in": list(ids)}},
            # One more than there can be, so that the server sees the end and closes the cursor.
            "batchSize": len(ids) + 1,
            "projection": dict(projection),
        },
    )
    if cursor["id"] == 0:
        return [Seen(cursor["firstBatch"], as_of, ids)]
    with border("closing a cursor"):
        database.command({"killCursors": collection, "cursors": [cursor["id"]]})
    middle = len(ids) // 2
    return [
        seen
        for half in (ids[:middle], ids[middle:])
        for seen in read_documents(database, collection, half, projection=projection)
    ]


def _snapshot_read(database: Database[Document], command: Document) -> tuple[Document, int]:
    """Return the reply's cursor, and the cluster time that it shows."""
    with border(f"reading {database.name}.{command['find']}"):
        cursor = _cursor_of(database, command)
        if "atClusterTime" in cursor:
            return cursor, clock(cursor["atClusterTime"])
        # The reply for a collection that does not exist has no time. We use a time from before the read: the collection
        # did not exist then, or has been dropped since.
        before = database.client.admin.command("hello")["operationTime"]
        cursor = _cursor_of(database, command)
        return cursor, clock(cursor.get("atClusterTime", before))


def _cursor_of(database: Database[Document], command: Document) -> Document:
    reply = database.command({**command, "readConcern": {"level": "snapshot"}}, codec_options=CODEC)
    cursor: Document = reply["cursor"]
    return cursor
