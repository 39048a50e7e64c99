"""
Converts change stream events, and documents that were read, to changes. Pure.

If an event does not contain a field's whole value (it has one element of an array, or a part of a sub-document), the
document must be read as well. So it is where an event contains a sub-document that should have a field, and lacks it, or the
sub-document's removal: it does not say whether the field was there, or an application has only made its own part. A value that does not fit the schema is among the misfits of the change, and not among its
fields. Nothing is dropped because of who wrote it: the ack says which of our writes an event answers, and the fold decides.

Of an object with several collections, each change says in which one the document is, or was. What an insert and a deletion mean
there is for salmon.mongodb.reading.placed.

Sources: MongoDB Manual, Change Events, and for the order of resume tokens, Change Streams, Resume Tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bson.timestamp import Timestamp

from salmon.errors import DataError
from salmon.model.change import CUT, MONGODB, PLACE, TWICE, Change, Misfit, Op, Value
from salmon.model.convert import cut_by
from salmon.mongodb.documents import (
    OWNED,
    SEQ,
    SEQ_PATH,
    STEP,
    STEP_PATH,
    DocumentShape,
    marker_of,
    owned_of,
    owned_text,
    seq_of,
    twice_in,
)
from salmon.mongodb.keys import key_of
from salmon.mongodb.mismatches import misfit
from salmon.mongodb.paths import MARKER, above_of, at, put
from salmon.mongodb.wire.client import Document

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)

RECORD_EVENTS: Final = frozenset({"insert", "update", "replace", "delete"})
# After these events, what a collection holds is no longer what its events have reported.
LOSING_EVENTS: Final = frozenset({"drop", "rename", "dropDatabase", "invalidate"})


@dataclass(frozen=True, slots=True)
class Reported:
    """What one event, or one document that was read, reported about a record."""

    key: str
    change: Change | None  # None: nothing that is synced
    incomplete: bool = (
        False  # whether the record must be read, because the event does not contain all of the change
    )
    misfits: Mapping[str, DataError] = field(default_factory=dict)  # field -> why it was left out


def reported_by(event: Mapping[str, Any], shape: DocumentShape) -> Reported:
    """
    Return what an insert, update, replace or delete reports.

    Raises:
        BadRecordKey: the document's `_id` cannot be a record key.
    """
    key = key_of(event["documentKey"]["_id"])
    match event["operationType"]:
        case "insert":
            document = event["fullDocument"]
            return _whole(event, key, shape, document, op=Op.CREATE, ack=marker_of(document))
        case "replace":
            # Never an ack: our sink does not replace, and an application that saves whole documents copies the marker.
            return _whole(event, key, shape, event["fullDocument"], op=Op.UPDATE, ack=None)
        case "update":
            return _updated(event, key, shape)
        case _:
            return Reported(key, _change(event, Op.DELETE, fields=_at(event, {}, shape)))


def to_be_read(event: Mapping[str, Any]) -> Reported:
    """Report of a record's event that its document says more than the event does."""
    return Reported(key_of(event["documentKey"]["_id"]), None, incomplete=True)


def row_of(
    document: Mapping[str, Any], shape: DocumentShape, *, as_of: int, place: str | None = None
) -> Reported:
    """
    Convert a document that was read to a row. A row has no commit time of its own, so it loses to any edit that has one.

    Args:
        place: The collection in which it is, if the object has several.

    Raises:
        BadRecordKey: its `_id` cannot be a record key.
    """
    reading = shape.reading(document)
    change = Change(
        origin=MONGODB,
        op=Op.ROW,
        as_of=as_of,
        ack=marker_of(document),
        changed=shape.names - reading.misfits.keys() if reading.misfits else None,
        fields=reading.fields if place is None else {**reading.fields, PLACE: place},
        source=_cut(reading.cut),
        misfits=_reported(reading.misfits),
    )
    return Reported(key_of(document["_id"]), change, misfits=reading.misfits)


def twice(*, as_of: int, places: Iterable[str]) -> Change:
    """Return the row that reports that several collections have the record's `_id`, and nothing of the documents."""
    return Change(
        origin=MONGODB,
        op=Op.ROW,
        as_of=as_of,
        changed=frozenset(),
        misfits={PLACE: Misfit(TWICE, twice_in(places))},
    )


def absent(*, as_of: int) -> Change:
    """Return the change that reports that a record was looked for and does not exist."""
    return Change(origin=MONGODB, op=Op.ABSENT, as_of=as_of)


def time_of(event: Mapping[str, Any]) -> int:
    """Return the event's commit time: its clusterTime as one number (seconds << 32 | ordinal)."""
    return clock(event["clusterTime"])


def clock(timestamp: Timestamp) -> int:
    return timestamp.time << 32 | timestamp.inc


def timestamp(time: int) -> Timestamp:
    """The inverse of clock."""
    return Timestamp(time >> 32, time & 0xFFFF_FFFF)


def collections_replaced_by(event: Mapping[str, Any], collections: Iterable[str]) -> frozenset[str]:
    """Return those of *collections* that no longer hold what their events have reported, after one of LOSING_EVENTS."""
    named = {event.get("ns", {}).get("coll"), event.get("to", {}).get("coll")}
    if event["operationType"] in {"dropDatabase", "invalidate"}:
        return frozenset(collections)
    return frozenset(collections) & named


def _whole(
    event: Mapping[str, Any], key: str, shape: DocumentShape, document: Document, *, op: Op, ack: int | None
) -> Reported:
    """Convert an event that contains the whole document, so it reports every field."""
    reading = shape.reading(document)
    says_all = op is Op.CREATE and not reading.misfits
    changed = None if says_all else shape.names - reading.misfits.keys()
    change = _change(
        event,
        op,
        ack=ack,
        changed=changed,
        fields=_at(event, reading.fields, shape),
        cut=reading.cut,
        misfits=reading.misfits,
    )
    return Reported(key, change, misfits=reading.misfits)


def _updated(event: Mapping[str, Any], key: str, shape: DocumentShape) -> Reported:
    description = event["updateDescription"]
    update = _Update(shape)
    for path, shown in description["updatedFields"].items():
        update.take(path, shown)
    for path in description["removedFields"]:
        update.take(path, None)
    for truncated in description.get("truncatedArrays", ()):
        update.take_part(truncated["field"])
    if update.is_step and "txnNumber" in event:
        return Reported(key, None)  # A later event of the transaction reports the result of our write.
    change = None
    if update.fields or update.misfits or update.ack is not None:
        told = _at(event, update.fields, shape)
        fields = {name: value for name, value in told.items() if value is not None}
        change = _change(
            event,
            Op.UPDATE,
            ack=update.ack,
            changed=frozenset(told),
            fields=fields,
            cut=update.cut,
            misfits=update.misfits,
        )
    return Reported(key, change, incomplete=bool(update.incomplete), misfits=update.misfits)


class _Update:
    """Collects what an updateDescription says about the fields of one object."""

    def __init__(self, shape: DocumentShape) -> None:
        self.shape = shape
        self.fields: dict[str, Value] = {}
        self.misfits: dict[str, DataError] = {}
        self.incomplete: set[str] = set()
        self.cut: set[str] = set()
        self.ack: int | None = None
        self.is_step = False  # a step of ours on the way to a write: see salmon.mongodb.writing.unique_values

    def take(self, path: str, shown: Any) -> None:
        """A path was set to *shown*, or removed (None)."""
        if path in self.shape.by_path:
            self._take_value(self.shape.by_path[path], shown, {})
        elif path in self.shape.below:
            document: Document = {}
            put(document, path, shown)
            for name in self.shape.below[path]:
                self._take_value(name, at(document, self.shape.path[name]), document)
                if self.fields.get(name, path) is None:
                    del self.fields[name]
                    self.incomplete.add(name)
        elif path == MARKER:
            # Our first write to a document creates the marker, so the event contains the whole marker.
            self.fields.update(owned_of(shown))
            self.ack = seq_of(shown.get(SEQ)) if isinstance(shown, Mapping) else None
            self.is_step = isinstance(shown, Mapping) and STEP in shown
        elif path == STEP_PATH:
            self.is_step = shown is not None
        elif path == SEQ_PATH:
            self.ack = seq_of(shown)
        elif path in _OWNED_BY_PATH:
            self.fields[_OWNED_BY_PATH[path]] = owned_text(shown)
        else:
            self.take_part(path)

    def _take_value(self, name: str, shown: Any, document: Document) -> None:
        """*document*: what the event contains of the document, where that is more than the field."""
        try:
            self.fields[name] = self.shape.value_in(document, name, shown)
        except DataError as misfit:
            self.misfits[name] = misfit
        else:
            if cut_by(self.shape.schema.by_name[name], shown):
                self.cut.add(name)

    def take_part(self, path: str) -> None:
        """Something below *path* changed. If it is within a synced field, the event does not contain the rest of its value."""
        for above in (*above_of(path), path):
            if above in self.shape.by_path:
                self.incomplete.add(self.shape.by_path[above])


def _at(event: Mapping[str, Any], fields: Mapping[str, Value], shape: DocumentShape) -> Mapping[str, Value]:
    """The fields, and in which of several collections the event's document is."""
    return {**fields, PLACE: event["ns"]["coll"]} if shape.placed else fields


_OWNED_BY_PATH: Final[Mapping[str, str]] = {f"{MARKER}.{below}": name for name, below in OWNED.items()}


def _change(
    event: Mapping[str, Any],
    op: Op,
    *,
    ack: int | None = None,
    changed: frozenset[str] | None = None,
    fields: Mapping[str, Value] | None = None,
    cut: Collection[str] = (),
    misfits: Mapping[str, DataError] | None = None,
) -> Change:
    cluster_time: Timestamp = event["clusterTime"]
    wall = event.get("wallTime")  # since MongoDB 6.0
    return Change(
        origin=MONGODB,
        op=op,
        committed_at=(wall - _EPOCH) // _MS if wall is not None else cluster_time.time * 1000,
        commit_time=clock(cluster_time),
        order=bytes.fromhex(event["_id"]["_data"]),  # the resume token, in full
        ack=ack,
        changed=changed,
        fields=fields or {},
        misfits=_reported(misfits or {}),
        source={**_source(event), **_cut(cut)},
    )


def _cut(names: Collection[str]) -> dict[str, str]:
    return {CUT: ", ".join(sorted(names))} if names else {}


def _reported(misfits: Mapping[str, DataError]) -> dict[str, Misfit]:
    return {name: misfit(name, error) for name, error in misfits.items()}


def _source(event: Mapping[str, Any]) -> dict[str, str]:
    """Return what else the event reports. The resume token is in the change's `order`."""
    cluster_time: Timestamp = event["clusterTime"]
    source = {
        "operation": event["operationType"],
        "correlation": f"mongodb-{cluster_time.time}-{cluster_time.inc}",
    }
    if "txnNumber" in event:  # several documents changed in one transaction
        session = bytes(event["lsid"]["id"]).hex() if "lsid" in event else ""
        source["transaction"] = f"{session}:{event['txnNumber']}"
    return source
