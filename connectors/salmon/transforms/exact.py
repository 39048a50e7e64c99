"""Text of people and of documents, taken exactly: no digit is rounded away or cut off, and no minute carried over. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Final

from salmon.errors import SchemaMismatch
from salmon.model.change import Value
from salmon.model.convert import from_text
from salmon.model.schema import FieldSchema, Kind

_TIME: Final = re.compile(r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,3}0*)?)?Z?", re.ASCII)


def is_time(text: str) -> bool:
    """Whether this is a time of day, in milliseconds at most."""
    return _TIME.fullmatch(text) is not None


def from_text_exactly(field: FieldSchema, text: str) -> Value:
    """
    Convert a field's value that is written as text. Empty text clears the field.

    Raises:
        SchemaMismatch: it does not fit, or has more digits than the field keeps.
    """
    value = from_text(field, text)
    match field.kind:
        case Kind.TIME if value is not None and not is_time(text):
            raise SchemaMismatch(
                f"{field.name}: the value is not a valid {field.type} (time). Give a time of day, e.g. 13:05:30"
                f" or 13:05:30.123."
            )
        case Kind.DATETIME if value is not None and datetime.fromisoformat(text).microsecond % 1000:
            raise _too_many(field, " (3 after the point)")
        case Kind.DOUBLE if value is not None and Decimal(repr(value)) != Decimal(text):
            raise _too_many(field, "")
        case Kind.DECIMAL if value is not None and value != Decimal(text):
            raise _too_many(field, f" ({field.scale} after the point)")
    return value


def _too_many(field: FieldSchema, places: str) -> SchemaMismatch:
    return SchemaMismatch(
        f"{field.name}: the value has more digits than {field.type} ({field.kind.value}) keeps{places}. Round it."
    )
