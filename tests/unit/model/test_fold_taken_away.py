"""Step 7 of the fold, filters: what comes after we have taken a record off a side while it lives on elsewhere."""

from __future__ import annotations

from salmon.model.change import MONGODB, SALESFORCE
from salmon.model.fold import Fact
from support.stories import Story, in_oslo, only_oslo

# A look that overtakes the events of the time before.


def taken_away_unseen() -> Story:
    """Our removal is carried out; the document is looked for and not found, before the events of the time before are told."""
    story = in_oslo(Name="Acme", Phone="555 0101")
    story.salesforce.edits(City="Bergen")
    before = story.mongodb.now
    story.mongodb.absent(as_of=before + 10)
    assert not story.mongodb.holds
    return story


def test_an_edit_that_is_told_after_the_removal_was_seen_is_not_lost() -> None:
    """The document was edited, taken away and looked for; only then do its events come."""
    story = taken_away_unseen()
    taken = story.state.sides[MONGODB].in_flight
    story.mongodb.edits(Name="Acme Ltd")
    assert story.record is not None
    assert story.record["Name"] == "Acme Ltd"
    assert story.writes[SALESFORCE].fields == {"Name": "Acme Ltd"}
    story.mongodb.edits(Name="Acme Inc")
    assert story.record["Name"] == "Acme Inc"
    story.mongodb.deletes()
    assert taken
    assert story.conflicts == []
    assert story.state.lives


def test_a_late_edit_of_what_others_have_edited_meanwhile_is_a_conflict() -> None:
    """Neither author knew of the other edit."""
    story = taken_away_unseen()
    story.salesforce.edits(City="Trondheim")
    story.mongodb.edits(City="Stavanger")
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"Trondheim", "Stavanger"}


def test_what_comes_late_and_was_known_is_no_edit() -> None:
    """The event of a value that the side had told before by a row, and of our own write."""
    story = taken_away_unseen()
    story.mongodb.edits(Name="Acme")
    assert Fact.EDITED not in story.facts()
    assert SALESFORCE not in story.writes


def test_a_second_look_keeps_the_notes_of_the_first() -> None:
    """It finds nothing either."""
    story = taken_away_unseen()
    story.mongodb.absent(as_of=story.mongodb.now + 20)
    story.mongodb.edits(Name="Acme Ltd")
    assert story.record is not None
    assert story.record["Name"] == "Acme Ltd"


def test_an_edit_of_a_document_whose_whole_life_a_look_has_overtaken_is_not_lost() -> None:
    """It was created, edited and taken away; then it is looked for, and only then do its events come. (Seed 1516.)"""
    story = Story(only_oslo())
    story.salesforce.creates(Name="Acme", City="Oslo")
    made = story.writes[MONGODB]
    story.salesforce.edits(City="Bergen")
    story.mongodb.absent(as_of=10)
    story.mongodb.acks(made)
    story.mongodb.edits(Name="Acme Ltd")
    assert story.record == {"Name": "Acme Ltd", "City": "Bergen"}
    assert story.writes[SALESFORCE].fields == {"Name": "Acme Ltd"}
    story.mongodb.deletes()
    assert story.conflicts == []
