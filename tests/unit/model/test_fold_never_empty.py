"""Fields that Salesforce does not let be empty, and documents that lack them (case V4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from salmon.model.change import SALESFORCE_ID
from salmon.model.fold import Fact
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind
from support.at_hand.stories import KEY, SCHEMA, born_in_mongodb, in_step, text

PRIVATE = FieldSchema("IsPrivate", "boolean", Kind.BOOLEAN, nillable=False)
OWNER = text("OwnerId", type="reference", nillable=False)
OWN = {SALESFORCE_ID: KEY}
RULES = Rules(replace(SCHEMA, fields=(*SCHEMA.fields, PRIVATE, OWNER)))


def test_a_checkbox_that_is_unset_is_false() -> None:
    """Salesforce is sent false, never null; the document gets false back."""
    story = in_step(RULES, Name="Acme", IsPrivate=True)
    story.mongodb.edits(IsPrivate=None)
    assert story.writes["salesforce"].fields == {"IsPrivate": False}
    assert story.writes["mongodb"].fields == {"IsPrivate": False}
    story.come_to_rest()
    assert story.record == {"Name": "Acme", "IsPrivate": False}
    assert story.conflicts == []


def test_a_checkbox_that_is_missing_and_false_costs_salesforce_no_write() -> None:
    """A whole save without it says what is agreed; only the document gets it back."""
    story = in_step(RULES, Name="Acme", IsPrivate=False)
    story.mongodb.edits(Name="Acme", IsPrivate=None)
    assert "salesforce" not in story.writes
    assert story.writes["mongodb"].fields == {"IsPrivate": False}


def test_a_whole_save_without_the_owner_is_no_wish_to_clear_it() -> None:
    """Nothing is sent to Salesforce but what was edited, and the document gets its owner back."""
    story = in_step(RULES, Name="Acme", OwnerId="005A")
    story.mongodb.edits(Name="Acme Ltd", OwnerId=None)
    assert story.writes["salesforce"].fields == {"Name": "Acme Ltd"}
    assert story.writes["mongodb"].fields == {"OwnerId": "005A"}
    assert Fact.OVERRULED in story.facts()
    story.come_to_rest()
    assert story.record == {"Name": "Acme Ltd", "OwnerId": "005A"}
    assert story.mongodb.holds["OwnerId"] == "005A"


def test_salesforce_may_clear_what_it_likes() -> None:
    """What it tells is so, whatever its describe said."""
    story = in_step(RULES, Name="Acme", OwnerId="005A")
    story.salesforce.edits(OwnerId=None)
    assert story.writes["mongodb"].fields == {"OwnerId": None}


def test_a_new_document_without_the_checkbox_leaves_it_to_the_org() -> None:
    """The org's default may be true: what nobody said is not false."""
    story = born_in_mongodb(RULES, Name="Acme")
    assert story.writes["salesforce"].fields == {"Name": "Acme"}
    story.salesforce.acks(story.writes["salesforce"], IsPrivate=True, OwnerId="005A")
    assert story.writes["mongodb"].fields.items() >= {"IsPrivate": True, "OwnerId": "005A"}.items()


def test_a_document_that_always_lacks_the_checkbox_is_told_at_last() -> None:
    """An application that takes it out again each time: the breaker ends what would go on for ever."""
    story = in_step(RULES, Name="Acme", IsPrivate=False)
    story.timed = True
    for _ in range(20):
        if "mongodb" not in story.writes and story.seen[Fact.OSCILLATING]:
            return
        story.mongodb.edits(IsPrivate=None)
        story.come_to_rest()
    pytest.fail("nothing ever ended it")


def test_an_edit_before_it_was_emptied_is_agreed_on_also_where_a_row_shows_only_that() -> None:
    """Somebody gives the document another owner and then takes it out; a row shows the second before the first is told. (Seed 2778.)"""
    story = in_step(RULES, Name="Acme", OwnerId="005A")
    story.salesforce.edits(OwnerId="005B")
    story.come_to_rest()
    edited = story.mongodb.moment()
    story.mongodb.now += 9
    story.mongodb.row(OWN, Name="Acme")
    assert story.writes["mongodb"].fields == {"OwnerId": "005B"}
    story.mongodb.now = edited
    story.mongodb.edits(OwnerId="005C")
    story.mongodb.edits(OwnerId=None)
    story.mongodb.edits(OwnerId="005D")
    assert story.conflicts == [], "each author had seen what was agreed on, or edited by the one before"
    story.come_to_rest()
    assert story.salesforce.holds["OwnerId"] == story.mongodb.holds["OwnerId"] == "005D"


def test_who_edits_over_our_value_before_it_is_emptied_has_seen_that() -> None:
    """The row that shows the empty field is the first to show that our owner came."""
    story = in_step(RULES, Name="Acme", OwnerId="005A")
    story.salesforce.edits(OwnerId="005B")
    write = story.writes["mongodb"]
    written = story.mongodb.moment()
    story.mongodb.now += 9
    story.mongodb.row(OWN, Name="Acme", marker=write.seq)
    story.mongodb.now = written
    story.mongodb.acks(write)
    story.mongodb.edits(OwnerId="005C")
    assert story.conflicts == []
    assert story.writes["salesforce"].fields == {"OwnerId": "005C"}


def test_emptying_does_not_take_back_an_edit_that_our_write_overwrote() -> None:
    """The edit and the emptying come before our write, which a row shows before either is told: it was a conflict."""
    story = in_step(RULES, Name="Acme", OwnerId="005A")
    story.salesforce.edits(OwnerId="005B")
    write = story.writes["mongodb"]
    edited = story.mongodb.moment()
    story.mongodb.now += 9
    story.mongodb.row(OWN, Name="Acme", OwnerId="005B", marker=write.seq)
    story.mongodb.now = edited
    story.mongodb.edits(OwnerId="005C")
    story.mongodb.edits(OwnerId=None)
    story.mongodb.acks(write)
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"005B", "005C"}
