"""
Carries out the writes of one object as unordered bulk writes, and returns one outcome for each write.

Every write is guarded by the document's marker, so it applies once and never over a newer write, however often it is
repeated, and by whichever process:

    CREATE  inserts. If the key exists with an older marker, it becomes a guarded update of all fields that its writer knew; or,
            if an earlier CREATE on its way has made the document, of the fields in which they differ.
            If the marker is this one or newer, the write was done before. Without a marker, the document is unknown: EXISTS.
    UPDATE  applies if the marker is older than the write. If the record is known to have no marker (expected 0), it also
            applies without one. Otherwise a document without a marker is a different record with the same key: EXISTS.
    DELETE  applies if the marker is older than the write and not older than expected. A document whose marker is missing,
            or older than expected, is a different record with the same key: EXISTS.

If another document has the unique value of a write, the write is tried again while other writes of the batch succeed,
because they may release the value. The rest is for salmon.mongodb.writing.unique_values.

An UPDATE or DELETE of a document that does not exist is GONE, also for a delete, although nothing is left to do: no event
will answer it, and GONE makes the source look for the record and report that it is absent.

A document of another form than the write's (salmon.mongodb.forms) is left alone, too, and the write is repeated later.

A marker that Salmon cannot have set (text, a number of a type with fractions, one beyond all seqs: somebody edited it)
counts as no marker, whatever the guard says. It is removed, and the write is repeated.

A server's reply to a bulk write has only the number of matches. If some are missing, the markers are read to find out which
writes applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bson.errors import BSONError
from bson.int64 import Int64
from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, PyMongoError

from salmon.errors import DataError, SetupError, Unavailable
from salmon.model.change import Write, WriteOp
from salmon.model.rules import SEQ_MAX
from salmon.mongodb.documents import SEQ_PATH, DocumentShape, marker_of
from salmon.mongodb.keys import id_of, key_of
from salmon.mongodb.paths import MARKER
from salmon.mongodb.wire.client import (
    DUPLICATE_KEY,
    RETRIABLE_CODES,
    TOO_LARGE,
    UNAUTHORIZED,
    VALIDATION_FAILED,
    Document,
    border,
    translated,
)
from salmon.mongodb.writing.blocked import CHANGED, PATH_NOT_VIABLE, resolve
from salmon.mongodb.writing.unique_values import DUPLICATE, Owed, UniqueValues, guard
from salmon.mongodb.writing.violations import properties_at_fault
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.plugin.guard import changes_in

Operation = InsertOne[Document] | UpdateOne | DeleteOne

APPLIED: Final = Outcome(OutcomeKind.APPLIED)
SKIPPED: Final = Outcome(OutcomeKind.SKIPPED)
GONE: Final = Outcome(OutcomeKind.GONE, code="NotFound", reason="The document does not exist.")
EXISTS: Final = Outcome(
    OutcomeKind.EXISTS,
    code="Unmarked",
    reason="The document exists, but it is not the one that Salmon knows.",
)
_ODD: Final = Outcome(
    OutcomeKind.RETRY_LATER,
    code="OddMarker",
    reason="The document's marker was not set by Salmon, and is removed.",
)

# MongoDB's error_codes.yml; other codes are reported as numbers. 17419 and 17420: an update made the document too large.
_CODE_NAMES: Final[Mapping[int, str]] = {
    2: "BadValue",
    DUPLICATE_KEY: DUPLICATE,
    VALIDATION_FAILED: "DocumentValidationFailure",
    TOO_LARGE: "BSONObjectTooLarge",
    17419: "BSONObjectTooLarge",
    17420: "BSONObjectTooLarge",
}
# Errors of the collection, or of our permissions on it, and not of the write. 166: CommandNotSupportedOnView.
_OF_ALL: Final = frozenset({UNAUTHORIZED, 166})
_INT64_MAX: Final = 2**63 - 1
# Raised by PyMongo before anything is sent, if BSON cannot hold a document.
_UNENCODABLE: Final = (BSONError, OverflowError, UnicodeEncodeError)


class _Unsendable(Exception):
    """One of the documents cannot be sent, but PyMongo and the server do not say which one. *code*: the reason."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class _Reply:
    """The server's reply to one bulk write."""

    matched: int = 0
    deleted: int = 0
    errors: dict[int, Document] = field(default_factory=dict)  # index of the operation -> its write error


_Clashes = dict[str, Document]  # record key -> the error that names the unique index


def nothing_owed(_: str) -> None:
    """No other write is known."""


def carry_out(
    collection: Collection[Document],
    shape: DocumentShape,
    records: Sequence[SinkRecord],
    owed: Owed = nothing_owed,
) -> list[Outcome]:
    """
    Carry out the writes of one object, at most one per key. Returns their outcomes in order.

    Args:
        owed: Returns the newest unfinished write of another record of the object.

    Raises:
        RetriableError: for some writes it is not known whether a majority has them; repeating is safe.
        FatalError: a person must correct something first.
    """
    outcomes: dict[str, Outcome] = {}
    operations: dict[str, Operation] = {}
    for record in records:
        try:
            operations[record.key] = _operation(shape, record)
        except DataError as error:
            outcomes[record.key] = Outcome(OutcomeKind.REFUSED, code=type(error).__name__, reason=str(error))
    by_key = {record.key: record.write for record in records}
    clashes: _Clashes = {}
    outcomes |= _write(collection, operations, by_key, shape, clashes)
    tried = len(operations)
    while clashes and len(clashes) < tried:
        tried, again = len(clashes), {key: operations[key] for key in clashes}
        clashes = {}
        outcomes |= _write(collection, again, by_key, shape, clashes)
    if clashes:
        unique = UniqueValues(collection, shape, lambda key: by_key.get(key) or owed(key))
        resolved = unique.resolve({key: (by_key[key], error) for key, error in clashes.items()})
        outcomes |= {key: outcome for key, outcome in resolved.items() if key in by_key}
    return [outcomes[record.key] for record in records]


def _operation(shape: DocumentShape, record: SinkRecord) -> Operation:
    write, document_id = record.write, id_of(record.key)
    match write.op:
        case WriteOp.CREATE:
            return InsertOne(shape.document(record.key, write.fields, write.seq))
        case WriteOp.UPDATE:
            return UpdateOne(guard(document_id, write, shape.mark), shape.update(write.fields, write.seq))
        case WriteOp.DELETE:
            return DeleteOne(guard(document_id, write, shape.mark))


def _write(
    collection: Collection[Document],
    operations: Mapping[str, Operation],
    writes: Mapping[str, Write],
    shape: DocumentShape,
    clashes: _Clashes,
) -> dict[str, Outcome]:
    try:
        return _attempt(collection, operations, writes, shape, clashes)
    except _Unsendable as error:
        if len(operations) == 1:
            reason = f"The document cannot be sent to MongoDB: {error.code}."
            return dict.fromkeys(operations, Outcome(OutcomeKind.REFUSED, code=error.code, reason=reason))
    outcomes: dict[str, Outcome] = {}
    for key, operation in operations.items():  # Repeating those that were written already is harmless.
        outcomes |= _write(collection, {key: operation}, writes, shape, clashes)
    return outcomes


def _attempt(
    collection: Collection[Document],
    operations: Mapping[str, Operation],
    writes: Mapping[str, Write],
    shape: DocumentShape,
    clashes: _Clashes,
) -> dict[str, Outcome]:
    """Return the outcome of each write, without those in *clashes*, which are decided later."""
    keys = list(operations)
    reply = _bulk_write(collection, list(operations.values()))
    outcomes: dict[str, Outcome] = {}
    existing: list[str] = []
    blocked: list[str] = []
    for index, refused in reply.errors.items():
        key = keys[index]
        if is_taken(refused) and writes[key].op is WriteOp.CREATE:
            existing.append(key)
        elif refused["code"] == PATH_NOT_VIABLE:
            blocked.append(key)
        else:
            outcomes[key] = refusal(refused, writes[key], shape)
            _note_clash(clashes, key, refused)
    outcomes |= _around(collection, {key: writes[key] for key in blocked}, shape)
    rest = [key for key in keys if key not in outcomes and key not in existing]
    outcomes |= dict.fromkeys(rest, APPLIED)
    unsure = _unsure(rest, writes, reply)
    if unsure or existing:
        markers = read_markers(collection, [*unsure, *existing])
        outcomes |= _by_markers(unsure, writes, markers, deleted=reply.deleted)
        outcomes |= _onto_existing(
            collection, {key: writes[key] for key in existing}, markers, shape, clashes
        )
    if odd := [key for key, outcome in outcomes.items() if outcome is _ODD]:
        _bulk_write(collection, [each for key in odd for each in _without_odd_marker(key, writes[key])])
    return outcomes


def _bulk_write(collection: Collection[Document], operations: list[Operation]) -> _Reply:
    if not operations:
        return _Reply()
    try:
        result = collection.bulk_write(operations, ordered=False)
    except BulkWriteError as error:
        details = error.details
        if details["writeConcernErrors"]:
            raise Unavailable(
                f"MongoDB could not confirm that a majority holds a write to {collection.full_name} "
                f"(code {details['writeConcernErrors'][0].get('code')})."
            ) from error
        errors = {item["index"]: item for item in details["writeErrors"]}
        if (
            code := next((item["code"] for item in errors.values() if item["code"] in _OF_ALL), None)
        ) is not None:
            raise SetupError(
                f"MongoDB refuses every write to {collection.full_name} (code {code}). Grant the user of mongodb.uri readWrite on "
                f"it, and see that it is a collection and no view."
            ) from error
        return _Reply(details["nMatched"], details["nRemoved"], errors)
    except _UNENCODABLE as error:
        raise _Unsendable(type(error).__name__) from error
    except PyMongoError as error:
        if getattr(error, "code", None) == TOO_LARGE:
            raise _Unsendable(_CODE_NAMES[TOO_LARGE]) from error
        raise translated(error, f"writing to {collection.full_name}") from error
    return _Reply(result.matched_count, result.deleted_count)


def _unsure(keys: Iterable[str], writes: Mapping[str, Write], reply: _Reply) -> list[str]:
    """Return the updates and deletes of which, by the reply's counts, some may not have applied."""
    updates = [key for key in keys if writes[key].op is WriteOp.UPDATE]
    deletes = [key for key in keys if writes[key].op is WriteOp.DELETE]
    return [
        *(updates if reply.matched < len(updates) else ()),
        *(deletes if reply.deleted < len(deletes) else ()),
    ]


_Markers = Mapping[
    str, int | None
]  # key -> the document's marker, None if it has none; without keys that do not exist


def read_markers(
    collection: Collection[Document], keys: Sequence[str], session: ClientSession | None = None
) -> _Markers:
    """Read the markers that a majority has: a write that no majority has yet must not count as done."""
    ids = {key: id_of(key) for key in keys}
    asked_as = {
        key_of(document_id): key for key, document_id in ids.items()
    }  # a key may be an earlier version's
    with border(f"reading markers of {collection.full_name}"):
        found = collection.find({"_id": {"$in": list(ids.values())}}, {SEQ_PATH: 1}, session=session)
        return {
            asked_as[key]: marker_of(document)
            for document in found
            if (key := key_of(document["_id"])) in asked_as
        }


def _by_markers(
    keys: Iterable[str], writes: Mapping[str, Write], markers: _Markers, *, deleted: int
) -> dict[str, Outcome]:
    """Return the outcomes of updates and deletes, by the markers that the documents have now."""
    outcomes = {key: _by_marker(writes[key], key in markers, markers.get(key)) for key in keys}
    gone = [key for key in outcomes if writes[key].op is WriteOp.DELETE and key not in markers]
    if len(gone) == deleted:
        outcomes |= dict.fromkeys(gone, APPLIED)  # All documents that do not exist are those that we deleted.
    return outcomes


def _by_marker(write: Write, is_there: bool, marker: int | None) -> Outcome:
    if not is_there:
        return GONE
    if marker is None:
        # It could have been written, but did not match: it was created after the write, or its marker is not valid.
        return _ODD if write.expected == 0 else EXISTS
    if marker >= _bound(write):
        return _ODD
    if marker > write.seq or (marker == write.seq and write.op is WriteOp.DELETE):
        return SKIPPED
    if marker == write.seq:
        return APPLIED
    return EXISTS if write.op is WriteOp.DELETE and marker < write.expected else CHANGED


def _bound(write: Write) -> int:
    """The first number that, by this write, cannot be a marker of ours: see salmon.model.fold."""
    return SEQ_MAX if write.seq < SEQ_MAX else _INT64_MAX


def _without_odd_marker(key: str, write: Write) -> list[Operation]:
    """Return updates that remove a marker that is not ours, if it is still there."""
    document_id = id_of(key)
    is_document = {"$eq": [{"$type": f"${MARKER}"}, "object"]}
    is_ours = {
        "$and": [
            {"$in": [{"$type": f"${SEQ_PATH}"}, ["int", "long"]]},
            {"$lt": [f"${SEQ_PATH}", Int64(_bound(write))]},
        ]
    }
    no_document = {"_id": document_id, "$expr": {"$not": is_document}}
    not_ours = {"_id": document_id, "$expr": {"$and": [is_document, {"$not": is_ours}]}}
    return [UpdateOne(no_document, {"$unset": {MARKER: ""}}), UpdateOne(not_ours, {"$unset": {SEQ_PATH: ""}})]


def _onto_existing(
    collection: Collection[Document],
    writes: Mapping[str, Write],
    markers: _Markers,
    shape: DocumentShape,
    clashes: _Clashes,
) -> dict[str, Outcome]:
    """Handle CREATEs whose key exists: the write was done before, or it becomes an update of all fields, or EXISTS."""
    outcomes: dict[str, Outcome] = {}
    operations: dict[str, Operation] = {}
    for key, write in writes.items():
        marker = markers.get(key)
        if key not in markers:
            outcomes[key] = CHANGED  # It was deleted meanwhile, or no majority has it yet.
        elif marker is None or marker >= _bound(write):
            outcomes[key] = EXISTS
        elif marker >= write.seq:
            outcomes[key] = APPLIED if marker == write.seq else SKIPPED
        else:
            fields, knows = changes_in(write, marker)
            update = shape.whole_update(fields, write.seq, knows)
            operations[key] = UpdateOne(guard(id_of(key), write, shape.mark), update)
    if not operations:
        return outcomes
    tried = list(operations)
    reply = _bulk_write(collection, list(operations.values()))
    blocked: dict[str, Write] = {}
    for index, error in reply.errors.items():
        if error["code"] == PATH_NOT_VIABLE:
            blocked[tried[index]] = writes[tried[index]]
            continue
        outcomes[tried[index]] = refusal(error, writes[tried[index]], shape)
        _note_clash(clashes, tried[index], error)
    outcomes |= _around(collection, blocked, shape)
    updated = [key for key in tried if key not in outcomes]
    # If another write came in between, that is noticed when this write is repeated.
    became = APPLIED if reply.matched == len(updated) else CHANGED
    return outcomes | dict.fromkeys(updated, became)


def _around(
    collection: Collection[Document], blocked: Mapping[str, Write], shape: DocumentShape
) -> dict[str, Outcome]:
    return resolve(collection, shape, blocked, odd_marker=_ODD) if blocked else {}


def _note_clash(clashes: _Clashes, key: str, error: Document) -> None:
    if error["code"] == DUPLICATE_KEY:
        clashes[key] = error


def is_taken(error: Document) -> bool:
    """Whether an insert failed because its `_id` exists, and not because of another unique index."""
    return bool(error["code"] == DUPLICATE_KEY and error.get("keyPattern") == {"_id": 1})


def refusal(error: Document, write: Write, shape: DocumentShape) -> Outcome:
    """Return the outcome for one operation's error. The server's text is left out, because it quotes values."""
    code: int = error["code"]
    if code in RETRIABLE_CODES:
        return Outcome(
            OutcomeKind.RETRY_LATER, code=str(code), reason="MongoDB could not serve the write now."
        )
    if code == VALIDATION_FAILED:
        at_fault = properties_at_fault(error, shape.below)
        reason = (
            f"A validator of the collection does not accept {shape.words_for(at_fault) or 'the document'}."
        )
    else:
        at_fault = list(error.get("keyPattern", ()))
        reason = "MongoDB does not accept the document."
    return Outcome(
        OutcomeKind.REFUSED,
        fields=shape.fields_at(at_fault) & write.fields.keys(),
        code=_CODE_NAMES.get(code, str(code)),
        reason=reason,
    )
