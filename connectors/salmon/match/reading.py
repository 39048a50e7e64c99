"""
Reads both sides of an object for a Pairing: of each record its key and the fields that it is matched by, page by page.

The org is read by REST or by Bulk API 2.0, whichever costs fewer calls, as for a first load. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import structlog
from pymongo.database import Database

from salmon.errors import BadRecordKey, SalmonError
from salmon.match.calling import Budget, pause, retried
from salmon.match.normalizing import shown, terms_of
from salmon.match.pairing import DocumentRecord, OrgRecord, Pairing
from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, Value
from salmon.model.schema import FieldSchema, ObjectSchema
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.keys import key_of, shown_id
from salmon.mongodb.paths import MARKER
from salmon.mongodb.reading.reads import Seen, read_chunk
from salmon.mongodb.wire.client import Document
from salmon.salesforce.catalog import SyncedObject
from salmon.salesforce.identity import Identity
from salmon.salesforce.ids import id18, prefix_of
from salmon.salesforce.reading.whole.bulk_jobs import BulkJob, BulkReads, NotByBulk
from salmon.salesforce.reading.whole.bulk_rule import bulk_is_cheaper
from salmon.salesforce.reading.whole.rows import BadRow, ReadRows, Row, RowReader
from salmon.salesforce.wire.bulk import BulkQueries
from salmon.salesforce.wire.rest import Rest
from salmon.transforms.bound import NOTHING, Bound

log = structlog.get_logger(__name__)

_DOCUMENTS_A_READ: Final = 1_000
_CHARS_SHOWN_MAX: Final = 255  # of a value; it is for a person to recognize the record
# Called with a side, and how many of its records are read.
Watcher = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class OrgSide:
    """
    One object in the org.

    Args:
        on: The fields that its records are matched by.
        api_version: As in the configuration.
        use_bulk: `salesforce.bulk.query` of the configuration.
    """

    rest: Rest
    synced: SyncedObject
    on: Sequence[FieldSchema]
    budget: Budget
    api_version: str
    use_bulk: str = "auto"

    def add_to(self, pairing: Pairing, watch: Watcher) -> None:
        """Add all records to *pairing*."""
        count = 0
        for rows in self._pages():
            pairing.add_org([_org_record(row, self.on) for row in rows])
            count += len(rows)
            watch(SALESFORCE, count)
            self.budget.check()

    def _pages(self) -> Iterator[Sequence[Row | BadRow]]:
        narrow = SyncedObject(replace(self.synced.schema, fields=tuple(self.on)), self.synced.names)
        name = narrow.name
        reader = RowReader(self.rest, narrow, _NoIdentity({name: narrow.schema}), {})
        last = ""
        if self._is_by_bulk(name, wide=reader.wide):
            reads = BulkReads(BulkQueries(self.rest, version=self.api_version), {name: reader})
            try:
                for reached, read in self._bulk_steps(reads, name):
                    last = reached
                    yield read.rows
                return
            except NotByBulk as error:
                log.warning("match_not_by_bulk", object=name, reason=str(error))
                last = "" if error.disordered else last
            finally:
                reads.give_up(name)
                reads.close()
        while True:
            rows = retried(partial(reader.after, last))
            yield rows.rows
            last = rows.go_on_after
            if not last:
                return

    def _is_by_bulk(self, name: str, *, wide: bool) -> bool:
        if self.use_bulk != "auto":
            return self.use_bulk == "always"
        try:
            count = self.rest.count(name)
        except SalmonError:  # A big object may take too long to count.
            count = self.rest.count_roughly(name)
        return bulk_is_cheaper(count, wide=wide)

    def _bulk_steps(self, reads: BulkReads, name: str) -> Iterator[tuple[str, ReadRows]]:
        job: BulkJob | None = None
        last, looks = "", 0
        while True:
            step = retried(partial(reads.step, name, job, last, 0))
            if step is None:
                looks += 1
                self.budget.check()
                pause(looks)
                continue
            looks, job, last = 0, step.job, step.last
            yield last, step.read
            if step.ends:
                return


@dataclass(frozen=True, slots=True)
class DocumentSide:
    """
    One collection.

    Args:
        schema: Its object's.
        on: The fields that its documents are matched by.
        renamed: See DocumentShape.
    """

    database: Database[Document]
    collection: str
    schema: ObjectSchema
    on: Sequence[FieldSchema]
    renamed: Mapping[str, str] = field(default_factory=dict)
    flow: Bound = NOTHING

    def add_to(self, pairing: Pairing, watch: Watcher) -> None:
        """Add all documents to *pairing*."""
        only = replace(self.schema, fields=tuple(self.on))
        shape = DocumentShape(only, frozenset(), self.renamed, self.flow)
        last, count = b"", 0
        while True:
            read = retried(partial(self._chunk, last, shape.projection))
            if not read.documents:
                return
            pairing.add_documents([_document(each, shape, self.schema.key_prefix) for each in read.documents])
            last, count = read.last, count + len(read.documents)
            watch(MONGODB, count)

    def _chunk(self, after: bytes, projection: Mapping[str, int]) -> Seen:
        return read_chunk(
            self.database, self.collection, after=after, limit=_DOCUMENTS_A_READ, projection=projection
        )


class _NoIdentity(Identity):
    """Remembers nothing: what a record carries as its key is needed only with the record."""

    def learn(self, name: str, native_id: str, key: str) -> None:
        pass


def _org_record(row: Row | BadRow, on: Sequence[FieldSchema]) -> OrgRecord:
    carried = row.key if row.key != row.native_id else None
    if isinstance(row, BadRow):
        return OrgRecord(row.native_id, carried, None)
    values = row.change.fields
    return OrgRecord(row.native_id, carried, terms_of(on, values), _shown(on, values))


def _document(document: Mapping[str, Any], shape: DocumentShape, prefix: str | None) -> DocumentRecord:
    on = shape.schema.fields
    reading = shape.reading(document)
    terms, texts = terms_of(on, reading.fields), _shown(on, reading.fields)
    try:
        key = key_of(document["_id"])
    except BadRecordKey:
        return DocumentRecord(shown_id(document["_id"]), terms, texts, has_key=False)
    belongs_to = reading.fields.get(SALESFORCE_ID) if MARKER in document else None
    if id18(key) == key and prefix_of(key) == prefix:
        belongs_to = key
    return DocumentRecord(key, terms, texts, belongs_to if isinstance(belongs_to, str) else None)


def _shown(on: Sequence[FieldSchema], values: Mapping[str, Value]) -> list[str]:
    return [shown(values.get(field.name))[:_CHARS_SHOWN_MAX] for field in on]
