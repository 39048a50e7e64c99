"""Step 7 of the fold, filters: what comes after we have taken a record off a side while it lives on elsewhere."""

from __future__ import annotations

import pytest

from salmon.model.change import MONGODB, SALESFORCE, Write, WriteOp
from salmon.model.fold import Fact
from salmon.model.policies import HOLD, side_wins
from salmon.model.rules import Rules
from support.at_hand.stories import OTHER_ID, SCHEMA, Story, born_in_mongodb, in_oslo, only_oslo

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


def test_each_further_look_keeps_the_notes_though_our_deletion_is_answered() -> None:
    """The sink has met nothing, so nothing is expected of it after the first look. (Seed 16405.)"""
    story = in_oslo(Name="Acme")
    story.salesforce.edits(City="Bergen")
    before = story.mongodb.now
    story.mongodb.finds_it_gone(story.writes[MONGODB])
    story.mongodb.absent(as_of=before + 10)
    story.mongodb.absent(as_of=before + 20)
    story.mongodb.edits(Name="Acme Ltd")
    assert story.record == {"Name": "Acme Ltd", "City": "Bergen"}
    assert story.writes[SALESFORCE].fields == {"Name": "Acme Ltd"}


def test_the_notes_outlive_an_event_from_before_the_last_row() -> None:
    """First comes the event of our creation, which a row has shown long ago; then that of the edit. (Seed 9200.)"""
    story = born_in_mongodb(only_oslo(SALESFORCE), Name="Acme", City="Oslo")
    story.salesforce.native_id = OTHER_ID
    made = story.writes[SALESFORCE]
    created = story.salesforce.now
    story.salesforce.row(made.fields, marker=made.seq, as_of=created + 5)
    story.mongodb.edits(City="Bergen")
    story.salesforce.absent(as_of=created + 20)
    story.salesforce.acks(made)
    story.salesforce.now = created + 9
    story.salesforce.edits(Name="Acme Ltd")
    assert story.record == {"Name": "Acme Ltd", "City": "Bergen"}


def test_what_a_write_of_ours_set_before_the_removal_is_no_edit() -> None:
    """A row of the record that was created anew has answered it meanwhile; then its event comes. (Seed 8226.)"""
    story = in_oslo(SALESFORCE, Name="Acme")
    story.mongodb.edits(Name="Acme Ltd")
    ours = story.writes[SALESFORCE]
    before = story.salesforce.now
    story.mongodb.edits(City="Bergen")
    story.salesforce.absent(as_of=before + 20)
    story.mongodb.edits(City="Oslo", Name="Acme Inc")
    again = story.writes[SALESFORCE]
    story.salesforce.row(again.fields, marker=again.seq, as_of=before + 30)
    story.salesforce.acks(ours)
    assert Fact.EDITED not in story.facts()
    assert story.record == {"Name": "Acme Inc", "City": "Oslo"}
    assert story.conflicts == []


def overwritten_and_taken_away() -> tuple[Story, Write]:
    """Our write has gone over an edit in Salesforce that nobody has told of; a row shows it, and then the record leaves."""
    story = in_oslo(SALESFORCE, Name="Acme")
    story.mongodb.edits(Name="Acme Ltd")
    ours, before = story.writes[SALESFORCE], story.salesforce.now
    story.salesforce.row(Name="Acme Ltd", City="Oslo", marker=ours.seq, as_of=before + 5)
    story.mongodb.edits(City="Bergen")
    story.salesforce.absent(as_of=before + 20)
    return story, ours


def test_an_edit_that_our_write_had_overwritten_is_told_though_the_record_has_left() -> None:
    """Neither author knew of the other: the event of our write shows that, as it does for all records. (Seed 4322.)"""
    story, ours = overwritten_and_taken_away()
    story.salesforce.edits(Name="Acme Inc")
    assert story.conflicts == []
    story.salesforce.now += 5
    story.salesforce.acks(ours)
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"Acme Ltd", "Acme Inc"}


def test_an_edit_after_a_write_whose_event_never_comes_is_judged_as_the_record_ends() -> None:
    """The stream begins after our write. Who edited the record after the row had shown it had seen that. (Seed 27214.)"""
    story, _ = overwritten_and_taken_away()
    story.salesforce.now += 8
    story.salesforce.edits(Name="Acme Inc")
    story.salesforce.deletes()
    assert story.record == {"Name": "Acme Inc", "City": "Bergen"}
    assert story.conflicts == []


def test_an_edit_from_before_the_removal_is_told_though_the_record_was_made_again_and_edited_meanwhile() -> (
    None
):
    """
    A row shows our second creation, and what somebody has set in it since; only then come the events of the time before. Neither
    author knew of the other, and of two edits on one side the later one counts. (Seed 169513.)
    """
    policy = side_wins(SALESFORCE)
    story = born_in_mongodb(
        Rules(SCHEMA, views=only_oslo(SALESFORCE).views, policy=policy), Name="Acme", City="Oslo"
    )
    story.salesforce.native_id = OTHER_ID
    story.come_to_rest()
    story.mongodb.edits(City="Bergen")
    before, edited_at = story.salesforce.now, story.clock_ms
    story.salesforce.absent(as_of=before + 10)
    story.mongodb.edits(City="Oslo")
    again = story.writes[SALESFORCE]
    story.salesforce.row(Name="Acme Ltd", City="Oslo", marker=again.seq, as_of=before + 30)
    story.salesforce.edits(Name="Acme Inc", at=edited_at)
    (conflict,) = story.conflicts
    assert (conflict.contest.challenger.value, conflict.winner) == ("Acme Inc", conflict.contest.standing)
    assert story.record == {"Name": "Acme Ltd", "City": "Oslo"}


def test_an_edit_is_not_lost_where_the_filter_ends_while_the_record_leaves() -> None:
    """It is created again, as nothing keeps it away any more. (Seed 19733.)"""
    story = in_oslo(Name="Acme")
    story.salesforce.edits(City="Bergen")
    before = story.mongodb.now
    story.rules = Rules(SCHEMA)
    story.judge_again()
    story.mongodb.absent(as_of=before + 10)
    story.mongodb.edits(Name="Acme Ltd")
    assert story.record == {"Name": "Acme Ltd", "City": "Bergen"}


def test_a_late_edit_of_a_record_that_is_deleted_meanwhile_changes_nothing() -> None:
    """Nobody has it any more, so there is nothing to agree on."""
    story = taken_away_unseen()
    story.salesforce.deletes()
    story.mongodb.edits(Name="Acme Ltd")
    assert story.record is None
    assert story.state.canonical == {}


def test_the_event_of_a_removal_that_a_look_has_overtaken_answers_no_later_one() -> None:
    """
    The record is created again and is to leave again, by the time that the first removal is told. Of the creation, nobody has told
    yet: what the org makes of its values is an edit, and so who edits that knows of them. (Seed 172066.)
    """
    story = in_oslo(SALESFORCE, Name="Acme", Phone="555 0101")
    story.mongodb.edits(City="Bergen")
    before = story.salesforce.now
    story.salesforce.absent(as_of=before + 5)
    story.mongodb.edits(City="Oslo")
    again = story.writes[SALESFORCE]
    story.mongodb.edits(City="Bergen")
    assert (again.op, story.writes[SALESFORCE].op) == (WriteOp.CREATE, WriteOp.DELETE)
    story.salesforce.deletes()
    story.salesforce.now = before + 9
    story.salesforce.acks(again, Phone="(555) 0101")
    story.salesforce.edits(Phone="555 0202")
    assert story.conflicts == []
    assert story.record == {"Name": "Acme", "City": "Bergen", "Phone": "555 0202"}
    story.salesforce.deletes()
    assert SALESFORCE not in story.writes
    assert story.state.lives


# A removal that cannot be carried out now.


def test_what_our_creation_has_made_is_taken_away_though_the_removal_had_to_wait_before_it_was_told() -> None:
    """The record is locked; that the creation was carried out is told after that. (Seed 63910.)"""
    story = born_in_mongodb(only_oslo(SALESFORCE), Name="Acme", City="Oslo")
    story.salesforce.native_id = OTHER_ID
    made = story.writes[SALESFORCE]
    story.mongodb.edits(City="Bergen")
    taken = story.writes[SALESFORCE]
    story.salesforce.defers(taken, code="ENTITY_IS_LOCKED")
    story.salesforce.acks(made)
    story.salesforce.retries(taken)
    assert story.writes[SALESFORCE].op is WriteOp.DELETE


# A conflict that comes up while the record is away.


def test_a_conflict_on_hold_waits_on_when_the_record_is_created_again() -> None:
    """The side gets its own value back with the record, and keeps it until somebody decides. (Seeds 36078, 10376.)"""
    story = born_in_mongodb(
        Rules(SCHEMA, views=only_oslo(SALESFORCE).views, policy=HOLD), Name="Acme", City="Oslo"
    )
    story.salesforce.native_id = OTHER_ID
    story.come_to_rest()
    story.mongodb.edits(City="Bergen")
    before = story.salesforce.now
    story.mongodb.edits(Name="Acme Ltd")
    story.salesforce.absent(as_of=before + 10)
    story.salesforce.edits(Name="Acme Inc")
    assert len(story.conflicts) == 1
    story.mongodb.edits(City="Oslo")
    again = story.writes[SALESFORCE]
    assert (again.op, again.fields) == (WriteOp.CREATE, {"Name": "Acme Inc", "City": "Oslo"})
    story.salesforce.now = before + 20
    story.salesforce.acks(again)
    assert story.salesforce.parked["Name"].keeps == "Acme Inc"
    assert SALESFORCE not in story.writes
    story.edit_of_an_operator(Name="Acme Ltd")
    assert story.salesforce.parked == {}
    assert story.writes[SALESFORCE].fields == {"Name": "Acme Ltd"}


@pytest.mark.parametrize("seen", ["event", "look"])
def test_a_conflict_that_is_on_hold_waits_on_as_the_record_leaves(seen: str) -> None:
    """Nobody has decided anything by that: the side gets its own value back with the record. (Seed 7871 under `hold`.)"""
    story = born_in_mongodb(
        Rules(SCHEMA, views=only_oslo(SALESFORCE).views, policy=HOLD), Name="Acme", City="Oslo"
    )
    story.salesforce.native_id = OTHER_ID
    story.come_to_rest()
    story.mongodb.edits(Name="Acme Ltd")
    story.salesforce.edits(Name="Acme Inc")
    assert len(story.conflicts) == 1
    story.mongodb.edits(City="Bergen")
    assert story.writes[SALESFORCE].op is WriteOp.DELETE
    if seen == "event":
        story.salesforce.deletes()
    else:
        story.salesforce.absent()
    story.mongodb.edits(City="Oslo")
    again = story.writes[SALESFORCE]
    assert (again.op, again.fields) == (WriteOp.CREATE, {"Name": "Acme Inc", "City": "Oslo"})
    assert story.salesforce.parked["Name"].keeps == "Acme Inc"


# A sink that was killed carries out once more what made the record, and what took it away.


def left_oslo() -> tuple[Story, Write]:
    """A record that our creation has made in MongoDB, and our deletion has taken away; that creation."""
    story = Story(only_oslo())
    story.salesforce.creates(Name="Acme", City="Oslo")
    made = story.writes[MONGODB]
    story.mongodb.acks(made)
    story.salesforce.edits(City="Bergen", Name="Acme Ltd")
    story.mongodb.acks(story.writes[MONGODB])
    assert story.writes == {}
    return story, made


def test_what_a_repeated_creation_sets_is_no_edit() -> None:
    """It is taken away once more; and that the repeated deletion does so is nobody's deletion. (Seeds 3751, 42368, 49808.)"""
    story, made = left_oslo()
    story.mongodb.creates(made.fields, ack=made.seq)
    assert story.writes[MONGODB].op is WriteOp.DELETE
    story.mongodb.deletes()
    assert (story.writes, story.conflicts) == ({}, [])
    assert story.record == {"Name": "Acme Ltd", "City": "Bergen"}


def test_a_row_may_show_a_repeated_creation_first() -> None:
    """Its event follows, and says the same."""
    story, made = left_oslo()
    story.mongodb.row(made.fields, marker=made.seq, as_of=story.mongodb.now + 5)
    assert story.writes[MONGODB].op is WriteOp.DELETE
    story.mongodb.acks(made)
    story.mongodb.deletes()
    assert (story.writes, story.conflicts) == ({}, [])
    assert story.record == {"Name": "Acme Ltd", "City": "Bergen"}


def test_a_creation_that_was_carried_out_after_a_newer_deletion_was_answered_is_no_edit() -> None:
    """Two deletions were on their way, and nothing says which of them the first end told of. (Seed 32171.)"""
    story = Story(only_oslo())
    story.salesforce.creates(Name="Acme", City="Oslo")
    made = story.writes[MONGODB]
    story.salesforce.edits(City="Bergen")
    story.salesforce.edits(City="Oslo", Name="Acme Ltd")
    again = story.writes[MONGODB]
    assert again.op is WriteOp.CREATE
    story.salesforce.edits(City="Trondheim", Name="Acme Inc")
    story.mongodb.acks(made)
    story.mongodb.deletes()
    story.mongodb.acks(again)
    assert story.conflicts == []
    assert story.record == {"Name": "Acme Inc", "City": "Trondheim"}
    story.mongodb.deletes()
    assert (story.writes, story.conflicts) == ({}, [])
    assert story.state.lives


def test_a_repeated_deletion_is_nobodys_also_where_the_record_is_wanted_again() -> None:
    """A newer creation is on its way behind both, and it is sent again."""
    story, made = left_oslo()
    story.salesforce.edits(City="Oslo")
    assert story.writes[MONGODB].op is WriteOp.CREATE
    story.mongodb.creates(made.fields, ack=made.seq)
    story.mongodb.deletes()
    assert story.conflicts == []
    assert story.record == {"Name": "Acme Ltd", "City": "Oslo"}
    assert story.writes[MONGODB].op is WriteOp.CREATE


def test_a_repeated_creation_is_known_where_the_filter_has_ended() -> None:
    """The record is to be there now, with what is agreed on since. (Seed 18975.)"""
    story = Story(only_oslo())
    story.salesforce.creates(Name="Acme", City="Oslo")
    made = story.writes[MONGODB]
    story.mongodb.acks(made)
    story.salesforce.edits(City="Bergen")
    taken = story.writes[MONGODB]
    story.rules = Rules(SCHEMA)
    story.judge_again()
    story.mongodb.acks(taken)
    story.mongodb.creates(made.fields, ack=made.seq)
    assert story.conflicts == []
    assert story.record == {"Name": "Acme", "City": "Bergen"}
    story.mongodb.deletes()
    assert story.state.lives
    assert story.writes[MONGODB].fields["City"] == "Bergen"


def test_who_deletes_a_document_that_he_has_made_himself_means_it() -> None:
    """Our deletion of the former one explains nothing any more."""
    story, _ = left_oslo()
    story.mongodb.creates(Name="Acme Ltd", City="Bergen")
    story.mongodb.deletes()
    assert story.record is None
    assert story.writes[SALESFORCE].op is WriteOp.DELETE
