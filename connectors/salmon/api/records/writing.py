"""
Writes records to MongoDB as any application does: no marker is set, so that mongodb-source reports each as an edit.

Everything here blocks, and raises Problem for what a client can mend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bson.errors import BSONError
from pymongo import ReturnDocument
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
    with border("reading a record"):
        return api.collection(of.name).find_one(
            {"$or": by_key(key, of)}, of.shape.projection, max_time_ms=time_bound_ms(api)
        )


def require_found(document: Document | None) -> Document:
    if document is None:
        raise Problem(404, "not-found", "There is no record with this key.")
    return document


def held_by(of: ApiObject, document: Document) -> Mapping[str, Value]:
    """The values of a record."""
    return of.shape.reading(document).fields


def create(api: Api, of: ApiObject, values: Values, document_id: Any) -> Document:
    """Insert a record. Raises Problem: 409, if the key exists."""
    document = _born(of, values, document_id)
    with border("creating a record"):
        try:
            api.collection(of.name).insert_one(document)
        except (WriteError, BSONError, DocumentTooLarge, OverflowError) as error:
            raise refused(error) from None
    return document


def _born(of: ApiObject, values: Values, document_id: Any) -> Document:
    kept = {name: value for name, value in values.items() if value is not None}
    try:
        return of.shape.born(document_id, kept)
    except DataError as error:
        raise Problem(422, "does-not-fit", str(error)) from None


def create_all(api: Api, of: ApiObject, records: Sequence[tuple[Any, Values]]) -> list[Document | Problem]:
    """Insert several; what becomes of each."""
    done: list[Document | Problem] = []
    for document_id, values in records:
        try:
            done.append(_born(of, values, document_id))
        except Problem as problem:
            done.append(problem)
    whole = [(n, each) for n, each in enumerate(done) if isinstance(each, dict)]
    if not whole:
        return done
    with border("creating records"):
        try:
            api.collection(of.name).insert_many([document for _, document in whole], ordered=False)
        except BulkWriteError as error:
            for fault in error.details.get("writeErrors", ()):
                done[whole[fault["index"]][0]] = _by_code(fault.get("code"))
        except (BSONError, DocumentTooLarge, OverflowError) as error:
            return [refused(error) if isinstance(each, dict) else each for each in done]
    return done


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
    with border("changing a record"):
        try:
            after = api.collection(of.name).find_one_and_update(
                _as_read(of, document, conditions),
                update,
                projection=of.shape.projection,
                return_document=ReturnDocument.AFTER,
            )
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
    with border("deleting a record"):
        gone = api.collection(of.name).delete_one(_as_read(of, document, conditions)).deleted_count
    if not gone:
        conditions.check(of, found_by_id(api, of, document["_id"]))
        require_found(None)


def found_by_id(api: Api, of: ApiObject, document_id: Any) -> Document | None:
    with border("reading a record"):
        return api.collection(of.name).find_one(
            {"_id": document_id}, of.shape.projection, max_time_ms=time_bound_ms(api)
        )


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
