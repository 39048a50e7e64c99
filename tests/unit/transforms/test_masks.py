"""Masks: what a side gets instead of a value."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from salmon.errors import ConfigError
from salmon.model.schema import FieldSchema, Kind
from salmon.transforms.masks import Mask, masked

SSN = FieldSchema("SSN__c", "string", Kind.STRING, length=80)
MAIL = FieldSchema("Email", "email", Kind.STRING, length=80)
PAY = FieldSchema("Pay__c", "currency", Kind.DOUBLE, precision=18, scale=2)
BORN = FieldSchema("Birthdate", "date", Kind.DATE)
BOSS = FieldSchema("ReportsToId", "reference", Kind.STRING, reference_to=("Contact",))
KEY = b"0123456789abcdef"


@pytest.mark.parametrize(
    ("mask", "field", "value", "shown"),
    [
        (Mask((), "redact"), SSN, "078-05-1120", "***"),
        (Mask((), "redact"), PAY, 5.0, None),
        (Mask((), "keep_last", keep=4), SSN, "078-05-1120", "*******1120"),
        (Mask((), "keep_last", keep=4), SSN, "1120", "****"),
        (Mask((), "keep_last", keep=0), SSN, "1120", "****"),
        (Mask((), "replace", replacement="hidden"), SSN, "078-05-1120", "hidden"),
        (Mask((), "replace", replacement="0.5"), PAY, 5.0, 0.5),
        (Mask((), "replace"), PAY, 5.0, 0.0),
        (Mask((), "replace"), BORN, 20_000, 0),
        (Mask((), "replace"), SSN, "x", None),
        (Mask((), "hash", key=KEY), SSN, "Ann", hmac.new(KEY, b"Ann", hashlib.sha256).hexdigest()),
    ],
)
def test_a_side_gets_the_masked_value(mask: Mask, field: FieldSchema, value: Any, shown: Any) -> None:
    """By the type of the field; and null stays null."""
    show = masked(mask, field, "mongodb")
    assert show(value) == shown
    assert show(None) is None


@pytest.mark.parametrize(
    ("mask", "field", "side", "sentence"),
    [
        (Mask((), "hash", key=KEY), PAY, "mongodb", "Use redact"),
        (Mask((), "keep_last"), BORN, "mongodb", "Use redact"),
        (Mask((), "redact"), BOSS, "mongodb", "Exclude the field"),
        (Mask((), "replace", replacement="much"), PAY, "mongodb", "not of its type"),
        (Mask((), "redact"), MAIL, "salesforce", "takes no masked text"),
        (
            Mask((), "hash", key=KEY),
            FieldSchema("S", "string", Kind.STRING, length=40),
            "salesforce",
            "40 characters",
        ),
        (
            Mask((), "redact"),
            FieldSchema("F", "string", Kind.STRING, create=False, update=False),
            "salesforce",
            "does not let anybody set it",
        ),
    ],
)
def test_a_mask_that_does_not_fit_its_field_is_refused(
    mask: Mask, field: FieldSchema, side: str, sentence: str
) -> None:
    """Before the first record is masked."""
    with pytest.raises(ConfigError, match=sentence):
        masked(mask, field, side)


def test_the_fingerprint_differs_for_another_key_and_does_not_show_it() -> None:
    """Another key masks all records again, and the state, where it is kept, tells nobody the key."""
    one, other = Mask(("A",), "hash", key=KEY), Mask(("A",), "hash", key=KEY[::-1])
    assert one.fingerprint != other.fingerprint
    assert KEY.decode() not in one.fingerprint + repr(one)
