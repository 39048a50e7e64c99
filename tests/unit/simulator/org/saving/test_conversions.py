"""Fields come, go and get another type: what records hold then, and which event says so."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.simulator.org.faults import BadFault
from salmon.simulator.org.objects.object_types import ObjectType
from salmon.simulator.org.objects.schema_changes import schema_change
from salmon.simulator.org.saving.conversions import changes_of, converted
from salmon.simulator.org.transaction import RecordChange, Row, Stored


def kind(type_: str, **told: Any) -> ObjectType:
    """An object with one custom field of this type."""
    entry = {"name": "F__c", "label": "F", "type": type_, "createable": True, "updateable": True, **told}
    return ObjectType({"name": "X__c", "fields": [entry]}, "a00")


ROWS: dict[str, Row] = {"a00000000000001AAA": {"F__c": "x"}, "a00000000000002AAA": {}}


@pytest.mark.parametrize(
    ("before", "value", "after", "becomes"),
    [
        (kind("string"), "12.5", kind("double", precision=18, scale=2), 12.5),
        (kind("string"), "many", kind("double", precision=18, scale=2), None),
        (kind("double"), 3.0, kind("string", length=20), "3"),
        (kind("string"), "shortened", kind("string", length=20), "shortened"),
        (kind("textarea"), "shortened", kind("string", length=5), "short"),
        (kind("picklist"), "Hot", kind("string", length=20), "Hot"),
        (kind("picklist"), "Hot", kind("multipicklist"), "Hot"),
        (kind("picklist"), "Hot", kind("boolean"), False),
        (kind("boolean"), True, kind("string", length=20), None),
        (kind("date"), "2024-02-29", kind("string", length=20), None),
        (kind("string"), "2024-02-29", kind("date"), None),
        (kind("multipicklist"), "a;b", kind("string", length=20), None),
        (kind("string"), None, kind("double"), None),
    ],
)
def test_a_value_is_kept_where_the_new_type_can_hold_it(
    before: ObjectType, value: Stored, after: ObjectType, becomes: Stored
) -> None:
    """Numbers as text and back, texts cut; not what the guide says is lost."""
    assert converted(value, before.fields[0], after.fields[0]) == becomes


@pytest.mark.parametrize(
    ("before", "after"),
    [("boolean", "string"), ("multipicklist", "string"), ("date", "string"), ("string", "datetime")],
)
def test_one_event_stands_for_all_records_where_values_are_lost(before: str, after: str) -> None:
    """It names them by the prefix of their ids."""
    assert changes_of(kind(before), kind(after), ROWS) == (
        RecordChange("X__c", "a00*", "UPDATE", None, None),
    )


@pytest.mark.parametrize("after", ["boolean", "multipicklist"])
def test_picklists_that_become_checkboxes_make_gap_events_of_the_records_with_a_value(after: str) -> None:
    """And those that become lists of choices."""
    (told,) = changes_of(kind("picklist"), kind(after), ROWS)
    assert (told.record_id, told.change_type) == ("a00000000000001AAA", "GAP_UPDATE")


ACCOUNT: dict[str, Any] = {
    "name": "Account",
    "fields": [{"name": "Id", "type": "id"}, {"name": "F__c", "type": "string", "length": 20}],
}


def test_an_admin_adds_removes_and_retypes_fields_one_or_several_at_a_time() -> None:
    """A field that gets another type keeps what else is said of it."""
    new = {"name": "New__c", "type": "double"}
    assert schema_change(ACCOUNT, {"add": new}) == ([], [{"custom": True, **new}])
    assert (
        schema_change(ACCOUNT, {"remove": "F__c"})
        == schema_change(ACCOUNT, {"remove": ["F__c"]})
        == (["F__c"], [])
    )
    assert schema_change(ACCOUNT, {"retype": {"name": "F__c", "type": "phone"}}) == (
        [],
        [{"name": "F__c", "type": "phone", "length": 20}],
    )


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "needs one of add, remove, retype"),
        ({"remove": "Id"}, "has no field 'Id' that could be changed"),
        ({"remove": 5}, "has no field 5"),
        ({"retype": {"name": "X__c", "type": "int"}}, "has no field 'X__c'"),
        ({"retype": {"name": "F__c"}}, "Give its name and its type at least"),
        ({"add": "X__c"}, "'X__c' is not a field as a describe has it"),
        ({"add": {"name": "F__c", "type": "int"}}, "has the field F__c already; use retype"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused(params: dict[str, Any], says: str) -> None:
    """With what is right."""
    with pytest.raises(BadFault, match=says):
        schema_change(ACCOUNT, params)


@pytest.mark.parametrize(
    ("before", "after"), [("picklist", "string"), ("string", "picklist"), ("double", "string")]
)
def test_no_event_tells_of_a_conversion_that_keeps_values(before: str, after: str) -> None:
    """So it is said in the guide."""
    assert changes_of(kind(before), kind(after), ROWS) == ()
