"""
Writes that unique indexes keep away: who holds the value, and whether that will end by itself.

The server refuses a write whose unique value another document holds. That is final only where the holder keeps the
value. Where a write is owed to the holder that gives the value up, ours is put again after it; and where such writes
wait for each other in a circle (two accounts that swap their numbers), no order helps: all of them are carried out in
one transaction, which first moves each document's unique values out of the way.

A change stream tells each step of a transaction. So the first step carries a mark of its own, `_salmon.step`, and the
source passes it over (salmon.mongodb.reading.events): no application did that, and nobody ever reads what it leaves. The
second step is the write itself, with its marker, and takes the mark away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import PyMongoError, WriteError

from salmon.errors import BadRecordKey
from salmon.model.change import Write, WriteOp
from salmon.model.schema import Kind
from salmon.mongodb.documents import SEQ_PATH, STEP_PATH, DocumentShape
from salmon.mongodb.keys import id_of, key_of
from salmon.mongodb.wire.client import (
    UNAUTHORIZED,
    VALIDATION_FAILED,
    Document,
    border,
    is_retriable,
    translated,
)
from salmon.plugin.contract import Outcome, OutcomeKind

DUPLICATE: Final = "DuplicateKey"
_FORBIDDEN: Final = (
    "It swaps a unique value with other documents. For that, each of them must hold another value for a moment, which the "
    "collection's own validator refuses. Grant the user of mongodb.uri the right bypassDocumentValidation (dbAdmin includes "
    "it), or allow other values in the validator; then use `salmon retry`."
)
CIRCLE_MAX: Final = 500  # documents that are looked at for one write; longer circles are refused

Owed = Callable[[str], Write | None]  # record key -> the newest write that is owed to it and not finished


class _WayIsForbidden(Exception):
    """A validator refuses what documents would hold for a moment."""


@dataclass(frozen=True, slots=True)
class _Index:
    """A unique index."""

    paths: tuple[str, ...]
    sparse: bool
    only: Document  # what a document must be like to be in it
    collation: Any

    def query(self, values: Mapping[str, Any]) -> Document | None:
        """What finds the documents with these values in it; None where such documents are not in it."""
        if self.sparse and all(value is None for value in values.values()):
            return None
        wanted: list[Document] = [{path: {"$eq": values[path]}} for path in self.paths]
        return {"$and": [*wanted, self.only]}


@dataclass(frozen=True, slots=True)
class _Holder:
    """A document that holds what a write wants, and where."""

    document_id: Any
    paths: tuple[str, ...]

    @property
    def key(self) -> str | None:
        """Its record key; None where it has none."""
        try:
            return key_of(self.document_id)
        except BadRecordKey:
            return None


class UniqueValues:
    """
    The unique values of one collection, as they are now. Made for one batch.

    Args:
        owed: What is owed to records of this object.
    """

    def __init__(self, collection: Collection[Document], shape: DocumentShape, owed: Owed) -> None:
        self._collection, self._shape, self._owed = collection, shape, owed
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
        What becomes of writes that the server refused for a unique value: record key -> the write, the server's error.
        A circle is carried out whole, so that others than those asked for may be among the outcomes.

        Raises RetriableError, FatalError: nothing is known then of any of them.
        """
        outcomes: dict[str, Outcome] = {}
        for key, (write, error) in clashes.items():
            if key not in outcomes:
                outcomes |= self._resolved(key, write, error)
        return outcomes

    def _resolved(self, key: str, write: Write, error: Document) -> dict[str, Outcome]:
        holders = self._holders(key, write) or self._named_holders(key, error)
        if not holders:
            return {key: _wait(write, error, "another document held one of its unique values, and has gone")}
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
            key: _wait(
                write, error, f"the document {holders[0].key} gives it up by a write that is owed to it"
            )
        }

    # Who holds what a write wants.

    def _holders(self, key: str, write: Write) -> list[_Holder]:
        """The other documents that hold what the document would have after the write."""
        touched = [
            i for i in self._indexes if write.op is WriteOp.CREATE or write.fields.keys() & set(i.paths)
        ]
        document_id = id_of(key)
        with border(f"reading unique values of {self._collection.full_name}"):
            now = self._collection.find_one({"_id": document_id}, {"_id": 1, **self._projection}) or {}
            return [
                _Holder(found["_id"], index.paths)
                for index in touched
                if (query := index.query(self._after(index, write, now))) is not None
                for found in self._collection.find(
                    {"$and": [query, {"_id": {"$ne": document_id}}]}, {"_id": 1}, collation=index.collation
                ).limit(1)
            ]

    def _named_holders(self, key: str, error: Document) -> list[_Holder]:
        """Where our own look finds nobody (an index over the elements of an array): by the values the error names."""
        values = error.get("keyValue")
        if not values or error.get("hexEncoded"):
            return []
        query = {path: {"$eq": value} for path, value in values.items()}
        with border(f"reading unique values of {self._collection.full_name}"):
            found = self._collection.find_one({"$and": [query, {"_id": {"$ne": id_of(key)}}]}, {"_id": 1})
        return [_Holder(found["_id"], tuple(values))] if found is not None else []

    def _after(self, index: _Index, write: Write, now: Document) -> dict[str, Any]:
        """The values that the document would have in the index after the write."""
        whole = write.op is WriteOp.CREATE
        after: dict[str, Any] = {}
        for path in index.paths:
            if path in write.fields or (whole and path in self._shape.schema.by_name):
                value = write.fields.get(path)
                after[path] = None if value is None else self._shape.shown(path, value)
            else:
                after[path] = _at(now, path)
        return after

    def _gives_up(self, key: str, holder: _Holder) -> bool:
        """Whether a write is owed to the holder that changes what it holds."""
        owed = self._owed(key)
        if owed is None or owed.op is WriteOp.DELETE:
            return owed is not None
        index = next((each for each in self._indexes if each.paths == holder.paths), None)
        if index is None:
            return bool(owed.fields.keys() & set(holder.paths))
        with border(f"reading unique values of {self._collection.full_name}"):
            now = self._collection.find_one({"_id": holder.document_id}, {"_id": 1, **self._projection}) or {}
        after = self._after(index, owed, now)
        return any(after[path] != _at(now, path) for path in index.paths)

    def _refused(self, write: Write, error: Document, holder: _Holder) -> Outcome:
        """It names both records, so that a person can decide; never the value."""
        paths, key = ", ".join(holder.paths), holder.key
        other = f"the document {key}" if key is not None else "a document that is not synced"
        return Outcome(
            OutcomeKind.REFUSED,
            fields=_fields(write, holder.paths) or _fields(write, error.get("keyPattern", ())),
            code=DUPLICATE,
            reason=f"{paths} must be unique in MongoDB, and {other} has the same value. Correct {paths} of one of the two.",
            waits_for=((self._shape.schema.name, key),) if key is not None else (),
        )

    # Circles.

    def _circle(self, key: str, write: Write) -> dict[str, Write] | None:
        """All writes that one in a circle waits for, itself among them; None where it is in none."""
        found = {key: write}
        waits_for_itself = False
        for waiting in _growing(found):
            for holder in self._holders(waiting, found[waiting]):
                held_by = holder.key
                if held_by is None or not self._gives_up(held_by, holder):
                    return None
                waits_for_itself = waits_for_itself or held_by == key
                owed = self._owed(held_by)
                if owed is not None and owed.op is WriteOp.DELETE:
                    return None
                if owed is not None and held_by not in found:
                    found[held_by] = owed
            if len(found) > CIRCLE_MAX:
                return None
        return found if waits_for_itself else None

    def _swap(self, circle: Mapping[str, Write], *, unseen: bool = True) -> bool:
        """
        Carry all of them out at once, or none; says whether it did.

        Args:
            unseen: By validators, what stands there for a moment. It takes a right that readWrite does not include; where we
                lack it, the validators see it. Ours only warns.

        Raises:
            _WayIsForbidden: a validator refuses what would stand there for a moment.
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
            return False  # One of them is refused for another reason, which its own try will tell.
        except PyMongoError as error:
            if is_retriable(error) and error.has_error_label("TransientTransactionError"):
                return False  # Somebody else writes one of them.
            if unseen and getattr(error, "code", None) == UNAUTHORIZED:
                return self._swap(circle, unseen=False)
            raise translated(error, f"writing to {collection.full_name}") from error
        return True

    def _swapped(self, circle: Mapping[str, Write], session: ClientSession, unseen: bool) -> bool:
        for key, write in circle.items():
            update = {"$set": {**self._moved(write), STEP_PATH: Int64(write.seq)}}
            try:
                step = self._collection.update_one(
                    guard(id_of(key), write), update, session=session, bypass_document_validation=unseen
                )
            except WriteError as error:
                if error.code == VALIDATION_FAILED:
                    raise _WayIsForbidden from error
                raise
            if not step.matched_count:
                return False
        for key, write in circle.items():
            whole = write.op is WriteOp.CREATE
            update = (self._shape.whole_update if whole else self._shape.update)(write.fields, write.seq)
            update.setdefault("$unset", {})[STEP_PATH] = ""
            if not self._collection.update_one(
                guard(id_of(key), write), update, session=session
            ).matched_count:
                return False
        return True

    def _moved(self, write: Write) -> Document:
        """Values that nobody else has: where an index is not sparse, only one document may go without any."""
        kinds = {name: field.kind for name, field in self._shape.schema.by_name.items()}
        unique = {path for index in self._indexes for path in index.paths}
        return {
            name: str(ObjectId()) if kinds.get(name) is Kind.STRING else ObjectId()
            for name in write.fields.keys() & unique
        }


def guard(document_id: Any, write: Write) -> Document:
    """Which state of the document the write applies to."""
    if write.expected == 0 and write.op is not WriteOp.CREATE:
        return {"_id": document_id, SEQ_PATH: {"$not": {"$gte": Int64(write.seq)}}}  # older, or no marker
    marker: Document = {"$lt": Int64(write.seq)}
    if write.op is WriteOp.DELETE:
        marker["$gte"] = Int64(write.expected)
    return {"_id": document_id, SEQ_PATH: marker}


def _growing(found: Mapping[str, Write]) -> Iterator[str]:
    """Its keys, those among them that come while we go through them."""
    done = 0
    while done < len(found):
        for key in list(found)[done:]:
            done += 1
            yield key


def _at(document: Mapping[str, Any], path: str) -> Any:
    value: Any = document
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _wait(write: Write, error: Document, why: str) -> Outcome:
    fields = _fields(write, error.get("keyPattern", ()))
    return Outcome(OutcomeKind.RETRY_LATER, fields=fields, code=DUPLICATE, reason=why)


def _fields(write: Write, paths: Sequence[str] | Iterable[str]) -> frozenset[str]:
    return frozenset(paths) & write.fields.keys()
