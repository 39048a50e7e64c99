"""Rows overtake events, and writes overtake edits: nothing that somebody did gets lost between the two."""

from __future__ import annotations

from dataclasses import replace

from salmon.model.change import SALESFORCE_ID, Write, WriteOp
from salmon.model.rules import OVERWRITTEN_MAX, Rules
from salmon.model.schema import ObjectSchema
from support.at_hand.stories import KEY, Story, born_in_mongodb, in_step, text


def overwritten_before_anybody_saw() -> tuple[Story, int]:
    """
    Salesforce's user answered 555 0202 to our 555 0101; our next write, which did not know that yet, set 555 0101 again.

    A row shows the outcome; the events of that time are still to come, from the moment that is returned.
    """
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    first = story.writes["salesforce"]
    story.salesforce.acks(first)
    edited = story.salesforce.moment()
    story.mongodb.edits(Phone="555 0303")
    second = story.writes["salesforce"]
    assert second.fields["Phone"] == "555 0303"
    story.salesforce.now += 5
    story.salesforce.row(Name="Acme", Phone="555 0303", marker=second.seq)
    story.salesforce.now = edited - 1
    return story, second.seq


def test_an_edit_that_our_write_overwrote_unseen_is_told_as_a_conflict() -> None:
    """Its author had not seen what our write set, and the other way round; nobody's value vanishes without a word."""
    story, seq = overwritten_before_anybody_saw()
    story.salesforce.edits(Phone="555 0202")
    assert story.conflicts == [], "another event may tell that the row has shown this edit, and a later one"
    story.salesforce.edits(Phone="555 0303", ack=seq)
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"555 0303", "555 0202"}


def test_an_overwritten_edit_is_told_even_if_the_event_of_our_write_never_comes() -> None:
    """It fell into a hole; whatever is newer than the row shows that nothing older is on its way any more."""
    story, _ = overwritten_before_anybody_saw()
    story.salesforce.edits(Phone="555 0202")
    story.salesforce.now += 9
    story.salesforce.edits(Name="Globex")
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"555 0303", "555 0202"}


def test_of_two_edits_the_first_is_not_taken_back_out_of_the_past() -> None:
    """
    Somebody typed 555 0202 and then 555 0303; a row shows that, and a later one our write of just this. (Seed 2123.)

    Both edits were made while the first row was read, so that their events come after it and say nothing new.
    """
    story = in_step(Name="Acme", Phone="555 0000")
    edited = story.salesforce.moment()
    story.salesforce.now += 1
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.row(Name="Acme", Phone="555 0303", as_of=edited - 1)
    ours = story.writes["salesforce"]
    assert ours.fields["Phone"] == story.state.canonical["Phone"] == "555 0303"
    story.salesforce.now += 5
    story.salesforce.row(Name="Acme", Phone="555 0303", marker=ours.seq)
    told = len(story.conflicts)
    story.salesforce.now = edited - 1
    story.salesforce.edits(Phone="555 0202")
    story.salesforce.edits(Phone="555 0303")
    story.salesforce.edits(ack=ours.seq)
    assert story.state.canonical["Phone"] == "555 0303"
    assert len(story.conflicts) == told


def test_what_a_row_has_shown_already_is_nothing_that_our_creation_overwrote() -> None:
    """The creation made the record: what it held when the row was read, was edited after it. (Seed 4455.)"""
    story = born_in_mongodb(Name="Acme", City="Bergen")
    creation = story.writes["salesforce"]
    story.salesforce.edits(City="Tromso")
    edited = story.salesforce.moment()
    story.salesforce.row(Name="Acme", City="Oslo", marker=creation.seq)
    story.mongodb.edits(City="Oslo", ack=story.writes["mongodb"].seq)
    story.mongodb.edits(City="Moss")
    told, ours = len(story.conflicts), story.writes["salesforce"]
    story.salesforce.now += 5
    story.salesforce.row(Name="Acme", City="Moss", marker=ours.seq)
    story.salesforce.now = edited - 1
    story.salesforce.edits(City="Oslo")
    story.salesforce.edits(City="Moss", ack=ours.seq)
    assert story.state.canonical["City"] == "Moss"
    assert len(story.conflicts) == told


def test_an_edit_that_an_earlier_write_overwrote_unseen_is_told() -> None:
    """What the row shows was typed over our 555 0101 later; whether that was ever there, the events tell. (Seed 11918.)"""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    first = story.writes["salesforce"]
    story.salesforce.row(Name="Acme", Phone="555 0000", marker=story.state.sides["salesforce"].marker)
    again = story.writes["salesforce"]
    assert again.fields == first.fields, "the row shows that it is owed still"
    story.salesforce.acks(first)
    story.mongodb.edits(Name="Globex")
    newest = story.writes["salesforce"]
    assert "Phone" not in newest.fields
    edited = story.salesforce.moment()
    story.salesforce.now += 9
    story.salesforce.row(Name="Globex", Phone="555 0303", marker=newest.seq)
    told = len(story.conflicts)
    story.salesforce.now = edited - 1
    story.salesforce.edits(Phone="555 0202", at=1)
    story.salesforce.edits(Phone="555 0101", ack=again.seq)
    (conflict,) = story.conflicts[told:]
    assert conflict.contest.challenger.value == "555 0202"
    story.salesforce.edits(Phone="555 0303")
    story.salesforce.edits(Name="Globex", ack=newest.seq)
    assert story.conflicts[told + 1 :] == []
    assert story.state.canonical["Phone"] == "555 0303"


def test_what_a_side_still_holds_was_not_overwritten() -> None:
    """The event of our write fell into a hole, so that events of later edits seem to be of the time before it."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.row(Name="Acme", Phone="555 0101", marker=story.writes["salesforce"].seq)
    edited = story.salesforce.moment()
    story.salesforce.now += 5
    story.salesforce.row(Name="Acme", Phone="555 0202", marker=story.state.sides["salesforce"].marker)
    story.mongodb.acks(story.writes["mongodb"])
    story.mongodb.edits(Phone="555 0303")
    after, story.salesforce.now = story.salesforce.now, edited - 1
    story.salesforce.edits(Phone="555 0202")
    story.salesforce.now = after
    story.salesforce.edits(Name="Globex")
    assert story.conflicts == []
    assert story.state.canonical["Phone"] == "555 0303"


def test_an_edit_that_our_second_creation_overwrote_unseen_is_told() -> None:
    """The first creation is told of already, so the second one found a record, and somebody's edit in it. (Seed 1722.)"""
    story = born_in_mongodb(Name="Acme", City="Bergen")
    first = story.writes["salesforce"]
    story.mongodb.edits(Phone="555 0101")
    second = story.writes["salesforce"]
    assert second.op is WriteOp.CREATE
    story.salesforce.acks(first)
    edited = story.salesforce.moment()
    story.mongodb.edits(City="Moss")
    story.salesforce.now += 5
    story.salesforce.row(dict(second.fields), marker=second.seq)
    story.salesforce.now = edited - 1
    story.salesforce.edits(City="Oslo")
    story.salesforce.edits(City="Bergen", Phone="555 0101", ack=second.seq)
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"Moss", "Oslo"}


def test_an_edit_of_the_agreed_value_that_our_write_overwrote_unseen_wins() -> None:
    """Our creation came twice; between the two, somebody who had seen the first edited what it had set."""
    story = born_in_mongodb(Name="Acme", Phone="555 0101")
    first = story.writes["salesforce"]
    story.mongodb.edits(City="Oslo")
    second = story.writes["salesforce"]
    assert second.op is WriteOp.CREATE
    story.salesforce.now += 9
    story.salesforce.row(Name="Acme", Phone="555 0101", City="Oslo", marker=second.seq)
    story.salesforce.now = 0
    story.salesforce.creates(Name="Acme", Phone="555 0101", ack=first.seq)
    story.salesforce.edits(Phone="555 0202")
    story.salesforce.edits(Phone="555 0101", City="Oslo", ack=second.seq)
    assert story.conflicts == []
    assert story.state.canonical["Phone"] == "555 0202"
    assert story.writes["salesforce"].fields["Phone"] == "555 0202"


def test_what_came_after_our_write_was_not_overwritten_by_it() -> None:
    """The write itself is told before the edit: the row has shown the edit already."""
    story, seq = overwritten_before_anybody_saw()
    story.salesforce.edits(Phone="555 0303", ack=seq)
    story.salesforce.edits(Phone="555 0202")
    assert story.conflicts == []
    assert story.state.canonical["Phone"] == "555 0303"


def test_an_event_of_a_former_life_is_no_twin() -> None:
    """It is told again after the record was made anew under another Id."""
    story = in_step(Name="Acme")
    story.mongodb.edits(Name="Globex")
    story.salesforce.deletes()
    creation = story.writes["salesforce"]
    story.salesforce.creates(Name="Globex", ack=creation.seq, native_id="001000000000009AAA")
    story.salesforce.now = 0
    out = story.salesforce.edits(Name="Acme")
    assert [report.fact for report in out.reports] == ["REPEATED"]


def test_a_row_of_the_record_that_our_creation_made_is_no_twin_of_the_deleted_one() -> None:
    """Only one record at a time carries a key: the end of the former one is still to be told."""
    story = born_in_mongodb(Name="Acme")
    first = story.writes["salesforce"]
    story.salesforce.creates(Name="Acme", ack=first.seq, native_id="001000000000001AAA")
    story.salesforce.row(Name="Acme", marker=first.seq, native_id="001000000000002AAA")
    assert story.facts() == []
    assert story.state.sides["salesforce"].native_id == "001000000000002AAA"


def test_an_application_that_saves_the_whole_document_edits_only_what_it_changed() -> None:
    """A replace speaks of every field; what the document held before is no edit, and no conflict."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    story.mongodb.edits(Name="Globex", Phone="555 0000")
    assert story.conflicts == []
    assert story.state.canonical["Phone"] == "555 0101"
    assert story.state.canonical["Name"] == "Globex"


def test_a_marker_that_went_back_tells_of_a_write_that_was_repeated() -> None:
    """
    A call of a dead sink was carried out late. Which fields it set, its event says, and these are mended; what else the
    row shows may be a user's edit, whose event is still to come.
    """
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    first = story.writes["salesforce"]
    story.salesforce.acks(first)
    story.mongodb.edits(Phone="555 0202")
    story.salesforce.acks(second := story.writes["salesforce"])
    story.salesforce.row(Name="Globex", Phone="555 0101", marker=first.seq)
    assert "salesforce" not in story.writes
    story.salesforce.edits(Name="Globex")
    assert story.state.canonical["Name"] == "Globex"
    story.salesforce.edits(Phone="555 0101", ack=first.seq)
    assert story.state.canonical["Phone"] == "555 0202"
    assert story.writes["salesforce"].fields == {"Phone": "555 0202"}
    assert story.writes["salesforce"].seq > second.seq


def test_what_rows_showed_of_a_repeated_write_is_no_edit_once_its_late_event_tells_of_it() -> None:
    """Two rows came before that event. Nobody in Salesforce has edited what another edit meets. (Seed 133342.)"""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.acks(first := story.writes["salesforce"])
    story.mongodb.edits(Phone="555 0202")
    story.come_to_rest()
    repeated = story.salesforce.moment()
    for _ in range(2):
        story.salesforce.row(Name="Acme", Phone="555 0101", marker=first.seq)
    story.salesforce.now = repeated - 1
    story.salesforce.edits(Phone="555 0101", ack=first.seq)
    story.mongodb.edits(Phone="555 0303")
    assert story.conflicts == []
    assert story.record == {"Name": "Acme", "Phone": "555 0303"}


def test_what_a_trigger_made_of_our_write_is_an_edit_whenever_the_event_of_the_write_comes() -> None:
    """The write was carried out once, and a row was first to show it. What the org set of its own accord, an edit meets."""
    story = in_step(Name="Acme", Phone="555 0000", City="Oslo")
    story.mongodb.edits(Phone="555 0101")
    written, write = story.salesforce.moment(), story.writes["salesforce"]
    story.salesforce.row(Name="Acme", Phone="555 0101", City="Bergen", marker=write.seq)
    story.salesforce.now = written - 1
    story.salesforce.edits(Phone="555 0101", City="Bergen", ack=write.seq)
    story.mongodb.edits(City="Paris")
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"Bergen", "Paris"}


def test_an_edit_back_to_what_our_write_had_set_is_one_though_the_event_of_the_write_comes_late() -> None:
    """That write was carried out once, so its event does not tell of what the row has shown since."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    written, write = story.salesforce.moment(), story.writes["salesforce"]
    story.salesforce.row(Name="Acme", Phone="555 0101", marker=write.seq)
    story.salesforce.row(Name="Acme", Phone="555 0202", marker=write.seq)
    story.come_to_rest()
    story.salesforce.row(Name="Acme", Phone="555 0101", marker=write.seq)
    story.salesforce.now = written - 1
    story.salesforce.edits(Phone="555 0101", ack=write.seq)
    story.mongodb.edits(Phone="555 0303")
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"555 0101", "555 0303"}


def test_a_creation_over_an_older_one_of_ours_clears_what_it_does_not_name() -> None:
    """In a document, that is: it is our doing and nobody's edit, so what was edited there meanwhile is written again."""
    story = Story()
    story.salesforce.row(Name="Acme")
    first = story.writes["mongodb"]
    story.salesforce.edits(City="Oslo")
    second = story.writes["mongodb"]
    story.mongodb.creates(dict(first.fields), ack=first.seq)
    story.mongodb.edits(Phone="555 0101")
    story.mongodb.edits({**second.fields, "Phone": None}, ack=second.seq)
    assert story.state.canonical["Phone"] == "555 0101"
    assert story.writes["mongodb"].fields["Phone"] == "555 0101"


# Creations over creations of ours, in the org: each leaves what it does not name as it was. (Kin of case L4.)


def test_what_an_earlier_creation_left_there_is_no_edit() -> None:
    """
    Our first creation set Name, which has been changed and then cleared in the database; the last one does not name it,
    and the one between was never carried out. The row shows the first Name: it is ours, and is cleared. (Kin of case L4.)
    """
    story = born_in_mongodb(Name="Acme", Phone="555 0101")
    story.salesforce.absent()
    story.mongodb.edits(Name="Globex")
    story.mongodb.edits(Name=None)
    last = story.writes["salesforce"]
    assert (last.op, last.fields) == (WriteOp.CREATE, {"Phone": "555 0101"})
    story.salesforce.row(Name="Acme", Phone="555 0101", marker=last.seq)
    assert story.state.canonical == {"Phone": "555 0101"}
    assert story.writes["salesforce"].fields == {"Name": None}
    assert story.conflicts == []


def test_so_is_what_an_earlier_update_left_there() -> None:
    """The update after it was refused, and the one that the row carries does not speak of City. (Kin of case L4.)"""
    story = in_step(Name="Acme", City="Rome", Phone="555 0000")
    story.mongodb.edits(City="Oslo")
    story.mongodb.edits(City="Bergen")
    story.mongodb.edits(City="Rome", Phone="555 x")
    story.salesforce.refuses(story.writes["salesforce"], "Phone")
    story.mongodb.edits(Name="Acme Ltd")
    last = story.writes["salesforce"]
    assert "City" not in last.fields
    story.salesforce.row(Name="Acme Ltd", City="Oslo", Phone="555 0000", marker=last.seq)
    assert story.state.canonical["City"] == "Rome"
    assert story.writes["salesforce"].fields == {"City": "Rome"}
    assert story.conflicts == []


def test_what_none_of_our_writes_has_set_is_an_edit() -> None:
    """Somebody typed it into the record that our creation made, before the row was read."""
    story = born_in_mongodb(Name="Acme", Phone="555 0101")
    story.salesforce.absent()
    story.mongodb.edits(Name="Globex")
    story.mongodb.edits(Name=None)
    story.salesforce.row(Name="Initech", Phone="555 0101", marker=story.writes["salesforce"].seq)
    assert story.state.canonical["Name"] == "Initech"


# Creations over creations of ours, in a document: each clears what it does not name. (Case L4.)


def changes_all(story: Story, creation: Write) -> Write:
    """
    The creation as one that changes every field of a document that is there: it was written before a creation said in which
    fields it differs from earlier ones, or the document has an older marker than all of these.
    """
    sent = story.state.sides["mongodb"].sent
    sent[creation.seq] = replace(sent[creation.seq], expected=0, differs=None)
    return creation


def two_creations() -> tuple[Story, Write, Write]:
    """City was old and is new when merge has heard nothing of the document yet: two creations are on their way."""
    story = Story()
    story.salesforce.row(Name="Acme", City="Oslo")
    first = story.writes["mongodb"]
    story.salesforce.edits(City="Bergen")
    second = changes_all(story, story.writes["mongodb"])
    assert (first.op, second.op) == (WriteOp.CREATE, WriteOp.CREATE)
    return story, first, second


def test_an_edit_that_our_second_creation_cleared_unseen_is_found_and_sent_again() -> None:
    """A user set Phone between the two; the second cleared it, and a row shows that before any event. (Case L4.)"""
    story, first, second = two_creations()
    story.mongodb.now += 9
    story.mongodb.row(dict(second.fields), marker=second.seq)
    story.mongodb.now = 0
    story.mongodb.creates(dict(first.fields), ack=first.seq)
    story.mongodb.edits(Phone="555 0101")
    story.mongodb.edits({"City": "Bergen", "Phone": None}, ack=second.seq)
    assert story.state.canonical["Phone"] == "555 0101"
    assert story.writes["mongodb"].fields == {"Phone": "555 0101"}
    assert story.writes["salesforce"].fields == {"Phone": "555 0101"}
    assert story.conflicts == []


def creations_before_an_update() -> tuple[Story, Write, Write, Write]:
    """The document that the first creation made is told; then an update follows the second creation."""
    story, first, second = two_creations()
    story.mongodb.creates(dict(first.fields), ack=first.seq)
    story.salesforce.edits(Name="Globex")
    third = story.writes["mongodb"]
    assert third.op is WriteOp.UPDATE
    return story, first, second, third


def test_so_is_one_that_a_creation_before_the_write_that_the_row_shows_cleared() -> None:
    """The row carries the marker of an update, which did not speak of Phone. (Case L4.)"""
    story, _, second, third = creations_before_an_update()
    edited = story.mongodb.moment()
    story.mongodb.now += 9
    story.mongodb.row(Name="Globex", City="Bergen", marker=third.seq)
    story.mongodb.now = edited - 1
    story.mongodb.edits(Phone="555 0101")
    story.mongodb.edits({"City": "Bergen", "Phone": None}, ack=second.seq)
    story.mongodb.edits(Name="Globex", ack=third.seq)
    assert story.state.canonical["Phone"] == "555 0101"
    assert story.conflicts == []


def test_and_one_that_was_told_before_the_row() -> None:
    """That the document does not have it any more is our own doing. (Case L4.)"""
    story, _, second, third = creations_before_an_update()
    story.mongodb.edits(Phone="555 0101")
    story.mongodb.row(Name="Globex", City="Bergen", marker=third.seq)
    assert story.state.canonical["Phone"] == "555 0101"
    assert story.writes["mongodb"].fields["Phone"] == "555 0101"
    assert story.conflicts == []
    assert second.seq < third.seq


def test_what_a_creation_cleared_of_a_field_that_nobody_has_told_of_is_found_too() -> None:
    """An older source has told of the document, and did not know the Phone. (Case L4, seed 2390.)"""
    story, first, second = two_creations()
    story.mongodb.creates(dict(first.fields), ack=first.seq, knows=frozenset({"Name", "City"}))
    edited = story.mongodb.moment()
    story.mongodb.now += 9
    story.mongodb.row(dict(second.fields), marker=second.seq)
    story.mongodb.now = edited - 1
    story.mongodb.edits(Phone="555 0101")
    story.mongodb.edits({"City": "Bergen", "Phone": None}, ack=second.seq)
    assert story.state.canonical["Phone"] == "555 0101"
    assert story.conflicts == []


def test_a_creation_of_many_fields_is_remembered_whole() -> None:
    """The bound is for the writes of hours, and cuts no write in two."""
    fields = tuple(text(f"F{number}") for number in range(OVERWRITTEN_MAX + 10))
    story = Story(Rules(ObjectSchema("Account", fields, "001")))
    story.salesforce.row(F0="old")
    first = story.writes["mongodb"]
    story.salesforce.edits(F0="new")
    second = changes_all(story, story.writes["mongodb"])
    story.mongodb.now += 9
    story.mongodb.row(dict(second.fields), marker=second.seq)
    story.mongodb.now = 0
    story.mongodb.creates(dict(first.fields), ack=first.seq)
    story.mongodb.edits(F1="a user's")
    story.mongodb.edits(F0="new", F1=None, ack=second.seq)
    assert story.state.canonical["F1"] == "a user's"


# Rows of an older source.


def test_a_clearing_edit_that_our_write_overwrote_is_told_though_the_rows_source_is_older() -> None:
    """What its row does not show of a field that it does not know is not that the field is empty."""
    older = frozenset({"Name"})
    story = in_step(Name="Acme", Phone="555 0000")
    edited = story.salesforce.moment()
    story.mongodb.edits(Phone="555 0101")
    write = story.writes["salesforce"]
    story.salesforce.now += 5
    story.salesforce.row(Name="Acme", marker=write.seq, knows=older)
    story.salesforce.row(Name="Acme", marker=write.seq, knows=older)
    story.salesforce.now = edited - 1
    story.salesforce.edits(Phone=None)
    story.salesforce.edits(Phone="555 0101", ack=write.seq)
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"555 0101", None}


def _made_twice_and_edited() -> tuple[Story, Write, Write]:
    """A document that somebody has edited, a second creation on its way to it, and an update after that."""
    story = Story()
    story.salesforce.creates(Name="Acme", City="Oslo")
    first = story.writes["mongodb"]
    story.salesforce.edits(Name="Globex")
    again = changes_all(story, story.writes["mongodb"])
    story.mongodb.acks(first)
    newest = story.writes["mongodb"]
    assert "City" not in newest.fields
    story.mongodb.edits(City="Bergen")
    return story, again, newest


def test_an_edit_that_our_write_went_over_is_told_with_the_one_that_came_after_that() -> None:
    """A row shows the later one before any event; by the event of our write, its author had not seen the first (seed 140292)."""
    story, again, newest = _made_twice_and_edited()
    written = story.mongodb.moment()
    story.mongodb.now += 9
    story.mongodb.row({SALESFORCE_ID: KEY, "Name": "Globex", "City": "Rome"}, marker=newest.seq, at=0)
    assert (story.state.canonical["City"], story.conflicts) == ("Rome", [])
    story.mongodb.now = written - 1
    for _ in range(2):
        story.mongodb.edits(City="Oslo", Name="Globex", ack=again.seq)
    (conflict,) = story.conflicts
    assert (conflict.contest.standing.value, conflict.contest.challenger.value) == ("Bergen", "Rome")
    assert story.state.canonical["City"] == "Rome"


def test_an_edit_that_no_write_of_ours_went_over_gives_way_to_a_later_one() -> None:
    """The sink had left our write out for a newer one: its event never comes, and the later author had seen the first edit."""
    story, _, newest = _made_twice_and_edited()
    written = story.mongodb.moment()
    story.mongodb.now += 9
    story.mongodb.row({SALESFORCE_ID: KEY, "Name": "Globex", "City": "Rome"}, marker=newest.seq, at=0)
    story.mongodb.now = written - 1
    story.mongodb.acks(newest)
    assert (story.state.canonical["City"], story.conflicts) == ("Rome", [])


def test_an_edit_that_a_row_had_shown_before_our_write_was_sent_is_not_told_again_by_its_event() -> None:
    """Whoever made what we wrote had seen it, and so had whoever edited the field after that (seed 163070)."""
    story = in_step(Name="Acme", Phone="555 0000")
    seen = story.salesforce.moment()
    story.salesforce.row(Name="Acme", Phone="555 0101", as_of=seen)
    story.mongodb.acks(story.writes["mongodb"])
    story.mongodb.edits(Phone="555 0202")
    write = story.writes["salesforce"]
    story.salesforce.now += 9
    story.salesforce.row(Name="Acme", Phone="555 0202", marker=write.seq)
    story.salesforce.row(Name="Acme", Phone="555 0303", marker=write.seq)
    story.salesforce.now = seen
    story.salesforce.edits(Phone="555 0101")
    story.salesforce.acks(write)
    assert (story.state.canonical["Phone"], story.conflicts) == ("555 0303", [])
