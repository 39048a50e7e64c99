"""A contest of life and death on hold: one side deleted what the other edited, and a person decides."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from salmon.model.change import WriteOp
from salmon.model.fold import Fact
from salmon.model.policies import EXISTENCE, HOLD
from salmon.model.state import Park
from support.at_hand.stories import Story, in_step, rules

EARLY, LATE = 1_000, 2_000  # ms


def deleted_before_the_edit() -> Story:
    """Merge hears of MongoDB's edit first, and then that Salesforce has deleted the record without having seen it."""
    story = in_step(rules(policy=HOLD), Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101", at=LATE)
    to_the_deleted = story.writes["salesforce"]
    story.salesforce.deletes(at=EARLY)
    assert Fact.PARKED in story.facts()
    story.salesforce.finds_it_gone(to_the_deleted)
    story.salesforce.absent()
    return story


def edited_after_the_delete() -> Story:
    """Merge hears of Salesforce's deletion first, and then of MongoDB's edit, which had not seen it."""
    story = in_step(rules(policy=HOLD), Name="Acme", Phone="555 0000")
    story.salesforce.deletes(at=EARLY)
    story.mongodb.edits(Phone="555 0101", at=LATE)
    assert Fact.PARKED in story.facts()
    return story


CONTESTS = pytest.mark.parametrize("contest", [deleted_before_the_edit, edited_after_the_delete])


@CONTESTS
def test_both_sides_keep_what_they_have(contest: Callable[[], Story]) -> None:
    """The document lives on, the record in the org stays deleted, and one conflict without a winner says so."""
    story = contest()
    story.come_to_rest()
    assert [(c.contest.field, c.winner) for c in story.conflicts] == [(EXISTENCE, None)]
    assert story.salesforce.parked[EXISTENCE].why is Park.HELD
    assert story.state.sides["salesforce"].exists is False
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}
    assert story.mongodb.holds["Phone"] == "555 0101"


@CONTESTS
def test_an_operator_who_keeps_it_has_it_created_anew(contest: Callable[[], Story]) -> None:
    """The record comes back to the side that had deleted it."""
    story = contest()
    story.come_to_rest()
    story.operator_keeps_it()
    assert story.writes["salesforce"].op is WriteOp.CREATE
    story.come_to_rest()
    assert story.salesforce.holds["Phone"] == "555 0101"
    assert story.salesforce.parked == {}


@CONTESTS
def test_an_operator_who_deletes_it_has_it_deleted_everywhere(contest: Callable[[], Story]) -> None:
    """The deletion wins after all."""
    story = contest()
    story.come_to_rest()
    story.operator_deletes_it()
    assert story.record is None
    assert story.writes["mongodb"].op is WriteOp.DELETE
    story.come_to_rest()
    assert story.state.sides["mongodb"].exists is False
    assert story.salesforce.parked == {}


@CONTESTS
def test_the_living_side_goes_on_while_it_is_held(contest: Callable[[], Story]) -> None:
    """Further edits are agreed, and bring nothing back to life on the other side."""
    story = contest()
    story.come_to_rest()
    story.mongodb.edits(City="Oslo")
    story.come_to_rest()
    assert story.record == {"Name": "Acme", "Phone": "555 0101", "City": "Oslo"}
    assert story.state.sides["salesforce"].exists is False


@CONTESTS
def test_a_deletion_on_the_living_side_ends_it(contest: Callable[[], Story]) -> None:
    """Now both sides have deleted the record: they agree."""
    story = contest()
    story.come_to_rest()
    story.mongodb.deletes()
    assert story.record is None
    assert story.salesforce.parked == {}
    assert story.writes == {}


@CONTESTS
def test_an_undelete_ends_it(contest: Callable[[], Story]) -> None:
    """Somebody takes the record out of the recycle bin: both sides have it, and nothing is held."""
    story = contest()
    story.come_to_rest()
    story.salesforce.creates(Name="Acme", Phone="555 0000")
    assert EXISTENCE not in story.salesforce.parked
    assert story.record is not None


def test_an_operator_deletes_nothing_whose_life_is_not_contested() -> None:
    """His word counts where two sides disagree; a record in step is deleted by those who own it."""
    story = in_step(rules(policy=HOLD), Name="Acme")
    story.operator_deletes_it()
    story.operator_keeps_it()
    assert story.record == {"Name": "Acme"}
    assert story.writes == {}


def test_an_operator_brings_nothing_back_that_both_sides_deleted() -> None:
    """A decision that comes too late: the record is gone, and stays so."""
    story = edited_after_the_delete()
    story.come_to_rest()
    story.mongodb.deletes()
    story.operator_keeps_it()
    assert story.record is None
    assert story.writes == {}
