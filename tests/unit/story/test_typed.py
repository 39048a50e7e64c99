"""What an operator types and Salesforce can never hold is not agreed: in `conflicts resolve`, in the console, and in an edited dead letter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from salmon.errors import SchemaMismatch
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind
from salmon.model.state import new_state
from salmon.story import resolving
from salmon.story.resolving import From, Take
from salmon.story.typed import require_holdable
from salmon.transforms.exact import from_text_exactly
from support.at_hand.stories import SCHEMA, text

PRIVATE = FieldSchema("IsPrivate", "boolean", Kind.BOOLEAN, nillable=False)
OWNER = text("OwnerId", type="reference", nillable=False)
DAY = FieldSchema("Day", "date", Kind.DATE)
SEEN = FieldSchema("Seen", "datetime", Kind.DATETIME)
RULES = Rules(replace(SCHEMA, fields=(*SCHEMA.fields, PRIVATE, OWNER, DAY, SEEN)))


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
        require_holdable(field, from_text_exactly(field, said))
    state = new_state(RULES.names)
    with pytest.raises(SchemaMismatch, match=says):
        resolving._value(RULES, state, field.name, Take(From.TEXT, said), None)


def test_what_it_can_hold_is() -> None:
    """A field that may be empty is cleared."""
    require_holdable(DAY, None)
    require_holdable(PRIVATE, False)
    require_holdable(SEEN, 0)
