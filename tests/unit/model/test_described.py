"""What a describe says for those who fill a record in."""

from __future__ import annotations

import pytest

from salmon.model.described import Child, Choice, Described, described
from support.at_hand.api_room import CAR, choices, field
from support.orgs.describes import OBJECTS, describe


def test_the_values_of_a_picklist_are_its_active_ones() -> None:
    """An inactive one is only in old records."""
    values = choices("New", "Old")
    values[1]["active"] = False
    found = described({"name": "X__c", "fields": [field("A__c", "picklist", picklistValues=values)]})
    assert [choice.value for choice in found.fields["A__c"].choices] == ["New"]


def test_a_dependent_value_names_the_values_that_it_goes_with() -> None:
    """The bits of validFor count all values of the controlling field."""
    model = described(CAR).fields["Model__c"]
    assert model.controller == "Make__c"
    assert model.choices == (
        Choice("A4", "A4", only_with=("Audi",)),
        Choice("Panda", "Panda", only_with=("Fiat",)),
        Choice("Estate", "Estate", only_with=("Audi", "Fiat")),
    )


def test_a_checkbox_controls_by_false_and_true() -> None:
    """Its values have no list: the first bit is false, the second true."""
    fields = [
        field("Box__c", "boolean"),
        field(
            "A__c",
            "picklist",
            controllerName="Box__c",
            picklistValues=choices("No", "Yes", No="gAAA", Yes="QAAA"),
        ),
    ]
    found = described({"name": "X__c", "fields": fields}).fields["A__c"]
    assert [choice.only_with for choice in found.choices] == [("false",), ("true",)]


def test_children_have_the_names_that_the_org_gives_them() -> None:
    """For embedding."""
    assert described(CAR).children == (Child("Trailers__r", "Car__c", "Pulled_By__c"),)


@pytest.mark.parametrize("name", OBJECTS)
def test_nothing_is_lost_in_the_registry(name: str) -> None:
    """Of any real object."""
    found = described(describe(name))
    assert Described.from_registry(found.to_registry()) == found
