"""The values that editors write come back as the same plain values from either side, for every type of field."""

from __future__ import annotations

import random

import pytest
from bson import ObjectId

from salmon.simulator.org.objects.describes import load_describes
from support.chaos import fields
from support.chaos.fields import CANARY, ROLES, Type


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Type]]:
    """As an org describes them that is loaded from our folder."""
    folder = tmp_path_factory.mktemp("describes")
    fields.write_describes(folder)
    return {name: fields.types_of(described) for name, described in load_describes(folder).items()}


def test_every_field_has_one_role(types: dict[str, dict[str, Type]]) -> None:
    """Else nobody could say whose value must stand."""
    for name, role in ROLES.items():
        named = [*role.person, *role.application, *role.turns, *role.raced]
        named += CANARY.values() if name == "Account" else ()
        assert len(named) == len(set(named))
        assert set(named) <= types[name].keys()


def test_every_type_of_field_is_edited(types: dict[str, dict[str, Type]]) -> None:
    """All that the sync carries (model.schema.Kind), but encrypted text, which is text to us."""
    edited = {
        types[name][each].kind
        for name, role in ROLES.items()
        for each in (*role.person, *role.application, *role.turns, *role.raced)
    }
    assert edited >= {
        *("string", "textarea", "phone", "url", "email", "picklist", "combobox", "multipicklist", "boolean"),
        *("int", "double", "percent", "currency", "date", "datetime", "time", "reference"),
    }


def test_values_come_back_as_they_were_written(types: dict[str, dict[str, Type]]) -> None:
    """By the way through the REST API as by that through a document."""
    rng = random.Random(1)
    for kinds in types.values():
        for kind in kinds.values():
            for number in (1, 59, 86_399, 1_000_000):
                if kind.kind == "reference":
                    continue
                plain = fields.drawn(kind, number, rng)
                assert fields.from_org(kind, fields.for_org(kind, plain)) == plain
                assert fields.from_document(kind, fields.for_document(kind, plain)) == plain


def test_a_default_is_what_the_org_fills_in(types: dict[str, dict[str, Type]]) -> None:
    """A checkbox is false unless its describe says otherwise; of several choices, those that are chosen at first."""
    filled_in = fields.defaults_of(types)
    assert filled_in["Account"]["Is_Partner__c"] is False
    assert filled_in["Opportunity"]["IsPrivate"] is False
    assert "Phone" not in filled_in["Account"]
    choices = [{"value": "West", "defaultValue": True}, {"value": "East", "defaultValue": True}]
    shared = {"createable": True, "updateable": True, "referenceTo": [], "length": 0, "scale": 0}
    kinds = fields.types_of(
        {
            "fields": [
                {**shared, "name": "On__c", "type": "boolean", "defaultValue": True, "picklistValues": []},
                {
                    **shared,
                    "name": "One__c",
                    "type": "picklist",
                    "picklistValues": [{"value": "Low"}, choices[0]],
                },
                {**shared, "name": "Some__c", "type": "multipicklist", "picklistValues": choices},
            ]
        }
    )
    assert {name: kind.default for name, kind in kinds.items()} == {
        "On__c": True,
        "One__c": "West",
        "Some__c": ["East", "West"],
    }


def test_a_record_key_is_the_id_as_text_or_tagged() -> None:
    """An ObjectId is no text (DESIGN, Records)."""
    number = ObjectId()
    assert fields.key_of("001A") == "001A"
    assert fields.key_of(number) == f"$oid:{number}"
