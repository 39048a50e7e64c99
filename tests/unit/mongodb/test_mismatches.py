"""Why a value of a document does not fit its field, in MongoDB's words (case V6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex

from salmon.errors import BadRecordKey, SchemaMismatch
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.mismatches import misfit
from salmon.transforms.bound import Bound
from salmon.transforms.forms import cast

SHAPE = DocumentShape(
    ObjectSchema(
        "Account",
        (
            FieldSchema("Name", "string", Kind.STRING),
            FieldSchema("Active", "boolean", Kind.BOOLEAN),
            FieldSchema("AnnualRevenue", "currency", Kind.DOUBLE),
            FieldSchema("Price", "currency", Kind.DECIMAL, precision=18, scale=2),
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
    "Name": "text",
    "Active": "true or false",
    "AnnualRevenue": "a number",
    "NumberOfEmployees": "a whole number",
    "Since": "of type Date",
    "Opens": "a time of day as text, such as 13:05:00",
    "Tags": "an array of text",
}


@pytest.mark.parametrize(
    ("name", "shown", "says"),
    [
        ("AnnualRevenue", float("nan"), "must be a number, not NaN"),
        ("AnnualRevenue", float("inf"), "must be a number, not Infinity"),
        ("AnnualRevenue", Decimal128("-Infinity"), "must be a number, not -Infinity"),
        ("AnnualRevenue", Decimal128("1E400"), "Decimal128 1E+400 is too large (no double is so large)"),
        (
            "Price",
            Int64(10**18 + 1),
            "Int64 1000000000000000001 is too large (at most 16 digits before the point)",
        ),
        ("Price", -1e300, "Double -1e+300 is too small (at most 16 digits before the point)"),
        (
            "Price",
            Decimal128("9999999999999999.995"),
            "Decimal128 9999999999999999.995 is too large (at most 16 digits before the point)",
        ),
        ("Price", float("nan"), "must be a number, not NaN"),
        ("AnnualRevenue", "12 M", "must be a number, not String"),
        ("AnnualRevenue", True, "must be a number, not Boolean"),
        (
            "NumberOfEmployees",
            Int64(2**40),
            "Int64 1099511627776 is too large (at most 2147483647)",
        ),
        (
            "NumberOfEmployees",
            -(2**40),
            "Int64 -1099511627776 is too small (at least -2147483648)",
        ),
        ("NumberOfEmployees", 1e20, "Double 1e+20 is too large (at most 2147483647)"),
        ("NumberOfEmployees", 1.5, "must be a whole number, not Double with a fraction"),
        ("NumberOfEmployees", float("nan"), "must be a whole number, not NaN"),
        ("NumberOfEmployees", True, "must be a whole number, not Boolean"),
        ("NumberOfEmployees", "twelve", "must be a whole number, not String"),
        ("Name", 7, "must be text, not Int32"),
        ("Name", ["a"], "must be text, not Array"),
        ("Name", {"a": 1}, "must be text, not Object"),
        ("Name", ObjectId(), "must be text, not ObjectId"),
        ("Active", 1, "must be true or false, not Int32"),
        ("Since", "2026-11-29", "must be of type Date, not String"),
        ("Since", 7, "must be of type Date, not Int32"),
        ("Since", DatetimeMS(10**17), "must be a date in the years 1 to 9999"),
        *(
            ("Opens", shown, "must be a time of day as text, such as 13:05:00")
            for shown in ("13:99", "13:05:60", "24:00", "1:-5", "1_0:00", "13:05:30.1234", "\u0663:05")
        ),
        ("Opens", "noon", "must be a time of day as text, such as 13:05:00"),
        (
            "Opens",
            datetime(2026, 11, 29, tzinfo=UTC),
            "must be a time of day as text, such as 13:05:00, not Date",
        ),
        ("Tags", "a", "must be an array of text, not String"),
        ("Tags", ["a", 1], "must be an array of text, not Array with other values"),
        *(
            (name, code, f"must be {wanted}, not JavaScript code")
            for name, wanted in _WANTED.items()
            for code in _CODES
        ),
        ("Tags", ["a", Code("b")], "must be an array of text, not Array with other values"),
        ("Name", MaxKey(), "must be text, not MaxKey"),
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
    assert reported.reason.startswith("NumberOfEmployees: Int64 is too large (at most 2147483647).")


@pytest.mark.parametrize(
    ("shown", "kind"),
    [
        ({"no": "key"}, "Object"),
        ([1], "Array"),
        (DBRef("accounts", 1), "Object"),
        (Regex("a"), "Regular expression"),
        (MinKey(), "MinKey"),
        (Code("a"), "JavaScript code"),
    ],
    ids=repr,
)
def test_a_reference_that_can_be_no_key_names_its_field_and_mongodbs_type(shown: Any, kind: str) -> None:
    """An _id has a form of its own."""
    with pytest.raises(BadRecordKey) as told:
        SHAPE.value("ParentId", shown)
    reported = misfit("ParentId", told.value)
    assert reported.code == "NO_RECORD_KEY"
    assert reported.reason.startswith("ParentId: ")
    assert f"of type {kind} " in reported.reason


@pytest.mark.parametrize(
    ("shown", "ms"), [("9:05", 32_700_000), ("13:05:30", 47_130_000), ("13:05:30.120000Z", 47_130_120)]
)
def test_a_time_of_day_may_be_short(shown: str, ms: int) -> None:
    """As applications write it."""
    assert SHAPE.value("Opens", shown) == ms


@pytest.mark.parametrize(
    ("shown", "kind"),
    [("five", "String"), (Decimal128("1.5"), "Decimal128"), (Int64(2**40), "Int64"), ({"a": 1}, "Object")],
)
def test_a_value_that_is_not_of_the_form_of_transforms_is_explained_by_that_form(
    shown: Any, kind: str
) -> None:
    """And by MongoDB's name of the type that it has."""
    count = SHAPE.schema.by_name["NumberOfEmployees"]
    form = cast(count, "string")
    assert form is not None
    shape = replace(SHAPE, flow=Bound(forms={count.name: form}))
    assert shape.value(count.name, "5") == 5
    assert shape.value(count.name, 5) == 5, "of the field's own type, as before it had this form"
    with pytest.raises(SchemaMismatch) as told:
        shape.value(count.name, shown)
    assert str(told.value).startswith(
        f"NumberOfEmployees: this {kind} is not a int written as text, the form"
    )
