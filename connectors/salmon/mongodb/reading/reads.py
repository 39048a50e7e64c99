"""
Reads documents as they were at one cluster time, so that rows and events never contradict each other.

Each read is one command with read concern "snapshot", and returns the cluster time of what it shows: every commit up to
that time is included, and none after it (MongoDB Manual, Read Concern "snapshot").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo.database import Database
from pymongo.errors import OperationFailure

from salmon.errors import FatalError, Unavailable
from salmon.mongodb.reading.events import clock, timestamp
from salmon.mongodb.stored import as_document, is_greatest, stored_id
from salmon.mongodb.wire.client import CODEC, Document, border, whole

_RAW: Final[CodecOptions[Any]] = CODEC.with_options(document_class=RawBSONDocument)
_GONE: Final = frozenset({239, 246})  # SnapshotTooOld, SnapshotUnavailable (src/mongo/base/error_codes.yml)


class SnapshotGone(Unavailable):
    """
    The server cannot say any more what was there at a cluster time: it keeps that for minSnapshotHistoryWindowInSeconds, by default
    five minutes, and before version 7 not beyond a change of the collection's indexes (MongoDB Manual, Read Concern "snapshot").
    """


@dataclass(frozen=True, slots=True)
class Seen:
    """
    Documents as they were at the cluster time *as_of*.

    Args:
        ids: The requested `_id`s; those without a document were absent.
        last: Of a chunk: the `_id` of its last document (see stored_id); empty at the end.
    """

    documents: Sequence[Document]
    as_of: int
    ids: Sequence[Any] = ()
    last: bytes = b""


def read_chunk(
    database: Database[Document],
    collection: str,
    *,
    after: bytes,
    limit: int,
    projection: Mapping[str, int],
) -> Seen:
    """
    Read the next documents in the order of `_id`, whatever the types of the `_id`s are.

    Args:
        after: The `_id` to continue after (see stored_id); empty for the beginning.
        limit: Most documents to return. There are fewer if the reply would be too large, and none only at the end.

    Raises:
        RetriableError, FatalError: the server cannot be read, or sends the same document again.
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
        # The server refuses a bound after which nothing can come, so we ask only for the time.
        command |= (
            {"filter": {"$alwaysFalse": 1}}
            if is_greatest(after)
            else {"min": as_document(after), "filter": {"_id": as_document(after, "$ne")}}
        )
    cursor, as_of = _snapshot_read(database, command, _RAW)
    raws: Sequence[RawBSONDocument] = cursor["firstBatch"]
    if not raws:
        return Seen((), as_of)
    last = stored_id(bytes(raws[-1].raw))
    if last == after:
        raise FatalError(
            f"{database.name}.{collection}: MongoDB does not continue after an _id of BSON type {last[4]}, and sends the same "
            f"documents again. Store that document under an _id of another type."
        )
    return Seen([bson.decode(raw.raw, CODEC) for raw in raws], as_of, last=last)


def read_documents(
    database: Database[Document],
    collection: str,
    ids: Sequence[Any],
    *,
    projection: Mapping[str, int],
    at: int | None = None,
) -> list[Seen]:
    """
    Read documents by `_id`. If one reply cannot hold them, there are several reads, each with its own cluster time.

    Args:
        at: The cluster time that all reads are to show: that of an earlier read, or of an event. None: now.

    Raises:
        SnapshotGone: the server cannot show that time.
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
        at=at,
    )
    if cursor["id"] == 0:
        return [Seen([whole(document) for document in cursor["firstBatch"]], as_of, ids)]
    with border("closing a cursor"):
        database.command({"killCursors": collection, "cursors": [cursor["id"]]})
    middle = len(ids) // 2
    return [
        seen
        for half in (ids[:middle], ids[middle:])
        for seen in read_documents(database, collection, half, projection=projection, at=at)
    ]


def _snapshot_read(
    database: Database[Document],
    command: Document,
    codec: CodecOptions[Any] = CODEC,
    *,
    at: int | None = None,
) -> tuple[Mapping[str, Any], int]:
    """Return the reply's cursor, and the cluster time that it shows."""
    with border(f"reading {database.name}.{command['find']}"):
        if at is not None:
            try:
                return _cursor_of(database, command, codec, atClusterTime=timestamp(at)), at
            except OperationFailure as error:
                if error.code not in _GONE:
                    raise
                raise SnapshotGone(
                    f"MongoDB no longer knows an earlier state (code {error.code})."
                ) from error
        cursor = _cursor_of(database, command, codec)
        if "atClusterTime" in cursor:
            return cursor, clock(cursor["atClusterTime"])
        # The reply for a collection that does not exist has no time. We use a time from before the read: the collection
        # did not exist then, or has been dropped since.
        before = database.client.admin.command("hello")["operationTime"]
        cursor = _cursor_of(database, command, codec)
        return cursor, clock(cursor.get("atClusterTime", before))


def _cursor_of(
    database: Database[Document], command: Document, codec: CodecOptions[Any], **concern: Timestamp
) -> Mapping[str, Any]:
    read_concern = {"level": "snapshot", **concern}
    reply = database.command({**command, "readConcern": read_concern}, codec_options=codec)
    cursor: Mapping[str, Any] = reply["cursor"]
    return cursor
