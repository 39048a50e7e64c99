"""
One change event -> what it says of each record it names. Pure: nothing is read, waited for or judged here.

An event that does not say it all (a gap, a text diff, more changes than fit) is turned into the wish to read the
records it names, or the whole object; carrying that out is feed's.
Sources: Change Data Capture Developer Guide, "Change Event Fields", "Merged Change Events", "Gap Events",
"Overflow Events", "Text Diffs"; Pub/Sub API, "Event Deserialization Considerations".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from salmon.errors import SchemaMismatch
from salmon.model.change import SALESFORCE, Change, Op, Value
from salmon.model.convert import from_event
from salmon.model.people import JOINED, NAME
from salmon.model.schema import ObjectSchema
from salmon.salesforce.identity import Identity
from salmon.salesforce.ids import names_no_record
from salmon.salesforce.wire.pubsub_api.layout import EventLayout

log = structlog.get_logger(__name__)

RETURNS: Final = "UNDELETE"
_WITHOUT_STAMPS: Final = frozenset({"PricebookEntry"})  # their creations do not show who made them, and when
_OPS: Final = {"CREATE": Op.CREATE, RETURNS: Op.CREATE, "UPDATE": Op.UPDATE, "DELETE": Op.DELETE}
_ORDER: Final = struct.Struct(">QI")  # commitNumber, sequenceNumber: rises as the channel does


@dataclass(frozen=True, slots=True)
class EventId:
    """What distinguishes events, and their order."""

    replay_id: bytes
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What an event says of one record. *change* is None where it does not say it: the record is to be read."""

    native_id: str
    change: Change | None


@dataclass(frozen=True, slots=True)
class Report:
    """What one event says. With *whole*, anything may have happened to the object: all of it is to be read."""

    object: str
    commit_time: int
    told: tuple[Told, ...] = ()
    key: str | None = None  # what a new or returned record carries as its key
    whole: bool = False


def understood(payload: Mapping[str, Any], at: EventId, *, layout: EventLayout, **of_the_sync: Any) -> Report:
    """As `report_of`, whose arguments these are. What does not fit its schema is left to the records' rows."""
    try:
        return report_of(payload, at, layout=layout, **of_the_sync)
    except SchemaMismatch as error:
        # The row will say it, or be set aside with its bytes.
        log.warning(
            "event_does_not_fit", object=layout.object, replay_id=at.replay_id.hex(), error=str(error)
        )
        header = payload["ChangeEventHeader"]
        told = tuple(Told(each, None) for each in header["recordIds"])
        return Report(layout.object, header["commitTimestamp"], told)


def report_of(
    payload: Mapping[str, Any],
    at: EventId,
    *,
    layout: EventLayout,
    schema: ObjectSchema,
    identity: Identity,
    our_user: str,
) -> Report:
    """
    Say what an event says.

    Args:
        payload: The event as its Avro schema reads it.
        at: Its replay id and its own id.
        layout: The layout of that same schema.
        schema: The object's synced fields; others are left out.
        identity: For the keys of the records that its reference fields point at.
        our_user: The Id of the user that Salmon writes as; only its changes acknowledge writes, or follow of one.

    Raises:
        SchemaMismatch: a value or a bitmap does not fit the schema.
    """
    header = payload["ChangeEventHeader"]
    name, commit_time = layout.object, header["commitTimestamp"]
    ids, kind = tuple(header["recordIds"]), header["changeType"]
    if kind == "GAP_OVERFLOW" or any(names_no_record(native_id) for native_id in ids):
        return Report(name, commit_time, whole=True)
    op = _OPS.get(kind)
    if op is None or header["diffFields"] or _must_be_read(op, header, payload, layout, schema):
        return Report(name, commit_time, tuple(Told(native_id, None) for native_id in ids))
    shown = dict(layout.values(payload))
    said = _said(op, header, layout, shown, schema)
    by_us = header["commitUser"][:15] == our_user[:15]
    markers = schema.markers
    # An undelete brings a marker back that was acknowledged, or never will be, in the record's former life.
    acks = kind in ("CREATE", "UPDATE") and markers.seq in said and by_us
    fields = {
        field.name: value
        for field in schema.fields
        if field.name in said and (value := _value(field.name, shown, schema, identity)) is not None
    }
    carried = shown.get(markers.key) if markers.key in said else None
    told = tuple(
        Told(
            native_id,
            Change(
                origin=SALESFORCE,
                op=op,
                committed_at=commit_time,
                commit_time=commit_time,
                order=_ORDER.pack(header["commitNumber"], header["sequenceNumber"]),
                native_id=native_id,
                ack=_seq(shown[markers.seq]) if acks else None,
                changed=said & schema.by_name.keys() if op is Op.UPDATE else None,
                fields=fields,
                source=_source(header, at),
                by_us=by_us,
            ),
        )
        for native_id in ids
    )
    # What no event reports was known in the record's former life, and is not in this event.
    if (kind == RETURNS and schema.unreported) or (op is Op.CREATE and name in _WITHOUT_STAMPS):
        told = tuple(each for one in told for each in (one, Told(one.native_id, None)))
    return Report(name, commit_time, told, key=carried or None)


def _must_be_read(
    op: Op, header: Mapping[str, Any], payload: Mapping[str, Any], layout: EventLayout, schema: ObjectSchema
) -> bool:
    """Whether what the event says of a person's name is not enough to know the Name."""
    if not layout.has_two_kinds:
        return False
    bitmaps = (*header["changedFields"], *header["nulledFields"])
    named = layout.named(bitmaps)
    if op is Op.UPDATE and layout.is_unclear(payload, bitmaps):
        return True
    if NAME not in schema.by_name or not (parts := layout.parts_of(payload) & JOINED):
        return False
    told = named | {name for name, value in layout.values(payload) if value is not None}
    return not told & parts <= schema.by_name.keys()


def _said(
    op: Op, header: Mapping[str, Any], layout: EventLayout, shown: Mapping[str, Any], schema: ObjectSchema
) -> frozenset[str]:
    """
    The REST names of the fields that the event speaks of.

    An enriched channel shows further fields of an update as they are when it is delivered. Of a field whose changes are events that says
    nothing: its own event does, in its place. Of one that no event reports, it saves a reading; null says nothing, since a
    channel that is not enriched shows that, too.
    """
    match op:
        case Op.CREATE:
            return frozenset(name for name, value in shown.items() if value is not None)
        case Op.UPDATE:
            # A cleared field is among the changed ones; that it is in one list only would still be meant so.
            named = layout.named((*header["changedFields"], *header["nulledFields"]))
            enriched = {name for name, value in shown.items() if value is not None}
            return (named & shown.keys()) | (enriched & schema.unreported)
        case _:
            return frozenset()


def _value(name: str, shown: Mapping[str, Any], schema: ObjectSchema, identity: Identity) -> Value:
    field = schema.by_name[name]
    value = from_event(field, shown[name])
    return identity.reference_key(field, value) if field.reference_to and isinstance(value, str) else value


def _seq(marker: Any) -> int | None:
    return None if marker is None else int(marker)


def _source(header: Mapping[str, Any], at: EventId) -> dict[str, str]:
    return {
        "replay_id": at.replay_id.hex(),
        "event_id": at.event_id,
        "transaction_key": header["transactionKey"],
        "sequence": str(header["sequenceNumber"]),
        # Of the edit, in every log: the same whenever the event is read.
        "correlation": f"salesforce-{header['transactionKey']}-{header['sequenceNumber']}",
        "user": header["commitUser"],
        "change_origin": header["changeOrigin"],
        "change_type": header["changeType"],
    }
