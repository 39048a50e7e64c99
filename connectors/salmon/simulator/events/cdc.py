"""
A transaction -> its change events, as Change Data Capture makes them: header, bitmaps, body, merging, gaps.

Pure. Which objects are selected and what becomes of an event is for salmon.simulator.events.eventbus.
Sources: Change Data Capture Developer Guide (Change Event Message Structure, Merged Change Events, Gap Events,
Overflow Events), Pub/Sub API (Event Deserialization Considerations), and recorded events.
"""

from __future__ import annotations

import io
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import fastavro

from salmon.simulator.events.cdc_schema import EventSchema, Slot
from salmon.simulator.events.text_diffs import text_diff
from salmon.simulator.org.transaction import RecordChange, Row, Stored, Transaction

OVERFLOW_ID: Final = "000000000000000AAA"
_GAP: Final = "GAP_"

# "Change Data Capture Allocations", "Platform Event Allocations": one event.
EVENT_BYTES_MAX: Final = 1024 * 1024
# "Overflow Events": the changes of one transaction that have events of their own.
CHANGES_MAX: Final = 100_000
# "General Considerations": a number with more of them makes a gap event.
_DIGITS_MAX: Final = 18
# How many records an event names at most is not documented; with so many it is far below its size.
_IDS_MAX: Final = 10_000

# Where a field stands: in the event record, and in its nested record or None.
Place = tuple[int, int | None]


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One change event, not yet encoded. *values* are what the body shows, *changed* the bits of an UPDATE."""

    schema: EventSchema
    transaction: Transaction
    sequence: int  # from 1, within the transaction
    change_type: str  # CREATE ... GAP_OVERFLOW
    record_ids: tuple[str, ...]
    values: tuple[tuple[Slot, Stored], ...] = ()
    changed: tuple[Slot, ...] = ()
    diffed: tuple[Slot, ...] = ()  # those of *changed* whose value is a diff

    @property
    def id(self) -> str:
        """A UUID of the event, the same however often it is delivered."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.transaction.key}/{self.sequence}"))

    def as_gap(self) -> ChangeEvent:
        """What the platform sends when it cannot make the event: who changed, and how, but not what."""
        if self.change_type.startswith(_GAP):
            return self
        return replace(self, change_type=f"{_GAP}{self.change_type}", values=(), changed=(), diffed=())

    def as_wildcard(self) -> ChangeEvent:
        """
        What the platform sends when custom fields are converted to a type that cannot hold their values: all records of the
        object may have changed. What else such an event carries is not documented; this one carries nothing.
        """
        wildcard = f"{self.record_ids[0][:3]}*"
        return replace(self, record_ids=(wildcard,), values=(), changed=(), diffed=())

    def as_overflow(self) -> ChangeEvent:
        """What the platform sends for a transaction with too many changes: that the object changed somewhere."""
        return replace(
            self, change_type="GAP_OVERFLOW", record_ids=(OVERFLOW_ID,), values=(), changed=(), diffed=()
        )

    def payload(self) -> bytes:
        """The event as one Avro datum of its schema, without header or prefix. One that is too large says only what its gap event says."""
        made = self._encoded()
        return self.as_gap()._encoded() if len(made) > EVENT_BYTES_MAX else made

    def _encoded(self) -> bytes:
        body = self._body()
        body["ChangeEventHeader"] = self._header()
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, self.schema.parsed, body)
        return buffer.getvalue()

    def _header(self) -> dict[str, Any]:
        present = {(slot.top, slot.nested) for slot, value in self.values if value is not None}
        changed = [(slot.top, slot.nested) for slot in self.changed]
        return {
            "entityName": self.schema.entity,
            "recordIds": list(self.record_ids),
            "changeType": self.change_type,
            "changeOrigin": self.transaction.change_origin,
            "transactionKey": self.transaction.key,
            "sequenceNumber": self.sequence,
            "commitTimestamp": self.transaction.commit_timestamp_ms,
            "commitNumber": self.transaction.commit_number,
            "commitUser": self.transaction.user_id,
            "nulledFields": bitmaps(place for place in changed if place not in present),
            "diffFields": bitmaps((slot.top, slot.nested) for slot in self.diffed),
            "changedFields": bitmaps(changed),
        }

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = {}
        for slot, stored in self.values:
            value = None if stored is None else slot.convert(stored)
            if slot.member is None:
                body[slot.event_field] = value
            else:
                # The nested record is there if one of its members changed, even to null: only the bitmap tells
                # a member that was cleared from one that was not touched.
                body.setdefault(slot.event_field, {})[slot.member] = value
        return body


def events_of(
    transaction: Transaction,
    schema_of: Callable[[str], EventSchema | None],
    *,
    text_diffs: bool = False,
    changes_max: int = CHANGES_MAX,
) -> tuple[ChangeEvent, ...]:
    """
    The change events of a transaction, in its order.

    The same change made to several records is one event that names them all. An object that is not selected has
    no events, but its changes count in the sequence numbers of the others.

    Args:
        transaction: The net effect of each record's changes; a record is named at most once in the usual case.
        schema_of: The event schema of an object, or None if it is not selected for Change Data Capture.
        text_diffs: Let updates of long texts carry diffs.
        changes_max: So many changes have events of their own; those beyond are one overflow event for each object.
    """
    made: list[tuple[ChangeEvent, list[str]]] = []  # each with the ids of all its records
    joinable: dict[Any, list[str]] = {}  # what makes two changes the same -> the ids of the event they make
    seen: set[str] = set()
    beyond: dict[str, EventSchema] = {}
    sequence = counted = 0
    for change in transaction.changes:
        schema = schema_of(change.entity)
        if schema is None:
            sequence += 1
            continue
        effect = _effect(schema, change, system=not transaction.change_origin)
        if effect is None:
            continue
        change_type, values, changed = effect
        # Each field of an update counts, and the creation or deletion of a record as one.
        counted += max(len(changed), 1)
        if counted > changes_max:
            beyond[change.entity] = schema
            continue
        if change.record_id in seen:
            # A record's own events keep their order: nothing later may join what came before this one.
            joinable.clear()
        seen.add(change.record_id)
        diffed: tuple[Slot, ...] = ()
        if text_diffs and changed:
            values, diffed = _with_diffs(change, values)
        same = (change.entity, change_type, (values, changed))
        if (record_ids := joinable.get(same)) is not None and len(record_ids) < _IDS_MAX:
            record_ids.append(change.record_id)
            continue
        sequence += 1
        joinable[same] = record_ids = [change.record_id]
        event = ChangeEvent(schema, transaction, sequence, change_type, (), values, changed, diffed)
        made.append((event, record_ids))
    overflows = (
        ChangeEvent(schema, transaction, sequence + number, "GAP_OVERFLOW", (OVERFLOW_ID,))
        for number, schema in enumerate(beyond.values(), 1)
    )
    return (*(replace(event, record_ids=tuple(record_ids)) for event, record_ids in made), *overflows)


def _with_diffs(
    change: RecordChange, values: tuple[tuple[Slot, Stored], ...]
) -> tuple[tuple[tuple[Slot, Stored], ...], tuple[Slot, ...]]:
    """The values with diffs in place of long texts, and where those stand."""
    before = change.before or {}
    diffs = {
        slot: diff
        for slot, value in values
        if (diff := text_diff(before.get(slot.row_field), value)) is not None
    }
    return tuple((slot, diffs.get(slot, value)) for slot, value in values), tuple(diffs)


def bitmaps(places: Iterable[Place]) -> list[str]:
    """
    Encode field places as a header's changedFields or nulledFields.

    Returns:
        At most one "0x..." for the event record's own fields, first; then one "<parent>-0x..." for each nested
        record that has a bit. Bit i, from the least significant, is field i; whole bytes, upper case. Empty for
        no place at all.
    """
    top = 0
    nested: defaultdict[int, int] = defaultdict(int)
    for field, member in places:
        if member is None:
            top |= 1 << field
        else:
            nested[field] |= 1 << member
    own = [_hex(top)] if top else []
    return own + [f"{field}-{_hex(bits)}" for field, bits in sorted(nested.items())]


def places_of(bitmap: Sequence[str]) -> list[Place]:
    """Decode what `bitmaps` makes: the event record's own fields first, each record's in order."""
    places: list[Place] = []
    for element in bitmap:
        parent, dash, digits = element.rpartition("-")
        bits = int(digits, 16)
        found = [i for i in range(bits.bit_length()) if bits >> i & 1]
        places += [(int(parent), i) for i in found] if dash else [(i, None) for i in found]
    return places


def _hex(bits: int) -> str:
    return f"0x{bits.to_bytes((bits.bit_length() + 7) // 8).hex().upper()}"


# What the creation of a price book entry does not show (Change Data Capture Developer Guide, "Change Event Body Fields").
_WITHOUT_STAMPS: Final = ("PricebookEntry",)
_STAMPS: Final = ("CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById")


def _effect(
    schema: EventSchema, change: RecordChange, *, system: bool
) -> tuple[str, tuple[tuple[Slot, Stored], ...], tuple[Slot, ...]] | None:
    """The type of the event, what its body shows and which bits are set; None if the change touched nothing that events carry."""
    found = _values_and_changed(schema, change, system=system)
    if found is None:
        return None
    if any(_has_too_many_digits(value) for _, value in found[0]):
        return f"{_GAP}{change.change_type}", (), ()
    return change.change_type, *found


def _has_too_many_digits(value: Stored) -> bool:
    if isinstance(value, Decimal):
        _, digits, exponent = value.normalize().as_tuple()
        return len(digits) + max(int(exponent), 0) > _DIGITS_MAX
    # A double has fewer digits of its own; the zeros of a large one count.
    return type(value) in {int, float} and abs(value) >= 10**_DIGITS_MAX  # type: ignore[arg-type]


def _values_and_changed(
    schema: EventSchema, change: RecordChange, *, system: bool
) -> tuple[tuple[tuple[Slot, Stored], ...], tuple[Slot, ...]] | None:
    """What the body shows and which bits are set; None if the change touched nothing that events carry."""
    if change.after is None:  # a deletion; or a conversion, whose event shows nothing
        return (), ()
    after = change.after
    if change.change_type == "UPDATE":
        changed = tuple(_changed(schema, change.before or {}, after, system=system))
        return (tuple((slot, after.get(slot.row_field)) for slot in changed), changed) if changed else None
    # CREATE and UNDELETE show the whole record, and name no field.
    hidden = _STAMPS if change.change_type == "CREATE" and change.entity in _WITHOUT_STAMPS else ()
    shown = (
        (slot, after.get(slot.row_field))
        for slot in schema.slots
        if slot.is_of(after) and slot.row_field not in hidden
    )
    return tuple((slot, value) for slot, value in shown if value is not None), ()


def _changed(schema: EventSchema, before: Row, after: Row, *, system: bool) -> Iterable[Slot]:
    # The event of a lead's conversion does not show when (Change Data Capture Developer Guide, "Change Event Body Fields").
    is_conversion = bool(after.get("IsConverted")) and not before.get("IsConverted")
    for slot in schema.slots:
        # A user's save sets LastModifiedDate, also within the second of the save before, where both stamps look
        # the same. The system's own writes (geocoding; they have no origin) leave it alone.
        stamped = slot.row_field == "LastModifiedDate" and not system
        if stamped and is_conversion:
            continue
        if (stamped or before.get(slot.row_field) != after.get(slot.row_field)) and slot.is_of(after):
            yield slot
