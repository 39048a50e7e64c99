"""What a side holds and cannot be taken (salmon.model.steps.misfits)."""

from __future__ import annotations

from typing import Final

from salmon.model.change import ERROR, SALESFORCE_ID, Write, WriteOp
from salmon.model.fold import Fact
from support.at_hand.stories import KEY, Story, born_in_mongodb, in_step, rules

# What merge's own properties of the document show.
OWN: Final = {SALESFORCE_ID: KEY, ERROR: "Phone: it is not of its type."}


def unfit_phone() -> Story:
    """Somebody sets a document's Phone to what is no text; Salesforce goes on having the agreed one."""
    story = in_step(Name="Acme", Phone="555 0101")
    story.mongodb.edits(misfits=["Phone"])
    story.come_to_rest()
    return story


def test_a_value_that_cannot_be_taken_stays_and_is_reported() -> None:
    """Nothing is sent to Salesforce, nothing overwrites it; the state and the document say so (case V6)."""
    story = in_step(Name="Acme", Phone="555 0101")
    story.mongodb.edits(misfits=["Phone"])
    assert story.facts() == [Fact.MISFIT]
    assert "salesforce" not in story.writes
    assert story.writes["mongodb"].fields == {ERROR: "Phone: it is not of its type."}
    story.come_to_rest()
    assert story.mongodb.misfits == {"Phone"}
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}


def test_it_is_over_when_a_value_comes_that_can_be_taken() -> None:
    """The correction is an edit like any other, made by somebody who had seen the agreed value: no conflict."""
    story = unfit_phone()
    story.mongodb.edits(Phone="555 0202")
    assert story.writes["salesforce"].fields == {"Phone": "555 0202"}
    story.come_to_rest()
    assert story.mongodb.misfits == set()
    assert ERROR not in story.mongodb.holds
    assert story.conflicts == []


def test_it_is_over_when_the_agreed_value_is_put_back() -> None:
    """Somebody sets the Phone back: both sides hold what is agreed."""
    story = unfit_phone()
    story.mongodb.edits(Phone="555 0101")
    assert story.mongodb.misfits == set()
    assert story.writes.keys() == {"mongodb"}, "to clear the error that the document shows"


def test_it_is_over_when_the_field_is_cleared() -> None:
    """To remove it from the document is an edit: the field is empty then, on both sides."""
    story = unfit_phone()
    story.mongodb.edits(Phone=None)
    assert story.writes["salesforce"].fields == {"Phone": None}


def test_a_row_shows_that_it_is_still_there_or_over() -> None:
    """A record that is read again reports what an event would."""
    story = unfit_phone()
    story.mongodb.row(OWN, Name="Acme", misfits=["Phone"])
    assert Fact.MISFIT not in story.facts(), "known already"
    assert story.writes == {}
    story.mongodb.row(OWN, Name="Acme", Phone="555 0202")
    assert story.mongodb.misfits == set()
    assert story.writes["salesforce"].fields == {"Phone": "555 0202"}


def test_a_later_edit_of_the_other_side_takes_its_place() -> None:
    """Salesforce's user edits the Phone afterwards: it is sent, as after a refusal."""
    story = unfit_phone()
    story.salesforce.edits(Phone="555 0303")
    assert story.writes["mongodb"].fields == {ERROR: None, "Phone": "555 0303"}
    story.come_to_rest()
    assert story.mongodb.misfits == set()
    assert story.mongodb.holds["Phone"] == "555 0303"


def test_an_edit_of_another_field_leaves_it_alone() -> None:
    """Only what differs elsewhere is sent."""
    story = unfit_phone()
    story.salesforce.edits(City="Oslo")
    assert story.writes["mongodb"].fields == {"City": "Oslo"}


def test_an_operator_may_put_the_agreed_value_in_its_place() -> None:
    """Also where it is the value that is agreed already."""
    story = unfit_phone()
    story.edit_of_an_operator(Phone="555 0101")
    assert story.writes["mongodb"].fields == {ERROR: None, "Phone": "555 0101"}
    story.come_to_rest()
    assert story.mongodb.misfits == set()


def test_a_correction_that_does_not_know_of_a_later_edit_is_a_conflict() -> None:
    """Salesforce's Phone is on its way when the document goes back to what it was: that is no report of old news."""
    story = unfit_phone()
    story.salesforce.edits(Phone="555 0303")
    story.mongodb.edits(Phone="555 0101")
    assert [conflict.contest.field for conflict in story.conflicts] == ["Phone"]


def test_a_row_that_still_shows_it_does_not_call_a_later_edit_back() -> None:
    """The row was read before the write arrived: it says nothing new."""
    story = unfit_phone()
    story.salesforce.edits(Phone="555 0303")
    story.mongodb.row(OWN, Name="Acme", misfits=["Phone"])
    assert story.writes["mongodb"].fields == {ERROR: None, "Phone": "555 0303"}


def test_what_a_side_may_not_set_is_put_right() -> None:
    """Shout is made by the org: what somebody puts there in MongoDB is overwritten, whatever it is."""
    story = in_step(Name="Acme", Shout="ACME")
    story.mongodb.edits(misfits=["Shout"])
    assert story.writes["mongodb"].fields == {"Shout": "ACME"}
    story.come_to_rest()
    assert story.mongodb.misfits == set()


def test_of_a_new_document_the_rest_goes_on() -> None:
    """A document is inserted with a Phone that is no text: Salesforce gets the record without one (case V7)."""
    story = Story(key="65f0c0ffee")
    story.mongodb.native_id = story.key
    story.mongodb.creates(Name="Acme", misfits=["Phone"])
    assert story.writes["salesforce"].op is WriteOp.CREATE
    assert story.writes["salesforce"].fields == {"Name": "Acme"}
    story.come_to_rest()
    story.mongodb.edits(Phone="555 0101")
    assert story.writes["salesforce"].fields == {"Phone": "555 0101"}


def test_a_new_document_without_what_is_required_waits() -> None:
    """Salesforce makes no account without a Name: the creation waits for one that can be taken (case V7)."""
    story = Story(key="65f0c0ffee")
    story.mongodb.native_id = story.key
    story.mongodb.creates(Phone="555 0101", misfits=["Name"])
    assert "salesforce" not in story.writes
    story.mongodb.edits(Name="Acme")
    assert story.writes["salesforce"].fields == {"Name": "Acme", "Phone": "555 0101"}


def test_a_document_that_was_there_before_keeps_it() -> None:
    """Both sides have the record before the sync begins: what merely stands in Salesforce is no edit of it."""
    for first in ("mongodb", "salesforce"):
        story = Story()
        for side in (first, "salesforce" if first == "mongodb" else "mongodb"):
            if side == "mongodb":
                story.mongodb.row(Name="Acme", misfits=["Phone"])
            else:
                story.salesforce.row(Name="Acme", Phone="555 0101")
        story.come_to_rest()
        assert story.mongodb.misfits == {"Phone"}, first
        assert "Phone" not in story.mongodb.holds, first


def test_a_trigger_that_leaves_what_we_cannot_take_has_not_kept_the_old_value() -> None:
    """It mentions the field, so our write was not refused in silence: MongoDB's Phone is not set back."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.edits(ack=story.writes["salesforce"].seq, misfits=["Phone"])
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}
    assert story.salesforce.misfits == {"Phone"}


def test_who_puts_it_in_the_place_of_our_value_has_seen_that() -> None:
    """A row that answers our write shows it before any event does: its correction is in conflict with nobody. (51651.)"""
    for told_before in (True, False):
        story = in_step(Name="Acme", Phone="555 0000") if told_before else Story(rules())
        if told_before:
            story.salesforce.edits(Phone="555 0101")
        else:
            story.salesforce.row(Name="Acme", Phone="555 0101")
        story.mongodb.row(OWN, Name="Acme", marker=story.writes["mongodb"].seq, misfits=["Phone"])
        story.mongodb.edits(Phone="555 0202")
        assert story.conflicts == [], told_before
        assert story.writes["salesforce"].fields == {"Phone": "555 0202"}


def test_it_stays_also_where_our_edit_took_the_place_of_a_former_one() -> None:
    """A row that answers that edit shows another value that cannot be taken, and nobody has edited the field since."""
    story = unfit_phone()
    story.salesforce.edits(Phone="555 0303")
    write = story.writes["mongodb"]
    assert write.fields["Phone"] == "555 0303"
    story.mongodb.row(OWN, Name="Acme", marker=write.seq, misfits=["Phone"])
    assert story.facts() == [Fact.ACKNOWLEDGED, Fact.MISFIT]
    story.come_to_rest()
    assert story.mongodb.misfits == {"Phone"}


def test_an_edit_before_it_is_agreed_on_also_where_a_row_shows_only_what_came_after() -> None:
    """Somebody corrects the Phone and then spoils it; a row shows the second before the first is told. (Seed 23562.)"""
    story = in_step(Name="Acme", Phone="555 0000")
    edited = story.mongodb.moment()
    story.mongodb.now += 5
    story.mongodb.row(OWN, Name="Acme", misfits=["Phone"])
    story.mongodb.now = edited - 1
    story.mongodb.edits(Phone="555 0101")
    story.mongodb.edits(Phone="555 0202")
    assert story.writes["salesforce"].fields == {"Phone": "555 0202"}
    story.mongodb.edits(misfits=["Phone"])
    story.come_to_rest()
    assert story.mongodb.misfits == {"Phone"}, "it came after the edits, which do not take its place"
    assert story.salesforce.holds["Phone"] == "555 0202"
    story.mongodb.now += 9
    story.mongodb.edits(Phone="555 0303")
    assert story.conflicts == [], "its author had seen the edit, or what came of it"


def test_an_edit_before_it_is_agreed_on_where_our_write_might_have_gone_over_it_and_did_not() -> None:
    """A newer write was carried out instead, by the row's marker, and its event says nothing of the Phone. (Seed 701038.)"""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    story.mongodb.edits(misfits=["Phone"])
    write = story.writes["mongodb"]
    assert "Phone" not in write.fields
    edited = story.mongodb.moment()
    story.mongodb.now += 5
    story.mongodb.row(OWN, Name="Acme", marker=write.seq, misfits=["Phone"])
    story.mongodb.now = edited - 1
    story.mongodb.edits(Phone="555 0202")
    assert story.conflicts == [], "the event of our write is still to come"
    story.mongodb.acks(write)
    (conflict,) = story.conflicts
    assert conflict.winner is not None
    assert conflict.winner.value == story.state.canonical["Phone"] == "555 0202"
    story.come_to_rest()
    assert story.mongodb.misfits == {"Phone"}
    story.mongodb.now += 9
    story.mongodb.edits(Phone="555 0303")
    assert len(story.conflicts) == 1, "its author had seen the edit, or what came of it"


def corrected_over_our_value() -> tuple[Story, Write]:
    """
    Our Phone was on its way when the document's was spoiled, and the next write left that alone. A row shows the next write,
    and a Phone that may have been typed before ours came or after it. Returned with our write, whose event is to come.
    """
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101", at=story.clock_ms + 60_000)
    ours = story.writes["mongodb"]
    story.mongodb.edits(misfits=["Phone"])
    newer = story.writes["mongodb"]
    assert "Phone" not in newer.fields
    written = story.mongodb.moment()
    story.mongodb.now += 5
    story.mongodb.row(OWN, Name="Acme", Phone="555 0202", marker=newer.seq)
    (conflict,) = story.conflicts
    assert conflict.winner is not None
    assert conflict.winner.value == "555 0101"
    story.mongodb.now = written - 1
    return story, ours


def test_who_corrects_it_after_our_value_came_has_seen_that_although_we_hear_of_it_late() -> None:
    """The event of our write tells that it was carried out before: the correction is agreed on. (Seed 37225.)"""
    story, ours = corrected_over_our_value()
    story.mongodb.acks(ours)
    assert story.state.canonical["Phone"] == "555 0202"
    story.come_to_rest()
    assert story.salesforce.holds["Phone"] == "555 0202"


def test_what_we_hear_late_of_our_write_beats_no_edit_of_afterwards() -> None:
    """Somebody in Salesforce has seen the correction since, or what came of it, and set the Phone back."""
    story, ours = corrected_over_our_value()
    story.salesforce.edits(Phone="555 0404")
    story.salesforce.edits(Phone="555 0101")
    story.mongodb.acks(ours)
    assert story.state.canonical["Phone"] == "555 0101"


def test_it_is_not_overwritten_by_an_edit_that_our_write_had_overwritten_before() -> None:
    """
    A row shows what somebody put over our Phone; the edit that our write went over is told later, and wins. The event of our
    write is lost.
    """
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    write = story.writes["mongodb"]
    edited = story.mongodb.moment()
    story.mongodb.now += 5
    story.mongodb.row(OWN, Name="Acme", marker=write.seq, misfits=["Phone"])
    story.mongodb.now = edited - 1
    story.mongodb.edits(Phone="555 0202")
    story.mongodb.now += 9
    story.mongodb.edits(Name="Globex")
    (conflict,) = story.conflicts
    assert conflict.winner is not None
    assert conflict.winner.value == story.state.canonical["Phone"] == "555 0202"
    story.come_to_rest()
    assert story.mongodb.misfits == {"Phone"}


def test_a_deleted_record_has_nothing_set_aside() -> None:
    """A new life begins without it."""
    story = unfit_phone()
    story.mongodb.deletes()
    assert story.mongodb.misfits == set()
    story.come_to_rest()
    story.mongodb.creates(Name="Acme", Phone="555 0101")
    assert story.mongodb.misfits == set()


def test_a_dead_record_with_such_a_value_is_deleted_all_the_same() -> None:
    """A document that is read while it is deleted in Salesforce is told whole, though one of its fields is not."""
    story = Story(rules())
    story.salesforce.row(Name="Acme")
    story.salesforce.deletes()
    story.mongodb.row(misfits=["Phone"], marker=story.offset)
    assert story.state.sides["mongodb"].unknown == frozenset()


def test_a_record_that_is_brought_back_does_not_overwrite_it() -> None:
    """The document lives on as it is: what its Phone was before is not agreed on again."""
    story = unfit_phone()
    story.salesforce.deletes()
    story.mongodb.edits(City="Oslo")
    assert story.record == {"Name": "Acme", "City": "Oslo"}
    assert story.writes["salesforce"].op is WriteOp.CREATE
    story.come_to_rest()
    assert story.mongodb.misfits == {"Phone"}
    assert story.salesforce.holds == {"Name": "Acme", "City": "Oslo"}


# `salmon retry`.


def refused_phone() -> Story:
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.refuses(story.writes["salesforce"], "Phone", code="NO_PHONES")
    return story


def test_what_was_refused_is_sent_again_when_an_operator_asks_for_it() -> None:
    """A trigger refuses the Phone, and then no longer: nobody needs to edit it again (case L10)."""
    story = refused_phone()
    refused = story.salesforce.parked["Phone"].group
    story.tell_retry(refused)
    assert story.facts() == [Fact.RETRIED]
    assert story.writes["salesforce"].fields == {"Phone": "555 0101"}
    story.come_to_rest()
    assert story.salesforce.holds["Phone"] == "555 0101"
    assert ERROR not in story.mongodb.holds


def test_asked_for_twice_it_is_sent_once() -> None:
    """The second request is of a write that is done with, also where the field was refused again meanwhile."""
    story = refused_phone()
    refused = story.salesforce.parked["Phone"].group
    story.tell_retry(refused)
    write = story.writes["salesforce"]
    story.tell_retry(refused)
    assert story.writes["salesforce"] == write
    story.salesforce.refuses(write, "Phone", code="NO_PHONES")
    story.tell_retry(refused)
    assert "salesforce" not in story.writes


def test_a_refused_creation_is_tried_again_as_a_whole() -> None:
    """All that was parked for it goes together."""
    story = born_in_mongodb(Name="Acme", Phone="555 0101")
    story.salesforce.refuses(story.writes["salesforce"], code="LIMIT_EXCEEDED")
    story.tell_retry(story.salesforce.parked["Name"].group)
    assert story.salesforce.parked == {}
    assert story.writes["salesforce"].op is WriteOp.CREATE
    assert story.writes["salesforce"].fields == {"Name": "Acme", "Phone": "555 0101"}


def test_so_is_one_that_the_target_of_a_one_way_object_refused() -> None:
    """It never tells what it holds: what was sent to it counts as done, and would not be sent again."""
    story = Story(rules(one_way_to="mongodb"))
    story.salesforce.row(Name="Acme")
    story.salesforce.deletes()
    deletion = story.writes["mongodb"]
    assert deletion.op is WriteOp.DELETE
    story.mongodb.refuses(deletion, code="DELETE_FAILED")
    assert story.writes["mongodb"] == deletion
    story.tell_retry(deletion.seq)
    again = story.writes["mongodb"]
    assert (again.op, again.seq > deletion.seq) == (WriteOp.DELETE, True)


def test_a_refused_deletion_is_tried_again() -> None:
    """The record is dead as agreed, and its deletion was refused: it is asked for again."""
    story = in_step(Name="Acme")
    story.mongodb.deletes()
    story.salesforce.refuses(story.writes["salesforce"], code="DELETE_FAILED")
    assert "salesforce" not in story.writes
    story.tell_retry(story.salesforce.parked["$exists"].group)
    assert story.writes["salesforce"].op is WriteOp.DELETE


def test_what_is_parked_for_another_reason_stays() -> None:
    """A conflict on hold, or a parent that is not there, is not what was refused."""
    story = in_step(Name="Acme", ParentId=None)
    story.mongodb.edits(ParentId="0015g00000Par11AAA")
    write = story.writes["salesforce"]
    story.salesforce.defers(write, "ParentId")
    story.tell_retry(write.seq)
    assert story.salesforce.parked.keys() == {"ParentId"}
