"""
Handles writes that a unique index refuses: which document has the value, and whether it will release it by itself.

The server refuses a write if another document has its unique value. That is final only if the other document keeps the
value. If an unfinished write will change the value of the other document, ours is tried again after it. If such writes wait
for each other in a circle (two accounts that swap their numbers), no order helps: all of them are carried out in one
transaction, which first moves each document's unique values out of the way.

A change stream reports each step of a transaction. So the first step sets a mark of its own, `_salmon.step`, and the source
skips that event (salmon.mongodb.reading.events), because no application made it and nobody can read its result. The second
step is the write itself, with its marker; it removes the mark.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import PyMongoError, WriteError

from salmon.errors import BadRecordKey
from salmon.model.change import PLACE, Write, WriteOp
from salmon.model.schema import Kind
from salmon.mongodb.documents import PATHS_PATH, SEQ_PATH, STEP_PATH, DocumentShape, marker_of
from salmon.mongodb.keys import id_of, key_of
from salmon.mongodb.paths import at, put
from salmon.mongodb.wire.client import (
    UNAUTHORIZED,
    VALIDATION_FAILED,
    Document,
    border,
    is_retriable,
    translated,
)
from salmon.plugin.contract import Outcome, OutcomeKind
from salmon.plugin.guard import changes_in

DUPLICATE: Final = "DuplicateKey"
_FORBIDDEN: Final = (
    "It swaps a unique value with other documents. For that, each of them must hold another value for a moment, which the "
    "collection's own validator refuses. Grant the user of mongodb.uri the right bypassDocumentValidation (dbAdmin includes "
    "it), or allow other values in the validator; then use `salmon retry`."
)
CIRCLE_MAX: Final = 500  # most documents that are checked for one write; longer circles are refused

Owed = Callable[[str], Write | None]  # record key -> its newest unfinished write


class _WayIsForbidden(Exception):
    """A validator refuses what documents would hold for a moment."""


@dataclass(frozen=True, slots=True)
class _Index:
    """A unique index."""

    paths: tuple[str, ...]
    sparse: bool
    only: Document  # the filter for documents that are in a partial index
    collation: Any

    def query(self, values: Mapping[str, Any]) -> Document | None:
        """Return the filter for documents with these values in the index; None if such documents are not in it."""
        if self.sparse and all(value is None for value in values.values()):
            return None
        wanted: list[Document] = [{path: {"$eq": values[path]}} for path in self.paths]
        return {"$and": [*wanted, self.only]}


@dataclass(frozen=True, slots=True)
class Holder:
    """A document that has the unique value of a write, and the index."""

    document_id: Any
    paths: tuple[str, ...]

    @property
    def key(self) -> str | None:
        """Its record key; None if it has none."""
        try:
            return key_of(self.document_id)
        except BadRecordKey:
            return None


class UniqueValues:
    """
    The unique values of one collection, as they are now. Used for one batch.

    Args:
        owed: Returns the newest unfinished write of a record of this object.
        homes: Where the documents are that a write moves into this collection: record key -> collection.
    """

    def __init__(
        self,
        collection: Collection[Document],
        shape: DocumentShape,
        owed: Owed,
        homes: Mapping[str, Collection[Document]] = MappingProxyType({}),
    ) -> None:
        self._collection, self._shape, self._owed, self._homes = collection, shape, owed, homes
        with border(f"reading the indexes of {collection.full_name}"):
            known = collection.index_information()
        self._indexes = [
            _Index(
                tuple(path for path, _ in each["key"]),
                bool(each.get("sparse")),
                dict(each.get("partialFilterExpression", {})),
                each.get("collation"),
            )
            for name, each in known.items()
            if each.get("unique") and name != "_id_"
        ]
        self._projection = dict.fromkeys({path for index in self._indexes for path in index.paths}, 1)

    def resolve(self, clashes: Mapping[str, tuple[Write, Document]]) -> dict[str, Outcome]:
        """
        Return the outcomes of writes that the server refused for a unique value: record key -> the write, the server's error.
        A circle is carried out as a whole, so there may be outcomes of other writes, too.

        Raises RetriableError, FatalError: it is not known what became of any of them.
        """
        outcomes: dict[str, Outcome] = {}
        for key, (write, error) in clashes.items():
            if key not in outcomes:
                outcomes |= self._resolved(key, write, error)
        return outcomes

    def _resolved(self, key: str, write: Write, error: Document) -> dict[str, Outcome]:
        holders = self.holders(key, write, error)
        if not holders:
            return {
                key: self._wait(
                    write, error, "another document had one of its unique values, but has been deleted"
                )
            }
        for holder in holders:
            if holder.key is None or not self._gives_up(holder.key, holder):
                return {key: self._refused(write, error, holder)}
        circle = self._circle(key, write)
        try:
            if circle is not None and self._swap(circle):
                return dict.fromkeys(circle, Outcome(OutcomeKind.APPLIED))
        except _WayIsForbidden:
            return {key: replace(self._refused(write, error, holders[0]), reason=_FORBIDDEN)}
        return {
            key: self._wait(
                write, error, f"the document {holders[0].key} will release it with its next write"
            )
        }

    # Which documents have the values of a write.

    def holders(self, key: str, write: Write, error: Document) -> list[Holder]:
        """Return the documents that have a unique value which the server has refused to a write. Raises RetriableError, FatalError."""
        return self._holders(key, write) or self._named_holders(key, error)

    def _holders(self, key: str, write: Write) -> list[Holder]:
        """Return the other documents that have a unique value that the document would have after the write."""
        touched = [
            i
            for i in self._indexes
            if write.op is WriteOp.CREATE
            or key in self._homes
            or write.fields.keys() & self._shape.fields_at(i.paths)
        ]
        document_id = id_of(key)
        with border(f"reading unique values of {self._collection.full_name}"):
            home = self._homes.get(key, self._collection)
            now = home.find_one({"_id": document_id}, {"_id": 1, **self._projection}) or {}
            return [
                Holder(found["_id"], index.paths)
                for index in touched
                if (query := index.query(self._after(index, write, now))) is not None
                for found in self._collection.find(
                    {"$and": [query, {"_id": {"$ne": document_id}}]}, {"_id": 1}, collation=index.collation
                ).limit(1)
            ]

    def _named_holders(self, key: str, error: Document) -> list[Holder]:
        """Find them by the values in the error, if our own search finds none (an index over the elements of an array)."""
        values = error.get("keyValue")
        if not values or error.get("hexEncoded"):
            return []
        query = {path: {"$eq": value} for path, value in values.items()}
        with border(f"reading unique values of {self._collection.full_name}"):
            found = self._collection.find_one({"$and": [query, {"_id": {"$ne": id_of(key)}}]}, {"_id": 1})
        return [Holder(found["_id"], tuple(values))] if found is not None else []

    def _after(self, index: _Index, write: Write, now: Document) -> dict[str, Any]:
        """Return the values that the document would have in the index after the write."""
        names = self._shape.fields_at(index.paths)
        document = copy.deepcopy(now)
        for name in names if write.op is WriteOp.CREATE else names & write.fields.keys():
            value = write.fields.get(name)
            put(document, self._shape.path[name], None if value is None else self._shape.shown(name, value))
        return {path: at(document, path) for path in index.paths}

    def _gives_up(self, key: str, holder: Holder) -> bool:
        """Whether an unfinished write of the other document changes its value, or takes the document away."""
        owed = self._owed(key)
        if owed is None or owed.op is WriteOp.DELETE or self._leaves(owed):
            return owed is not None
        index = next((each for each in self._indexes if each.paths == holder.paths), None)
        if index is None:
            return bool(owed.fields.keys() & self._shape.fields_at(holder.paths))
        with border(f"reading unique values of {self._collection.full_name}"):
            now = self._collection.find_one({"_id": holder.document_id}, {"_id": 1, **self._projection}) or {}
        after = self._after(index, owed, now)
        return any(after[path] != at(now, path) for path in index.paths)

    def _leaves(self, write: Write) -> bool:
        """Whether the document is in another collection after the write."""
        return write.fields.get(PLACE) not in (None, self._collection.name)

    def _refused(self, write: Write, error: Document, holder: Holder) -> Outcome:
        """Make the refusal. It names both records, so that a person can decide, but never the value."""
        paths, key = self._shape.words_for(holder.paths), holder.key
        other = f"the document {key}" if key is not None else "a document that is not synced"
        return Outcome(
            OutcomeKind.REFUSED,
            fields=self._fields(write, holder.paths) or self._fields(write, error.get("keyPattern", ())),
            code=DUPLICATE,
            reason=f"{paths} must be unique in MongoDB, and {other} has the same value. Correct {paths} of one of the two.",
            waits_for=((self._shape.schema.name, key),) if key is not None else (),
        )

    # Circles.

    def _circle(self, key: str, write: Write) -> dict[str, Write] | None:
        """Return all writes of the circle that a write is in, including itself; None if it is in none."""
        found = {key: write}
        waits_for_itself = False
        for waiting in _growing(found):
            for holder in self._holders(waiting, found[waiting]):
                held_by = holder.key
                if held_by is None or not self._gives_up(held_by, holder):
                    return None
                waits_for_itself = waits_for_itself or held_by == key
                owed = self._owed(held_by)
                if owed is not None and (owed.op is WriteOp.DELETE or self._leaves(owed)):
                    return None
                if owed is not None and held_by not in found:
                    found[held_by] = owed
            if len(found) > CIRCLE_MAX:
                return None
        return found if waits_for_itself else None

    def _swap(self, circle: Mapping[str, Write], *, unseen: bool = True) -> bool:
        """
        Carry out all of them at once, or none. Returns whether it did.

        Args:
            unseen: Validators do not see the values in between. This needs a permission that readWrite does not include;
                without it, the validators see them. Ours only warns.

        Raises:
            _WayIsForbidden: a validator refuses the values in between.
        """
        collection = self._collection
        try:
            with (
                collection.database.client.start_session() as session,
                session.start_transaction(write_concern=collection.write_concern),
            ):
                if not self._swapped(circle, session, unseen):
                    session.abort_transaction()
                    return False
        except WriteError:
            return False  # One of them is refused for another reason, which its own attempt will show.
        except PyMongoError as error:
            if is_retriable(error) and error.has_error_label("TransientTransactionError"):
                return False  # Another client is writing one of them.
            if unseen and getattr(error, "code", None) == UNAUTHORIZED:
                return self._swap(circle, unseen=False)
            raise translated(error, f"writing to {collection.full_name}") from error
        return True

    def _swapped(self, circle: Mapping[str, Write], session: ClientSession, unseen: bool) -> bool:
        asked = {"_id": {"$in": [id_of(key) for key in circle]}}
        found = self._collection.find(asked, {SEQ_PATH: 1}, session=session)
        markers = {key_of(document["_id"]): marker_of(document) or 0 for document in found}
        for key, write in circle.items():
            update = {"$set": {**self._moved(write), STEP_PATH: Int64(write.seq)}}
            try:
                step = self._collection.update_one(
                    guard(id_of(key), write, self._shape.mark),
                    update,
                    session=session,
                    bypass_document_validation=unseen,
                )
            except WriteError as error:
                if error.code == VALIDATION_FAILED:
                    raise _WayIsForbidden from error
                raise
            if not step.matched_count:
                return False
        for key, write in circle.items():
            if write.op is WriteOp.CREATE:
                fields, knows = changes_in(write, markers.get(key, 0))
                update = self._shape.whole_update(fields, write.seq, knows)
            else:
                update = self._shape.update(write.fields, write.seq)
            update.setdefault("$unset", {})[STEP_PATH] = ""
            if not self._collection.update_one(
                guard(id_of(key), write, self._shape.mark), update, session=session
            ).matched_count:
                return False
        return True

    def _moved(self, write: Write) -> Document:
        """Values that nobody else has: where an index is not sparse, only one document may go without any."""
        unique = {path for index in self._indexes for path in index.paths}
        moved = {
            name
            for path in unique
            for name in (self._shape.by_path.get(path), *self._shape.below.get(path, ()))
        }
        return {
            self._shape.path[name]: str(ObjectId())
            if self._shape.schema.by_name[name].kind is Kind.STRING
            else ObjectId()
            for name in write.fields.keys() & moved
        }

    def _wait(self, write: Write, error: Document, why: str) -> Outcome:
        fields = self._fields(write, error.get("keyPattern", ()))
        return Outcome(OutcomeKind.RETRY_LATER, fields=fields, code=DUPLICATE, reason=why)

    def _fields(self, write: Write, paths: Iterable[str]) -> frozenset[str]:
        return self._shape.fields_at(paths) & write.fields.keys()


def guard(document_id: Any, write: Write, mark: str) -> Document:
    """
    Return the filter for the state of the document to which the write applies.

    Args:
        mark: The form in which it is written. Other documents are left alone: see salmon.mongodb.forms.
    """
    form: Document = {
        PATHS_PATH: {"$not": {"$gte": "0"}}
    }  # no mark, or that of documents whose fields were moved back
    if mark:
        form = {"$or": [{PATHS_PATH: mark}, {PATHS_PATH: None, SEQ_PATH: None}]}
    if write.expected == 0 and write.op is not WriteOp.CREATE:
        older: Document = {"$not": {"$gte": Int64(write.seq)}}  # or no marker
        return {"_id": document_id, SEQ_PATH: older, **form}
    marker: Document = {"$lt": Int64(write.seq)}
    if write.op is WriteOp.DELETE:
        marker["$gte"] = Int64(write.expected)
    return {"_id": document_id, SEQ_PATH: marker, **form}


def _growing(found: Mapping[str, Write]) -> Iterator[str]:
    """Yield its keys, including those that are added during the iteration."""
    done = 0
    while done < len(found):
        for key in list(found)[done:]:
            done += 1
            yield key
