"""
What becomes of the values of a custom field that gets another type, and which event says so.

Sources: Change Data Capture Developer Guide, "Change Events for Custom Field Type Conversions"; Salesforce Help, "Notes on
Changing Custom Field Types".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from salmon.simulator.org.objects.object_types import TEXT_TYPES, Field, ObjectType
from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.saving.values import stored_value
from salmon.simulator.org.transaction import RecordChange, Row, Stored

_DATES: Final = frozenset({"date", "datetime"})
_LOSSY_FROM: Final = _DATES | {"boolean", "multipicklist"}
_GAPS: Final = frozenset({("picklist", "boolean"), ("picklist", "multipicklist")})


def conversions(before: ObjectType, after: ObjectType) -> Iterator[tuple[Field, Field]]:
    """The fields that have another type *after*, each as it was and as it is."""
    for field in before.fields:
        new = after.field(field.name)
        if new is not None and new.type != field.type:
            yield field, new


def converted(value: Stored, before: Field, after: Field) -> Stored:
    """What the record holds in place of *value*: null, or false, where the new type cannot take it."""
    nothing = bool(after.default) if after.type == "boolean" else None
    if value is None or after.type == "boolean" or _is_lossy(before, after):
        return nothing
    if after.type in TEXT_TYPES:
        text = value if isinstance(value, str) else format(Decimal(str(value)).normalize(), "f")
        return text[: after.length] if after.length else text
    try:
        return stored_value(after, value)
    except Refusal:
        return nothing


def changes_of(before: ObjectType, after: ObjectType, rows: Mapping[str, Row]) -> tuple[RecordChange, ...]:
    """
    What Change Data Capture says when an object becomes what it is *after*. *rows*: its records *before*, by id.

    Where values are lost, one event stands for all records of the object. Some conversions of picklists make a gap event that names
    the records that had a value. Others, which keep or cut values, make none.
    """
    found = list(conversions(before, after))
    if any(_is_lossy(*pair) for pair in found):
        return (RecordChange(before.name, f"{before.key_prefix}*", "UPDATE", None, None),)
    gaps = [old.name for old, new in found if (old.type, new.type) in _GAPS]
    return tuple(
        RecordChange(before.name, record_id, "GAP_UPDATE", None, None)
        for record_id, row in rows.items()
        if any(row.get(name) is not None for name in gaps)
    )


def _is_lossy(before: Field, after: Field) -> bool:
    return before.type in _LOSSY_FROM or after.type in _DATES
