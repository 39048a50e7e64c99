"""What the fold knows of an object: who may set which field, what a side's events carry, who decides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from salmon.model.change import ERROR, SALESFORCE_ID, Change, Op, WriteOp
from salmon.model.policies import HOLD, LAST_WRITER_WINS
from support.at_hand.stories import rules

FIELDS = {"Name", "Phone", "City", "ParentId", "Source", "Shout", "Rollup", "LastModifiedDate"}
DERIVED = {"Shout", "Rollup", "LastModifiedDate"}


def test_a_document_has_two_properties_more_than_a_record() -> None:
    """Its Salesforce Id and its error are merge's own, and shadowed like fields."""
    assert rules().names == {"salesforce": FIELDS, "mongodb": FIELDS | {SALESFORCE_ID, ERROR}}


def test_salesforces_events_do_not_carry_what_is_refreshed() -> None:
    """MongoDB's events carry everything; Salesforce's lack roll-ups and their like."""
    assert rules().live["salesforce"] == FIELDS - {"Rollup"}
    assert rules().live["mongodb"] == FIELDS | {SALESFORCE_ID, ERROR}


def test_a_sink_may_set_what_salesforce_lets_an_insert_or_an_update_set() -> None:
    """Source is for inserts only; derived fields are for nobody; a document takes everything."""
    assert rules().sink_may_set("salesforce", WriteOp.CREATE) == FIELDS - DERIVED
    assert rules().sink_may_set("salesforce", WriteOp.UPDATE) == FIELDS - DERIVED - {"Source"}
    assert rules().sink_may_set("salesforce", WriteOp.DELETE) == set()
    assert rules().sink_may_set("mongodb", WriteOp.UPDATE) == FIELDS | {SALESFORCE_ID, ERROR}


def test_an_edit_may_win_where_salesforce_would_take_it() -> None:
    """Salesforce's always; MongoDB's where an update, or the insert that is still to come, may set the field."""
    told = rules()
    assert all(told.may_win("salesforce", name, known_to_salesforce=True) for name in FIELDS)
    assert told.may_win("mongodb", "Phone", known_to_salesforce=True)
    assert told.may_win("mongodb", "Source", known_to_salesforce=False)
    assert not told.may_win("mongodb", "Source", known_to_salesforce=True)
    assert not told.may_win("mongodb", "Shout", known_to_salesforce=False)


def test_the_target_of_a_one_way_object_never_wins() -> None:
    """There is nothing for it to say."""
    told = rules(one_way_to="mongodb")
    assert not any(told.may_win("mongodb", name, known_to_salesforce=False) for name in FIELDS)


def test_what_nobody_may_set_is_salesforces_alone() -> None:
    """Read-only fields always follow Salesforce; MongoDB has none of its own."""
    assert rules().only_of("salesforce") == DERIVED
    assert rules().only_of("mongodb") == set()


def test_every_field_of_a_one_way_object_is_its_origins_alone() -> None:
    """And none the target's."""
    assert rules(one_way_to="mongodb").only_of("salesforce") == FIELDS
    assert rules(one_way_to="mongodb").only_of("mongodb") == set()


def test_a_delete_should_have_seen_what_others_may_set_but_no_stamps() -> None:
    """Audit stamps are nobody's edit; what Salesforce derives, its own delete needs not see."""
    assert rules().settable_by_others("salesforce") == FIELDS - DERIVED
    assert rules().settable_by_others("mongodb") == FIELDS - DERIVED, (
        "formulas and roll-ups are nobody's edit"
    )
    assert rules(one_way_to="mongodb").settable_by_others("salesforce") == set()


def test_only_the_five_audit_stamps_are_stamps() -> None:
    """A formula's change is written; a stamp's rides along."""
    assert rules().stamps == {"LastModifiedDate"}


def test_what_an_insert_needs_is_required() -> None:
    """Without it a creation waits."""
    assert rules().required == {"Name"}


def test_a_field_has_the_objects_policy_unless_it_has_its_own() -> None:
    """`conflicts: {default: ..., fields: {Phone: hold}}`."""
    told = rules(field_policies={"Phone": HOLD})
    assert told.policy_of("Phone") is HOLD
    assert told.policy_of("City") is LAST_WRITER_WINS


def test_a_change_that_names_fields_speaks_of_those_alone() -> None:
    """And never of a field that the side does not have."""
    told = rules()
    edit = Change("salesforce", Op.UPDATE, changed=frozenset({"Phone", "Unheard_Of__c"}))
    assert told.spoken(edit) == {"Phone"}
    assert told.spoken(replace(edit, changed=frozenset({ERROR}))) == set()
    assert told.spoken(replace(edit, origin="mongodb", changed=frozenset({ERROR}))) == {ERROR}


def test_a_change_that_names_none_speaks_of_all_that_its_kind_can() -> None:
    """A row of every field; a creation in Salesforce of every live one."""
    told = rules()
    assert told.spoken(Change("salesforce", Op.ROW)) == FIELDS
    assert told.spoken(Change("salesforce", Op.CREATE)) == FIELDS - {"Rollup"}
    assert told.spoken(Change("mongodb", Op.CREATE)) == FIELDS | {SALESFORCE_ID, ERROR}


@pytest.mark.parametrize("wrong", [{"one_way_to": "postgres"}, {"ties": "nobody"}])
def test_rules_about_a_side_that_is_not_there_are_our_mistake(wrong: dict[str, str]) -> None:
    """The config model refuses such settings; the rules only assert it."""
    with pytest.raises(AssertionError):
        rules(**wrong)
