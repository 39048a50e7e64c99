"""A side whose history went back: restored from a backup, or refreshed. What it lost is given back to it."""

from __future__ import annotations

import pytest

from salmon.model.change import SALESFORCE_ID, WriteOp
from salmon.model.first_row import fold_first_row
from salmon.model.fold import Fact
from salmon.model.policies import EXISTENCE
from salmon.model.work import Report
from support.stories import Story, in_step

SIDES = ("mongodb", "salesforce")


def other(side: str) -> str:
    return "salesforce" if side == "mongodb" else "mongodb"


def lived(side: str) -> Story:
    """A record whose phone *side* has edited, and whose city the other one has, after the backup was made."""
    story = in_step(Name="Acme", Phone="old")
    getattr(story, side).edits(Phone="new")
    story.come_to_rest()
    getattr(story, other(side)).edits(City="Oslo")
    story.come_to_rest()
    return story


@pytest.mark.parametrize("side", SIDES)
def test_an_older_value_of_a_restored_side_is_no_edit_and_the_agreed_one_goes_back(side: str) -> None:
    """Its own later edit and the other side's are written to it again, and the other side hears nothing."""
    story = lived(side)
    teller = getattr(story, side)
    teller.goes_back()
    teller.row(Name="Acme", Phone="old")
    assert Report(Fact.RESTORED, side, ("City", "Phone")) in story.last.reports
    write = story.writes[side]
    assert write.op is WriteOp.UPDATE
    assert {n: v for n, v in write.fields.items() if n != SALESFORCE_ID} == {"Phone": "new", "City": "Oslo"}
    assert other(side) not in story.writes
    assert story.record == {"Name": "Acme", "Phone": "new", "City": "Oslo"}
    assert story.conflicts == []
    story.come_to_rest()


@pytest.mark.parametrize("side", SIDES)
def test_a_record_that_a_restored_side_lacks_was_deleted_by_nobody(side: str) -> None:
    """It is created there again."""
    story = lived(side)
    teller = getattr(story, side)
    teller.goes_back()
    teller.absent()
    assert Report(Fact.RESTORED, side, (EXISTENCE,)) in story.last.reports
    assert story.writes[side].op is WriteOp.CREATE
    assert story.writes[side].fields["City"] == "Oslo"
    besides = story.writes.get(other(side))
    assert besides is None or besides.fields == {SALESFORCE_ID: None}, (
        "the document's own Id is gone, no more"
    )
    assert story.state.lives


@pytest.mark.parametrize("side", SIDES)
def test_a_record_that_was_deleted_since_the_backup_is_deleted_again(side: str) -> None:
    """The restored side shows it as if nothing had been; that is no second birth."""
    story = lived(side)
    getattr(story, other(side)).deletes()
    story.come_to_rest()
    assert not story.state.lives
    teller = getattr(story, side)
    teller.goes_back()
    teller.row(Name="Acme", Phone="old")
    assert story.writes[side].op is WriteOp.DELETE
    assert other(side) not in story.writes
    assert not story.state.lives


@pytest.mark.parametrize("side", SIDES)
def test_what_happens_after_the_first_row_of_the_new_history_is_news_again(side: str) -> None:
    """Its clock and its order began anew, far below what they were: an edit there is heard all the same."""
    story = lived(side)
    teller = getattr(story, side)
    teller.now = 1_000_000
    teller.edits(Phone="newest")
    story.come_to_rest()
    teller.goes_back()
    teller.row(Name="Acme", Phone="old")
    story.come_to_rest()
    teller.edits(Phone="by a user afterwards")
    assert story.writes[other(side)].fields == {"Phone": "by a user afterwards"}
    story.come_to_rest()
    teller.row(Name="by a user, and no event told", Phone="by a user afterwards", City="Oslo")
    assert story.writes[other(side)].fields == {"Name": "by a user, and no event told"}
    story.come_to_rest()
    teller.absent()
    assert story.writes[other(side)].op is WriteOp.DELETE


def test_a_write_that_was_in_flight_when_the_side_went_back_is_said_anew() -> None:
    """Whether it was carried out before or after nobody can know: the next one says everything."""
    story = in_step(Name="Acme", Phone="old")
    story.salesforce.edits(Phone="new")
    assert story.mongodb.in_flight
    story.mongodb.goes_back()
    story.mongodb.row({SALESFORCE_ID: story.key}, Name="Acme", Phone="older")
    write = story.last.writes["mongodb"]
    assert write is not None
    assert write.fields == {"Phone": "new"}
    story.come_to_rest()
    assert story.mongodb.holds["Phone"] == "new"


def test_a_record_that_nobody_knew_is_taken_as_ever() -> None:
    """What a restored side alone has is no older than anything."""
    story = Story(key="65f0c0ffee")
    story.mongodb.native_id = story.key
    story.mongodb.goes_back()
    story.mongodb.row(Name="Acme")
    assert story.writes["salesforce"].op is WriteOp.CREATE
    story.mongodb.row(Name="Acme", Phone="555")
    assert story.writes["salesforce"].fields["Phone"] == "555", (
        "the next row of that history is no restoration"
    )


def test_a_value_that_only_the_restored_side_can_say_is_believed() -> None:
    """A formula follows its side, whatever its history."""
    story = in_step(Name="Acme", Shout="ACME!!")
    story.salesforce.goes_back()
    story.salesforce.row(Name="Acme", Shout="ACME!")
    assert story.writes["mongodb"].fields == {"Shout": "ACME!"}


def test_the_short_way_through_the_fold_notes_the_history_too() -> None:
    """Else the second row of a record would pass for the first of another history, and its edit for nothing."""
    story = Story()
    story.salesforce.goes_back()
    story.salesforce.row(Name="Acme")
    short = fold_first_row(story.changes[0], offset=story.offset, rules=story.rules)
    assert short is not None
    assert short.state.sides["salesforce"].history == "restored"
    assert short.state == story.state
