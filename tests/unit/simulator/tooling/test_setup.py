"""The setup of an org of any describe files, as they come from real orgs, old API versions and packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from salmon.simulator.org.objects.access_objects import data_type
from salmon.simulator.org.objects.describes import load_describes
from salmon.simulator.org.org import Org
from salmon.simulator.tooling.custom_fields import described, metadata_of
from salmon.simulator.tooling.setup import Setup

RECORDED = Path(__file__).parents[3] / "data" / "salesforce" / "describe"


@pytest.fixture
def org() -> Org:
    return Org(load_describes(RECORDED, marker_fields=True))


def test_any_describe_files_will_do(org: Org) -> None:
    """Every custom field of them is a record; a change leaves all others as they were."""
    before = {name: org.describe(name)["fields"] for name in org.objects}
    setup = Setup(org)
    custom = [
        f["name"]
        for fields in before.values()
        for f in fields
        if f["name"].endswith("__c") and f.get("custom")
    ]
    assert len(setup.org.tables["CustomField"].live) == len(custom) > 10
    metadata: dict[str, Any] = {"type": "Checkbox", "label": "New", "defaultValue": "false"}
    with setup.org.transaction(org.person) as unit:
        setup.create(unit, "CustomField", {"FullName": "Case.New__c", "Metadata": metadata})
        rights = {"SobjectType": "Case", "Field": "Case.New__c", "PermissionsRead": True}
        [mine] = org.tables["PermissionSet"].live
        unit.insert("FieldPermissions", {**rights, "ParentId": mine})
    after = {name: org.describe(name)["fields"] for name in org.objects}
    assert after["Case"][:-1] == before["Case"]
    assert after["Case"][-1]["name"] == "New__c"
    assert {name: fields for name, fields in after.items() if name != "Case"} == {
        name: fields for name, fields in before.items() if name != "Case"
    }


def test_records_follow_the_fields_of_their_object(org: Org) -> None:
    """A new checkbox has its default everywhere, a field that goes takes its values along, an index is made anew."""
    name = "Lead"
    with org.transaction(org.person) as unit:
        lead = unit.insert(name, {"LastName": "A", "Company": "B", "Salmon_Id__c": "k"})
    fields = org.describe(name)["fields"]
    flag = described("Flag__c", {"type": "Checkbox", "label": "Flag", "defaultValue": "true"})
    kept = [f for f in fields if f["name"] != "Company"]
    org.redescribe({**org.describe(name), "fields": [*kept, flag]})
    row = org.tables[name].live[lead]
    assert row["Flag__c"] is True
    assert "Company" not in row
    field = org.types[name].field("Salmon_Id__c")
    assert field is not None
    assert org.tables[name].find(field, "k") == [lead]


@pytest.mark.parametrize(
    "metadata",
    [
        {
            "type": "Text",
            "label": "A",
            "length": 30,
            "unique": True,
            "caseSensitive": True,
            "externalId": True,
        },
        {"type": "Number", "label": "A", "precision": 18, "scale": 4},
        {"type": "LongTextArea", "label": "A", "length": 32_768, "visibleLines": 3},
        {"type": "Html", "label": "A", "length": 32_768, "visibleLines": 3},
        {"type": "Checkbox", "label": "A", "defaultValue": "true"},
        {"type": "Lookup", "label": "A", "referenceTo": "Case", "relationshipName": "Cases"},
        {"type": "DateTime", "label": "A", "required": True},
    ],
)
def test_a_field_and_its_metadata_say_the_same(metadata: dict[str, Any]) -> None:
    """What a describe shows of a field leads back to what it was made of."""
    told = metadata_of(described("A__c", metadata))
    assert {key: told[key] for key in metadata if key != "visibleLines"} == {
        key: value for key, value in metadata.items() if key != "visibleLines"
    }


def test_every_field_of_a_real_org_has_a_type_in_words(org: Org) -> None:
    """FieldDefinition.DataType is never empty."""
    for name in org.objects:
        for field in org.describe(name)["fields"]:
            assert data_type(field)
