"""
What of a field's value counts when records of two sides are compared. Pure.

Two values may be equal, or nearly equal: what two people enter for the same thing. Nearly equal are texts and email addresses
that differ in capital letters and blanks, and phone numbers that differ in all but their digits.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import Final

from salmon.model.change import Value
from salmon.model.schema import FieldSchema

_DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Terms:
    """What a record is matched by, as digests: equal digests are equal (*exact*) or nearly equal (*near*) values of all fields."""

    near: bytes
    exact: bytes


def terms_of(fields: Sequence[FieldSchema], values: Mapping[str, Value]) -> Terms | None:
    """Return what a record is matched by; None if one of the fields has no value, or none that says anything."""
    near: list[str] = []
    exact: list[str] = []
    for field in fields:
        value = values.get(field.name)
        if value is None or (likeness := nearly(field, value)) == "":
            return None
        near.append(likeness)
        exact.append(exactly(value))
    return Terms(_digest(near), _digest(exact))


def nearly(field: FieldSchema, value: Value) -> str:
    """Return what nearly equal values of the field have in common; empty if that is nothing."""
    if not isinstance(value, str):
        return exactly(value)
    if field.type == "phone":
        return "".join(
            str(unicodedata.digit(each)) for each in value if unicodedata.digit(each, None) is not None
        )
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split())


def exactly(value: Value) -> str:
    """Return a text that equal values have in common, and others have not."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return json.dumps(value, ensure_ascii=True)
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return str(number.normalize()) if number.is_finite() else str(number)


def shown(value: Value) -> str:
    """Return a value for a person to read."""
    if isinstance(value, tuple):
        return ";".join(map(str, value))
    return "" if value is None else str(value)


def _digest(parts: Sequence[str]) -> bytes:
    return blake2b(json.dumps(parts).encode(), digest_size=_DIGEST_BYTES).digest()
