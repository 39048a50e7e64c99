"""What a person types for a field: it is agreed with all its digits, or refused. Pure."""

from __future__ import annotations

from decimal import Decimal

from salmon.errors import SchemaMismatch
from salmon.model.change import Value
from salmon.model.convert import from_text, out_of_range
from salmon.model.schema import FieldSchema, Kind


def typed(field: FieldSchema, text: str) -> Value:
    """
    Convert what a person types. Empty text clears the field.

    Raises:
        SchemaMismatch: the text does not fit, or is a number with more digits than the field keeps.
    """
    value = from_text(field, text)
    if isinstance(value, float | Decimal):
        kept = Decimal(repr(value)) if isinstance(value, float) else value
        if kept != Decimal(text):
            places = f" ({field.scale} after the point)" if field.kind is Kind.DECIMAL else ""
            raise SchemaMismatch(
                f"{field.name}: the number has more digits than {field.type} ({field.kind.value}) keeps{places}. Round it."
            )
    return value


def require_holdable(field: FieldSchema, value: Value) -> None:
    """
    Check that Salesforce can hold a value that is about to be agreed.

    Raises:
        SchemaMismatch: it cannot; the message says what it can.
    """
    if value is None and not field.nillable:
        mend = "Give true or false" if field.kind is Kind.BOOLEAN else "Give a value"
        raise SchemaMismatch(f"{field.name}: it cannot be empty in Salesforce. {mend}.")
    if out_of_range(field, value):
        raise SchemaMismatch(f"{field.name}: Salesforce has only the years 1700 to 4000. Give another date.")
