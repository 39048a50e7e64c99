"""
What a custom channel makes of a change event: one for each record where the member has enriched fields or a filter.

Enriched fields are on updates and deletions alone, are not named in changedFields, and show the record as it is when the
event is delivered. The events that a merged one becomes share its replay id. A filter is asked of the record as it is at
delivery, too; gap events and those of all records always pass, since what they stand for is unknown.
Source: Change Data Capture Developer Guide, "Enrich Change Events with Extra Fields when Subscribed with Pub/Sub API" and
"Filter Your Stream of Change Events with Custom Channels". That each of them has an id of its own is our choice: clients
drop events whose id they have seen.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import fastavro

from salmon.simulator.events.cdc import places_of
from salmon.simulator.events.cdc_schema import EventSchema, Slot
from salmon.simulator.org.channels import Member
from salmon.simulator.org.transaction import Row

_ENRICHED_TYPES: Final = frozenset({"UPDATE", "DELETE"})

RowOf = Callable[[str, str], Row | None]  # object, id -> the record as it is or was, if anybody knows


@dataclass(frozen=True, slots=True)
class BusEvent:
    """An event on the bus."""

    id: str  # UUID
    topic: str  # its own: "/data/AccountChangeEvent"
    schema_id: str
    payload: bytes
    standard: bool = True  # whether the standard channel carries it


def as_delivered(
    event: BusEvent, member: Member, schema: EventSchema, row_of: RowOf
) -> Iterator[BusEvent | None]:
    """The event as *member*'s channel delivers it: several for a merged one, None in place of one that the filter holds back."""
    if not member.enriched and member.passes is None:
        yield event
        return
    body: Any = fastavro.schemaless_reader(io.BytesIO(event.payload), schema.parsed, None)
    header = body["ChangeEventHeader"]
    record_ids, change_type = header["recordIds"], header["changeType"]
    names_none = change_type.startswith("GAP_") or any(each.endswith("*") for each in record_ids)
    if names_none or (change_type not in _ENRICHED_TYPES and member.passes is None):
        yield event
        return
    changed = set(places_of(header["changedFields"]))
    for record_id in record_ids:
        row = row_of(member.entity, record_id)
        if member.passes is not None and (row is None or not member.passes(row)):
            yield None
            continue
        one = deepcopy(body)
        one["ChangeEventHeader"]["recordIds"] = [record_id]
        if change_type in _ENRICHED_TYPES and row is not None:
            slots = [
                slot for slot in schema.slots if (slot.top, slot.nested) not in changed and slot.is_of(row)
            ]
            _enrich(one, member.enriched, slots, row)
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, schema.parsed, one)
        own_id = event.id if len(record_ids) == 1 else str(uuid.uuid5(uuid.UUID(event.id), record_id))
        yield BusEvent(own_id, event.topic, event.schema_id, buffer.getvalue(), event.standard)


def _enrich(body: dict[str, Any], enriched: tuple[str, ...], slots: Iterable[Slot], row: Row) -> None:
    for slot in slots:
        if slot.row_field not in enriched and slot.event_field not in enriched:
            continue
        value = row.get(slot.row_field)
        shown = None if value is None else slot.convert(value)
        if slot.member is None:
            body[slot.event_field] = shown
        else:
            body[slot.event_field] = {**(body[slot.event_field] or {}), slot.member: shown}
