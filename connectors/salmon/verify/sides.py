"""
Reads the records of one object from each side: all of them, or some by key.

How records are read and what their types and keys mean is in salmon.salesforce and salmon.mongodb.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from pymongo.database import Database

from salmon.errors import BadRecordKey
from salmon.model.change import PLACE
from salmon.model.schema import ObjectSchema
from salmon.mongodb.documents import DocumentShape, Reading
from salmon.mongodb.form_store import in_form, read_forms
from salmon.mongodb.keys import ids_of, key_of, shown_id
from salmon.mongodb.reading.collections import Spellings
from salmon.mongodb.reading.reads import read_chunk, read_documents
from salmon.mongodb.reading.several import read_placed, read_placed_chunk
from salmon.mongodb.stored import id_from_json, id_to_json
from salmon.mongodb.wire.client import Document
from salmon.plugin.contract import SourceRecord
from salmon.plugin.showing import ShowsRecords
from salmon.salesforce.identity import Identity
from salmon.salesforce.ids import id18
from salmon.salesforce.reading.whole.rows import BadRow, Row, RowReader
from salmon.salesforce.wire.batches import IDS_A_QUERY, batches, key_batches
from salmon.salesforce.wire.rest import PAGE_ROWS
from salmon.transforms.bound import NOTHING, Bound
from salmon.verify.comparing import UNREADABLE, Seen

_DOCUMENTS_A_READ: Final = 1000
_LEARNT_MAX: Final = 50_000  # most keys that a reader remembers, of records whose key is not their Id


@dataclass(frozen=True, slots=True)
class Page:
    """
    Some records of a side. *after*: where the next page begins. *keyless*: documents whose `_id` cannot be a record key,
    each with the reason.
    """

    records: Sequence[Seen]
    after: str
    keyless: Sequence[tuple[str, str]] = ()


class Side(Protocol):
    """What this room needs of a side."""

    def pages(self, after: str = "") -> Iterator[Page]:
        """Read all records after *after*, in the side's own order. A change that is made meanwhile may be seen or not."""

    def read(self, keys: Collection[str]) -> Mapping[str, Seen]:
        """Return the records with these keys as they are now, without those that do not exist."""


class SalesforceSide:
    """
    One object in the org.

    Args:
        reader: Makes a new reader. A reader remembers the keys of all records and parents that it has seen; it is replaced
            by a new one before they are too many.
    """

    def __init__(self, reader: Callable[[Identity], RowReader], schemas: Mapping[str, ObjectSchema]) -> None:
        self._make, self._schemas = reader, schemas
        self._identity = Identity(schemas)
        self._made = reader(self._identity)

    def pages(self, after: str = "") -> Iterator[Page]:
        while True:
            rows = self._reader.after(after).rows
            if rows:
                after = rows[-1].native_id
                yield Page([_seen(row) for row in rows], after)
            if len(rows) < PAGE_ROWS:
                return

    def keys_of(self, ids: Collection[str]) -> Mapping[str, str]:
        """Return Id -> record key, for those of these Ids (18 characters) that exist."""
        return {
            row.native_id: row.key
            for some in batches(ids, IDS_A_QUERY)
            for row in self._reader.by_id(some).rows
        }

    @property
    def _reader(self) -> RowReader:
        if len(self._identity) > _LEARNT_MAX:
            self._identity = Identity(self._schemas)
            self._made = self._make(self._identity)
        return self._made

    def read(self, keys: Collection[str]) -> Mapping[str, Seen]:
        found: dict[str, Seen] = {}
        for ids in batches([key for key in keys if id18(key) == key], IDS_A_QUERY):
            found.update((row.key, _seen(row)) for row in self._reader.by_id(ids).rows)
        # A record that was created in MongoDB may have a key that looks like an Id.
        for some in key_batches([key for key in keys if key not in found]):
            found.update((row.key, _seen(row)) for row in self._reader.by_key(some).rows)
        return {key: found[key] for key in keys if key in found}


class MongoSide:
    """One object's collection, or its collections, one after the other."""

    def __init__(
        self,
        database: Database[Document],
        collections: Mapping[str, tuple[str, ...]],
        schema: ObjectSchema,
        renamed: Mapping[str, str],
        flow: Bound = NOTHING,
    ) -> None:
        """*collections*: object -> its collections, of all objects of the sync. *renamed*, *flow*: see DocumentShape."""
        self._database = database
        self._collections = collections[schema.name]
        self._plain = DocumentShape(schema, frozenset(collections), renamed, flow, placed=bool(flow.places))
        self._spellings = Spellings(database, collections, {schema.name: self._plain})

    def pages(self, after: str = "") -> Iterator[Page]:
        if self._plain.placed:
            yield from self._pages_of_places(after)
            return
        last = id_from_json(after)
        while True:
            shape = self._shape()
            read = read_chunk(
                self._database,
                self._collections[0],
                after=last,
                limit=_DOCUMENTS_A_READ,
                projection=shape.projection,
            )
            if not read.documents:
                return
            last = read.last
            keyless: list[tuple[str, str]] = []
            seen = list(self._seen(shape, read.documents, keyless))
            yield Page(seen, id_to_json(last), keyless)

    def _pages_of_places(self, after: str) -> Iterator[Page]:
        """One collection after the other. *after*: which one, and the `_id` there."""
        begin, _, last_id = after.partition(" ")
        last = id_from_json(last_id)
        for part in range(int(begin or 0), len(self._collections)):
            while True:
                read = read_placed_chunk(
                    self._database,
                    self._collections,
                    part,
                    after=last,
                    limit=_DOCUMENTS_A_READ,
                    projection=self._plain.projection,
                )
                if not read.last:
                    break
                last = read.last
                keyless = [(shown_id(document["_id"]), str(error)) for document, error in read.without_key]
                # A record of which earlier collections have a document, too, was shown with that.
                before = frozenset(self._collections[:part])
                found = {key: some for key, some in read.found.items() if before.isdisjoint(some)}
                yield Page(list(self._seen_in_places(found)), f"{part} {id_to_json(last)}", keyless)
            last = b""

    def _seen_in_places(self, found: Mapping[str, Mapping[str, Document]]) -> Iterator[Seen]:
        """Of documents with the same `_id`, nothing can be said but that there are several."""
        alone = {key: place for key, some in found.items() if len(some) == 1 for place in some}
        documents = [found[key][place] for key, place in alone.items()]
        for seen in self._seen(self._plain, documents):
            yield replace(seen, fields={**seen.fields, PLACE: alone[seen.key]})
        yield from (Seen(key, {}, frozenset({PLACE})) for key, some in found.items() if len(some) > 1)

    def read(self, keys: Collection[str]) -> Mapping[str, Seen]:
        found: dict[str, Seen] = {}
        if self._plain.placed:
            for some in batches(ids_of(keys), _DOCUMENTS_A_READ):
                for placed in read_placed(
                    self._database, self._collections, some, projection=self._plain.projection
                ):
                    found.update((seen.key, seen) for seen in self._seen_in_places(placed.found))
            return found
        shape = self._shape()
        for some in batches(ids_of(keys), _DOCUMENTS_A_READ):
            for read in read_documents(
                self._database, self._collections[0], some, projection=shape.projection
            ):
                found.update((seen.key, seen) for seen in self._seen(shape, read.documents))
        return found

    def _shape(self) -> DocumentShape:
        """The form of the documents as it is now: a move may be under way."""
        collection = self._collections[0]
        forms = read_forms(self._database, [collection], needed=bool(self._plain.renamed))
        return in_form(self._plain, forms.get(collection))

    def _seen(
        self,
        shape: DocumentShape,
        documents: Sequence[Document],
        keyless: list[tuple[str, str]] | None = None,
    ) -> Iterator[Seen]:
        readings: list[tuple[str, Reading]] = []
        for document in documents:
            try:
                key = key_of(document["_id"])
            except BadRecordKey as error:
                if keyless is not None:
                    keyless.append((shown_id(document["_id"]), str(error)))
                continue
            reading = shape.reading(document)
            readings.append((key, reading))
        spelled = self._spellings.fields(shape.schema.name, [reading.fields for _, reading in readings])
        for (key, reading), fields in zip(readings, spelled, strict=True):
            yield Seen(key, fields, frozenset(reading.misfits))


class FurtherSide:
    """One object of a further side, as its plugin shows it."""

    def __init__(self, task: ShowsRecords, name: str) -> None:
        self._task, self._name = task, name

    def pages(self, after: str = "") -> Iterator[Page]:
        while shown := self._task.show_after(self._name, after):
            after = shown[-1].key
            yield Page([_shown(each) for each in shown], after)

    def read(self, keys: Collection[str]) -> Mapping[str, Seen]:
        return {each.key: _shown(each) for each in self._task.show(self._name, keys)}


def _shown(record: SourceRecord) -> Seen:
    return Seen(record.key, record.change.fields, frozenset(record.change.misfits))


def _seen(row: Row | BadRow) -> Seen:
    if isinstance(row, BadRow):
        return Seen(row.key, {}, unreadable=frozenset({UNREADABLE}), native_id=row.native_id)
    return Seen(
        row.key,
        row.change.fields,
        unreadable=frozenset(row.change.misfits),
        native_id=row.native_id,
    )
