"""Schemas of change events made from describes, against schemas recorded from real orgs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from salmon.simulator.events.cdc_schema import can_be_selected, event_schema, schema_id_of
from salmon.simulator.org.objects.describes import load_describes, with_marker_fields

RECORDED = Path(__file__).parents[3] / "data" / "salesforce" / "cdc"
DESCRIBES = load_describes()


def recorded(name: str) -> Any:
    return json.loads((RECORDED / name).read_text("utf-8"))


@pytest.mark.parametrize(
    ("schema_id", "file"),
    [
        ("S3-K_S0GYegWTRZnKLjeag", "AccountChangeEvent_2023-05.avsc"),
        ("4egfTTaxua4Y39nYlBXfNg", "AccountChangeEvent_2023-07.avsc"),
        ("i8wgJwwM-AVcDbFkbRl5Nw", "AccountChangeEvent_2026-02.avsc"),
    ],
)
def test_the_schema_id_is_the_one_that_the_recorded_events_carry(schema_id: str, file: str) -> None:
    """Salesforce computes it from the schema, so we can too."""
    assert schema_id_of(recorded(file)) == schema_id


@pytest.mark.parametrize("entity", ["Account", "Contact"])
def test_our_schema_is_the_recorded_one_without_what_the_describe_lacks(entity: str) -> None:
    """Same order and same field definitions, doc strings included; the Address has the members its org has."""
    real = {f["name"]: f for f in recorded(f"{entity}ChangeEvent_2026-02.avsc")["fields"]}
    ours = {f["name"]: f for f in json.loads(event_schema(DESCRIBES[entity]).schema_json)["fields"]}
    common = [name for name in ours if name in real]
    assert common == [name for name in real if name in ours], "the same order"
    assert all(name.endswith("__c") for name in ours if name not in real), "no field that a real one lacks"
    assert list(ours)[: len(common)] == common, "custom fields last"
    missing = {f["name"] for f in DESCRIBES[entity]["fields"]} & (real.keys() - ours.keys())
    assert not missing, "every field of the describe that a real event carries"
    for name in common:
        ours_type, real_type = ours[name]["type"], real[name]["type"]
        if (
            isinstance(ours_type, list)
            and isinstance(ours_type[1], dict)
            and ours_type[1]["name"] == "Address"
        ):
            without_codes = [
                f for f in real_type[1]["fields"] if f["name"] not in {"StateCode", "CountryCode"}
            ]
            assert ours_type[1]["fields"] == without_codes, "this org has no state and country picklists"
        else:
            assert ours[name] == real[name]


def test_every_type_of_custom_field_is_as_a_recorded_custom_object_shows_it() -> None:
    """One field of nearly each type, in an object whose event was recorded in 2023."""
    types: dict[str, dict[str, Any]] = {
        "OwnerId": {"type": "reference"},
        "IsDeleted": {"type": "boolean"},
        "Name": {"type": "string"},
        "CreatedDate": {"type": "datetime"},
        "CreatedById": {"type": "reference"},
        "LastModifiedDate": {"type": "datetime"},
        "LastModifiedById": {"type": "reference"},
        "SystemModstamp": {"type": "datetime"},
        "LastViewedDate": {"type": "datetime"},
        "Custom_Checkobx__c": {"type": "boolean"},
        "EZ_Money__c": {"type": "currency"},
        "Birthday__c": {"type": "date"},
        "Some_DateTime__c": {"type": "datetime"},
        "Email_Wemail__c": {"type": "email"},
        "LocalDegrees__Latitude__s": {"type": "double", "compoundFieldName": "LocalDegrees__c"},
        "LocalDegrees__Longitude__s": {"type": "double", "compoundFieldName": "LocalDegrees__c"},
        "LocalDegrees__c": {"type": "location"},
        "LocalDecimal__Latitude__s": {"type": "double", "compoundFieldName": "LocalDecimal__c"},
        "LocalDecimal__Longitude__s": {"type": "double", "compoundFieldName": "LocalDecimal__c"},
        "LocalDecimal__c": {"type": "location"},
        "Formula__c": {"type": "double", "calculated": True, "calculatedFormula": "Numero__c * 2"},
        "Numero__c": {"type": "double"},
        "Percento__c": {"type": "percent"},
        "TellyPhone__c": {"type": "phone"},
        "PickleSingle__c": {"type": "picklist"},
        "PickleMulit__c": {"type": "multipicklist"},
        "Texty__c": {"type": "string"},
        "Rich_Text__c": {"type": "textarea", "length": 32768, "htmlFormatted": True},
        "Encrypt__c": {"type": "encryptedstring"},
        "Timey__c": {"type": "time"},
        "Linky__c": {"type": "url"},
        "GUID__c": {"type": "string", "externalId": True},
    }
    describe = {
        "name": "Some_Custom_Object__c",
        "fields": [{"name": "Id", "type": "id"}]
        + [{"name": name, "custom": name.endswith(("__c", "__s")), **f} for name, f in types.items()],
    }
    ours = json.loads(event_schema(describe).schema_json)
    real = recorded("Some_Custom_Object__ChangeEvent_2023-07.avsc")
    real["fields"][12]["type"][1]["fields"].pop()  # XyzEncoded is gone since
    assert ours["name"] == real["name"] == "Some_Custom_Object__ChangeEvent"
    assert [(f["name"], f["type"], f.get("doc", "")[:-15]) for f in ours["fields"][1:]] == [
        (f["name"], f["type"], f.get("doc", "")[:-15]) for f in real["fields"][1:]
    ]


def test_a_roll_up_summary_is_in_the_event_and_a_formula_is_not() -> None:
    """Both are calculated; only the formula has a text."""
    describe = {
        "name": "Order__c",
        "fields": [
            {"name": "Total__c", "type": "currency", "calculated": True, "calculatedFormula": None},
            {
                "name": "Double__c",
                "type": "currency",
                "calculated": True,
                "calculatedFormula": "Total__c * 2",
            },
        ],
    }
    assert [slot.row_field for slot in event_schema(describe).slots] == ["Total__c"]


def test_a_new_field_makes_a_new_schema_and_a_new_label_does_not() -> None:
    """The id is a hash of names and types: a subscriber learns of the one and not of the other."""
    opportunity = DESCRIBES["Opportunity"]
    renamed = {**opportunity, "fields": [{**f, "label": "x", "length": 300} for f in opportunity["fields"]]}
    assert event_schema(renamed).schema_id == event_schema(opportunity).schema_id
    assert event_schema(with_marker_fields(opportunity)).schema_id != event_schema(opportunity).schema_id


@pytest.mark.parametrize(
    ("entity", "offered"),
    [
        ("Account", True),
        ("Order_Item__c", True),
        ("WorkPlanTemplate", True),
        ("Document", False),
        ("Attachment", False),
        ("AccountHistory", False),
        ("Order_Shipped__e", False),
        ("Setting__mdt", False),
    ],
)
def test_change_events_are_offered_for_objects_that_can_have_them(entity: str, offered: bool) -> None:
    """As in Setup, Change Data Capture: what cannot be selected there has no topic here."""
    assert can_be_selected(entity) is offered
