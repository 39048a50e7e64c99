"""Step 5 of the fold: records that are created, deleted, and created anew."""

from __future__ import annotations

import pytest

from salmon.model.change import SALESFORCE_ID, WriteOp
from salmon.model.fold import Fact, Published
from salmon.model.policies import (
    EXISTENCE,
    HOLD,
    LAST_WRITER_WINS,
    MONGODB_WINS,
    SALESFORCE_WINS,
    Policy,
)
from support.at_hand.stories import Story, born_in_mongodb, in_step, rules

EARLY, LATE = 1_000, 2_000  # ms
OTHER_ID = "0015g00000Abc34AAA"

# Births.


def test_a_record_created_in_salesforce_is_created_in_mongodb() -> None:
    """All of it but nulls, read-only fields and its Salesforce Id included."""
    story = Story()
    story.salesforce.creates(Name="Acme", Shout="ACME!")
    write = story.writes["mongodb"]
    assert write.op is WriteOp.CREATE
    assert write.fields == {"Name": "Acme", "Shout": "ACME!", SALESFORCE_ID: story.key}
    story.come_to_rest()
    assert story.writes == {}


def test_a_record_created_in_mongodb_is_created_in_salesforce() -> None:
    """Only what an insert may set; and the Id that Salesforce gives comes back into the document."""
    story = born_in_mongodb(Name="Acme", Phone="555 0101", Shout="acme?")
    write = story.writes["salesforce"]
    assert write.op is WriteOp.CREATE
    assert write.fields == {"Name": "Acme", "Phone": "555 0101"}
    story.salesforce.creates(write.fields, ack=write.seq, native_id=OTHER_ID, Shout="ACME!")
    assert story.writes["mongodb"].fields == {"Shout": "ACME!", SALESFORCE_ID: OTHER_ID}
    story.mongodb.acks(story.writes["mongodb"])
    assert story.writes == {}
    assert story.record == {"Name": "Acme", "Phone": "555 0101", "Shout": "ACME!"}


def test_a_creation_that_comes_back_is_no_second_birth() -> None:
    """The echo of our CREATE is acknowledged; the record is not created anew, and nothing is published again."""
    story = Story()
    story.salesforce.creates(Name="Acme")
    out = story.mongodb.acks(story.writes["mongodb"])
    assert story.facts() == [Fact.ACKNOWLEDGED]
    assert out.published is Published.UNCHANGED


def test_a_default_that_salesforce_gives_a_new_record_is_kept() -> None:
    """The document did not speak of the City; the org fills it in: it belongs to the record from now on."""
    story = born_in_mongodb(Name="Acme")
    story.salesforce.acks(story.writes["salesforce"], City="Oslo")
    assert story.record == {"Name": "Acme", "City": "Oslo"}
    assert story.writes["mongodb"].fields["City"] == "Oslo"
    assert story.conflicts == []


# Deaths.


@pytest.mark.parametrize("side", ["salesforce", "mongodb"])
def test_a_record_deleted_on_one_side_is_deleted_on_the_other(side: str) -> None:
    """It is taken out of `records`, and the other side is told; nobody is told of a conflict."""
    story = in_step(Name="Acme")
    deleter, other = (
        (story.salesforce, story.mongodb) if side == "salesforce" else (story.mongodb, story.salesforce)
    )
    out = deleter.deletes()
    assert story.facts() == [Fact.DELETED]
    assert out.published is Published.TOMBSTONE
    assert story.writes[other.name].op is WriteOp.DELETE
    other.acks(story.writes[other.name])
    assert story.writes == {}
    assert story.conflicts == []


def test_a_delete_expects_the_marker_that_the_record_carries() -> None:
    """A sink may delete only the life that we know: the marker says which one it is."""
    story = in_step(Name="Acme")
    story.mongodb.row({SALESFORCE_ID: story.key}, marker=777, Name="Acme")
    story.salesforce.deletes()
    assert story.writes["mongodb"].expected == 777


def test_a_record_that_is_deleted_on_both_sides_at_once_is_simply_gone() -> None:
    """The second deletion is no news; nothing is left to do once our delete is answered."""
    story = in_step(Name="Acme")
    story.salesforce.deletes()
    story.mongodb.deletes()
    assert story.writes == {}
    assert story.conflicts == []
    assert story.record is None


def test_an_absence_is_a_deletion_where_the_record_had_been() -> None:
    """The event was lost in a hole; the record was looked for and not found."""
    story = in_step(Name="Acme")
    story.salesforce.absent()
    assert story.record is None
    assert story.writes["mongodb"].op is WriteOp.DELETE


def test_an_absence_is_nothing_where_the_record_has_never_been() -> None:
    """A document has just been found; that Salesforce lacks it is why it is sent there."""
    story = Story()
    story.mongodb.row(Name="Acme")
    story.salesforce.absent()
    assert story.record == {"Name": "Acme"}
    assert story.writes["salesforce"].op is WriteOp.CREATE


# Deletes that had seen everything, and deletes that had not.


def test_a_delete_made_after_seeing_an_edit_wins_for_any_clock() -> None:
    """MongoDB's user saw Salesforce's edit and then deleted the record: causal, whatever the clocks say."""
    story = in_step(Name="Acme")
    story.salesforce.edits(Name="Acme Ltd", at=LATE)
    story.mongodb.acks(story.writes["mongodb"])
    story.mongodb.deletes(at=EARLY)
    assert story.record is None
    assert story.conflicts == []


def test_a_later_delete_beats_an_edit_that_it_had_not_seen() -> None:
    """Concurrent: last writer wins, and the conflict is told as one about the record's existence."""
    story = in_step(Name="Acme")
    story.salesforce.edits(Name="Acme Ltd", at=EARLY)
    story.mongodb.deletes(at=LATE)
    assert story.record is None
    assert story.writes["salesforce"].op is WriteOp.DELETE
    (conflict,) = story.conflicts
    assert conflict.contest.field == EXISTENCE
    assert (conflict.contest.standing.side, conflict.contest.standing.value) == ("salesforce", True)
    assert (conflict.contest.challenger.side, conflict.contest.challenger.value) == ("mongodb", False)
    assert conflict.winner == conflict.contest.challenger


def test_a_later_edit_beats_a_delete_that_had_not_seen_it() -> None:
    """The edit wins: the whole record is created anew where it was deleted."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Name="Acme Ltd", at=LATE)
    story.mongodb.deletes(at=EARLY)
    assert story.record == {"Name": "Acme Ltd", "Phone": "555 0000"}
    assert story.writes["mongodb"].op is WriteOp.CREATE
    assert story.writes["mongodb"].fields == {
        "Name": "Acme Ltd",
        "Phone": "555 0000",
        SALESFORCE_ID: story.key,
    }
    assert len(story.conflicts) == 1
    story.come_to_rest()
    assert story.writes == {}


def test_the_objects_policy_decides_about_life_and_death_too() -> None:
    """`salesforce` wins as the editor, whatever the time; and as the deleter."""
    edited = in_step(rules(policy=SALESFORCE_WINS), Name="Acme")
    edited.salesforce.edits(Name="Acme Ltd", at=EARLY)
    edited.mongodb.deletes(at=LATE)
    assert edited.record == {"Name": "Acme Ltd"}
    deleted = in_step(rules(policy=SALESFORCE_WINS), Name="Acme")
    deleted.mongodb.edits(Name="Acme Ltd", at=LATE)
    deleted.salesforce.deletes(at=EARLY)
    assert deleted.record is None


def test_a_fields_policy_has_no_part_in_life_and_death() -> None:
    """Name's policy is `mongodb`, the object's is `hold`: MongoDB's deletion waits for a person, as the README says."""
    story = in_step(rules(policy=HOLD, field_policies={"Name": MONGODB_WINS}), Name="Acme")
    story.salesforce.edits(Name="Acme Ltd", at=EARLY)
    story.mongodb.deletes(at=LATE)
    assert story.record == {"Name": "Acme Ltd"}
    assert [(c.contest.field, c.winner) for c in story.conflicts] == [(EXISTENCE, None)]


def test_a_moved_stamp_is_nothing_that_a_delete_should_have_seen() -> None:
    """Salesforce touched its audit stamps alone: MongoDB's delete knew all that matters."""
    story = in_step(Name="Acme", LastModifiedDate=EARLY)
    story.salesforce.edits(LastModifiedDate=LATE, at=LATE)
    story.mongodb.deletes(at=EARLY)
    assert story.record is None
    assert story.conflicts == []


def test_a_parked_field_is_nothing_that_a_delete_should_have_seen() -> None:
    """Salesforce refused MongoDB's City for good; its delete is not late for not having it."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(City="nowhere", at=LATE)
    story.salesforce.refuses(story.writes["salesforce"], "City")
    story.come_to_rest()
    story.salesforce.deletes(at=EARLY)
    assert story.record is None
    assert story.conflicts == []


def test_what_only_salesforce_sets_is_nothing_that_its_own_delete_should_have_seen() -> None:
    """An application scribbled over Shout: that is no edit that could keep the record alive."""
    story = in_step(Name="Acme", Shout="ACME!")
    story.mongodb.edits(Shout="acme?", at=LATE)
    story.salesforce.deletes(at=EARLY)
    assert story.record is None
    assert story.conflicts == []


def test_a_delete_that_had_not_seen_what_was_merely_found_is_no_conflict() -> None:
    """Both sides were found unlike, and one deletes before it hears of it: nobody has edited anything."""
    story = Story()
    story.salesforce.row(Name="Acme", at=EARLY)
    story.mongodb.row(Name="acme")
    story.mongodb.deletes(at=LATE)
    assert story.record is None
    assert story.conflicts == []


@pytest.mark.parametrize("policy", [LAST_WRITER_WINS, HOLD])
def test_a_delete_had_seen_its_own_sides_edit_though_our_write_went_over_that(policy: Policy) -> None:
    """
    An application sets the City while the one that Salesforce has filled in is on its way, which then goes over it; before the
    City comes back, the application deletes the document: that is one edit after the other, and no conflict. (Chaos 7001.)
    """
    story = born_in_mongodb(rules(policy=policy), Name="Acme")
    story.salesforce.acks(story.writes["salesforce"], City="Oslo")
    fills = story.writes["mongodb"]
    story.mongodb.edits(City="Bergen", at=LATE)
    story.mongodb.acks(fills)
    assert story.record == {"Name": "Acme", "City": "Bergen"}
    story.mongodb.deletes(at=EARLY)
    assert story.record is None
    assert story.writes["salesforce"].op is WriteOp.DELETE
    assert story.conflicts == []


# Edits of what is dead.


def test_a_later_edit_on_a_side_that_had_not_seen_the_delete_keeps_the_record_alive() -> None:
    """MongoDB's edit is newer than Salesforce's delete: the record lives on as the document has it."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.deletes(at=EARLY)
    story.mongodb.edits(Phone="555 0101", at=LATE)
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}
    assert story.writes["salesforce"].op is WriteOp.CREATE
    assert story.writes["salesforce"].fields == {"Name": "Acme", "Phone": "555 0101"}
    assert [c.contest.field for c in story.conflicts] == [EXISTENCE]
    assert story.conflicts[0].winner == story.conflicts[0].contest.challenger


def test_an_earlier_edit_on_a_side_that_had_not_seen_the_delete_dies_with_the_record() -> None:
    """Salesforce's delete is newer than MongoDB's edit: the document is deleted all the same."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.deletes(at=LATE)
    story.mongodb.edits(Phone="555 0101", at=EARLY)
    assert story.record is None
    assert story.writes["mongodb"].op is WriteOp.DELETE
    assert len(story.conflicts) == 1
    story.come_to_rest()
    assert story.writes == {}


def test_the_policy_decides_about_an_edit_of_what_is_dead() -> None:
    """`mongodb`: its edit wins over Salesforce's delete, however old it is."""
    story = in_step(rules(policy=MONGODB_WINS), Name="Acme")
    story.salesforce.deletes(at=LATE)
    story.mongodb.edits(Name="Acme Ltd", at=EARLY)
    assert story.record == {"Name": "Acme Ltd"}


def test_an_echo_of_our_own_write_does_not_contest_a_delete() -> None:
    """MongoDB takes an earlier edit of ours just after the record was deleted: nobody edited the dead."""
    story = in_step(Name="Acme")
    story.salesforce.edits(Name="Acme Ltd")
    write = story.writes["mongodb"]
    story.salesforce.deletes(at=EARLY)
    story.mongodb.acks(write)
    assert story.record is None
    assert story.conflicts == []
    assert story.writes["mongodb"].op is WriteOp.DELETE


def test_a_stamp_that_moves_on_a_dead_record_does_not_contest_its_delete() -> None:
    """Salesforce's stamps may move without anybody's edit."""
    story = in_step(Name="Acme", LastModifiedDate=EARLY)
    story.mongodb.deletes(at=EARLY)
    story.salesforce.edits(LastModifiedDate=LATE, at=LATE)
    assert story.record is None
    assert story.conflicts == []


@pytest.mark.parametrize("policy", [LAST_WRITER_WINS, HOLD])
def test_an_edit_that_follows_a_delete_on_the_same_side_brings_the_record_back(policy: Policy) -> None:
    """
    A document is deleted, a creation of ours that was on its way makes it once more, and somebody edits it there: the edit
    came after the deletion, and is not in conflict with it. (Seed 315 of the World.)
    """
    story = Story(rules(policy=policy))
    story.salesforce.creates(Name="Acme")
    made = story.writes["mongodb"]
    story.mongodb.creates(Name="Acme")
    story.mongodb.deletes(at=LATE)
    story.mongodb.acks(made)
    story.mongodb.edits(Name="Acme Ltd", at=EARLY)
    assert story.record == {"Name": "Acme Ltd"}
    assert story.writes["salesforce"].op is WriteOp.UPDATE
    assert story.conflicts == []


# Other lives.


def test_a_creation_after_a_delete_begins_a_new_life() -> None:
    """Canonical starts empty: nothing of the old record comes back."""
    story = in_step(Name="Acme", Phone="555 0000", City="Oslo")
    story.salesforce.deletes()
    story.come_to_rest()
    out = story.salesforce.creates(Name="Acme again")
    assert story.record == {"Name": "Acme again"}
    assert out.published is Published.ROW
    assert story.writes["mongodb"].op is WriteOp.CREATE
    assert story.writes["mongodb"].fields == {"Name": "Acme again", SALESFORCE_ID: story.key}
    assert story.conflicts == []


def test_a_new_life_supersedes_the_delete_of_the_old_one() -> None:
    """Deleted and undeleted within a second, while the delete is on its way: the document just stays."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.deletes()
    story.salesforce.creates(Name="Acme", Phone="555 0000")
    write = story.writes["mongodb"]
    assert write.op is WriteOp.UPDATE
    assert write.fields == {}
    story.mongodb.acks(write)
    assert story.writes == {}


def test_a_delete_that_was_carried_out_too_late_is_mended() -> None:
    """The delete reached MongoDB before the command that superseded it: the record is created anew there."""
    story = in_step(Name="Acme")
    story.salesforce.deletes()
    delete = story.writes["mongodb"]
    story.salesforce.creates(Name="Acme")
    story.mongodb.acks(delete)
    assert story.record == {"Name": "Acme"}
    assert story.conflicts == []
    assert story.writes["mongodb"].op is WriteOp.CREATE


def test_a_row_of_a_record_that_was_gone_begins_a_new_life() -> None:
    """It was not there when it was last looked for, and it is there now."""
    story = in_step(Name="Acme")
    story.salesforce.absent()
    story.come_to_rest()
    story.salesforce.row(Name="Acme again")
    assert story.record == {"Name": "Acme again"}


def test_a_record_that_comes_back_as_it_was_is_whole() -> None:
    """What it held before its end is no longer known: nothing of it counts as told already."""
    story = in_step(Name="Acme", City="Oslo")
    story.salesforce.deletes()
    story.come_to_rest()
    story.salesforce.row(Name="Acme", City="Oslo")
    assert story.record == {"Name": "Acme", "City": "Oslo"}


def test_a_life_whose_beginning_nobody_told_of_is_read() -> None:
    """An edit of a record that Salesforce had deleted: the undelete was lost, so the source is asked to read."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.deletes()
    story.come_to_rest()
    out = story.salesforce.edits(Phone="555 0101")
    assert out.to_read == {"salesforce"}
    assert "mongodb" not in out.writes


def test_an_edit_of_a_record_that_is_to_be_read_anew_has_it_read_at_once() -> None:
    """A field was added, and its object is read for an hour: whoever edits a record meanwhile does not wait so long."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.state.sides["salesforce"].unknown = frozenset({"City"})
    out = story.mongodb.edits(Phone="555 0101")
    assert (out.to_read, out.writes) == ({"salesforce"}, {})
    story.salesforce.row(Name="Acme", Phone="555 0000", City="Oslo")
    assert story.writes["salesforce"].fields == {"Phone": "555 0101"}
    assert story.mongodb.edits(Phone="555 0202").to_read == set()


def test_a_second_record_of_the_same_key_is_a_twin_and_is_not_folded() -> None:
    """The record was created anew in the org, and then its first life was undeleted too: two Ids, one key."""
    story = in_step(Name="Acme")
    out = story.salesforce.creates(native_id=OTHER_ID, Name="Acme the first")
    assert story.facts() == [Fact.TWIN]
    assert out.writes == {}
    assert story.record == {"Name": "Acme"}
    story.salesforce.edits(native_id=OTHER_ID, Name="Acme the second")
    assert story.record == {"Name": "Acme"}, "and its later events are not folded either"


def test_a_record_may_return_under_another_id_once_the_first_is_gone() -> None:
    """It was deleted in Salesforce and created anew by us: the new Id is the key's from then on."""
    story = in_step(Name="Acme")
    story.salesforce.deletes()
    story.salesforce.creates(native_id=OTHER_ID, Name="Acme")
    story.come_to_rest()
    assert story.mongodb.holds[SALESFORCE_ID] == OTHER_ID
    story.salesforce.edits(native_id=OTHER_ID, Name="Acme Ltd")
    assert story.record == {"Name": "Acme Ltd"}


def test_what_is_deleted_is_forgotten() -> None:
    """The state of a dead record, which is kept for weeks, holds none of its values."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.deletes()
    assert (story.state.canonical, story.state.versions) == ({}, {})


def test_a_creation_is_not_judged_by_what_its_side_held_in_an_earlier_life() -> None:
    """
    Nobody told of the deletion. A Phone that is as it was before is no old value: somebody entered it with the new
    record, and did not know of the edit that was on its way.
    """
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.creates(Name="Acme", Phone="555 0000")
    assert [c.contest.field for c in story.conflicts] == ["Phone"]


def test_a_dead_record_that_is_told_in_part_is_read_before_it_is_deleted() -> None:
    """What nobody has read may hold somebody's work."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.deletes(at=story.clock_ms + 60_000)
    story.come_to_rest()
    out = story.salesforce.edits(Phone="555 0101", at=0)
    assert "salesforce" in out.to_read
    assert "salesforce" not in out.writes
    story.salesforce.row(Name="Acme", Phone="555 0101", at=0)
    assert story.writes["salesforce"].op is WriteOp.DELETE
