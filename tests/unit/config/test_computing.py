"""What contradicts an object's computed fields, said before any process starts."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.config.transforming import faults_of_flows

MADE = {"FullName": "FirstName + ' ' + LastName"}


def faults(**contact: Any) -> dict[str, str]:
    """Key -> sentence."""
    contact.setdefault("fields", {"computed": MADE})
    return {".".join(key[2:]): said for key, said in faults_of_flows({"objects": {"Contact": contact}})}


def test_a_sound_object_has_no_faults() -> None:
    """Its computed field is filtered by, masked in documents and renamed."""
    mask = [{"mask": {"fields": ["FullName"]}}, {"filter": "FullName != null"}]
    assert not faults(
        fields={"computed": MADE, "include": ["FirstName", "LastName"], "rename": {"FullName": "name.full"}},
        transforms=mask,
        match={"on": ["LastName"]},
        conflicts={"fields": {"LastName": "salesforce"}},
    )


@pytest.mark.parametrize(
    ("contact", "key", "said"),
    [
        ({"match": {"on": ["LastName", "FullName"]}}, "match.on", "the org does not have it"),
        ({"conflicts": {"fields": {"FullName": "hold"}}}, "conflicts.fields.FullName", "never a conflict"),
        ({"deletes": {"mode": "archive", "field": "FullName"}}, "deletes.field", "the org does not have it"),
        (
            {"transforms": [{"mask": {"fields": ["FullName"]}, "to": "salesforce"}]},
            "transforms",
            "transforms.0 masks FullName for Salesforce",
        ),
        (
            {"fields": {"computed": MADE, "include": ["LastName"]}},
            "fields.computed",
            "names FirstName, which `fields` leaves out",
        ),
        (
            {"fields": {"computed": MADE, "exclude": ["LastName"]}},
            "fields.computed",
            "names LastName, which `fields` leaves out",
        ),
        (
            {"fields": {"exclude": ["Fax"]}, "transforms": [{"filter": "Fax != null"}]},
            "transforms",
            "transforms.0 names Fax, which `fields` leaves out",
        ),
        (
            {"fields": {"computed": {**MADE, "fullname": "LastName"}}},
            "fields.computed.fullname",
            "differs from FullName in capital letters only",
        ),
        (
            {"fields": {"computed": {"lastname": "LastName"}, "include": ["LastName"]}},
            "fields.computed.lastname",
            "differs from LastName",
        ),
    ],
)
def test_what_contradicts_a_computed_field_is_told_at_its_key(
    contact: dict[str, Any], key: str, said: str
) -> None:
    """These were told by `salmon flow test` at best, and by the processes when they started."""
    found = faults(**contact)
    assert said in found[key]


def test_a_fault_of_the_top_level_transforms_names_them() -> None:
    """A person looks for the step where it stands."""
    raw = {
        "objects": {"Contact": {"fields": {"exclude": ["Fax"]}}},
        "transforms": {"Contact": [{"filter": "Fax != null"}]},
    }
    ((key, said),) = faults_of_flows(raw)
    assert (key, said.partition(" ")[0]) == (("transforms", "Contact"), "transforms.Contact.0")
