"""
Reading documents at one moment of the cluster's time, so that rows and events never contradict each other.

Each read is one command with read concern snapshot, and says at which cluster time it saw what it shows:
every commit up to then is in it, and none after (MongoDB Manual, Read Concern "snapshot").
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
    """Documents as they were at the cluster time *as_of*; of the *ids* asked for, those not among them were absent."""

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
    Read the next documents in the order of `_id`, of whatever types the `_id`s are.

    Args:
        after: Nothing, or the one `_id` behind which to go on.
        limit: At most so many; fewer where a reply would grow too large. None at all: the end is reached.

    Raises:
        RetriableError, FatalError: as the server says.
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
        # `$gt` would stay among _ids of one type; the index bound does not. It is inclusive, hence `$ne`.
        command |= {"min": single("_id", after[0]), "filter": {"_id": single("$ne", after[0])}}
    cursor, as_of = _snapshot_read(database, command)
    return Seen(cursor["firstBatch"], as_of)


def read_documents(
    database: Database[Document], collection: str, ids: Sequence[Any], *, projection: Mapping[str, int]
) -> list[Seen]:
    """
    Read documents by `_id`; in several reads, each of a moment of its own, where one reply could not hold them.

    Raises:
        RetriableError, FatalError: as the server says.
    """
    cursor, as_of = _snapshot_read(
        database,
        {
            "find": collection,
            "filter": {"_id": {"$in": list(ids)}},
            "batchSize": len(ids)
            + 1,  # One more than there can be: the server then sees the end, and says so.
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
    """Return the reply's cursor, and the time that it shows."""
    with border(f"reading {database.name}.{command['find']}"):
        cursor = _cursor_of(database, command)
        if "atClusterTime" in cursor:
            return cursor, clock(cursor["atClusterTime"])
        # A collection that is not there is read at no time in particular; a moment before we looked is one at
        # which, or after which, it was not there.
        before = database.client.admin.command("hello")["operationTime"]
        cursor = _cursor_of(database, command)
        return cursor, clock(cursor.get("atClusterTime", before))


def _cursor_of(database: Database[Document], command: Document) -> Document:
    reply = database.command({**command, "readConcern": {"level": "snapshot"}}, codec_options=CODEC)
    cursor: Document = reply["cursor"]
    return cursor
