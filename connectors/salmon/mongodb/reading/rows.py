"""Reads records of objects as rows: by their keys, or the next chunk of a collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from pymongo.database import Database

from salmon.errors import BadRecordKey
from salmon.model.change import Change
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.keys import id_of, key_of
from salmon.mongodb.reading.collections import Spellings
from salmon.mongodb.reading.events import absent, row_of
from salmon.mongodb.reading.misfits import Misfits
from salmon.mongodb.reading.reads import Seen, read_chunk, read_documents
from salmon.mongodb.reading.snapshot import Chunk, Rows
from salmon.mongodb.wire.client import Document, border
from salmon.plugin.contract import DeadLetter, SourceRecord

log = structlog.get_logger(__name__)

_CHUNK_DOCUMENTS: Final = 1_000


@dataclass(frozen=True, slots=True)
class RowReader:
    """
    Args:
        database: The database with the collections.
        collections: Object -> collection.
        shapes: Object -> the form of its documents.
        misfits: Makes the dead letters of what does not fit.
        spellings: Gives references the spelling of the documents that they mean.
    """

    database: Database[Document]
    collections: Mapping[str, str]
    shapes: Mapping[str, DocumentShape]
    misfits: Misfits
    spellings: Spellings

    def by_keys(self, name: str, keys: Sequence[str]) -> list[Rows]:
        """
        Read records of the object *name*. Each record becomes a row, or is absent. There is at least one read, and several
        if the documents are large, each with its own cluster time.
        """
        ids: dict[str, Any] = {}
        for key in keys:
            try:
                ids[key] = id_of(key)
            except BadRecordKey:
                log.warning("key_of_no_document", object=name, key=key)
        found = read_documents(
            self.database,
            self.collections[name],
            list(ids.values()),
            projection=self.shapes[name].projection,
        )
        reads = [self._rows_of(name, seen) for seen in found]
        never = [(key, absent(as_of=reads[-1].as_of)) for key in keys if key not in ids]
        return [*reads[:-1], replace(reads[-1], rows=[*reads[-1].rows, *never])]

    def chunk(self, name: str, after: bytes) -> Chunk:
        """Read the documents of the object *name* after the `_id` *after* (see stored_id), or from the first one."""
        collection = self.collections[name]
        total = None
        if not after:
            with border(f"counting {collection}"):
                total = self.database[collection].estimated_document_count()
        seen = read_chunk(
            self.database,
            collection,
            after=after,
            limit=_CHUNK_DOCUMENTS,
            projection=self.shapes[name].projection,
        )
        return Chunk(self._rows_of(name, seen), len(seen.documents), seen.last, total)

    def _rows_of(self, name: str, seen: Seen) -> Rows:
        rows: dict[str, Change] = {}
        letters: list[DeadLetter] = []
        for document in seen.documents:
            try:
                reported = row_of(document, self.shapes[name], as_of=seen.as_of)
            except BadRecordKey as error:
                letters.append(self.misfits.without_key(name, document["_id"], document, error))
                continue
            synced = self.shapes[name].tops
            letters += self.misfits.left_out(name, reported, document, synced=synced, is_row=True)
            self.misfits.cut(name, reported)
            assert reported.change is not None, "a row is a change"
            rows[reported.key] = reported.change
        for document_id in seen.ids:
            rows.setdefault(key_of(document_id), absent(as_of=seen.as_of))
        spelled = self.spellings.records([SourceRecord(name, key, row) for key, row in rows.items()])
        return Rows(name, seen.as_of, [(each.key, each.change) for each in spelled], letters)
