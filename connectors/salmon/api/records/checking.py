"""
What is checked of a record before it is written, beside its own fields' types: what is required, dependent picklists, and references that
exist. Everything that is wrong is reported at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any, Final

from salmon.api.grants import Caller
from salmon.api.handle import Api, ApiObject
from salmon.api.problems import Fault
from salmon.api.records.asking import time_bound_ms
from salmon.api.records.matching import NATIVE_ID
from salmon.errors import DataError, SchemaMismatch
from salmon.model.change import Value
from salmon.model.convert import from_document, from_json, out_of_range
from salmon.model.references import respelled, target_in
from salmon.model.schema import FieldSchema, Kind
from salmon.mongodb.keys import id_of, key_of
from salmon.mongodb.wire.client import border
from salmon.salesforce.ids import id18

_NAMED_MAX: Final = 20
Values = dict[str, Value]


def values_of(of: ApiObject, given: Mapping[str, Any]) -> tuple[Values, list[Fault]]:
    """Convert a body, whose types have been checked, to values; and what cannot be converted."""
    values: Values = {}
    faults: list[Fault] = []
    for name, shown in given.items():
        field = of.schema.by_name[name]
        try:
            value = from_json(field, shown)
            if value is not None and not field.reference_to:
                of.shape.shown(name, value)
        except (DataError, ArithmeticError, ValueError):
            faults.append(
                Fault(name, "wrong-type", f"does not fit the type {field.type} ({field.kind.value})")
            )
            continue
        if value is not None and field.kind in (Kind.DOUBLE, Kind.DECIMAL) and not _keeps(field, shown):
            faults.append(Fault(name, "too-many-digits", f"has more digits than {_room_of(field)}"))
        elif out_of_range(field, value):
            faults.append(Fault(name, "out-of-range", "Salesforce holds the years 1700 to 4000"))
        elif value is None and shown is not None and not field.nillable:
            faults.append(Fault(name, "not-nillable", "must not be empty"))
        elif value is None and field.required:
            faults.append(Fault(name, "required", "is required: Salesforce refuses a record without it"))
        else:
            values[name] = value
    return values, faults


def _keeps(field: FieldSchema, shown: Any) -> bool:
    """Whether the field has room for all digits of a number. What a double makes of 0.1 + 0.2 is 0.3 in a field of two places."""
    number = Decimal(shown)
    nearest = float(number)
    try:
        from_document(field, nearest if Decimal(repr(nearest)) == number else number)
    except SchemaMismatch:
        return False
    return True


def _room_of(field: FieldSchema) -> str:
    if field.kind is Kind.DOUBLE:
        return "a double, which is how the sync keeps numbers (`numbers: decimal` keeps all that the org has)"
    return f"the field keeps ({field.scale} after the point)"


def dependents(
    of: ApiObject, values: Mapping[str, Value], held: Mapping[str, Value], *, reads: bool
) -> list[Fault]:
    """
    What does not go with the controlling field's value.

    Args:
        held: The record before.
        reads: Whether the caller may know its values. What would be allowed with one says which one it is.
    """
    faults: list[Fault] = []
    after = {**held, **values}
    for name, described in of.described.fields.items():
        controller = described.controller
        if not controller or name not in of.schema.by_name or controller not in of.schema.by_name:
            continue
        if (name not in values and controller not in values) or controller in of.masked:
            continue
        by_value = {choice.value: choice for choice in described.choices}
        chosen = after.get(name)
        for value in chosen if isinstance(chosen, tuple) else () if chosen is None else (chosen,):
            choice = by_value.get(str(value))
            if (
                choice is None
                or choice.only_with is None
                or _controls(after.get(controller)) & set(choice.only_with)
            ):
                continue
            reason = f"does not go with the value of {controller}"
            if reads or controller in values:
                allowed = ", ".join(
                    each.value for each in described.choices if _goes(each.only_with, after.get(controller))
                )
                reason += f"; with that, it may be {allowed}" if allowed else ", which allows none"
            faults.append(Fault(name, "not-in-dependent-picklist", reason))
    return faults


def _controls(value: Value) -> set[str]:
    if isinstance(value, bool):
        return {str(value).lower()}
    if isinstance(value, tuple):
        return set(value)
    return set() if value is None else {str(value)}


def _goes(only_with: Sequence[str] | None, value: Value) -> bool:
    return only_with is None or bool(_controls(value) & set(only_with))


def references(api: Api, of: ApiObject, records: Sequence[Values], caller: Caller) -> list[list[Fault]]:
    """
    Check that what the records refer to exists, and spell each reference by its target's key (in place). One query for each object.

    Returns:
        The faults of each record.
    """
    faults: list[list[Fault]] = [[] for _ in records]
    asked: dict[str, set[str]] = {}
    for values in records:
        for field, value in _referring(of, values):
            target = target_in(field, value)
            for name in [target.type] if target.type else field.reference_to:
                if name in api.objects:
                    asked.setdefault(name, set()).add(target.key)
    known = {name: _known(api, name, keys) for name, keys in asked.items()}
    for values, wrong in zip(records, faults, strict=True):
        for field, value in _referring(of, values):
            found = _found(api, field, value, known, caller)
            if isinstance(found, Fault):
                wrong.append(found)
            else:
                values[field.name] = respelled(field, value, found)
    return faults


def _referring(of: ApiObject, values: Mapping[str, Value]) -> list[tuple[FieldSchema, str]]:
    return [
        (field, value)
        for field in of.schema.references
        if field.kind is Kind.STRING and isinstance(value := values.get(field.name), str)
    ]


def _known(api: Api, name: str, keys: set[str]) -> dict[str, str]:
    """Of these keys and Ids, those that a record has -> its key."""
    natives = {native: key for key in keys if (native := id18(key)) is not None}
    ids: list[Any] = list(natives)
    for key in keys - set(natives.values()):
        try:
            ids.append(id_of(key))
        except (DataError, ValueError, OverflowError):
            continue
    query = {"$or": [{"_id": {"$in": ids}}, {NATIVE_ID: {"$in": list(natives)}}]}
    found: dict[str, str] = {}
    with border("looking for referenced records"):
        finds = (each.find(query, {NATIVE_ID: 1}) for each in api.collections(name))
        for document in chain.from_iterable(each.max_time_ms(time_bound_ms(api)) for each in finds):
            key = key_of(document["_id"])
            found[key] = key
            native = (document.get("_salmon") or {}).get("salesforce_id")
            for each in (native, key):
                if each in natives:
                    found[natives[each]] = key
    return found


def _found(
    api: Api, field: FieldSchema, value: str, known: Mapping[str, Mapping[str, str]], caller: Caller
) -> str | Fault:
    """The key of the target; or what is wrong. A caller that may not read the targets is told the same of every fault."""
    target = target_in(field, value)
    names = [target.type] if target.type else list(field.reference_to)
    for name in names:
        if (key := known.get(name, {}).get(target.key)) is not None:
            return key
    if any(name not in api.objects for name in names) and (native := id18(target.key)) is not None:
        return native  # the object is not synced: only Salesforce knows its records
    if not all(caller.may("read", name) for name in names if name in api.objects):
        return Fault(field.name, "not-a-reference", "must be the key or the Salesforce Id of a record")
    shown = ", ".join(names[:_NAMED_MAX])
    if all(name not in api.objects for name in names):
        return Fault(field.name, "not-an-id", f"must be the Salesforce Id of a record of {shown}")
    return Fault(field.name, "no-such-record", f"refers to a record that does not exist in {shown}")
