"""Steps 5 and 7 of the fold where a side keeps what is deleted elsewhere (`deletes: ignore` and `archive`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from salmon.model.change import MONGODB, SALESFORCE, WriteOp
from salmon.model.fold import Published
from salmon.model.policies import HOLD, MONGODB_WINS, SALESFORCE_WINS
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind
from support.at_hand.stories import OTHER_ID, SCHEMA, Story, Teller, in_step, only_oslo

MARK = "Archived"
MARKED = replace(SCHEMA, fields=(*SCHEMA.fields, FieldSchema(MARK, "boolean", Kind.BOOLEAN, nillable=False)))


def keeping(*kept: str, mark: str = "", **settings: Any) -> Rules:
    """Both sides keep their records, or those that are named."""
    return Rules(MARKED, keeps=dict.fromkeys(kept or (SALESFORCE, MONGODB), mark), **settings)


def record(told: Rules) -> Story:
    return in_step(told, Name="Acme", Archived=False)


def sides(story: Story, deleter: str) -> tuple[Teller, Teller]:
    return (story.salesforce, story.mongodb) if deleter == SALESFORCE else (story.mongodb, story.salesforce)


@pytest.mark.parametrize("deleter", [SALESFORCE, MONGODB])
def test_a_deletion_that_is_ignored_leaves_the_other_record_as_it_is(deleter: str) -> None:
    """It ends the sync of the record, and `records` says that it is deleted; nothing is written."""
    story = record(keeping())
    here, other = sides(story, deleter)
    out = here.deletes()
    assert out.published is Published.TOMBSTONE
    assert story.writes == {}
    assert other.holds["Name"] == "Acme"
    assert story.conflicts == []


@pytest.mark.parametrize("deleter", [SALESFORCE, MONGODB])
def test_the_record_that_is_kept_is_on_its_own(deleter: str) -> None:
    """Its edits, its rows and its own deletion go nowhere, and bring nothing back."""
    story = record(keeping())
    here, other = sides(story, deleter)
    here.deletes()
    other.edits(Name="Acme Ltd")
    other.row(Name="Acme Ltd", Phone="555 0101")
    assert (story.writes, story.conflicts, story.record) == ({}, [], None)
    other.deletes()
    assert (story.writes, story.conflicts, story.record) == ({}, [], None)


@pytest.mark.parametrize("deleter", [SALESFORCE, MONGODB])
def test_an_archived_record_is_marked_once(deleter: str) -> None:
    """It stays as it is but for the mark."""
    story = record(keeping(mark=MARK))
    here, other = sides(story, deleter)
    here.deletes()
    write = story.writes[other.name]
    assert (write.op, write.fields) == (WriteOp.UPDATE, {MARK: True})
    other.acks(write)
    assert story.writes == {}
    other.edits(Name="Acme Ltd")
    assert story.writes == {}
    assert story.record is None


def test_only_the_side_that_is_named_keeps_its_records() -> None:
    """What is deleted there is deleted on the other side."""
    story = record(keeping(MONGODB))
    story.salesforce.deletes()
    assert story.writes == {}
    again = record(keeping(MONGODB))
    again.mongodb.deletes()
    assert again.writes[SALESFORCE].op is WriteOp.DELETE


@pytest.mark.parametrize("policy", [MONGODB_WINS, HOLD])
def test_an_edit_that_the_deleter_had_not_seen_is_kept_where_it_was_made(policy: object) -> None:
    """Nothing is destroyed by the deletion, so it is no conflict, whatever the policy."""
    story = record(keeping(policy=policy))
    story.mongodb.edits(Name="Acme Ltd")
    story.salesforce.deletes()
    assert story.conflicts == []
    assert story.record is None
    assert story.mongodb.holds["Name"] == "Acme Ltd"
    assert MONGODB not in story.writes


def test_an_edit_that_comes_after_the_deletion_contests_nothing() -> None:
    """Its author had not seen the deletion, and keeps the edit."""
    story = record(keeping(policy=MONGODB_WINS))
    story.salesforce.deletes()
    story.mongodb.edits(Name="Acme Ltd")
    assert story.conflicts == []
    assert SALESFORCE not in story.writes


def test_a_record_that_is_created_again_is_synced_again_and_loses_its_mark() -> None:
    """Undeleted in Salesforce: the document gets what is agreed now."""
    story = record(keeping(mark=MARK))
    story.salesforce.deletes()
    story.mongodb.acks(story.writes[MONGODB])
    story.salesforce.creates(Name="Acme again", Archived=False)
    write = story.writes[MONGODB]
    assert write.op is WriteOp.UPDATE
    assert write.fields["Name"] == "Acme again"
    assert write.fields[MARK] is False
    story.come_to_rest()
    assert story.record is not None
    assert story.record["Name"] == "Acme again"


def test_a_creation_that_is_on_its_way_is_not_called_back() -> None:
    """A quicker sink would have made the record, and it would be kept."""
    story = Story(keeping())
    story.salesforce.creates(Name="Acme", Archived=False)
    made = story.writes[MONGODB]
    story.salesforce.deletes()
    assert story.writes[MONGODB] == made
    story.mongodb.acks(made)
    assert story.writes == {}
    assert story.record is None


def test_a_mark_that_is_refused_is_not_sent_for_ever() -> None:
    """The record stays, unmarked, and `salmon why` tells the refusal."""
    story = record(keeping(mark=MARK))
    story.mongodb.deletes()
    story.salesforce.refuses(story.writes[SALESFORCE], MARK)
    assert MARK in story.salesforce.parked
    assert SALESFORCE not in story.last.writes or story.last.writes[SALESFORCE] is None


def test_the_target_of_a_one_way_object_keeps_and_marks_its_records() -> None:
    """And gets the whole record when it is created again at its source."""
    story = Story(keeping(MONGODB, mark=MARK, one_way_to=MONGODB))
    story.salesforce.creates(Name="Acme", Archived=False)
    story.salesforce.deletes()
    write = story.writes[MONGODB]
    assert (write.op, write.fields) == (WriteOp.UPDATE, {MARK: True})
    story.salesforce.creates(Name="Acme again", Archived=False)
    assert story.writes[MONGODB].fields["Name"] == "Acme again"
    ignoring = Story(keeping(MONGODB, one_way_to=MONGODB))
    ignoring.salesforce.creates(Name="Acme", Archived=False)
    out = ignoring.salesforce.deletes()
    assert out.writes == {}


def test_a_filter_does_not_take_away_what_a_restored_side_keeps() -> None:
    """
    The document was never wanted there, and its user deleted it; a backup has it still. The org's record, which somebody had edited
    meanwhile, lives on: the document stays, as one that was born there does. (Seed 82675.)
    """
    rules = replace(only_oslo(), keeps={MONGODB: ""}, policy=SALESFORCE_WINS)
    story = Story(rules)
    story.mongodb.creates(Name="Acme", City="Bergen")
    made = story.writes[SALESFORCE]
    story.salesforce.native_id = OTHER_ID
    story.salesforce.acks(made)
    story.mongodb.deletes()
    assert story.writes[SALESFORCE].op is WriteOp.DELETE
    story.mongodb.goes_back()
    story.mongodb.row(Name="Acme", City="Bergen")
    story.salesforce.edits(Name="Acme Ltd")
    assert story.record == {"Name": "Acme Ltd", "City": "Bergen"}
    assert MONGODB not in story.writes
