"""Steps 3, 4 and 7 of the fold, masks: a side holds a field in another form, and cannot set it."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, Value, WriteOp
from salmon.model.fold import Fact
from salmon.model.policies import HOLD, MONGODB_WINS
from salmon.model.rules import Rules
from salmon.model.views import View
from support.at_hand.stories import SCHEMA, Story, born_in_mongodb, in_step

SHOWN = "*** 0101"


def stars(value: Value) -> Value:
    """All but the last four characters are hidden."""
    return f"*** {str(value)[-4:]}"


def masked(side: str = MONGODB, **settings: Any) -> Rules:
    """Phone is masked on *side*."""
    return Rules(SCHEMA, views={side: View("stars", masks={"Phone": stars})}, **settings)


def in_mongodb(**settings: Any) -> Story:
    """A record of Salesforce whose Phone the document shows masked."""
    return in_step(masked(**settings), Name="Acme", Phone="555 0101")


def test_the_side_gets_the_masked_value_and_everybody_else_the_agreed_one() -> None:
    """`records` has the value itself: who must not see it there either excludes the field."""
    story = Story(masked())
    story.salesforce.creates(Name="Acme", Phone="555 0101")
    assert story.writes[MONGODB].fields == {"Name": "Acme", "Phone": SHOWN, SALESFORCE_ID: story.key}
    story.come_to_rest()
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}
    assert (story.writes, story.conflicts) == ({}, [])


def test_an_edit_that_looks_the_same_masked_costs_no_write() -> None:
    """The masked value has not changed."""
    story = in_mongodb()
    story.salesforce.edits(Phone="777 0101")
    assert story.writes == {}
    assert story.record == {"Name": "Acme", "Phone": "777 0101"}


@pytest.mark.parametrize("typed", ["777 0202", "555 0101", None])
def test_an_edit_of_a_masked_field_is_overruled(typed: str | None) -> None:
    """Whatever is typed, the very value included: the side gets the mask back, and nobody is told of a conflict."""
    story = in_mongodb(policy=MONGODB_WINS)
    story.mongodb.edits(Phone=typed)
    assert story.facts() == [Fact.OVERRULED]
    assert story.writes[MONGODB].fields == {"Phone": SHOWN}
    assert SALESFORCE not in story.writes
    story.come_to_rest()
    assert story.conflicts == []
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}


def test_a_document_that_is_saved_with_its_mask_says_nothing_of_the_field() -> None:
    """The application has changed another field."""
    story = in_mongodb()
    story.mongodb.edits(Name="Acme Ltd", Phone=SHOWN)
    assert story.writes[SALESFORCE].fields == {"Name": "Acme Ltd"}
    assert Fact.OVERRULED not in story.seen


def test_a_document_is_born_without_a_say_in_a_masked_field() -> None:
    """Salesforce gets the record without it; once Salesforce has told of the field, the document has what is agreed."""
    story = born_in_mongodb(masked(), Name="Acme", Phone="555 0101")
    write = story.writes[SALESFORCE]
    assert write.fields == {"Name": "Acme"}
    assert MONGODB not in story.writes, "before Salesforce has told of it, nothing is cleared"
    story.salesforce.acks(write)
    assert story.writes[MONGODB].fields["Phone"] is None


def test_what_a_trigger_makes_of_a_masked_value_is_overruled_and_ends() -> None:
    """The org tidies the masked value, or keeps its own in silence: that is no edit, and is not sent for ever."""
    for silent in (False, True):
        story = born_in_mongodb(masked(SALESFORCE), Name="Acme", Phone="555 0101")
        story.timed = True
        story.come_to_rest()
        story.mongodb.edits(Phone="555 0202")
        for _ in range(20):
            if SALESFORCE not in story.writes:
                break
            write = story.writes[SALESFORCE]
            if silent:
                story.salesforce.acks_without(write, "Phone")
            else:
                story.salesforce.edits(Phone="TIDY", ack=write.seq)
        else:
            raise AssertionError("it does not come to rest")
        assert story.record == {"Name": "Acme", "Phone": "555 0202"}
        assert story.seen[Fact.OSCILLATING] == 1


def test_an_edit_of_an_operator_stands_though_only_one_side_can_show_the_value() -> None:
    """A row of Salesforce from before it was written there shows the former value, which is no news."""
    story = in_mongodb()
    story.edit_of_an_operator(Phone="777 0303")
    story.salesforce.row(Name="Acme", Phone="555 0101")
    assert story.record == {"Name": "Acme", "Phone": "777 0303"}
    assert story.writes[SALESFORCE].fields == {"Phone": "777 0303"}


# Lives.


def test_masked_values_do_not_contest_a_deletion() -> None:
    """The document never had the value, so there is nothing in it that its user had not seen."""
    story = in_mongodb()
    story.mongodb.deletes()
    assert story.conflicts == []
    assert story.writes[SALESFORCE].op is WriteOp.DELETE


def test_a_record_that_an_edit_brings_back_has_its_value_and_not_the_mask() -> None:
    """Salesforce deletes it while MongoDB edits another field, which wins: nobody but merge knows the value then."""
    story = in_mongodb(policy=MONGODB_WINS)
    story.salesforce.deletes()
    story.mongodb.edits(Name="Acme Ltd")
    assert story.state.lives
    assert story.writes[SALESFORCE].fields == {"Name": "Acme Ltd", "Phone": "555 0101"}
    assert story.record == {"Name": "Acme Ltd", "Phone": "555 0101"}


def test_a_new_life_has_nothing_of_a_masked_value_of_the_former_one() -> None:
    """The key is the same, the record is another."""
    story = born_in_mongodb(masked(), Name="Acme")
    story.salesforce.native_id = "0015g00000Abc34AAA"
    story.come_to_rest()
    story.salesforce.edits(Phone="555 0101")
    story.salesforce.deletes()
    story.come_to_rest()
    story.mongodb.creates(Name="New")
    assert story.record == {"Name": "New"}


def test_a_restored_document_gets_its_mask_back() -> None:
    """And what it shows is nobody's edit."""
    story = in_mongodb()
    story.mongodb.goes_back()
    story.mongodb.row(Name="Acme", Phone="*** 9999", marker=102)
    assert story.writes[MONGODB].fields["Phone"] == SHOWN
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}


# Other masks on a running sync.


def test_a_new_mask_hides_what_is_there() -> None:
    """The agreed value stays as it is."""
    story = in_step(Name="Acme", Phone="555 0101")
    story.rules = masked()
    story.judge_again()
    assert story.writes[MONGODB].fields == {"Phone": SHOWN}
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}


def test_a_mask_that_is_removed_shows_the_value_again_and_is_nobodys_edit() -> None:
    """An application saves the document with the mask in it before our write arrives: the mask never becomes the value."""
    story = in_mongodb()
    story.rules = Rules(SCHEMA)
    story.judge_again()
    write = story.writes[MONGODB]
    assert write.fields == {"Phone": "555 0101"}
    story.mongodb.edits(Name="Acme Ltd", Phone=SHOWN)
    assert story.record == {"Name": "Acme Ltd", "Phone": "555 0101"}
    assert story.conflicts == []


def test_a_mask_ends_a_conflict_that_was_on_hold() -> None:
    """The field is one-way from now on, so there is nothing left to decide."""
    story = in_step(Rules(SCHEMA, policy=HOLD), Name="Acme", Phone="555 0101")
    story.salesforce.edits(Phone="555 0202")
    story.mongodb.edits(Phone="555 0303")
    assert story.mongodb.parked
    story.rules = masked(policy=HOLD)
    story.judge_again()
    assert story.mongodb.parked == {}
    assert story.writes[MONGODB].fields == {"Phone": "*** 0202"}


def test_a_mask_ends_a_conflict_that_was_on_hold_with_whatever_is_folded_first() -> None:
    """An event of the side itself may come before the record is judged again: the answer to a write of the time before the mask."""
    story = in_step(Rules(SCHEMA, policy=HOLD), Name="Acme", Phone="555 0101")
    story.salesforce.edits(Phone="555 0202")
    story.mongodb.edits(Phone="555 0303")
    story.salesforce.edits(Name="Acme Ltd")
    write = story.writes[MONGODB]
    assert write.fields["Phone"] == "555 0303", "the side gets back what it keeps"
    story.rules = masked(policy=HOLD)
    story.mongodb.acks(write)
    assert story.mongodb.parked == {}
    assert story.writes[MONGODB].fields == {"Phone": "*** 0202"}
    assert len(story.conflicts) == 1


def test_a_mask_that_fails_shows_nothing() -> None:
    """What is to be hidden is not shown because of a fault."""

    def faulty(_: Value) -> Value:
        raise ValueError

    story = Story(Rules(SCHEMA, views={MONGODB: View("faulty", masks={"Phone": faulty})}))
    story.salesforce.creates(Name="Acme", Phone="555 0101")
    assert "Phone" not in story.writes[MONGODB].fields
