"""The digest of a record, whatever a field holds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from bson.code import Code

from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.verify.comparing import Seen, terms_of
from salmon.verify.digests import Form

SCHEMA = ObjectSchema(
    "Account", (FieldSchema("Name", "string", Kind.STRING), FieldSchema("Amount", "double", Kind.DOUBLE))
)
FORM = Form(terms_of(Rules(SCHEMA))["mongodb"], with_ids=False)


@pytest.mark.parametrize("name", SCHEMA.by_name)
@pytest.mark.parametrize(
    "value", [Code("x"), "x", b"x", ["x"], {"x": 1}, float("nan"), float("inf"), Decimal("NaN"), object()]
)
def test_a_value_that_no_side_should_have_has_a_digest_of_its_own(name: str, value: Any) -> None:
    """An error here would end the whole check, and quote the value."""
    assert FORM.document(Seen("a", {name: value})) != FORM.document(Seen("a", {name: "y"}))
