"""Explains why a value of a document does not fit its field, with MongoDB's names of types. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Any, Final
from uuid import UUID

from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from salmon.errors import BadRecordKey, DataError, SchemaMismatch
from salmon.model.change import NO_RECORD_KEY, NOT_OF_TYPE, Misfit
from salmon.model.schema import FieldSchema, Kind

_NUMBERS: Final = (int, float, Decimal, Decimal128)
_KINDS_OF_NUMBER: Final = frozenset({Kind.INT, Kind.LONG, Kind.DOUBLE, Kind.DECIMAL})
_INT32_MAX, _INT64_MAX = 2**31 - 1, 2**63 - 1
_WANTED: Final[Mapping[Kind, str]] = {
    Kind.STRING: "text",
    Kind.BOOLEAN: "true or false",
    Kind.INT: "a whole number",
    Kind.LONG: "a whole number",
    Kind.DOUBLE: "a number",
    Kind.DECIMAL: "a number",
    Kind.DATE: "of type Date",
    Kind.DATETIME: "of type Date",
    Kind.TIME: "a time of day as text, such as 13:05:00",
    Kind.STRINGS: "an array of text",
}
_MEND: Final = "Correct it in MongoDB, or exclude the field from the sync."
# The first type that fits counts: in Python a bool is also an int, and code is also a str.
_NAMES: Final[Mapping[type, str]] = {
    bool: "Boolean",
    Int64: "Int64",
    float: "Double",
    Decimal: "Decimal128",
    Decimal128: "Decimal128",
    Code: "JavaScript code",
    str: "String",
    datetime: "Date",
    DatetimeMS: "Date",
    ObjectId: "ObjectId",
    UUID: "UUID",
    bytes: "Binary",
    Timestamp: "Timestamp",
    Regex: "Regular expression",
    list: "Array",
    tuple: "Array",
    dict: "Object",
    DBRef: "Object",
    MinKey: "MinKey",
    NoneType: "Null",
    MaxKey: "MaxKey",
}


def spoken(field: FieldSchema, path: str) -> FieldSchema:
    """Return the field with the name by which people on both sides know it: where a document has it, and Salesforce's own."""
    return field if path == field.name else replace(field, name=f"{path} ({field.name} in Salesforce)")


def blocked(field: FieldSchema, above: str, shown: Any) -> SchemaMismatch:
    """Return the error about a field if what is at *above*, on the way to it, is no document."""
    return _mismatch(field, f"{above} must be a document, not {bson_type(shown)}")


def misformed(field: FieldSchema, shown: Any, expected: str) -> SchemaMismatch:
    """Return the error about a value that is not of the form that `transforms` gives its field."""
    kind = bson_type(shown)
    return _mismatch(field, f"this {kind} is not {expected}, the form that `transforms` gives the field")


def explained(field: FieldSchema, shown: Any, error: SchemaMismatch) -> SchemaMismatch:
    """
    Return *error* about a value in a document in words that the author of the document understands.

    The message contains a number that is too large, because it goes to the dead letter, which has the document anyway. The
    reason goes to logs and to the state, so it does not contain the number.
    """
    kind, wanted = bson_type(shown), _WANTED[field.kind]
    if field.kind in _KINDS_OF_NUMBER and isinstance(shown, _NUMBERS) and not isinstance(shown, bool):
        return _explained_number(field, shown, error)
    if field.kind is Kind.STRINGS and isinstance(shown, (list, tuple)):
        return _mismatch(field, f"must be {wanted}, not Array with other values")
    if field.kind in (Kind.DATE, Kind.DATETIME) and isinstance(shown, DatetimeMS):
        return _mismatch(field, "must be a date in the years 1 to 9999")
    if field.kind in (Kind.DATE, Kind.DATETIME) and isinstance(shown, datetime):
        return error
    if field.kind is Kind.STRING and type(shown) is str:
        return error
    if field.kind is Kind.TIME and type(shown) is str:
        return _mismatch(field, f"must be {wanted}")
    return _mismatch(field, f"must be {wanted}, not {kind}")


def _explained_number(field: FieldSchema, shown: Any, error: SchemaMismatch) -> SchemaMismatch:
    kind, wanted = bson_type(shown), _WANTED[field.kind]
    number = shown.to_decimal() if isinstance(shown, Decimal128) else Decimal(shown)
    if not number.is_finite():
        name = "NaN" if number.is_nan() else "Infinity" if number > 0 else "-Infinity"
        return _mismatch(field, f"must be {wanted}, not {name}")
    if (bound := _exceeded(field, number)) is not None:
        size = f"is too {'large' if number > 0 else 'small'} ({bound})"
        return _mismatch(field, f"{kind} {size}", f"{kind} {shown} {size}")
    if field.kind in (Kind.INT, Kind.LONG):
        return _mismatch(field, f"must be {wanted}, not {kind} with a fraction")
    return error


def _exceeded(field: FieldSchema, number: Decimal) -> str | None:
    """The bound that the number is beyond, in words; None if it is within the field's bounds."""
    match field.kind:
        case Kind.INT | Kind.LONG:
            most = _INT32_MAX if field.kind is Kind.INT else _INT64_MAX
            bound = f"at {'most' if number > 0 else 'least'} {most if number > 0 else -most - 1}"
            return bound if abs(number) > most else None
        case Kind.DECIMAL:
            digits = max(field.precision, 1) - field.scale
            beyond = 10**digits - Decimal(5).scaleb(-field.scale - 1)  # what is rounded to one digit more
            return f"at most {digits} digits before the point" if abs(number) >= beyond else None
        case _:
            return "no double is so large" if math.isinf(float(number)) else None


def bson_type(shown: Any) -> str:
    """Return the type of a value, with the name that MongoDB's tools use."""
    if isinstance(shown, int) and not isinstance(shown, bool):
        return "Int32" if not isinstance(shown, Int64) and abs(shown) <= _INT32_MAX else "Int64"
    return next((name for known, name in _NAMES.items() if isinstance(shown, known)), type(shown).__name__)


def misfit(name: str, error: DataError) -> Misfit:
    """Return *error* about the field *name* in the form in which a change reports it: without the value."""
    if isinstance(error, BadRecordKey):
        return Misfit(NO_RECORD_KEY, f"{name}: its value cannot be the key of a record: {error}")
    return Misfit(NOT_OF_TYPE, error.reason if isinstance(error, SchemaMismatch) else str(error))


def _mismatch(field: FieldSchema, reason: str, message: str = "") -> SchemaMismatch:
    return SchemaMismatch(
        f"{field.name}: {message or reason}. {_MEND}", reason=f"{field.name}: {reason}. {_MEND}"
    )
