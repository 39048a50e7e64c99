"""
Values of lookups. Of one that can point to several objects (WhoId, WhatId, OwnerId), the target's type goes with its key.

    Contact:0035g00000Xyz12AAA     User:0055g00000Abc34AAA     Lead:$oid:65f0...
    :customer-7                    of which object it is, nobody has said

They are one value, so that no merge of two edits puts the type of one together with the key of the other. The value of a
lookup that can only point to one object is the key alone.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from salmon.model.change import Value
from salmon.model.schema import FieldSchema

_SEPARATOR: Final = ":"


class Target(NamedTuple):
    """What a lookup points to. *type*: the object; "" if it may be any of those that the lookup can point to."""

    type: str
    key: str


def typed(type_: str, key: str) -> str:
    """The value of a lookup that can point to several objects."""
    return f"{type_}{_SEPARATOR}{key}"


def respelled(field: FieldSchema, value: Value, key: str) -> Value:
    """The same reference with its key in another spelling."""
    if not (field.is_polymorphic and isinstance(value, str)):
        return key
    return typed(target_in(field, value).type, key)


def target_in(field: FieldSchema, value: str) -> Target:
    """What a value of the lookup *field* points to."""
    if not field.is_polymorphic:
        return Target(field.reference_to[0], value)
    type_, separator, key = value.partition(_SEPARATOR)
    if separator and (not type_ or type_ in field.reference_to):
        return Target(type_, key)
    return Target("", value)  # as an earlier version, or a person at a command line, gives it
