"""
Writes records to MongoDB as any application does: no marker is set, so that mongodb-source reports each as an edit.

Everything here blocks, and raises Problem for what a client can mend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from bson.errors import BSONError
from fastapi import Request
from pymongo import ReturnDocument
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DocumentTooLarge, DuplicateKeyError, OperationFailure, WriteError

from salmon.api.handle import Api, ApiObject
from salmon.api.problems import Fault, Problem
from salmon.api.records.asking import time_bound_ms
from salmon.api.records.checking import Values
from salmon.api.records.matching import by_key
from salmon.api.records.showing import etag_of
from salmon.errors import DataError
from salmon.model.change import Value
from salmon.mongodb.documents import SEQ_PATH
from salmon.mongodb.keys import id_of
from salmon.mongodb.wire.client import DUPLICATE_KEY, TOO_LARGE, Document, border

_NOT_VIABLE: Final = 28  # PathNotViable: something else is where a sub-document should be
_SHIFT: Final = 32


@dataclass(frozen=True, slots=True)
class Conditions:
    """If-Match and If-None-Match of a request. `*`: any; None: not said."""

    match: tuple[str, ...] | None = None
    none_match: bool = False  # If-None-Match: * : only if there is none

    @classmethod
    def of(cls, request: Request) -> Conditions:
        match = request.headers.get("if-match")
        return cls(
            # The comparison is strong (RFC 9110): a weak ETag matches nothing.
            None if match is None else tuple(part.strip() for part in match.split(",") if part.strip()),
            none_match=request.headers.get("if-none-match", "").strip() == "*",
        )

    def check(self, of: ApiObject, document: Document | None) -> None:
        """Raise Problem if the record is not as the request says."""
        if self.none_match and document is not None:
            raise _precondition("There is a record with this key already.")
        if self.match is None:
            return
        if document is None or ("*" not in self.match and etag_of(of, document) not in self.match):
            raise _precondition(
                "The record has changed since it was read. Read it again, and repeat the change."
            )


def _precondition(detail: str) -> Problem:
    return Problem(412, "precondition-failed", detail)


def clock_of(api: Api) -> int:
    """MongoDB's commit clock now: each write that begins later has a greater one."""
    with border("asking for the time"):
        now = api.database.command("ping").get("operationTime")
    return 0 if now is None else now.time << _SHIFT | now.inc


def found(api: Api, of: ApiObject, key: str) -> Document | None:
    """The document of a record, by its key or Id; what is not synced is left out."""
    return _first(api, of, {"$or": by_key(key, of)})


def looks(api: Api, of: ApiObject) -> list[list[Collection[Document]]]:
    """
    The object's collections, as often as they are looked at before a record counts as missing. Several are looked at one after the other, and
    meanwhile a record may move to one that was looked at already. An application would create it again.
    """
    collections = api.collections(of.name)
    return [collections] if len(collections) == 1 else [collections, collections]


def _first(api: Api, of: ApiObject, query: Mapping[str, Any]) -> Document | None:
    """The document that a query finds in one of the object's collections."""
    with border("reading a record"):
        for collection in chain.from_iterable(looks(api, of)):
            document = collection.find_one(query, of.shape.projection, max_time_ms=time_bound_ms(api))
            if document is not None:
                return document
    return None


def require_found(document: Document | None) -> Document:
    if document is None:
        raise Problem(404, "not-found", "There is no record with this key.")
    return document


def held_by(of: ApiObject, document: Document) -> Mapping[str, Value]:
    """The values of a record."""
    return of.shape.reading(document).fields


def create(api: Api, of: ApiObject, values: Values, document_id: Any) -> Document:
    """Insert a record. Raises Problem: 409, if the key exists."""
    document, home = _born(of, values, document_id), _home(of, values)
    if of.settings.collections and found_by_id(api, of, document_id) is not None:
        raise _by_code(DUPLICATE_KEY)
    with border("creating a record"):
        try:
            api.database[home].insert_one(document)
        except (WriteError, BSONError, DocumentTooLarge, OverflowError) as error:
            raise refused(error) from None
    return document


def _born(of: ApiObject, values: Values, document_id: Any) -> Document:
    kept = {name: value for name, value in values.items() if value is not None}
    try:
        return of.shape.born(document_id, kept)
    except DataError as error:
        raise Problem(422, "does-not-fit", str(error)) from None


def _home(of: ApiObject, values: Values) -> str:
    """The name of the collection for a new record with these values. Raises Problem: none of several is for it."""
    if not of.settings.collections:
        return of.settings.places[0]
    name = of.shape.flow.place(values)
    if name is None:
        raise Problem(
            422,
            "no-collection",
            f"None of the collections of {of.name} is for a record with these values (objects.{of.name}.collections).",
        )
    return name


def create_all(api: Api, of: ApiObject, records: Sequence[tuple[Any, Values]]) -> list[Document | Problem]:
    """Insert several; what becomes of each."""
    done: list[Document | Problem] = []
    homes: dict[str, list[int]] = {}
    taken = _taken(api, of, [document_id for document_id, _ in records])
    for number, (document_id, values) in enumerate(records):
        try:
            if document_id in taken:
                raise _by_code(DUPLICATE_KEY)
            document = _born(of, values, document_id)
            homes.setdefault(_home(of, values), []).append(number)
            done.append(document)
        except Problem as problem:
            done.append(problem)
    for home, numbers in homes.items():
        _insert(api.database[home], done, numbers)
    return done


def _taken(api: Api, of: ApiObject, ids: Sequence[Any]) -> list[Any]:
    """Those of these `_id`s that a document has, in any of several collections. In a single one, its index finds them."""
    if not of.settings.collections:
        return []
    query = {"_id": {"$in": list(ids)}}
    with border("creating records"):
        return [
            document["_id"]
            for each in chain.from_iterable(looks(api, of))
            for document in each.find(query, {"_id": 1}).max_time_ms(time_bound_ms(api))
        ]


def _insert(collection: Collection[Document], done: list[Document | Problem], numbers: Sequence[int]) -> None:
    """Insert these of the documents, and note in their place what was refused."""
    documents = [each for number in numbers if isinstance(each := done[number], dict)]
    with border("creating records"):
        try:
            collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            for fault in error.details.get("writeErrors", ()):
                done[numbers[fault["index"]]] = _by_code(fault.get("code"))
        except (BSONError, DocumentTooLarge, OverflowError) as error:
            for number in numbers:
                done[number] = refused(error)


def change(api: Api, of: ApiObject, document: Document, values: Values, conditions: Conditions) -> Document:
    """
    Set these values in a record that was just read; null clears. Without anything to set, the record stays as it is.

    Raises:
        Problem: 412, if it changed meanwhile and the request has If-Match; 404, if it was deleted.
    """
    try:
        update = of.shape.edited(values)
    except DataError as error:
        raise Problem(422, "does-not-fit", str(error)) from None
    if not update:
        return document
    after = None
    with border("changing a record"):
        try:
            for collection in chain.from_iterable(looks(api, of)):
                after = collection.find_one_and_update(
                    _as_read(of, document, conditions),
                    update,
                    projection=of.shape.projection,
                    return_document=ReturnDocument.AFTER,
                )
                if after is not None:
                    break
        except (BSONError, DocumentTooLarge, OverflowError) as error:
            raise refused(error) from None
        except OperationFailure as error:
            if error.code not in _MEANINGS:
                raise
            raise _by_code(error.code) from None
    if after is None:
        conditions.check(of, found_by_id(api, of, document["_id"]))
        return require_found(None)
    return dict(after)


def delete(api: Api, of: ApiObject, document: Document, conditions: Conditions) -> None:
    """Delete a record that was just read. Raises as change()."""
    query = _as_read(of, document, conditions)
    with border("deleting a record"):
        found = any(
            sum(each.delete_one(query).deleted_count for each in collections)
            for collections in looks(api, of)
        )
    if not found:
        conditions.check(of, found_by_id(api, of, document["_id"]))
        require_found(None)


def found_by_id(api: Api, of: ApiObject, document_id: Any) -> Document | None:
    return _first(api, of, {"_id": document_id})


def _as_read(of: ApiObject, document: Document, conditions: Conditions) -> dict[str, Any]:
    """The filter for the document; with an ETag in If-Match, only as long as it holds what was read."""
    query: dict[str, Any] = {"_id": document["_id"]}
    if conditions.match is None or "*" in conditions.match:
        return query
    marker = document.get("_salmon")
    seq = marker.get("seq") if isinstance(marker, dict) else None
    query[SEQ_PATH] = {"$eq": seq}
    for top in of.shape.tops:
        query[top] = {"$eq": document[top]} if top in document else {"$exists": False}
    return query


_MEANINGS: Final[Mapping[int, tuple[int, str, str]]] = {
    DUPLICATE_KEY: (
        409,
        "exists",
        "There is a record with this key, or with a value that must be unique in MongoDB.",
    ),
    TOO_LARGE: (422, "too-large", "The record is larger than MongoDB's 16 MB."),
    _NOT_VIABLE: (409, "in-the-way", "Something else of the document is where one of the fields should be."),
    121: (422, "invalid", "A validator of the collection refuses the record."),
}


def refused(error: Exception) -> Problem:
    """What MongoDB's refusal of a write means. What is not known to be the record's fault is raised again."""
    if isinstance(error, DuplicateKeyError):
        return _by_code(DUPLICATE_KEY)
    if isinstance(error, WriteError):
        return _by_code(error.code)
    return Problem(
        422,
        "does-not-fit",
        "The record cannot be stored: it is too large, or has a value that BSON cannot hold.",
    )


def _by_code(code: int | None) -> Problem:
    status, word, detail = _MEANINGS.get(
        code or 0, (422, "refused-by-mongodb", f"MongoDB refuses the record (code {code}).")
    )
    return Problem(status, word, detail)


def id_for(key: str) -> Any:
    """The `_id` of a new record with this key. Raises Problem: it can be none."""
    try:
        return id_of(key)
    except (DataError, ValueError, OverflowError) as error:
        fault = Fault("_key", "not-a-key", str(error))
        raise Problem(422, "not-a-key", str(error), faults=[fault]) from None
