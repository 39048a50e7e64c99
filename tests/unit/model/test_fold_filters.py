"""Step 7 of the fold, filters: records that enter a side and leave it as they begin and cease to match."""

from __future__ import annotations

from dataclasses import replace

import pytest

from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, WriteOp
from salmon.model.fold import Fact
from salmon.model.policies import EXISTENCE
from salmon.model.rules import Rules
from salmon.model.steps.admission import is_current, stays_unwanted
from support.at_hand.stories import (
    OTHER_ID,
    SCHEMA,
    Story,
    born_in_mongodb,
    in_oslo,
    in_step,
    only_oslo,
    teller,
)

# In and out.


def test_a_record_that_does_not_match_costs_no_write() -> None:
    """It is agreed and published; the side that does not want it hears nothing of it, nor of its edits."""
    story = Story(only_oslo())
    story.salesforce.creates(Name="Acme", City="Bergen")
    story.salesforce.edits(Phone="555 0101")
    assert story.writes == {}
    assert story.record == {"Name": "Acme", "City": "Bergen", "Phone": "555 0101"}
    assert story.state.sides[MONGODB].sent == {}


def test_a_record_that_begins_to_match_enters_as_a_whole() -> None:
    """The side gets all of its values, not just the one by which it matches."""
    story = Story(only_oslo())
    story.salesforce.creates(Name="Acme", City="Bergen")
    story.salesforce.edits(City="Oslo")
    write = story.writes[MONGODB]
    assert write.op is WriteOp.CREATE
    assert write.fields == {"Name": "Acme", "City": "Oslo", SALESFORCE_ID: story.key}


@pytest.mark.parametrize("side", [SALESFORCE, MONGODB])
def test_a_record_that_ceases_to_match_leaves_that_side_alone(side: str) -> None:
    """That is our own write: the record lives on elsewhere, nothing goes there, and nobody is told of a deletion or conflict."""
    story = in_oslo(side, Name="Acme")
    here, there = teller(story, side), teller(story, MONGODB if side == SALESFORCE else SALESFORCE)
    there.edits(City="Bergen")
    write = story.writes[side]
    assert write.op is WriteOp.DELETE
    here.acks(write)
    assert Fact.DELETED not in story.seen
    assert side not in story.writes
    story.come_to_rest()  # the document learns that it has no Salesforce Id any more
    assert story.conflicts == []
    assert story.record is not None
    assert story.record["City"] == "Bergen"
    assert story.state.lives
    assert there.holds["Name"] == "Acme"


def test_a_record_that_left_comes_back_with_what_was_edited_meanwhile() -> None:
    """As a new one on that side."""
    story = in_oslo(Name="Acme")
    story.salesforce.edits(City="Bergen")
    story.mongodb.acks(story.writes[MONGODB])
    story.salesforce.edits(Name="Acme Ltd")
    assert story.writes == {}
    story.salesforce.edits(City="Oslo")
    write = story.writes[MONGODB]
    assert write.op is WriteOp.CREATE
    assert write.fields["Name"] == "Acme Ltd"


def test_an_edit_of_the_side_itself_makes_the_record_leave_it() -> None:
    """The edit reaches the other side all the same."""
    story = in_oslo(Name="Acme")
    story.mongodb.edits(City="Bergen")
    assert story.writes[MONGODB].op is WriteOp.DELETE
    assert story.writes[SALESFORCE].fields == {"City": "Bergen"}
    story.come_to_rest()
    assert story.state.lives


def test_a_record_that_leaves_before_its_creation_came_back_is_taken_away() -> None:
    """The creation is perhaps carried out by then: so what has the marker of it is deleted."""
    story = Story(only_oslo())
    story.salesforce.creates(Name="Acme", City="Oslo")
    made = story.writes[MONGODB]
    story.salesforce.edits(City="Bergen")
    taken = story.writes[MONGODB]
    assert (taken.op, taken.expected) == (WriteOp.DELETE, made.seq)
    story.mongodb.acks(made)
    assert story.writes[MONGODB] == taken, "it is on its way already"
    story.mongodb.acks(taken)
    assert story.writes == {}
    assert story.state.lives


def test_a_look_that_missed_our_creation_does_not_make_a_guest_of_the_record() -> None:
    """The side is read before the creation is carried out; the removal that follows it stands."""
    story = Story(only_oslo())
    story.salesforce.creates(Name="Acme", City="Oslo")
    made = story.writes[MONGODB]
    story.salesforce.edits(City="Bergen")
    taken = story.writes[MONGODB]
    story.mongodb.absent()
    story.mongodb.acks(made)
    assert story.writes[MONGODB].op is WriteOp.DELETE
    story.mongodb.acks(taken)
    assert story.writes == {}


# Edits and deletions while it leaves.


def test_an_edit_that_is_told_while_the_record_leaves_is_agreed_and_asks_the_filter_again() -> None:
    """With the edit it matches, so the removal is called back by a write, even though that has nothing to say."""
    story = in_oslo(Name="Acme")
    story.salesforce.edits(City="Bergen")
    assert story.writes[MONGODB].op is WriteOp.DELETE
    story.salesforce.edits(City="Oslo")
    assert (story.writes[MONGODB].op, story.writes[MONGODB].fields) == (WriteOp.UPDATE, {})


def test_an_edit_of_another_field_while_the_record_leaves_is_not_lost() -> None:
    """The document was edited before it was taken away: the other side gets the edit."""
    story = in_oslo(Name="Acme")
    story.salesforce.edits(City="Bergen")
    taken = story.writes[MONGODB]
    story.mongodb.edits(Name="Acme Ltd")
    story.mongodb.acks(taken)
    assert story.record == {"Name": "Acme Ltd", "City": "Bergen"}
    assert story.writes[SALESFORCE].fields == {"Name": "Acme Ltd"}
    assert story.conflicts == []


def test_what_was_taken_away_too_late_is_created_again() -> None:
    """The record matches again while the removal is carried out."""
    story = in_oslo(Name="Acme")
    story.salesforce.edits(City="Bergen")
    taken = story.writes[MONGODB]
    story.salesforce.edits(City="Oslo")
    story.mongodb.acks(taken)
    assert story.writes[MONGODB].op is WriteOp.CREATE
    assert story.state.lives


@pytest.mark.parametrize("city", ["Oslo", "Bergen"])
def test_a_users_deletion_deletes_everywhere_whatever_the_filter_wants(city: str) -> None:
    """Deleted by a user in Salesforce, where the record is not filtered."""
    story = Story(only_oslo())
    story.salesforce.creates(Name="Acme", City=city)
    story.come_to_rest()
    story.salesforce.deletes()
    story.come_to_rest()
    assert story.record is None
    assert Fact.DELETED in story.seen
    assert story.mongodb.holds == {}


def test_what_left_before_it_was_deleted_is_deleted_for_nobody_else() -> None:
    """The removal is on its way already; the deletion adds nothing to it."""
    story = in_oslo(Name="Acme")
    story.salesforce.edits(City="Bergen")
    taken = story.writes[MONGODB]
    story.salesforce.deletes()
    assert story.writes[MONGODB] == taken
    story.mongodb.acks(taken)
    assert (story.writes, story.record) == ({}, None)


def test_a_removal_that_the_side_refuses_waits_and_reverts_nothing() -> None:
    """With on_reject revert, too: that the record stays there is no reason to change it elsewhere, nor to ask for ever."""
    told = Rules(SCHEMA, views=only_oslo(SALESFORCE).views, on_reject="revert")
    story = born_in_mongodb(told, Name="Acme", City="Oslo")
    story.salesforce.native_id = OTHER_ID
    story.come_to_rest()
    story.mongodb.edits(City="Bergen")
    story.salesforce.refuses(story.writes[SALESFORCE], code="DELETE_FAILED")
    assert EXISTENCE in story.salesforce.parked
    assert story.state.canonical["City"] == "Bergen"
    assert story.state.lives
    story.mongodb.edits(City="Oslo")
    assert story.salesforce.parked == {}, "it matches again, so nothing waits any more"
    assert SALESFORCE not in story.writes, "nor has the record changed there"


# Born where it is not wanted.


@pytest.mark.parametrize("side", [SALESFORCE, MONGODB])
def test_a_record_stays_where_it_was_born_though_it_does_not_match(side: str) -> None:
    """It goes to the other side, and its edits do; nothing is written to it, and nothing takes it away."""
    other = MONGODB if side == SALESFORCE else SALESFORCE
    story = Story(only_oslo(side))
    if side == MONGODB:
        story = born_in_mongodb(only_oslo(side), Name="Acme", City="Bergen")
        story.salesforce.native_id = OTHER_ID
    else:
        story.salesforce.creates(Name="Acme", City="Bergen")
    assert story.writes[other].op is WriteOp.CREATE
    story.come_to_rest()
    teller(story, other).edits(Phone="555 0101")
    assert story.writes == {}
    assert stays_unwanted(story.state, side, story.rules)
    teller(story, side).edits(Name="Acme Ltd")
    assert story.writes[other].fields == {"Name": "Acme Ltd"}
    assert story.conflicts == []


def test_a_guest_that_matches_once_is_a_record_like_any_other() -> None:
    """It gets what it has missed; and when it ceases to match, it leaves."""
    story = born_in_mongodb(only_oslo(), Name="Acme", City="Bergen")
    story.salesforce.native_id = OTHER_ID
    story.come_to_rest()
    story.salesforce.edits(Phone="555 0101")
    story.salesforce.edits(City="Oslo")
    assert story.writes[MONGODB].fields == {
        "City": "Oslo",
        "Phone": "555 0101",
        SALESFORCE_ID: OTHER_ID,
    }
    story.come_to_rest()
    story.salesforce.edits(City="Bergen")
    assert story.writes[MONGODB].op is WriteOp.DELETE


def test_a_guest_that_its_user_deletes_is_deleted_everywhere() -> None:
    """What the side was not told counts as unseen, as ever; here that is nothing."""
    story = born_in_mongodb(only_oslo(), Name="Acme", City="Bergen")
    story.salesforce.native_id = OTHER_ID
    story.come_to_rest()
    story.mongodb.deletes()
    assert story.writes[SALESFORCE].op is WriteOp.DELETE
    assert story.conflicts == []


def test_a_document_of_a_key_that_has_left_is_a_guest_of_its_own() -> None:
    """Somebody inserts it after ours was taken away: it stays, though it does not match."""
    story = in_oslo(Name="Acme")
    story.salesforce.edits(City="Bergen")
    story.mongodb.acks(story.writes[MONGODB])
    story.mongodb.creates(Name="Acme", City="Bergen")
    assert story.writes == {}
    assert stays_unwanted(story.state, MONGODB, story.rules)


def test_a_document_of_a_new_life_is_a_guest_of_its_own() -> None:
    """The record matched and was deleted; what somebody inserts with its key is another record."""
    story = in_oslo(Name="Acme")
    story.mongodb.deletes()
    story.come_to_rest()
    story.mongodb.creates(Name="New", City="Bergen")
    assert MONGODB not in story.writes
    assert stays_unwanted(story.state, MONGODB, story.rules)


# Repetitions, restored sides, operators, filters that fail.


def test_a_creation_that_is_carried_out_again_is_taken_away_again() -> None:
    """A sink of Salesforce has died and repeats an old call, after the record has left."""
    story = born_in_mongodb(only_oslo(SALESFORCE), Name="Acme", City="Oslo")
    story.salesforce.native_id = OTHER_ID
    made = story.writes[SALESFORCE]
    story.come_to_rest()
    story.mongodb.edits(City="Bergen")
    story.come_to_rest()
    story.salesforce.native_id = "0015g00000Def56AAA"
    story.salesforce.creates(made.fields, ack=made.seq)
    assert story.writes[SALESFORCE].op is WriteOp.DELETE
    assert story.record == {"Name": "Acme", "City": "Bergen"}


def test_a_restored_side_shows_what_had_left_and_it_leaves_again() -> None:
    """Its backup is from before that."""
    story = in_oslo(Name="Acme")
    story.salesforce.edits(City="Bergen")
    story.mongodb.acks(story.writes[MONGODB])
    story.mongodb.goes_back()
    story.mongodb.row(Name="Acme", City="Oslo", marker=102)
    assert story.writes[MONGODB].op is WriteOp.DELETE
    assert story.record == {"Name": "Acme", "City": "Bergen"}


def test_a_restored_side_shows_a_guest_that_our_deletion_has_met_and_it_is_taken_away_again() -> None:
    """An edit of the document contests the deletion too late: the record lives on elsewhere, and the document is gone by what is agreed."""
    story = born_in_mongodb(only_oslo(), Name="Acme", City="Bergen")
    story.salesforce.deletes()
    deletion = story.writes[MONGODB]
    story.mongodb.edits(Name="Acme Ltd")
    story.mongodb.acks(deletion)
    story.mongodb.finds_it_gone(story.writes[MONGODB])
    story.mongodb.absent()
    story.come_to_rest()
    story.mongodb.goes_back()
    story.mongodb.row(Name="Acme", City="Bergen")
    assert story.writes[MONGODB].op is WriteOp.DELETE
    assert SALESFORCE not in story.writes
    assert story.record == {"Name": "Acme Ltd", "City": "Bergen"}


def test_a_person_who_discards_a_removal_makes_a_guest_of_the_record() -> None:
    """`salmon guard discard`: the removal is called back, and the record stays on the side as it is."""
    story = in_oslo(Name="Acme")
    story.salesforce.edits(City="Bergen")
    taken = story.writes[MONGODB]
    story.operator_keeps_it()
    write = story.writes[MONGODB]
    assert (write.op, write.fields) == (WriteOp.UPDATE, {})
    assert write.seq > taken.seq
    story.mongodb.acks(write)
    assert story.writes == {}
    assert stays_unwanted(story.state, MONGODB, story.rules)


def test_a_filter_that_fails_neither_gives_nor_takes_a_record() -> None:
    """A plugin's fault: the record stays where it is and is synced there; a new one waits."""

    def faulty(record: object) -> bool:
        raise ValueError

    story = in_oslo(Name="Acme")
    story.rules = only_oslo(wants=faulty)
    story.salesforce.edits(City="Bergen")
    assert story.writes[MONGODB].fields == {"City": "Bergen"}
    new = Story(story.rules)
    new.salesforce.creates(Name="Other", City="Oslo")
    assert new.writes == {}


# Another filter on a running sync.


def test_a_filter_that_is_new_takes_away_what_does_not_match() -> None:
    """What the side had before it had a filter counts as wanted until then."""
    story = in_step(Name="Acme", City="Bergen")
    story.rules = only_oslo()
    assert not is_current(story.state, story.rules)
    story.judge_again()
    assert story.writes[MONGODB].op is WriteOp.DELETE
    assert is_current(story.state, story.rules)


def test_a_filter_that_is_removed_lets_everything_in() -> None:
    """The record is created as a whole."""
    story = Story(only_oslo())
    story.salesforce.creates(Name="Acme", City="Bergen")
    story.rules = Rules(SCHEMA)
    story.judge_again()
    assert story.writes[MONGODB].op is WriteOp.CREATE
    assert is_current(story.state, story.rules)


@pytest.mark.parametrize(
    "now", [only_oslo(SALESFORCE, digest="all", wants=lambda _: True), Rules(SCHEMA)], ids=["another", "none"]
)
@pytest.mark.parametrize("one_way_to", [None, SALESFORCE])
def test_what_a_side_would_not_part_with_is_synced_there_again_by_another_filter(
    one_way_to: str | None, now: Rules
) -> None:
    """Nobody wants the record to leave any more, so nothing waits for that; what was edited meanwhile goes there."""
    story = born_in_mongodb(replace(only_oslo(SALESFORCE), one_way_to=one_way_to), Name="Acme", City="Oslo")
    story.salesforce.native_id = OTHER_ID
    if one_way_to is None:
        story.come_to_rest()
    story.mongodb.edits(City="Bergen")
    assert story.writes[SALESFORCE].op is WriteOp.DELETE
    story.salesforce.refuses(story.writes[SALESFORCE])
    assert EXISTENCE in story.salesforce.parked
    story.rules = replace(now, one_way_to=one_way_to)
    story.judge_again()
    assert story.writes[SALESFORCE].fields["City"] == "Bergen"
    assert story.salesforce.parked == {}


def test_another_filter_that_does_not_want_the_record_either_does_not_ask_again() -> None:
    """The side would refuse to part with it once more."""
    story = in_oslo(SALESFORCE, Name="Acme")
    story.mongodb.edits(City="Bergen")
    story.salesforce.refuses(story.writes[SALESFORCE])
    story.rules = only_oslo(SALESFORCE, digest="still Oslo")
    assert SALESFORCE not in story.judge_again().writes
    assert EXISTENCE in story.salesforce.parked


def test_another_filter_takes_away_what_came_by_the_former_one_and_no_guest() -> None:
    """A guest matches neither of them."""
    to_bergen = only_oslo(digest="bergen", wants=lambda record: record.get("City") == "Bergen")
    story = in_oslo(Name="Acme")
    story.rules = to_bergen
    story.judge_again()
    assert story.writes[MONGODB].op is WriteOp.DELETE
    guest = born_in_mongodb(only_oslo(), Name="Acme", City="Trondheim")
    guest.salesforce.native_id = OTHER_ID
    guest.come_to_rest()
    guest.rules = to_bergen
    guest.judge_again()
    assert guest.writes == {}


def test_to_be_judged_again_says_nothing_of_a_record_whose_filter_says_the_same() -> None:
    """No write, no report, nothing is published."""
    story = in_oslo(Name="Acme")
    out = story.judge_again()
    assert (out.writes, out.reports) == ({}, [])


# One way.


def test_the_target_of_a_one_way_object_loses_what_ceases_to_match() -> None:
    """And gets it back as a whole."""
    told = Rules(SCHEMA, views=only_oslo().views, one_way_to=MONGODB)
    story = Story(told)
    story.salesforce.creates(Name="Acme", City="Bergen")
    assert story.writes == {}
    story.salesforce.edits(City="Oslo")
    assert story.writes[MONGODB].op is WriteOp.CREATE
    story.salesforce.edits(City="Bergen")
    assert story.writes[MONGODB].op.value == "DELETE"
    story.salesforce.edits(Name="Acme Ltd")
    assert story.last.writes == {}
    story.salesforce.edits(City="Oslo")
    assert story.writes[MONGODB].fields["Name"] == "Acme Ltd"


# What the org does by itself as a record leaves it.


def child() -> Story:
    """A record that refers to another one, whose object has a filter for Salesforce."""
    return in_step(Rules(SCHEMA, parents_leave=frozenset({"ParentId"})), Name="Acme", ParentId="001P")


def test_a_lookup_stays_when_its_target_has_left_the_org() -> None:
    """The org clears it there. Elsewhere the target lives on; so the lookup is owed to the org, where it waits for the target."""
    story = child()
    story.salesforce.edits_as_we_write(ParentId=None)
    assert story.record == {"Name": "Acme", "ParentId": "001P"}
    assert MONGODB not in story.writes
    assert story.writes[SALESFORCE].fields == {"ParentId": "001P"}
    story.salesforce.acks(story.writes[SALESFORCE])
    story.salesforce.edits(ParentId=None)
    assert story.record == {"Name": "Acme"}, "what a user clears is cleared"


def test_what_the_org_deletes_with_a_record_that_leaves_lives_on() -> None:
    """A cascade is nobody's deletion: the record is created again, and waits there for its parent."""
    story = child()
    story.salesforce.deletes_as_we_write()
    assert MONGODB not in story.writes or story.writes[MONGODB].op is not WriteOp.DELETE
    assert story.state.lives
    assert story.writes[SALESFORCE].op is WriteOp.CREATE
