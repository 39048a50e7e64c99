"""
Unique values that another record holds: who that is, and whether writes wait for each other in a circle.

Salesforce checks one record after the other, also within a call, so that two records that swap a value refuse each other
for ever. One of them is then cleared first. The clearing carries the marker 0: an event with a marker that was answered
long ago, or never given, is the late echo of a write of ours (salmon.model.fold), so that nobody takes it for an edit. The
write itself is still owed and follows at once, or after a crash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from salmon.model.change import Value, Write, WriteOp
from salmon.model.markers import Markers
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import Outcome, OutcomeKind, OwedTo
from salmon.salesforce.ids import id18
from salmon.salesforce.wire import soql
from salmon.salesforce.wire.codes import DUPLICATE
from salmon.salesforce.wire.rest import RowResult
from salmon.salesforce.writing.markers import Querying
from salmon.salesforce.writing.references import RecordId

CLEARED: Final = 0  # the marker of a clearing
CIRCLE_MAX: Final = 500  # records that are looked at for one write; longer circles are refused
_WORD: Final = re.compile(r"\w+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Holder:
    """The record that holds a value."""

    native_id: str
    key: str


@dataclass(frozen=True, slots=True)
class Clash:
    """A write that a unique value keeps away. *field*: whose; None where the answer does not name it."""

    id: RecordId
    write: Write
    native_id: str | None  # the record's own, where there is one already
    field: str | None
    holder: Holder | None


class UniqueValues:
    """
    Unique values of an org, as they are now.

    Args:
        owed: What is owed to other records.
    """

    def __init__(self, org: Querying, owed: OwedTo, schemas: Mapping[str, ObjectSchema]) -> None:
        self._org, self._owed, self._schemas = org, owed, schemas

    def clash(self, record: RecordId, write: Write, native_id: str | None, result: RowResult) -> Clash:
        """What a refusal for a unique value is about. Raises as Rest does."""
        errors = [error for error in result.errors if error.code == DUPLICATE]
        # Neither names nor Ids are translated like the rest of a message.
        words = [word for error in errors for word in (*error.fields, *_WORD.findall(error.message))]
        field = next((word for word in words if write.fields.get(word) is not None), None)
        holder = self._holder(record[0], field, write.fields[field], native_id) if field else None
        if holder is None:
            ids = [full for word in words if (full := id18(word)) is not None and full != native_id]
            holder = self._look(record[0], soql.one_of("Id", ids), native_id) if ids else None
        return Clash(record, write, native_id, field, holder)

    def is_circle(self, clash: Clash) -> bool:
        """Whether the holder waits, perhaps over others, for what the record of this write holds itself."""
        name, field, holder = clash.id[0], clash.field, clash.holder
        seen: set[str] = set()
        value = clash.write.fields.get(field) if field else None
        while field is not None and holder is not None and len(seen) < CIRCLE_MAX:
            owed = self._owed(name, holder.key)
            if owed is None or owed.op is not WriteOp.UPDATE or not _gives_up(owed, field, value):
                return False
            seen.add(holder.native_id)
            value = owed.fields[field]
            holder = self._holder(name, field, value, holder.native_id) if value is not None else None
            if holder is not None and holder.native_id == clash.native_id:
                return True
            if holder is not None and holder.native_id in seen:
                return False
        return False

    def outcome(self, clash: Clash) -> Outcome:
        """Put again later, while the holder is owed a write that gives the value up; else a refusal that names it."""
        name, field, holder = clash.id[0], clash.field, clash.holder
        if holder is None:
            reason = "a record held the same unique value, and has gone, or cannot be read"
            return Outcome(OutcomeKind.REFUSED, _named(field), DUPLICATE, reason)
        owed = self._owed(name, holder.key)
        if owed is not None and (field is None or _gives_up(owed, field, clash.write.fields[field])):
            reason = f"{name} {holder.key} gives up the value with a write that waits to be sent"
            return Outcome(OutcomeKind.RETRY_LATER, _named(field), DUPLICATE, reason)
        what = field or "One of its fields"
        return Outcome(
            OutcomeKind.REFUSED,
            _named(field),
            DUPLICATE,
            f"{what} must be unique in Salesforce, and {name} {holder.key} has the same value. Correct it in one of the "
            f"two.",
            waits_for=((name, holder.key),),
        )

    def _holder(self, name: str, field: str, value: Value, but: str | None) -> Holder | None:
        if not isinstance(value, str):
            return None
        return self._look(name, soql.one_of(field, [value]), but)

    def _look(self, name: str, where: str, but: str | None) -> Holder | None:
        field = self._schemas[name].markers.key
        for page in self._org.pages(soql.select(["Id", field], name, where=[where])):
            for row in page.rows:
                if row["Id"] != but:
                    return Holder(row["Id"], row.get(field) or row["Id"])
        return None


def clearing(clash: Clash, markers: Markers) -> dict[str, Any]:
    """The update that takes the record of the write out of its circle."""
    assert clash.field is not None
    return {
        "attributes": {"type": clash.id[0]},
        "Id": clash.native_id,
        clash.field: None,
        markers.seq: CLEARED,
    }


def within(batch: Iterable[tuple[RecordId, Write]], owed: OwedTo) -> OwedTo:
    """*owed*, and before it what the same batch still owes."""
    known: Mapping[RecordId, Write] = dict(batch)

    def owed_to(name: str, key: str) -> Write | None:
        return known.get((name, key)) or owed(name, key)

    return owed_to


def _gives_up(owed: Write, field: str, value: Value) -> bool:
    if owed.op is WriteOp.DELETE:
        return True
    return field in owed.fields and owed.fields[field] != value


def _named(field: str | None) -> frozenset[str]:
    return frozenset({field}) if field else frozenset()
