"""Whether what a person types can be agreed. Pure."""

from __future__ import annotations

from salmon.errors import SchemaMismatch
from salmon.model.change import Value
from salmon.model.convert import out_of_range
from salmon.model.schema import FieldSchema, Kind


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
