"""What an operator types is agreed as it was typed, or refused: in `conflicts resolve`, in the console, and in an edited dead letter."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from salmon.errors import SchemaMismatch
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind
from salmon.model.state import new_state
from salmon.story import resolving
from salmon.story.resolving import From, Take
from salmon.story.typed import require_holdable, typed
from support.stories import SCHEMA, text

PRICE = FieldSchema("Price", "currency", Kind.DECIMAL, precision=18, scale=2)
SIZE = FieldSchema("Size", "double", Kind.DOUBLE)
PRIVATE = FieldSchema("IsPrivate", "boolean", Kind.BOOLEAN, nillable=False)
OWNER = text("OwnerId", type="reference", nillable=False)
DAY = FieldSchema("Day", "date", Kind.DATE)
SEEN = FieldSchema("Seen", "datetime", Kind.DATETIME)
RULES = Rules(replace(SCHEMA, fields=(*SCHEMA.fields, PRICE, SIZE, PRIVATE, OWNER, DAY, SEEN)))


@pytest.mark.parametrize(
    ("field", "said", "value"),
    [
        (PRICE, "1234567890123456.78", Decimal("1234567890123456.78")),
        (PRICE, "1e3", Decimal("1000.00")),
        (PRICE, "", None),
        (SIZE, "0.1", 0.1),
        (SIZE, "1.5e20", 1.5e20),
    ],
)
def test_a_number_is_taken_with_all_its_digits(field: FieldSchema, said: str, value: Any) -> None:
    """Whatever form it was typed in (case V5)."""
    assert typed(field, said) == value


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (PRICE, "0.125"),
        (PRICE, "1e-300"),
        (SIZE, "123456789012345678"),
        (SIZE, "1234567890.12345678"),
    ],
)
def test_a_number_with_more_digits_than_its_field_keeps_is_refused(field: FieldSchema, said: str) -> None:
    """A person's decision never becomes another number without a word (case V5)."""
    with pytest.raises(SchemaMismatch, match="more digits") as refused:
        typed(field, said)
    assert said not in str(refused.value)


@pytest.mark.parametrize(
    ("field", "said", "says"),
    [
        (PRIVATE, "", "IsPrivate: it cannot be empty in Salesforce. Give true or false."),
        (OWNER, "", "OwnerId: it cannot be empty in Salesforce. Give a value."),
        (DAY, "0001-01-01", "Day: Salesforce has only the years 1700 to 4000."),
        (SEEN, "4001-01-01T00:00:00Z", "Seen: Salesforce has only the years 1700 to 4000."),
    ],
)
def test_what_salesforce_can_never_hold_is_not_agreed(field: FieldSchema, said: str, says: str) -> None:
    """It would be refused later, or undone without a word (cases V3 and V4)."""
    with pytest.raises(SchemaMismatch, match=says):
        require_holdable(field, typed(field, said))
    state = new_state(RULES.names)
    with pytest.raises(SchemaMismatch, match=says):
        resolving._value(RULES, state, field.name, Take(From.TEXT, said), None)


def test_what_it_can_hold_is() -> None:
    """A field that may be empty is cleared."""
    require_holdable(DAY, None)
    require_holdable(PRIVATE, False)
    require_holdable(SEEN, 0)
