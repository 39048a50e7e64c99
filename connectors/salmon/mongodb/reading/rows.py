"""Reads records of objects as rows: by their keys, or the next chunk of a collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from pymongo.database import Database

from salmon.errors import BadRecordKey
from salmon.model.change import PLACE, Change
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.keys import id_of, key_of
from salmon.mongodb.reading.collections import Spellings
from salmon.mongodb.reading.events import absent, row_of
from salmon.mongodb.reading.misfits import Misfits
from salmon.mongodb.reading.placed import row_of_places
from salmon.mongodb.reading.reads import Seen, SnapshotGone, read_chunk, read_documents
from salmon.mongodb.reading.requests import pieces_of
from salmon.mongodb.reading.several import Placed, read_placed, read_placed_chunk
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
        collections: Object -> its collections.
        shapes: Object -> the form of its documents.
        misfits: Makes the dead letters of what does not fit.
        spellings: Gives references the spelling of the documents that they mean.
    """

    database: Database[Document]
    collections: Mapping[str, tuple[str, ...]]
    shapes: Mapping[str, DocumentShape]
    misfits: Misfits
    spellings: Spellings

    def before_events(self, name: str, firsts: Mapping[str, int]) -> dict[str, Change]:
        """
        Read records of the object *name* whose rows are to stand before their next events.

        Of several documents with one `_id`, a row says nothing, and what the events tell would be old beside it. So if there was one at the
        time of the event, the row is of that time.

        Args:
            firsts: Record key -> the cluster time of its event.
        """
        rows = {
            key: row
            for piece in pieces_of(list(firsts))
            for read in self.by_keys(name, piece)
            for key, row in read.rows
        }
        for key in [key for key, row in rows.items() if PLACE in row.misfits]:
            with suppress(SnapshotGone):
                [read] = self.by_keys(name, [key], at=firsts[key])
                rows |= dict(read.rows)
        return rows

    def by_keys(self, name: str, keys: Sequence[str], *, at: int | None = None) -> list[Rows]:
        """
        Read records of the object *name*. Each record becomes a row, or is absent. There is at least one read, and several
        if the documents are large, each with its own cluster time.

        Args:
            at: See read_placed. None if the object has one collection.
        """
        ids: dict[str, Any] = {}
        for key in keys:
            try:
                ids[key] = id_of(key)
            except BadRecordKey:
                log.warning("key_of_no_document", object=name, key=key)
        places, projection = self.collections[name], self.shapes[name].projection
        if self.shapes[name].placed:
            placed = read_placed(self.database, places, list(ids.values()), projection=projection, at=at)
            reads = [self._rows_of_placed(name, read) for read in placed]
        else:
            found = read_documents(self.database, places[0], list(ids.values()), projection=projection)
            reads = [self._rows_of(name, seen) for seen in found]
        never = [(key, absent(as_of=reads[-1].as_of)) for key in keys if key not in ids]
        return [*reads[:-1], replace(reads[-1], rows=[*reads[-1].rows, *never])]

    def chunk(self, name: str, after: bytes, part: int = 0) -> Chunk:
        """
        Read the documents of the object *name* after the `_id` *after* (see stored_id), or from the first one.

        Args:
            part: Which of its collections.
        """
        collections, projection = self.collections[name], self.shapes[name].projection
        total = None
        if not after and not part:
            with border(f"counting {', '.join(collections)}"):
                total = sum(self.database[each].estimated_document_count() for each in collections)
        if self.shapes[name].placed:
            placed = read_placed_chunk(
                self.database,
                collections,
                part,
                after=after,
                limit=_CHUNK_DOCUMENTS,
                projection=projection,
            )
            is_last = part == len(collections) - 1
            rows = self._rows_of_placed(name, placed)
            return Chunk(rows, len(placed.found), placed.last, total, is_last=is_last)
        seen = read_chunk(
            self.database, collections[0], after=after, limit=_CHUNK_DOCUMENTS, projection=projection
        )
        return Chunk(self._rows_of(name, seen), len(seen.documents), seen.last, total)

    def _rows_of_placed(self, name: str, read: Placed) -> Rows:
        rows: dict[str, Change] = {}
        synced = self.shapes[name].tops
        letters = [
            self.misfits.without_key(name, document["_id"], document, error)
            for document, error in read.without_key
        ]
        for key in {**read.found, **dict.fromkeys(key_of(each) for each in read.ids)}:
            found = read.found.get(key, {})
            reported = row_of_places(key, found, self.shapes[name], as_of=read.as_of)
            original = next(iter(found.values()), {})
            letters += self.misfits.left_out(name, reported, original, synced=synced, is_row=True)
            self.misfits.cut(name, reported)
            assert reported.change is not None, "a row is a change"
            rows[key] = reported.change
        return self._spelled(name, read.as_of, rows, letters)

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
        return self._spelled(name, seen.as_of, rows, letters)

    def _spelled(
        self, name: str, as_of: int, rows: Mapping[str, Change], letters: Sequence[DeadLetter]
    ) -> Rows:
        spelled = self.spellings.records([SourceRecord(name, key, row) for key, row in rows.items()])
        return Rows(name, as_of, [(each.key, each.change) for each in spelled], letters)
