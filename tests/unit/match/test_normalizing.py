"""When two values are equal, nearly equal, or say nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from salmon.match.normalizing import exactly, nearly, terms_of
from salmon.model.change import Value
from salmon.model.schema import FieldSchema, Kind

EMAIL = FieldSchema("Email", "email", Kind.STRING)
PHONE = FieldSchema("Phone", "phone", Kind.STRING)
NAME = FieldSchema("LastName", "string", Kind.STRING)
AMOUNT = FieldSchema("Amount", "currency", Kind.DOUBLE)


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        (EMAIL, "Ann@X.example", " ann@x.example "),
        (PHONE, "+39 (06) 555-0101", "39 06 5550101"),
        (NAME, "De  Vries", "de vries "),
        (NAME, "\uff21nn", "Ann"),
    ],
)
def test_what_two_people_enter_for_the_same_thing_is_nearly_equal(
    field: FieldSchema, one: str, other: str
) -> None:
    """Capital letters, blanks and the punctuation of a phone number; but it is not equal."""
    first, second = terms_of([field], {field.name: one}), terms_of([field], {field.name: other})
    assert first is not None
    assert second is not None
    assert first.near == second.near
    assert first.exact != second.exact


@pytest.mark.parametrize("value", [None, " ", "\t"])
def test_a_record_without_a_value_is_matched_by_nothing(value: Value) -> None:
    """All fields must agree, so one that is empty, or only blank, leaves nothing to go by."""
    assert terms_of([NAME, EMAIL], {"LastName": value, "Email": "a@x.example"}) is None
    assert terms_of([PHONE], {"Phone": "call us"}) is None


def test_fields_are_not_mixed_up() -> None:
    """A text that is in the first field of one record and in the second of another does not make them alike."""
    first = terms_of([NAME, EMAIL], {"LastName": "a", "Email": "b,c"})
    second = terms_of([NAME, EMAIL], {"LastName": "a,b", "Email": "c"})
    assert first is not None
    assert second is not None
    assert first.near != second.near


def test_a_number_is_the_same_in_every_type() -> None:
    """MongoDB may hold an integer where Salesforce shows a double."""
    assert exactly(5) == exactly(5.0) == exactly(Decimal("5.00")) == nearly(AMOUNT, 5)
    assert exactly(True) != exactly(1)
    assert exactly(0.1) != exactly(0.2)
