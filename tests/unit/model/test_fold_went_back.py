"""A side whose history went back: restored from a backup, or refreshed. What it lost is given back to it."""

from __future__ import annotations

import pytest

from salmon.model.change import SALESFORCE_ID, Write, WriteOp
from salmon.model.fold import Fact
from salmon.model.policies import EXISTENCE
from salmon.model.steps.first_load import fold_first_row
from salmon.model.steps.work import Report
from support.at_hand.stories import OTHER_ID, Story, born_in_mongodb, in_step, rules

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


def test_a_record_that_an_org_shows_again_under_the_id_of_before_is_no_twin() -> None:
    """It was deleted and created anew after the backup: the second one is of the time that the org has lost. (Seed 63344.)"""
    story = in_step(Name="Acme", Phone="old")
    story.salesforce.deletes()
    story.come_to_rest()
    story.mongodb.creates(Name="Acme", Phone="new")
    story.salesforce.native_id = OTHER_ID
    story.come_to_rest()
    story.salesforce.goes_back()
    story.salesforce.row(Name="Acme", Phone="old", native_id=story.key)
    assert story.facts() == [Fact.RESTORED]
    assert (story.writes["salesforce"].native_id, story.writes["salesforce"].fields) == (
        story.key,
        {"Phone": "new"},
    )
    assert story.writes["mongodb"].fields == {SALESFORCE_ID: story.key}
    story.salesforce.row(Name="Acme", Phone="new", native_id=OTHER_ID)
    story.salesforce.row(Name="Acme", Phone="old", native_id=story.key)
    assert story.facts() == [Fact.TWIN], "of two in one org, one is"


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


def with_a_corrected_phone() -> Story:
    """MongoDB held a phone that could not be taken, and somebody corrected it after the backup was made."""
    story = in_step(Name="Acme", Phone="old")
    story.mongodb.edits(misfits=["Phone"])
    story.mongodb.edits(Phone="corrected")
    story.come_to_rest()
    story.mongodb.goes_back()
    story.mongodb.row({SALESFORCE_ID: story.key}, Name="Acme", misfits=["Phone"])
    return story


def test_what_could_not_be_taken_is_corrected_again_after_a_restore() -> None:
    """It is an older value like any other; the agreed one goes back. (Seed 33 with MongoDB restored.)"""
    story = with_a_corrected_phone()
    assert Report(Fact.RESTORED, "mongodb", ("Phone",)) in story.last.reports
    assert story.writes["mongodb"].fields["Phone"] == "corrected"
    assert "salesforce" not in story.writes
    story.come_to_rest()
    assert story.mongodb.misfits == set()


def test_who_corrects_what_a_restore_brought_back_has_not_seen_what_is_agreed() -> None:
    """Two corrections that did not know of each other are a conflict, which is told. (Seed 3573 with MongoDB restored.)"""
    story = with_a_corrected_phone()
    story.mongodb.edits(Phone="corrected anew")
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {
        "corrected",
        "corrected anew",
    }


def test_what_could_not_be_taken_stays_after_a_restore_where_nothing_is_agreed() -> None:
    """There is nothing to put in its place, and the person who looks at the document is told."""
    story = in_step(Name="Acme")
    story.mongodb.goes_back()
    story.mongodb.row({SALESFORCE_ID: story.key}, Name="Acme", misfits=["Phone"])
    assert story.mongodb.misfits == {"Phone"}
    assert "Phone" not in story.writes["mongodb"].fields


def test_a_document_that_a_restore_lost_takes_along_what_could_not_be_taken() -> None:
    """The new one holds nothing of it."""
    story = in_step(Name="Acme")
    story.mongodb.edits(misfits=["Phone"])
    story.come_to_rest()
    story.mongodb.goes_back()
    story.mongodb.absent()
    assert story.mongodb.misfits == set()


def restored_without(story: Story) -> Story:
    """MongoDB was restored to a time before the document was made."""
    story.mongodb.goes_back()
    story.mongodb.absent()
    return story


def written_twice() -> tuple[Story, Write]:
    """A record to whose document two writes of ours have gone; and the first of them."""
    story = in_step(Name="Acme", Phone="old")
    story.salesforce.edits(Phone="newer")
    first = story.writes["mongodb"]
    story.come_to_rest()
    story.salesforce.edits(Phone="newest")
    story.come_to_rest()
    return story, first


def test_a_write_that_its_sink_repeats_after_a_restore_is_nobodys_edit() -> None:
    """The markers that would have kept the repetition out went with the history. (Seed 228 with MongoDB restored.)"""
    story, first = written_twice()
    restored_without(story)
    story.mongodb.creates(Name="Acme", Phone="newer", ack=first.seq)
    assert story.conflicts == []
    assert "salesforce" not in story.writes
    assert story.record == {"Name": "Acme", "Phone": "newest"}
    assert story.writes["mongodb"].fields["Phone"] == "newest"


def test_a_write_that_its_sink_repeats_after_a_restore_and_an_edit_is_nobodys_edit() -> None:
    """The document was restored to a time before our first write, and somebody has edited it. (Seed 52211 of the World.)"""
    story, first = written_twice()
    story.mongodb.goes_back()
    story.mongodb.row(Name="Acme", Phone="old")
    story.mongodb.edits(City="Oslo")
    story.mongodb.edits(Phone="newer", ack=first.seq)
    assert story.conflicts == []
    assert story.writes["salesforce"].fields == {"City": "Oslo"}
    assert story.record == {"Name": "Acme", "Phone": "newest", "City": "Oslo"}
    assert story.writes["mongodb"].fields["Phone"] == "newest"


def test_a_document_that_is_saved_whole_after_a_restore_is_an_edit() -> None:
    """Whoever saves it saves its marker too, which a row has shown; that is no repetition."""
    story, first = written_twice()
    story.mongodb.goes_back()
    story.mongodb.row({SALESFORCE_ID: story.key}, Name="Acme", Phone="newest", marker=first.seq)
    story.mongodb.edits(City="Oslo", ack=first.seq)
    assert story.writes["salesforce"].fields == {"City": "Oslo"}


def test_a_copy_that_is_brought_back_later_is_a_new_life_as_ever() -> None:
    """Once something was told of the new history, a document with an older marker is somebody's doing again."""
    story, first = written_twice()
    story.mongodb.goes_back()
    story.mongodb.row({SALESFORCE_ID: story.key}, Name="Acme", Phone="newest", marker=first.seq)
    story.mongodb.deletes()
    story.come_to_rest()
    assert not story.state.lives
    story.mongodb.creates(Name="Acme", Phone="newer", ack=first.seq)
    assert story.state.lives


def test_a_record_that_a_creation_of_before_makes_again_is_no_edit() -> None:
    """The org has lost it; a sink that starts again repeats an old creation there before the new one."""
    story = born_in_mongodb(Name="Acme", Phone="555 0101")
    creation = story.writes["salesforce"]
    story.salesforce.acks(creation)
    story.salesforce.edits(Phone="555 0202")
    story.mongodb.acks(story.writes["mongodb"])
    story.salesforce.goes_back()
    story.salesforce.absent()
    story.mongodb.edits(Name="Globex")
    again = story.writes["salesforce"]
    assert again.op is WriteOp.CREATE
    story.salesforce.row(Name="Acme", Phone="555 0101", marker=creation.seq)
    assert story.conflicts == []
    assert story.state.canonical == {"Name": "Globex", "Phone": "555 0202"}
    story.salesforce.acks(story.writes["salesforce"])
    story.come_to_rest()
    assert story.salesforce.holds == {"Name": "Globex", "Phone": "555 0202"}


def made_again() -> tuple[Story, Write, Write]:
    """The org has lost a record, and an old creation makes it again before the new one; the row of it. And both creations."""
    story = born_in_mongodb(Name="Acme", Phone="555 0101")
    creation = story.writes["salesforce"]
    story.come_to_rest()
    story.salesforce.goes_back()
    story.salesforce.absent()
    story.salesforce.row(Name="Globex", Phone="555 0101", marker=creation.seq)
    return story, creation, story.writes["salesforce"]


def test_who_edits_what_a_creation_of_before_made_again_has_seen_that() -> None:
    """However often the record is read before its events come. (Seed 131954 of the World.)"""
    story, creation, _ = made_again()
    story.salesforce.row(Name="Globex", Phone="555 0101", marker=creation.seq)
    assert story.conflicts == []
    story.salesforce.creates(creation.fields, ack=creation.seq)
    story.salesforce.edits(Name="Globex")
    assert story.conflicts == []
    assert story.record == {"Name": "Globex", "Phone": "555 0101"}


def test_what_a_creation_of_before_made_again_is_judged_by_its_row_where_the_new_one_finds_it_there() -> None:
    """Its events may be lost, and a creation that finds the record there would be sent again and again."""
    story, creation, again = made_again()
    story.salesforce.finds_it_there(again)
    story.salesforce.row(Name="Globex", Phone="555 0101", marker=creation.seq)
    assert "salesforce" not in story.writes or story.writes["salesforce"].op is WriteOp.UPDATE
    story.come_to_rest()
    assert story.salesforce.holds == story.record


def test_a_row_of_a_write_that_its_sink_repeats_after_a_refresh_is_no_edit() -> None:
    """
    The org shows the record without a marker, as it once was; then with that of a write that had been answered. Its event
    tells which fields the repetition has set, and they get what is agreed. (Seed 700325 of the World, with unfit=0.2.)
    """
    story = in_step(Name="Acme", Phone="old")
    story.mongodb.edits(Phone="newer")
    first = story.writes["salesforce"]
    story.salesforce.acks(first)
    story.salesforce.edits(Phone="newest")
    story.mongodb.acks(story.writes["mongodb"])
    story.salesforce.goes_back()
    story.salesforce.row(Name="Acme", Phone="older")
    story.salesforce.edits(City="Oslo")
    story.salesforce.row(Name="Acme", Phone="newer", City="Oslo", marker=first.seq)
    assert story.conflicts == []
    assert story.record == {"Name": "Acme", "Phone": "newest", "City": "Oslo"}
    story.salesforce.edits(Phone="newer", ack=first.seq)
    assert story.conflicts == []
    story.come_to_rest()
    assert story.salesforce.holds == {"Name": "Acme", "Phone": "newest", "City": "Oslo"}


def test_whatever_row_shows_what_a_creation_of_before_makes_again_it_is_no_edit() -> None:
    """Its event tells what it has set, so that who edits the record then has seen that: no conflict (seed 131954)."""
    story = born_in_mongodb(Name="Acme")
    creation = story.writes["salesforce"]
    story.salesforce.acks(creation)
    story.mongodb.acks(story.writes["mongodb"])
    story.salesforce.goes_back()
    story.salesforce.absent()
    made, edited = story.salesforce.moment(), story.salesforce.moment()
    for _ in range(2):
        story.salesforce.row(Name="Globex", marker=creation.seq)
    story.salesforce.now = made - 1
    story.salesforce.acks(creation)
    story.salesforce.now = edited - 1
    story.salesforce.edits(Name="Globex")
    assert story.conflicts == []
    assert story.record == {"Name": "Globex"}


def test_a_record_that_is_restored_from_the_recycle_bin_after_a_refresh_is_read_at_once() -> None:
    """It carries a marker of before, which the event does not tell: the row shows no repeated write (seed 148642)."""
    story = born_in_mongodb(Name="Acme")
    creation = story.writes["salesforce"]
    story.salesforce.acks(creation)
    story.mongodb.acks(story.writes["mongodb"])
    story.salesforce.goes_back()
    story.salesforce.row(Name="Acme", marker=creation.seq)
    story.salesforce.deletes()
    story.salesforce.creates(Name="Acme")
    story.salesforce.row(Name="Acme", Rollup="7", marker=creation.seq)
    assert story.state.canonical["Rollup"] == "7"


def test_a_formula_of_a_record_that_is_undeleted_after_a_refresh_is_told_by_its_first_row() -> None:
    """The record has its marker of before, so its row looks like that of a repeated write. (Seed 148642 of the World.)"""
    story = born_in_mongodb(Name="Acme")
    creation = story.writes["salesforce"]
    story.salesforce.acks(creation)
    story.come_to_rest()
    story.mongodb.deletes()
    story.come_to_rest()
    story.salesforce.goes_back()
    story.salesforce.absent()
    story.salesforce.creates(Name="Acme")
    story.come_to_rest()
    story.salesforce.row(Name="Acme", Rollup="7", marker=creation.seq)
    assert story.writes["mongodb"].fields == {"Rollup": "7"}
    story.come_to_rest()
    assert story.record == {"Name": "Acme", "Rollup": "7"}


# One-way objects: the origin is the only author, and is never written to.


def one_way(target: str) -> Story:
    """A record of a one-way object that its origin has edited after the backup was made."""
    story = Story(rules(one_way_to=target))
    origin = getattr(story, other(target))
    origin.row(Name="Acme", Phone="old")
    origin.edits(Phone="new")
    return story


@pytest.mark.parametrize("target", SIDES)
def test_the_target_of_a_one_way_object_gets_what_its_restored_origin_shows(target: str) -> None:
    """Nobody can give the lost value back to an origin that is never written to."""
    story = one_way(target)
    origin = getattr(story, other(target))
    origin.goes_back()
    origin.row(Name="Acme", Phone="old")
    assert story.record == {"Name": "Acme", "Phone": "old"}
    assert story.writes[target].fields["Phone"] == "old"


@pytest.mark.parametrize("target", SIDES)
def test_a_record_that_a_restored_origin_lacks_is_deleted_at_the_target(target: str) -> None:
    """Else the target would keep it for ever: nobody can create it at the origin again."""
    story = one_way(target)
    origin = getattr(story, other(target))
    origin.goes_back()
    origin.absent()
    assert not story.state.lives
    assert story.writes[target].op is WriteOp.DELETE


@pytest.mark.parametrize("target", SIDES)
def test_a_record_that_a_restored_origin_shows_again_is_created_at_the_target_again(target: str) -> None:
    """Its deletion is of the time that the origin has lost."""
    story = one_way(target)
    origin = getattr(story, other(target))
    origin.deletes()
    assert story.writes[target].op is WriteOp.DELETE
    origin.goes_back()
    origin.row(Name="Acme", Phone="old")
    assert story.state.lives
    assert story.writes[target].op is WriteOp.CREATE


@pytest.mark.parametrize("target", SIDES)
def test_a_restored_target_of_a_one_way_object_is_not_listened_to(target: str) -> None:
    """It is never read as it is; `salmon verify` shows what it lacks."""
    story = one_way(target)
    getattr(story, target).goes_back()
    assert getattr(story, target).row(Name="Acme", Phone="old").writes == {}
    assert story.record == {"Name": "Acme", "Phone": "new"}
