"""
Carries out the writes of an object that has several collections: looks first where each document is, and moves those that belong
into another collection.

    nowhere                      CREATE inserts in the collection that the write names; UPDATE and DELETE are GONE
    in the collection that the write names, or it names none
                                 as in an object with one collection (salmon.mongodb.writing.delivery)
    in another one               it is moved. A CREATE moves only a document with a marker; one without it is EXISTS
    in several                   EXISTS, TWICE: nobody can say which one is the record, and the source has to look. Where it does not
                                 read the object: REFUSED

Between the look and the write, somebody else may move the document. Then the write meets nothing, is GONE, and the row that the source
reads says where it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pymongo.read_concern import ReadConcern

from salmon.model.change import PLACE, TWICE, Write, WriteOp
from salmon.model.rules import SEQ_MAX
from salmon.mongodb.documents import DocumentShape, twice_in
from salmon.mongodb.writing.blocked import CHANGED
from salmon.mongodb.writing.delivery import (
    APPLIED,
    EXISTS,
    GONE,
    SKIPPED,
    carry_out,
    nothing_owed,
    read_markers,
)
from salmon.mongodb.writing.movers import Collections, Mover, move
from salmon.mongodb.writing.unique_values import Owed
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord

_AGAIN_S: Final = 5.0
_NO_PLACE: Final = Outcome(
    OutcomeKind.RETRY_LATER,
    code="NoSuchPlace",
    reason="The write names no collection of this process's configuration. Start all processes with the same configuration.",
    again_s=_AGAIN_S,
)

_Found = Mapping[str, int | None]  # name of a collection that has the document -> its marker there


def carry_out_placed(
    collections: Collections,
    shape: DocumentShape,
    records: Sequence[SinkRecord],
    owed: Owed = nothing_owed,
    *,
    is_read: bool = True,
) -> list[Outcome]:
    """
    Carry out the writes of one object, at most one per key. Returns their outcomes in order.

    Args:
        collections: The object's, by their names.
        owed: See carry_out, as for the errors.
        is_read: Whether the source reads the object.
    """
    found = _look(collections, [record.key for record in records])
    unseen = _unseen_yet(
        collections, [r.key for r in records if r.write.op is WriteOp.CREATE and r.key not in found]
    )
    outcomes: dict[str, Outcome] = {}
    stays: dict[str, list[SinkRecord]] = {}  # collection -> writes that move nothing
    movers: dict[str, Mover] = {}
    for record in records:
        at = found.get(record.key, {})
        goes_to = _goes_to(record.write, at)
        if record.key in unseen:
            outcomes[record.key] = CHANGED
        elif len(at) > 1:
            outcomes[record.key] = _twice(at, is_read=is_read)
        elif goes_to is None:
            outcomes[record.key] = _NO_PLACE if record.write.op is WriteOp.CREATE else GONE
        elif goes_to not in collections:
            outcomes[record.key] = _NO_PLACE
        elif not at or goes_to in at:
            stays.setdefault(goes_to, []).append(record)
        else:
            [(place, marker)] = at.items()
            if (done := _without_a_move(record.write, marker)) is not None:
                outcomes[record.key] = done
            elif _is_odd(record.write, marker):
                stays.setdefault(place, []).append(record)  # where the marker is removed
            else:
                movers[record.key] = Mover(record, collections[place], collections[goes_to], marker or 0)
    by_key = {record.key: record.write for record in records}

    def owed_now(key: str) -> Write | None:
        return by_key.get(key) or owed(key)

    for name, some in stays.items():
        done_here = carry_out(collections[name], shape, some, owed_now)
        outcomes |= {record.key: outcome for record, outcome in zip(some, done_here, strict=True)}
    outcomes |= move(movers, collections, shape, owed_now)
    return [outcomes[record.key] for record in records]


def _look(collections: Collections, keys: Sequence[str]) -> dict[str, dict[str, int | None]]:
    """Record key -> where it has documents, all at one time: a document that is moved meanwhile is not seen twice."""
    found: dict[str, dict[str, int | None]] = {}
    client = next(iter(collections.values())).database.client
    with client.start_session(snapshot=True) as session:
        for name, collection in collections.items():
            for key, marker in read_markers(collection, keys, session).items():
                found.setdefault(key, {})[name] = marker
    return found


def _unseen_yet(collections: Collections, keys: Sequence[str]) -> set[str]:
    """
    Those of *keys* that have a document that no majority has yet, so the look did not show it: perhaps of an earlier write whose answer
    never came. Its collection may be another one, and a second document must not be made beside it.
    """
    if not keys:
        return set()
    here = [each.with_options(read_concern=ReadConcern("local")) for each in collections.values()]
    return {key for collection in here for key in read_markers(collection, keys)}


def _goes_to(write: Write, at: _Found) -> str | None:
    """The collection in which the document is after the write; None if neither the write nor the document names one."""
    named = write.fields.get(PLACE) if write.op is not WriteOp.DELETE else None
    if isinstance(named, str) and (at or write.op is WriteOp.CREATE):
        return named
    return next(iter(at), None)


def _twice(at: _Found, *, is_read: bool) -> Outcome:
    if is_read:
        return Outcome(OutcomeKind.EXISTS, code=TWICE, reason=twice_in(at))
    return Outcome(OutcomeKind.REFUSED, fields=frozenset({PLACE}), code=TWICE, reason=twice_in(at))


def _is_odd(write: Write, marker: int | None) -> bool:
    return marker is not None and marker >= SEQ_MAX > write.seq


def _without_a_move(write: Write, marker: int | None) -> Outcome | None:
    """The outcome of a write that does not apply to the document, by its marker."""
    if write.op is WriteOp.CREATE and (marker is None or _is_odd(write, marker)):
        return EXISTS
    if marker is None:
        return EXISTS if write.expected else None
    if _is_odd(write, marker) or marker < write.seq:
        return None
    return APPLIED if marker == write.seq else SKIPPED
