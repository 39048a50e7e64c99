"""Values as JSON shows them: for sides that have no types of their own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from salmon.errors import SchemaMismatch
from salmon.model.change import Value
from salmon.model.convert import from_json, to_json
from salmon.model.schema import FieldSchema, Kind


def of(kind: Kind, **told: Any) -> FieldSchema:
    return FieldSchema("X", "any", kind, **told)


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        (of(Kind.STRING), "a", "a"),
        (of(Kind.BOOLEAN), False, False),
        (of(Kind.INT), 7, 7),
        (of(Kind.DOUBLE), 1.5, 1.5),
        (of(Kind.DECIMAL, precision=18, scale=2), Decimal("1234567890123456.78"), "1234567890123456.78"),
        (of(Kind.DATE), 1, "1970-01-02"),
        (of(Kind.DATETIME), 1_000, "1970-01-01T00:00:01.000Z"),
        (of(Kind.TIME), 3_600_000, "01:00:00.000Z"),
        (of(Kind.STRINGS), ("a", "b"), ["a", "b"]),
        (of(Kind.STRING, reference_to=("User", "Group")), "User:0051", "User:0051"),
        (of(Kind.STRINGS), None, None),
    ],
)
def test_a_value_and_its_json_are_one(field: FieldSchema, value: Value, shown: Any) -> None:
    """Both ways, and nothing is lost."""
    assert to_json(field, value) == shown
    assert from_json(field, shown) == value


def test_empty_text_is_null() -> None:
    """Salesforce cannot hold it."""
    assert from_json(of(Kind.STRING), "") is None
    assert from_json(of(Kind.DECIMAL), "") is None


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (Kind.STRING, 5),
        (Kind.DATE, "soon"),
        (Kind.STRINGS, "a;b"),
        (Kind.DECIMAL, "many"),
        (Kind.TIME, "13:99"),
        (Kind.BOOLEAN, 1),
        (Kind.DOUBLE, []),
    ],
)
def test_what_does_not_fit_is_a_mismatch_that_quotes_nothing(kind: Kind, shown: Any) -> None:
    """The message names the field and the types."""
    with pytest.raises(SchemaMismatch) as refused:
        from_json(of(kind), shown)
    assert "soon" not in str(refused.value)
    assert str(refused.value).startswith("X: the side holds a ")
