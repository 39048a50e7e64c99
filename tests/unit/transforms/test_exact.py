"""Values that are written as text, by a person or in a document."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from salmon.errors import SchemaMismatch
from salmon.model.schema import FieldSchema, Kind
from salmon.transforms.exact import from_text_exactly

PRICE = FieldSchema("Price", "currency", Kind.DECIMAL, precision=18, scale=2)
SIZE = FieldSchema("Size", "double", Kind.DOUBLE)
OPENS = FieldSchema("Opens", "time", Kind.TIME)
MET = FieldSchema("Met", "datetime", Kind.DATETIME)


@pytest.mark.parametrize(
    ("field", "said", "value"),
    [
        (PRICE, "1234567890123456.78", Decimal("1234567890123456.78")),
        (PRICE, "1e3", Decimal("1000.00")),
        (PRICE, "", None),
        (SIZE, "0.1", 0.1),
        (SIZE, "1.5e20", 1.5e20),
        (OPENS, "13:05", 47_100_000),
        (OPENS, "9:05:30.120000Z", 32_730_120),
        (MET, "2026-01-01T00:00:00.120000Z", 1_767_225_600_120),
    ],
)
def test_a_number_is_taken_with_all_its_digits(field: FieldSchema, said: str, value: Any) -> None:
    """Whatever form it was written in (case V5)."""
    assert from_text_exactly(field, said) == value


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (PRICE, "0.125"),
        (PRICE, "1e-300"),
        (SIZE, "123456789012345678"),
        (SIZE, "1234567890.12345678"),
        (MET, "2026-01-01T00:00:00.1234Z"),
    ],
)
def test_a_number_with_more_digits_than_its_field_keeps_is_refused(field: FieldSchema, said: str) -> None:
    """It never becomes another number without a word (case V5)."""
    with pytest.raises(SchemaMismatch, match="more digits") as refused:
        from_text_exactly(field, said)
    assert said not in str(refused.value)


@pytest.mark.parametrize(
    "said", ["13:99", "13:05:60", "24:00", "1:-5", "1_0:00", " 1:2", "13:05:30.1234", "\u0663:05", "13"]
)
def test_a_time_of_day_is_one(said: str) -> None:
    """No minute is carried over into the next hour, and nothing is cut off (case V9)."""
    with pytest.raises(SchemaMismatch, match="Give a time of day"):
        from_text_exactly(OPENS, said)
