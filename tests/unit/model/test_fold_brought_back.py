"""An operator brings back a record that was deleted, while one side still has it."""

from __future__ import annotations

import pytest

from salmon.model.change import MONGODB, OPERATOR, SALESFORCE, Change, Op, WriteOp
from salmon.model.policies import EXISTENCE
from support.at_hand.stories import Story, in_step, rules


def brought_back(story: Story) -> None:
    """The operator's EDIT of existence."""
    story.tell(Change(OPERATOR, Op.EDIT, committed_at=story.clock_ms, changed=frozenset({EXISTENCE})))


def test_a_record_whose_deletion_was_not_carried_out_lives_again_on_both_sides() -> None:
    """MongoDB deleted it, Salesforce's delete still waits: it is superseded, and MongoDB gets the record back."""
    story = in_step(Name="Acme", Phone="555 0101")
    story.mongodb.deletes()
    brought_back(story)
    assert {side: write.op for side, write in story.writes.items()} == {
        SALESFORCE: WriteOp.UPDATE,
        MONGODB: WriteOp.CREATE,
    }
    story.come_to_rest()
    assert story.record == story.salesforce.holds == {"Name": "Acme", "Phone": "555 0101"}
    assert story.mongodb.holds.items() >= story.salesforce.holds.items()


def test_a_refused_deletion_can_be_taken_back() -> None:
    """Salesforce would not delete the record; the operator lets it live, and nothing is parked any more."""
    story = in_step(Name="Acme")
    story.mongodb.deletes()
    story.salesforce.refuses(story.writes[SALESFORCE], code="DELETE_FAILED", reason="it is in use")
    brought_back(story)
    story.come_to_rest()
    assert story.mongodb.holds.items() >= {"Name": "Acme"}.items()
    assert story.salesforce.parked == {}


def test_what_nobody_has_any_more_stays_deleted() -> None:
    """Both sides have deleted it: there is nothing to bring back."""
    story = in_step(Name="Acme")
    story.mongodb.deletes()
    story.come_to_rest()
    brought_back(story)
    assert story.record is None
    assert story.writes == {}


@pytest.mark.parametrize("target", [MONGODB, SALESFORCE])
def test_the_author_of_a_one_way_object_is_never_given_a_record_back(target: str) -> None:
    """Its origin is not written to, so that a deletion there is final."""
    story = Story(rules(one_way_to=target))
    author = story.mongodb if target == SALESFORCE else story.salesforce
    author.creates(Name="Acme")
    author.deletes()
    brought_back(story)
    assert story.record is None
    assert story.writes[target].op is WriteOp.DELETE
