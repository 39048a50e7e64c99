"""Text of people and of documents, taken exactly: no digit is rounded away or cut off, and no minute carried over. Pure."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from salmon.errors import SchemaMismatch
from salmon.model.change import Value
from salmon.model.convert import from_text
from salmon.model.schema import FieldSchema, Kind


def from_text_exactly(field: FieldSchema, text: str) -> Value:
    """
    Convert a field's value that is written as text. Empty text clears the field.

    Raises:
        SchemaMismatch: it does not fit, or has more digits than the field keeps.
    """
    value = from_text(field, text)
    match field.kind:
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
