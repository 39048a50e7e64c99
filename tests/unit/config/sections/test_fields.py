"""The fields of an object, and where documents have them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from salmon.config.sections.fields import FieldsConfig


def test_a_field_that_keeps_its_name_is_not_renamed() -> None:
    """Written out or not, it is the same form of document."""
    config = FieldsConfig.model_validate({"rename": {"Phone": "Phone", "BillingCity": "address.city"}})
    assert config.paths == {"BillingCity": "address.city"}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"rename": {"Phone": "_id"}}, "rename.Phone: the path must not begin with _id"),
        ({"rename": {"Phone": "_salmon.x"}}, "rename.Phone: the path must not begin with _salmon"),
        ({"rename": {"Phone": "a..b"}}, "rename.Phone: the path must be names joined by single dots"),
        ({"rename": {"A": "x", "B": "x"}}, "A and B have the same path, x"),
        ({"rename": {"A": "x", "B": "x.y"}}, "B would be at x.y, within x, where A is"),
        ({"rename": {"A": "B.a"}, "include": ["A", "B"]}, "A would be at B.a, within B, where B is"),
        ({"rename": {"A": "x"}, "include": ["B"]}, "rename: A is not synced"),
        ({"rename": {"A": "x"}, "exclude": ["A"]}, "rename: A is not synced"),
    ],
)
def test_a_rename_that_cannot_work_is_refused_with_the_reason(fields: dict[str, Any], told: str) -> None:
    """Before anything is started."""
    with pytest.raises(ValidationError) as caught:
        FieldsConfig.model_validate(fields)
    assert told in str(caught.value)


def test_all_that_is_wrong_with_the_renames_is_told_at_once() -> None:
    """Not one fault after the other."""
    with pytest.raises(ValidationError) as caught:
        FieldsConfig.model_validate({"rename": {"A": "$x", "B": "y", "C": "y"}})
    assert "rename.A: " in str(caught.value)
    assert "B and C have the same path" in str(caught.value)


def test_two_fields_may_swap_their_names() -> None:
    """A field's own name is free where it is itself elsewhere."""
    swapped = {"A": "B", "B": "A"}
    assert FieldsConfig.model_validate({"rename": swapped, "include": ["A", "B"]}).paths == swapped


def test_a_computed_field_may_be_renamed_like_any_other() -> None:
    """It is no field of the org, so `include` need not name it."""
    fields = {
        "include": ["FirstName"],
        "computed": {"FullName": "FirstName"},
        "rename": {"FullName": "name.full"},
    }
    assert FieldsConfig.model_validate(fields).paths == {"FullName": "name.full"}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"computed": {"A": "B ="}}, "A has a single =: write =="),
        ({"computed": {"A": "null"}}, "A is always null"),
        ({"computed": {"_id": "B"}}, "String should match pattern"),
        ({"computed": {"A": "B"}, "include": ["A"]}, "computed: A is named in include or exclude, too"),
        ({"computed": {"A": "B"}, "exclude": ["A"]}, "computed: A is named in include or exclude, too"),
        ({"computed": {"A": "B"}, "rename": {"C": "A"}}, "A and C have the same path, A"),
        ({"computed": {"A": "B"}, "rename": {"C": "A.c"}}, "C would be at A.c, within A, where A is"),
    ],
)
def test_a_computed_field_that_cannot_work_is_refused_with_the_reason(
    fields: dict[str, Any], told: str
) -> None:
    """An expression at its character; a name or place that is taken, by the other field."""
    with pytest.raises(ValidationError) as caught:
        FieldsConfig.model_validate(fields)
    assert told in str(caught.value)
