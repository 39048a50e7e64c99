"""The rules of the fold, as they are made from the configuration of an object."""

from __future__ import annotations

import pytest

from salmon.config.models import ObjectConfig, SyncConfig
from salmon.errors import ConfigError
from salmon.merge.settings import codecs_of, rules_of
from salmon.model.change import MONGODB, SALESFORCE
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from support.at_hand.memory_sync import MemorySync
from support.sync_config import sync_config

SCHEMA = ObjectSchema(
    "Account",
    (
        FieldSchema("Name", "string", Kind.STRING),
        FieldSchema("Archived__c", "boolean", Kind.BOOLEAN, nillable=False),
        FieldSchema("IsPartner", "boolean", Kind.BOOLEAN, create=False, update=False),
    ),
    "001",
)


def keeps(deletes: object) -> object:
    config = ObjectConfig.model_validate({"collection": "accounts", "deletes": deletes})
    return rules_of(SCHEMA, config).keeps


def test_which_side_keeps_what_is_deleted_elsewhere_is_a_setting() -> None:
    """A plain word is the mode, for both sides."""
    assert keeps("propagate") == {}
    assert keeps("ignore") == {SALESFORCE: "", MONGODB: ""}
    assert keeps({"mode": "ignore", "side": "mongodb"}) == {MONGODB: ""}
    archive = {"mode": "archive", "field": "Archived__c", "side": "mongodb"}
    assert keeps(archive) == {MONGODB: "Archived__c"}


@pytest.mark.parametrize("field", ["Name", "IsPartner", "Nowhere__c"])
def test_the_mark_of_an_archive_must_be_a_checkbox_that_we_may_set(field: str) -> None:
    """Else the record would be kept without its mark, and nobody would know."""
    with pytest.raises(ConfigError, match=r"objects\.Account\.deletes\.field"):
        keeps({"mode": "archive", "field": field})


@pytest.mark.parametrize(("to", "leave"), [("salesforce", {"AccountId"}), ("mongodb", set())])
def test_what_the_org_does_as_a_parent_leaves_it_is_known_for_its_children(to: str, leave: set[str]) -> None:
    """It clears lookups and deletes children; elsewhere the parent lives on, so that is nobody's edit."""
    config = SyncConfig.model_validate(
        sync_config(
            objects={
                "Account": {"collection": "accounts", "transforms": [{"filter": "Name != null", "to": to}]},
                "Contact": {"collection": "contacts"},
            }
        )
    )
    children = ObjectSchema(
        "Contact",
        (
            FieldSchema("AccountId", "reference", Kind.STRING, reference_to=("Account",)),
            FieldSchema("OwnerId", "reference", Kind.STRING, reference_to=("User",)),
        ),
    )
    made = codecs_of(config, "Contact", children, MemorySync().registry).rules
    assert made.parents_leave == frozenset(leave)
