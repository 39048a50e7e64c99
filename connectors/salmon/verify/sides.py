"""
The records of one object as each side shows them: all of them, or some by key.

Reading, types and keys are the sides' own business, in salmon.salesforce and salmon.mongodb.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from pymongo.database import Database

from salmon.errors import BadRecordKey
from salmon.model.schema import ObjectSchema
from salmon.mongodb.client import Document
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.keys import id_of, key_of
from salmon.mongodb.reads import read_chunk, read_documents
from salmon.salesforce.ids import id18
from salmon.salesforce.rest import PAGE_ROWS
from salmon.salesforce.rows import IDS_A_QUERY, BadRow, Row, RowReader, batches, key_batches
from salmon.verify.comparing import UNREADABLE, Seen

_DOCUMENTS_A_READ: Final = 1000


class Side(Protocol):
    """What is asked of a side. *without_key*: how many of its records `pages` met that can have no record key."""

    without_key: int

    def pages(self) -> Iterator[Sequence[Seen]]:
        """All records, some at a time; what changes meanwhile is seen or not."""

    def read(self, keys: Collection[str]) -> Mapping[str, Seen]:
        """The records with these keys as they are now, without those that are not there."""


class SalesforceSide:
    """One object of the org."""

    def __init__(self, reader: RowReader) -> None:
        self._reader = reader
        self.without_key = 0

    def pages(self) -> Iterator[Sequence[Seen]]:
        last = ""
        while True:
            rows = self._reader.after(last).rows
            if rows:
                yield [_seen(row) for row in rows]
                last = rows[-1].native_id
            if len(rows) < PAGE_ROWS:
                return

    def read(self, keys: Collection[str]) -> Mapping[str, Seen]:
        found: dict[str, Seen] = {}
        for ids in batches([key for key in keys if id18(key) == key], IDS_A_QUERY):
            found.update((row.key, _seen(row)) for row in self._reader.by_id(ids).rows)
        # A record born in MongoDB may have a key that looks like an Id.
        for some in key_batches([key for key in keys if key not in found]):
            found.update((row.key, _seen(row)) for row in self._reader.by_key(some).rows)
        return {key: found[key] for key in keys if key in found}


class MongoSide:
    """One collection."""

    def __init__(
        self, database: Database[Document], collection: str, schema: ObjectSchema, synced: Collection[str]
    ) -> None:
        """*synced*: names of all objects of the sync."""
        self._database = database
        self._collection = collection
        self._shape = DocumentShape(schema, frozenset(synced))
        self.without_key = 0

    def pages(self) -> Iterator[Sequence[Seen]]:
        self.without_key = 0
        after: list[Any] = []
        while True:
            documents = read_chunk(
                self._database,
                self._collection,
                after=after,
                limit=_DOCUMENTS_A_READ,
                projection=self._shape.projection,
            ).documents
            if not documents:
                return
            after = [documents[-1]["_id"]]
            yield list(self._seen(documents))

    def read(self, keys: Collection[str]) -> Mapping[str, Seen]:
        ids = []
        for key in keys:
            try:
                ids.append(id_of(key))
            except BadRecordKey:
                continue  # no document has it
        found: dict[str, Seen] = {}
        for some in batches(ids, _DOCUMENTS_A_READ):
            for read in read_documents(
                self._database, self._collection, some, projection=self._shape.projection
            ):
                found.update((seen.key, seen) for seen in self._seen(read.documents))
        return found

    def _seen(self, documents: Sequence[Document]) -> Iterator[Seen]:
        for document in documents:
            try:
                key = key_of(document["_id"])
            except BadRecordKey:
                self.without_key += 1
                continue
            reading = self._shape.reading(document)
            yield Seen(key, reading.fields, frozenset(reading.misfits))


def _seen(row: Row | BadRow) -> Seen:
    if isinstance(row, BadRow):
        return Seen(row.key, {}, unreadable=frozenset({UNREADABLE}), native_id=row.native_id)
    return Seen(row.key, row.change.fields, native_id=row.native_id)
