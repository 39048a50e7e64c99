"""Computed fields: their types, their values, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from salmon.errors import ConfigError
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.plugin.failures import FAILURES
from salmon.transforms.computed import CHARS_MAX, DIGITS, PLACES, Computed
from salmon.transforms.flow import Constant, Filter, Flow, Transform
from salmon.transforms.masks import Mask

SCHEMA = ObjectSchema(
    "Contact",
    (
        FieldSchema("FirstName", "string", Kind.STRING),
        FieldSchema("LastName", "string", Kind.STRING),
        FieldSchema("Age", "int", Kind.INT),
        FieldSchema("Score", "double", Kind.DOUBLE),
        FieldSchema("Amount", "currency", Kind.DECIMAL, precision=18, scale=2),
        FieldSchema("IsActive", "boolean", Kind.BOOLEAN),
        FieldSchema("Born", "date", Kind.DATE),
        FieldSchema("Met", "datetime", Kind.DATETIME),
        FieldSchema("Opens", "time", Kind.TIME),
        FieldSchema("Likes", "multipicklist", Kind.STRINGS),
    ),
)
FULL_NAME = 'FirstName + " " + LastName'
ANN: dict[str, Any] = {"FirstName": "Ann", "LastName": "Lee", "Age": 30, "Likes": ("golf",), "Born": 20_000}


def flow(*steps: Any) -> Flow:
    return Flow(tuple(Transform(f"t.{n}", each) for n, each in enumerate(steps)))


@pytest.mark.parametrize(
    ("text", "decimal", "kind", "value"),
    [
        (FULL_NAME, False, Kind.STRING, "Ann Lee"),
        ("Age + 1", False, Kind.DOUBLE, 31.0),
        ("Age + 1", True, Kind.DECIMAL, Decimal(31)),
        ("Age / 7", True, Kind.DECIMAL, Decimal("4.28571429")),
        ("Score * 2", True, Kind.DOUBLE, None),
        ("Age >= 18 && IsActive", False, Kind.BOOLEAN, False),
        ("coalesce(Born, date('2020-01-01'))", False, Kind.DATE, 20_000),
        ("Met", False, Kind.DATETIME, None),
        ("Opens", False, Kind.TIME, None),
        ("Likes", False, Kind.STRINGS, ("golf",)),
        ("'fixed'", False, Kind.STRING, "fixed"),
    ],
)
def test_the_type_follows_from_the_expression(text: str, decimal: bool, kind: Kind, value: Any) -> None:
    """A whole number is a double, or a decimal where the object has those; a missing part makes it null."""
    field, make = Computed("Made", text, decimal).bound(SCHEMA)
    assert (field.kind, make(ANN)) == (kind, value)
    assert (field.create, field.update, field.live, field.computed) == (False, False, False, True)


@pytest.mark.parametrize(
    ("text", "decimal", "record"),
    [
        ("FirstName", False, {"FirstName": ""}),
        ("FirstName + LastName", False, {"FirstName": "x" * CHARS_MAX, "LastName": "y"}),
        ("Amount * Amount", False, {"Amount": Decimal(10) ** 200}),
        ("Age * 1", True, {"Age": 10 ** (DIGITS - PLACES + 1)}),
    ],
)
def test_a_value_that_its_type_cannot_hold_is_left_out(text: str, decimal: bool, record: Any) -> None:
    """Otherwise the record could not be written, or would be written again for ever."""
    assert Computed("Made", text, decimal).bound(SCHEMA)[1](record) is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "LastName",
            "FirstName",
            "is a field of Contact, so its value comes from there. Choose another name",
        ),
        ("Made", "FirstNam", "did you mean FirstName"),
        ("Made", "Age + FirstName", "has a number + a text"),
        ("Made", "null", "is always null"),
        ("Made", "FirstName +", "ends too early"),
    ],
)
def test_what_cannot_be_computed_is_refused_with_the_reason(name: str, text: str, said: str) -> None:
    """Before a record is touched."""
    with pytest.raises(ConfigError, match=said.replace("+", r"\+")):
        Computed(name, text).bound(SCHEMA)


def test_another_type_needs_another_name() -> None:
    """Values of the former type are in Kafka, and in documents."""
    known = SCHEMA.with_computed([Computed("Made", "Age").bound(SCHEMA)[0]])
    assert Computed("Made", "Score").bound(known)[0].kind is Kind.DOUBLE
    with pytest.raises(ConfigError, match=r"gives a text now .* choose another name"):
        Computed("Made", "FirstName").bound(known)


def test_the_fields_of_a_flow_are_made_once_the_sync_knows_them() -> None:
    """Before the source of the org has registered them, merge has no place for them; then all records are judged again."""
    full_name = flow(Computed("FullName", FULL_NAME))
    (field,) = full_name.computed(SCHEMA)
    before, after = full_name.bound(SCHEMA), full_name.bound(SCHEMA.with_computed([field]))
    assert (before.views, before.computed) == ({}, {})
    assert after.views["mongodb"].computed["FullName"](ANN) == "Ann Lee"
    assert set(after.views) == {"mongodb"}


def test_the_digest_differs_with_the_expression() -> None:
    """By which merge sees that all records are to be judged again."""
    one, other = (flow(Computed("A", text)).digests({"A"}) for text in ("Age", "Age + 1"))
    assert one["mongodb"] != other["mongodb"]
    assert one["salesforce"] == other["salesforce"] == ""


def test_filters_and_masks_may_name_what_is_computed() -> None:
    """It is a field like the others; a mask hides it, and a filter sees its agreed value."""
    made = flow(Computed("FullName", FULL_NAME), Filter('FullName != "Ann Lee"'), Mask(("FullName",)))
    bound = made.bound(SCHEMA.with_computed(made.computed(SCHEMA)))
    assert bound.why_not("mongodb", {"FullName": "Ann Lee"}) is not None
    assert bound.views["mongodb"].of({"FullName": "Bob"}) == {"FullName": "***"}


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ((Computed("A", "B + 'x'"), Computed("B", "FirstName")), "t.0 names B, which is computed itself"),
        ((Computed("A", "A + 'x'"),), "t.0 names A, which is computed itself"),
        ((Computed("A", "Age"), Constant("A", 1)), "t.0 is a constant, too"),
        ((Computed("A", "FirstName"), Mask(("FirstName",))), "t.0 would show what is masked in documents"),
    ],
)
def test_what_does_not_go_together_is_refused(steps: Any, said: str) -> None:
    """Whatever the schema is."""
    assert said in "\n".join(flow(*steps).faults())


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Each with its key."""
    wrong = flow(Computed("A", "Nobody"), Computed("B", "Nothing"))
    with pytest.raises(ConfigError, match=r"(?s)t\.0: names Nobody.*t\.1: names Nothing"):
        wrong.bound(SCHEMA)


def test_a_further_side_does_not_get_what_it_has_masked_by_way_of_a_computed_field() -> None:
    """It gets computed fields as documents do, and Salesforce does not; a mask on the computed field hides it again."""

    def faults(*masked: str, to: str) -> str:
        made = Transform("t.0", Computed("A", "FirstName"))
        return "\n".join(
            Flow((made, Transform("t.1", Mask(masked), to))).faults(("salesforce", "mongodb", "lake"))
        )

    assert "t.0 would show what is masked for lake (FirstName)" in faults("FirstName", to="lake")
    assert "t.0 would show what is masked in documents (FirstName)" in faults("FirstName", to="mongodb")
    assert faults("FirstName", to="salesforce") == faults("FirstName", "A", to="lake") == ""


def test_a_fault_in_how_a_value_is_made_is_reported_and_leaves_the_field_out() -> None:
    """By the key of the field and the type of the error, without the value."""
    _, make = Computed("Made", "FirstName.lower()").bound(SCHEMA)
    key = "objects.Contact.fields.computed.Made"
    before = FAILURES.counts().get(key, 0)
    assert make({"FirstName": 5}) is None
    assert FAILURES.counts()[key] == before + 1


def test_a_number_out_of_the_range_of_its_type_is_null_and_no_failure() -> None:
    """The language defines it so; nobody has to mend anything."""
    _, make = Computed("Huge", "Age").bound(SCHEMA)
    assert make({"Age": 10**400}) is None
    assert "objects.Contact.fields.computed.Huge" not in FAILURES.counts()
