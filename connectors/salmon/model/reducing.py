"""
Leaves out of a change what Kafka does not accept, so that the rest can be synced.

What is left out is reported as a misfit: it stays on its side, and the other side does not get it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from salmon.model.change import (
    MONGODB,
    OWNED_BY_MERGE,
    REFUSED_BY_KAFKA,
    SALESFORCE,
    TOO_LARGE,
    Change,
    Misfit,
    Op,
    Value,
)
from salmon.model.schema import ObjectSchema


def without_largest(change: Change, schema: ObjectSchema) -> Change | None:
    """Return *change* without its largest value; None if it has no value."""
    name = max(_values(change), key=lambda name: _size(change.fields[name]), default=None)
    if name is None:
        return None
    return without(change, schema, {name}, lambda name: Misfit(TOO_LARGE, too_large(name)))


def without_values(change: Change, schema: ObjectSchema) -> Change | None:
    """Return *change* without any value; None if it has no value."""
    names = _values(change)
    return without(change, schema, names, _refused) if names else None


def without(
    change: Change, schema: ObjectSchema, names: Collection[str], why: Callable[[str], Misfit]
) -> Change:
    """Return *change* with the fields *names* reported as misfits."""
    return replace(
        change,
        changed=_speaks_of(change, schema) - frozenset(names),
        fields={name: value for name, value in change.fields.items() if name not in names},
        misfits={**change.misfits, **{name: why(name) for name in names}},
    )


def too_large(name: str) -> str:
    """Return the reason, for a person who looks at the record."""
    return f"{name}: its value is too large for Kafka. Shorten it, raise the topics' max.message.bytes, or exclude the field."


def _refused(name: str) -> Misfit:
    return Misfit(
        REFUSED_BY_KAFKA,
        f"{name}: Kafka's brokers refuse the record that holds its value. Check how the brokers validate the topics' records.",
    )


def _values(change: Change) -> list[str]:
    return sorted(change.fields.keys() - OWNED_BY_MERGE)


def _size(value: Value) -> int:
    """Return about how many bytes the value takes in Kafka."""
    if isinstance(value, str):
        return len(value.encode(errors="replace"))
    return sum(map(_size, value)) if isinstance(value, tuple) else 8


def _speaks_of(change: Change, schema: ObjectSchema) -> frozenset[str]:
    """Return the fields that the change reports, like Rules.spoken."""
    if change.changed is not None:
        return change.changed
    whole = change.op is Op.ROW or change.origin != SALESFORCE
    names = frozenset(field.name for field in schema.fields if whole or field.live)
    return names | OWNED_BY_MERGE if change.origin == MONGODB else names
