"""Why a value of a document does not fit its field, in MongoDB's words (case V6)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.objectid import ObjectId

from salmon.errors import BadRecordKey, SchemaMismatch
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.mismatches import misfit

SHAPE = DocumentShape(
    ObjectSchema(
        "Account",
        (
            FieldSchema("Name", "string", Kind.STRING),
            FieldSchema("Active", "boolean", Kind.BOOLEAN),
            FieldSchema("AnnualRevenue", "currency", Kind.DOUBLE),
            FieldSchema("NumberOfEmployees", "int", Kind.INT),
            FieldSchema("Since", "date", Kind.DATE),
            FieldSchema("Opens", "time", Kind.TIME),
            FieldSchema("Tags", "multipicklist", Kind.STRINGS),
            FieldSchema("ParentId", "reference", Kind.STRING, reference_to=("Account",)),
        ),
        "001",
    ),
    frozenset({"Account"}),
)

_CODES = (Code("secret"), Code("12"), Code(""), Code("13:05:00"), Code("secret", {"x": 1}))
_WANTED = {
    "Name": "a string",
    "Active": "a boolean",
    "AnnualRevenue": "a currency",
    "NumberOfEmployees": "an int",
    "Since": "a date",
    "Opens": "a time",
    "Tags": "a multipicklist",
}


@pytest.mark.parametrize(
    ("name", "shown", "says"),
    [
        ("AnnualRevenue", float("nan"), "NaN is not a currency"),
        ("AnnualRevenue", float("inf"), "Infinity is not a currency"),
        ("AnnualRevenue", Decimal128("-Infinity"), "-Infinity is not a currency"),
        ("AnnualRevenue", "12 M", "String is not a currency"),
        ("AnnualRevenue", True, "Boolean is not a currency"),
        (
            "NumberOfEmployees",
            Int64(2**40),
            "Int64 1099511627776 is too large for an int (at most 2147483647)",
        ),
        (
            "NumberOfEmployees",
            -(2**40),
            "Int64 -1099511627776 is too small for an int (at least -2147483648)",
        ),
        ("NumberOfEmployees", 1e20, "Double 1e+20 is too large for an int (at most 2147483647)"),
        ("NumberOfEmployees", 1.5, "Double with a fraction is not an int"),
        ("NumberOfEmployees", float("nan"), "NaN is not an int"),
        ("NumberOfEmployees", True, "Boolean is not an int"),
        ("NumberOfEmployees", "twelve", "String is not an int"),
        *(
            (name, code, f"JavaScript code is not {wanted}")
            for name, wanted in _WANTED.items()
            for code in _CODES
        ),
        ("Tags", ["a", Code("b")], "Array with other values than Strings is not a multipicklist"),
        ("Name", MaxKey(), "MaxKey is not a string"),
        ("Name", 7, "Int32 is not a string"),
        ("Name", ["a"], "Array is not a string"),
        ("Name", {"a": 1}, "Object is not a string"),
        ("Name", ObjectId(), "ObjectId is not a string"),
        ("Active", 1, "Int32 is not a boolean"),
        ("Since", "2026-11-29", "String is not a date"),
        ("Since", 7, "Int32 is not a date"),
        ("Since", DatetimeMS(10**17), "Date is outside the years 1 to 9999"),
        ("Opens", "noon", "String is not a time of day, such as 13:05:00"),
        ("Opens", datetime(2026, 11, 29, tzinfo=UTC), "Date is not a time"),
        ("Tags", "a", "String is not a multipicklist"),
        ("Tags", ["a", 1], "Array with other values than Strings is not a multipicklist"),
    ],
)
def test_what_is_wrong_is_said_in_mongodbs_words(name: str, shown: Any, says: str) -> None:
    """The field, the kind of value and the mend; and that a number is too large, for whoever has the dead letter."""
    with pytest.raises(SchemaMismatch) as told:
        SHAPE.value(name, shown)
    assert str(told.value) == f"{name}: {says}. Correct it in MongoDB, or exclude the field from the sync."


def test_the_state_and_the_log_do_not_name_the_number() -> None:
    """Values are for the dead letter, which has the document anyway."""
    with pytest.raises(SchemaMismatch) as told:
        SHAPE.value("NumberOfEmployees", Int64(2**40))
    reported = misfit("NumberOfEmployees", told.value)
    assert reported.code == "NOT_OF_TYPE"
    assert reported.reason.startswith(
        "NumberOfEmployees: Int64 is too large for an int (at most 2147483647)."
    )


def test_a_reference_that_can_be_no_key_names_its_field() -> None:
    """An _id has a form of its own."""
    with pytest.raises(BadRecordKey) as told:
        SHAPE.value("ParentId", {"no": "key"})
    reported = misfit("ParentId", told.value)
    assert reported.code == "NO_RECORD_KEY"
    assert reported.reason.startswith("ParentId: ")
