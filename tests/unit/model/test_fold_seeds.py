"""Faults that one of some thousand schedules of the World showed, each as the story that it was. (Their seeds are named.)"""

from __future__ import annotations

from salmon.model.change import WriteOp
from support.at_hand.stories import Story, born_in_mongodb, in_step, rules


def test_an_author_saw_what_the_creation_had_set_that_was_answered() -> None:
    """And not what later ones are to set, even if these agree with each other: so nobody knew of the other. (Seed 66625.)"""
    story = born_in_mongodb(Name="Acme", Phone="555 0101")
    story.mongodb.edits(City="Oslo")
    second = story.writes["salesforce"]
    story.mongodb.edits(Phone="555 0202")
    story.salesforce.edits(City="Oslo", ack=second.seq)
    story.salesforce.edits(Phone="555 0303")
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"555 0202", "555 0303"}


def test_the_target_of_an_empty_record_is_cleared_where_it_was_there_before() -> None:
    """Nobody has read it: that it has nothing to be told is not known. (Seed 29877.)"""
    story = Story(rules(one_way_to="salesforce"))
    story.mongodb.creates()
    story.salesforce.finds_it_there(story.writes["salesforce"])
    write = story.writes["salesforce"]
    assert write.op is WriteOp.UPDATE
    assert {"Name", "Phone"} <= write.fields.keys()
    assert set(write.fields.values()) == {None}


def test_an_old_row_does_not_answer_a_write() -> None:
    """What that write has overwritten, an event or a newer row tells; by then it must be known as ours. (Seed 115003.)"""
    story = born_in_mongodb(Name="Acme", City="Oslo")
    first = story.writes["salesforce"]
    story.mongodb.edits(Phone="555 0101")
    second = story.writes["salesforce"]
    assert second.op is WriteOp.CREATE
    story.salesforce.acks(first)
    before = story.salesforce.moment()
    story.salesforce.edits(City="Bergen")
    shows = {"Name": "Acme", "City": "Oslo", "Phone": "555 0101"}
    story.salesforce.row(shows, marker=second.seq, as_of=before)
    story.salesforce.now += 5
    story.salesforce.row(shows, marker=second.seq)
    assert story.state.canonical["City"] == "Bergen"
    assert story.writes["salesforce"].fields["City"] == "Bergen"


def test_an_edit_is_told_that_a_later_write_overwrote_before_an_earlier_call_came_late() -> None:
    """The row carries the marker of a dead sink's call; the edit was overwritten by the write before it. (Seed 9431.)"""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    dead_sinks = story.writes["salesforce"]
    story.mongodb.edits(Phone="555 0202")
    newer = story.writes["salesforce"]
    edited = story.salesforce.moment()
    story.salesforce.now += 9
    story.salesforce.row(Name="Acme", Phone="555 0101", marker=dead_sinks.seq)
    told = len(story.conflicts)
    story.salesforce.now = edited - 1
    story.salesforce.edits(Phone="555 0303")
    story.salesforce.edits(Phone="555 0202", ack=newer.seq)
    (conflict,) = story.conflicts[told:]
    assert conflict.contest.challenger.value == "555 0303"
    story.salesforce.edits(Phone="555 0101", ack=dead_sinks.seq)
    assert story.conflicts[told + 1 :] == []


def test_what_a_write_overwrote_is_told_with_its_event_whatever_rows_show_since() -> None:
    """A dead sink's call came late, and a row shows its marker before the event of the newer write is told. (Seed 77260.)"""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    dead_sinks = story.writes["salesforce"]
    story.mongodb.edits(Name="Globex")
    newer = story.writes["salesforce"]
    edited = story.salesforce.moment()
    story.salesforce.now += 5
    story.salesforce.row(Name="Globex", Phone="555 0101", marker=newer.seq)
    after, story.salesforce.now = story.salesforce.now, edited - 1
    story.salesforce.edits(Name="Initech")
    story.salesforce.now = after
    story.salesforce.row(Name="Globex", Phone="555 0101", marker=dead_sinks.seq)
    told = len(story.conflicts)
    story.salesforce.edits(Name="Globex", ack=newer.seq)
    (conflict,) = story.conflicts[told:]
    assert conflict.contest.challenger.value == "Initech"


def test_a_row_of_a_record_that_our_creation_made_shows_an_edit_of_what_the_side_has_told_since() -> None:
    """Its author saw that, and not what the creation had set before; so it is no second conflict. (Seed 57442.)"""
    story = born_in_mongodb(Name="Acme", Phone="555 0101")
    creation = story.writes["salesforce"]
    story.salesforce.edits(Phone="555 0202")
    story.salesforce.row(Name="Acme", Phone="555 0303", marker=creation.seq)
    assert story.state.canonical["Phone"] == "555 0303"
    assert len(story.conflicts) == 1, (
        "of the first edit, of which nobody could know whether its author saw ours"
    )


def test_an_edit_after_a_write_whose_event_never_comes_was_not_overwritten_by_it() -> None:
    """The very first rows covered that event. What a row showed since was edited after the write. (Seed 67067.)"""
    story = born_in_mongodb(Name="Acme")
    story.mongodb.edits(City="Oslo")
    creation = story.writes["salesforce"]
    assert creation.op is WriteOp.CREATE
    story.salesforce.row(Name="Acme", City="Oslo", marker=creation.seq)
    edited = story.salesforce.moment()
    story.salesforce.row(Name="Globex", City="Oslo", marker=creation.seq)
    story.mongodb.acks(story.writes["mongodb"])
    story.mongodb.edits(Name="Initech")
    first = story.writes["salesforce"]
    story.mongodb.edits(Name="Hooli")
    second = story.writes["salesforce"]
    written = story.salesforce.moment()
    story.salesforce.row(Name="Hooli", City="Oslo", marker=second.seq)
    story.salesforce.now = edited - 1
    story.salesforce.edits(Name="Globex")
    story.salesforce.now = written - 1
    story.salesforce.edits(Name="Initech", ack=first.seq)
    assert (story.state.canonical["Name"], story.conflicts) == ("Hooli", [])


def test_an_edit_between_two_of_the_same_value_is_told_where_our_write_has_overwritten_it() -> None:
    """The later of the two is what a row shows; but the first one came before our write, and the edit after it. (157930.)"""
    story = in_step(Name="Acme", City="Moss")
    story.mongodb.edits(City="Oslo")
    write = story.writes["salesforce"]
    first, second, written = (story.salesforce.moment() for _ in range(3))
    story.salesforce.row(Name="Acme", marker=write.seq)
    for at, city in ((first, None), (second, "Rome")):
        story.salesforce.now = at - 1
        story.salesforce.edits(City=city)
    story.salesforce.now = written - 1
    story.salesforce.edits(City="Oslo", ack=write.seq)
    (*_, told) = story.conflicts
    assert "Rome" in {told.contest.standing.value, told.contest.challenger.value}


def test_a_write_that_an_outcome_has_overtaken_is_ours_though_a_row_came_first() -> None:
    """The row was read before the write was carried out, so it proves nothing of it: its echo is no edit. (7477.)"""
    story = in_step(Name="Acme", Phone="555 0000", City="Oslo")
    story.salesforce.edits(Phone="555 0101")
    first = story.writes["mongodb"]
    story.salesforce.edits(City="Moss")
    story.mongodb.finds_it_gone(story.writes["mongodb"])
    story.mongodb.row(Name="Acme", Phone="555 0000", City="Oslo")
    story.salesforce.edits(Phone="555 0202")
    story.mongodb.acks(first)
    assert (story.state.canonical["Phone"], story.conflicts) == ("555 0202", [])


def test_another_record_of_the_key_is_not_judged_by_what_the_former_one_held() -> None:
    """Somebody deleted the first that we made; a late creation makes one more, in which the org has filled in a Phone. (63196.)"""
    story = born_in_mongodb(Name="Acme", Phone="555 0101")
    first = story.writes["salesforce"]
    story.mongodb.edits(Phone=None)
    late = story.writes["salesforce"]
    story.salesforce.row(Name="Acme", Phone="555 0101", marker=first.seq)
    story.salesforce.finds_it_gone(story.writes["salesforce"])
    story.salesforce.row(Name="Acme Ltd", Phone="555 0000", marker=late.seq, native_id="0015g00000Abc34AAA")
    assert story.conflicts == []
    assert story.record is not None
    assert story.record["Name"] == "Acme Ltd"


def test_only_what_was_edited_is_an_edit_of_a_record_that_lives_again() -> None:
    """The org has filled in a Phone as a late creation of ours made the record: that is in conflict with nobody. (63866.)"""
    story = born_in_mongodb(Name="Acme", City="Oslo")
    late = story.writes["salesforce"]
    story.salesforce.row(Name="Acme", City="Oslo", marker=late.seq)
    story.mongodb.edits(City="Moss")
    late = story.writes["salesforce"]
    story.salesforce.deletes()
    story.salesforce.creates(Name="Acme", City="Oslo", Phone="555 0000", ack=late.seq)
    story.salesforce.edits(Name="Acme Ltd")
    assert story.state.lives
    told = len(story.conflicts)
    story.mongodb.edits(Phone="555 0101")
    assert (story.record or {})["Phone"] == "555 0101"
    assert story.conflicts[told:] == []


def test_an_edit_that_our_write_overwrote_is_told_though_the_row_shows_what_cannot_be_taken() -> None:
    """Somebody put that over our value since, and had not seen the edit either. (69032.)"""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    write = story.writes["mongodb"]
    edited = story.mongodb.moment()
    story.mongodb.now += 5
    story.mongodb.row(Name="Acme", marker=write.seq, misfits=["Phone"])
    story.mongodb.now = edited - 1
    story.mongodb.edits(Phone="555 0303")
    story.mongodb.edits(Phone="555 0101", ack=write.seq)
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"555 0101", "555 0303"}
    assert story.mongodb.misfits == {"Phone"}


def test_what_a_trigger_made_of_an_edit_that_our_creation_said_is_no_default_of_the_org() -> None:
    """The late event of the creation tells it once more: who edits the field without having seen that is in conflict. (60204.)"""
    story = in_step(Name="Acme", Phone="555 0000")
    story.edit_of_an_operator(Phone="ext. one")
    story.salesforce.goes_back()
    story.salesforce.absent()
    creation = story.writes["salesforce"]
    made = story.salesforce.moment()
    story.salesforce.now += 1
    story.salesforce.row(Name="Acme", Phone="EXT. ONE", City="by default", marker=creation.seq)
    story.salesforce.now = made - 1
    story.salesforce.acks(creation, Phone="EXT. ONE", City="by default")
    story.mongodb.edits(Phone="555 0101", City="Oslo")
    assert (story.record or {})["City"] == "Oslo"
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"EXT. ONE", "555 0101"}


def test_an_edit_that_set_what_our_write_was_to_set_is_one_though_a_row_shows_our_marker() -> None:
    """Our write found the field empty and changed nothing there, as its late event tells by its silence. (900525 with unfit=0.3.)"""
    for is_lost in (False, True):
        story = in_step(Name="Acme", City="Oslo")
        story.mongodb.edits(City=None, at=1)
        write = story.writes["salesforce"]
        story.salesforce.edits(City="Moss")
        told = len(story.conflicts)
        edited = story.salesforce.moment()
        story.salesforce.now += 5
        story.salesforce.row(Name="Acme", marker=write.seq)
        after, story.salesforce.now = story.salesforce.now, edited - 1
        assert story.state.canonical["City"] == "Moss"
        story.salesforce.edits(City=None)
        if is_lost:
            story.salesforce.now = after
            story.salesforce.edits(Name="Globex")
        else:
            story.salesforce.edits(ack=write.seq)
        assert "City" not in story.state.canonical
        assert len(story.conflicts) == told


def test_an_edit_that_our_write_overwrote_is_not_told_once_more_where_a_row_has_shown_that_it_was_made_again() -> (
    None
):
    """The row told that it is in conflict with an edit of the document; which of the two times it was made is no news."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(City="Bergen")
    first = story.writes["salesforce"]
    edited, written = story.salesforce.moment(), story.salesforce.moment()
    story.salesforce.row(Name="Acme", City="Bergen", marker=first.seq)
    story.mongodb.edits(Name="Globex")
    second = story.writes["salesforce"]
    story.salesforce.row(Name="Globex", City="Moss", marker=second.seq)
    story.mongodb.edits(City="Rome")
    assert len(story.conflicts) == 1
    story.salesforce.now = edited - 1
    story.salesforce.edits(City="Moss")
    story.salesforce.now = written - 1
    story.salesforce.edits(City="Bergen", ack=first.seq)
    assert len(story.conflicts) == 1
