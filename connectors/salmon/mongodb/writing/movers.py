"""
Moves documents from one collection of an object to another, and changes them by the way.

A move is one transaction, so that nobody ever sees the document twice or nowhere, and a sink that is killed in it has done nothing.
It inserts the document as it will be after the write, with all that the application has in it, and deletes the former one. It is no
update with a copy after it: the event of that update would answer the write, and say that the document is still in its old place.

Where a unique index of the new collection refuses a document, another one has its value there. That is final only if the other one
keeps it (salmon.mongodb.writing.unique_values). Documents that change places, each with the other's value, are moved in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import bson
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import PyMongoError, WriteError
from pymongo.read_concern import ReadConcern

from salmon.errors import DataError
from salmon.model.change import PLACE, Write, WriteOp
from salmon.mongodb.documents import SEQ_PATH, DocumentShape, marker_of
from salmon.mongodb.keys import id_of
from salmon.mongodb.paths import MARKER
from salmon.mongodb.wire.client import CODEC, DUPLICATE_KEY, Document, translated
from salmon.mongodb.writing.blocked import CHANGED
from salmon.mongodb.writing.copying import copied
from salmon.mongodb.writing.delivery import APPLIED, is_taken, refusal
from salmon.mongodb.writing.unique_values import CIRCLE_MAX, Owed, UniqueValues, guard
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.plugin.guard import changes_in

_AS_STORED: Final = CODEC.with_options(document_class=RawBSONDocument)
_BUSY: Final = Outcome(OutcomeKind.RETRY_LATER, reason="Another client is writing the document.")

Collections = Mapping[str, Collection[Document]]


@dataclass(frozen=True, slots=True)
class Mover:
    """A write that moves its document from *old* to *new*. *marker*: of the document, 0 for none."""

    record: SinkRecord
    old: Collection[Document]
    new: Collection[Document]
    marker: int


def move(
    movers: Mapping[str, Mover], collections: Collections, shape: DocumentShape, owed: Owed
) -> dict[str, Outcome]:
    """
    Carry out the writes *movers*, by record key. Returns their outcomes.

    Args:
        collections: All of the object's, by their names.
        owed: Returns the newest unfinished write of a record, also of one of *movers*.

    Raises RetriableError, FatalError: for some of them it is not known what became of them; repeating is safe.
    """
    outcomes: dict[str, Outcome] = {}
    clashes: dict[str, Document] = {}
    left = movers
    while left:
        clashes = {}
        for key, mover in left.items():
            outcomes[key] = _moved([mover], shape, clashes)
        if len(clashes) == len(left):
            break
        left = {key: left[key] for key in clashes}  # one of the others may have given the value up
    for key, error in clashes.items():
        if outcomes[key] is APPLIED:
            continue  # it changed places with another one
        mover = left[key]
        unique = UniqueValues(mover.new, shape, owed, {key: mover.old})
        outcomes |= unique.resolve({key: (mover.record.write, error)})
        circle = _circle(mover, error, collections, shape, owed)
        if circle is not None and _moved(list(circle.values()), shape, {}) is APPLIED:
            outcomes |= dict.fromkeys(circle.keys() & movers.keys(), APPLIED)
    return outcomes


def _circle(
    first: Mover, error: Document, collections: Collections, shape: DocumentShape, owed: Owed
) -> dict[str, Mover] | None:
    """All moves that wait for one another's values, *first* among them; None if there is no such circle."""
    found = {first.record.key: first}
    is_closed = False
    waiting = [first]
    while waiting and len(found) <= CIRCLE_MAX:
        mover = waiting.pop()
        key, write = mover.record.key, mover.record.write
        for holder in UniqueValues(mover.new, shape, owed, {key: mover.old}).holders(
            key, write, error if mover is first else {}
        ):
            theirs = None if holder.key is None else owed(holder.key)
            place = None if theirs is None else theirs.fields.get(PLACE)
            if holder.key is None or theirs is None or not isinstance(place, str) or place not in collections:
                return None
            if holder.key in found:
                is_closed = is_closed or holder.key == first.record.key
                continue
            if theirs.op is not WriteOp.UPDATE or place == mover.new.name:
                return None
            seen = mover.new.find_one({"_id": holder.document_id}, {SEQ_PATH: 1}) or {}
            record = SinkRecord(first.record.object, holder.key, theirs)
            found[holder.key] = Mover(record, mover.new, collections[place], marker_of(seen) or 0)
            waiting.append(found[holder.key])
    return found if is_closed and not waiting else None


def _moved(movers: Sequence[Mover], shape: DocumentShape, clashes: dict[str, Document]) -> Outcome:
    """Carry out one write, or several together. *clashes*: gets the error if a unique index refuses the one."""
    new, write = movers[0].new, movers[0].record.write
    try:
        updates = [_update(shape, each.record.write, each.marker) for each in movers]
        with (
            new.database.client.start_session() as session,
            session.start_transaction(ReadConcern("snapshot"), new.write_concern),
        ):
            if not _in_transaction(movers, updates, shape, session):
                session.abort_transaction()
                return CHANGED  # by somebody else since the look
    except DataError as error:
        return Outcome(OutcomeKind.REFUSED, code=type(error).__name__, reason=str(error))
    except (BSONError, OverflowError, UnicodeEncodeError) as error:
        code = type(error).__name__
        return Outcome(
            OutcomeKind.REFUSED, code=code, reason=f"The document cannot be sent to MongoDB: {code}."
        )
    except PyMongoError as error:
        if error.has_error_label("TransientTransactionError"):
            return _BUSY
        if isinstance(error, WriteError) and isinstance(error.details, Mapping):
            details = {"code": error.code, **error.details}
            if is_taken(details):
                return CHANGED
            if error.code == DUPLICATE_KEY:
                clashes[movers[0].record.key] = details
            return refusal(details, write, shape)
        raise translated(error, f"moving a document to {new.full_name}") from error
    return APPLIED


def _update(shape: DocumentShape, write: Write, marker: int) -> Document:
    if write.op is WriteOp.CREATE:
        fields, knows = changes_in(write, marker)
        return shape.whole_update(fields, write.seq, knows)
    return shape.update(write.fields, write.seq)


def _in_transaction(
    movers: Sequence[Mover], updates: Sequence[Document], shape: DocumentShape, session: ClientSession
) -> bool:
    """Returns whether all documents were found as they were."""
    found: list[RawBSONDocument] = []
    for mover in movers:
        guarded = guard(id_of(mover.record.key), mover.record.write, shape.mark)
        document = mover.old.with_options(codec_options=_AS_STORED).find_one(guarded, session=session)
        if document is None:
            return False
        found.append(document)

    def enter() -> None:
        for mover, document, update in zip(movers, found, updates, strict=True):
            mover.new.insert_one(copied(bson.encode(document), update), session=session)

    def leave() -> bool:
        left = 0
        for mover, document in zip(movers, found, strict=True):
            seen: Any = document.get(MARKER)
            marker = seen.get("seq") if isinstance(seen, Mapping) else None
            which = {"_id": id_of(mover.record.key), SEQ_PATH: {"$eq": marker}}
            left += mover.old.delete_one(which, session=session).deleted_count
        return left == len(movers)

    if len(movers) == 1:
        # The insert comes first in the stream, and says where the document is.
        enter()
        return leave()
    if not leave():  # before any of them takes another one's value
        return False
    enter()
    return True
