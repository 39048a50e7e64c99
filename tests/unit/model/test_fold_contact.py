"""Step 4 of the fold: the first time that a side tells of a record or a field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, WriteOp
from salmon.model.fold import Fact, Folded, Published
from salmon.model.policies import MONGODB_WINS
from support.at_hand.stories import Story, in_step, rules

THE_FAR_FUTURE = 9_000_000_000_000  # ms
LONG_AGO = 1  # ms


def found_on_both(initial: str, *, mongodb_first: bool = False) -> Story:
    """Salesforce and MongoDB each have the record before the sync begins, with different phone numbers."""
    story = Story(rules(initial=initial))
    tellers: list[Callable[[], Folded]] = [
        lambda: story.salesforce.row(Name="Acme", Phone="555 0001"),
        lambda: story.mongodb.row(Name="Acme", Phone="555 0002"),
    ]
    for tell in reversed(tellers) if mongodb_first else tellers:
        tell()
    return story


def test_a_record_that_only_salesforce_has_is_created_in_mongodb() -> None:
    """The first row of a record: all of it goes to the other side."""
    story = Story()
    out = story.salesforce.row(Name="Acme", Phone="555 0001", Shout="ACME!")
    assert story.writes["mongodb"].op is WriteOp.CREATE
    assert story.writes["mongodb"].fields == {
        "Name": "Acme",
        "Phone": "555 0001",
        "Shout": "ACME!",
        SALESFORCE_ID: story.key,
    }
    assert "salesforce" not in story.writes
    assert out.published is Published.ROW
    assert story.facts() == [Fact.CREATED]


def test_salesforce_decides_where_both_have_a_value_and_initial_says_so() -> None:
    """`initial: salesforce`: counted as first contact, and not a conflict, as nobody has edited anything."""
    for mongodb_first in (False, True):
        story = found_on_both("salesforce", mongodb_first=mongodb_first)
        assert Fact.FIRST_CONTACT in story.facts()
        assert story.record == {"Name": "Acme", "Phone": "555 0001"}
        assert story.writes["mongodb"].fields["Phone"] == "555 0001"
        assert story.conflicts == []


def test_a_creation_on_its_way_to_a_record_that_is_there_is_superseded() -> None:
    """MongoDB was read first and its record sent to Salesforce, which turns out to have it: it keeps its own."""
    story = found_on_both("salesforce", mongodb_first=True)
    superseding = story.writes["salesforce"]
    assert superseding.op is WriteOp.UPDATE
    assert superseding.fields == {"Phone": "555 0001"}, "what the creation would have overwritten"


def test_mongodb_decides_where_both_have_a_value_and_initial_says_so() -> None:
    """`initial: mongodb`: Salesforce is put right, whoever was read first."""
    for mongodb_first in (False, True):
        story = found_on_both("mongodb", mongodb_first=mongodb_first)
        assert story.record == {"Name": "Acme", "Phone": "555 0002"}
        assert story.writes["salesforce"].op is WriteOp.UPDATE
        assert story.writes["salesforce"].fields == {"Phone": "555 0002"}
        assert story.conflicts == []


def test_records_that_are_alike_are_joined_without_a_write_of_their_fields() -> None:
    """Both sides hold the same: only the document's Salesforce Id is still to be told."""
    story = Story()
    story.salesforce.row(Name="Acme", Phone="555 0001")
    story.mongodb.row(Name="Acme", Phone="555 0001")
    assert story.writes["mongodb"].fields == {SALESFORCE_ID: story.key}
    assert "salesforce" not in story.writes
    assert Fact.FIRST_CONTACT not in story.facts()


def test_nothing_is_cleared_by_what_is_merely_missing() -> None:
    """At first contact null says nothing, also on the side that `initial` prefers."""
    story = Story(rules(initial="salesforce"))
    story.mongodb.row(Name="Acme", Phone="555 0002", City="Oslo")
    story.salesforce.row(Name="Acme")
    assert story.record == {"Name": "Acme", "Phone": "555 0002", "City": "Oslo"}
    assert story.writes["salesforce"].fields == {"Phone": "555 0002", "City": "Oslo"}


def test_each_side_fills_what_the_other_lacks() -> None:
    """The union of both, as neither has a value where the other has one."""
    story = Story()
    story.salesforce.row(Name="Acme", Phone="555 0001")
    story.mongodb.row(Name="Acme", City="Oslo")
    assert story.record == {"Name": "Acme", "Phone": "555 0001", "City": "Oslo"}
    assert story.writes["salesforce"].fields == {"City": "Oslo"}
    assert story.writes["mongodb"].fields == {"Phone": "555 0001", SALESFORCE_ID: story.key}


def test_a_value_that_mongodb_found_for_a_derived_field_never_decides() -> None:
    """Even with `initial: mongodb`, what only the org can set is what the org says."""
    story = Story(rules(initial="mongodb"))
    story.mongodb.row(Name="Acme", Shout="acme?")
    story.salesforce.row(Name="Acme", Shout="ACME!")
    assert story.record == {"Name": "Acme", "Shout": "ACME!"}
    assert story.writes["mongodb"].fields["Shout"] == "ACME!"


# Nothing is emitted before a record is told whole.


def test_nothing_is_emitted_before_the_record_is_told_whole() -> None:
    """The stream tells of an edit before the snapshot has reached the record: one field is no record."""
    story = Story()
    out = story.salesforce.edits(Phone="555 0101")
    assert out.writes == {}
    assert out.published is Published.UNCHANGED
    story.salesforce.row(Name="Acme", Phone="555 0101")
    assert story.writes["mongodb"].op is WriteOp.CREATE
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}


def test_a_record_half_told_by_one_side_holds_back_writes_to_both() -> None:
    """MongoDB has told of its Phone alone: what else it holds might be newer than what Salesforce has."""
    story = Story()
    story.mongodb.edits(Phone="555 0101")
    out = story.salesforce.row(Name="Acme", Phone="555 0001")
    assert out.writes == {}
    out = story.mongodb.row(Name="Acme", Phone="555 0101", City="Oslo")
    assert story.writes["salesforce"].fields == {"Phone": "555 0101", "City": "Oslo"}


def test_an_event_before_the_row_is_an_edit_that_the_row_does_not_undo() -> None:
    """The snapshot's row was read before the edit that the stream has told already."""
    story = Story()
    story.salesforce.edits(Phone="555 0101")
    story.salesforce.row(as_of=0, Name="Acme", Phone="555 0001")
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}


def test_a_creation_tells_the_record_whole_but_for_what_events_do_not_carry() -> None:
    """A roll-up is not in the event; the record goes to MongoDB at once all the same."""
    story = Story()
    story.salesforce.creates(Name="Acme", Shout="ACME!")
    assert story.writes["mongodb"].fields == {
        "Name": "Acme",
        "Shout": "ACME!",
        SALESFORCE_ID: story.key,
    }


def test_a_field_that_salesforce_has_not_told_is_not_cleared_in_mongodb() -> None:
    """A document has a roll-up from before; Salesforce's creation does not speak of it, and that is no null."""
    story = Story()
    story.mongodb.row(Name="Acme", Rollup="7")
    story.salesforce.creates(Name="Acme")
    story.come_to_rest()
    assert story.mongodb.holds["Rollup"] == "7"
    story.salesforce.row(Name="Acme", Rollup="8")
    assert story.writes["mongodb"].fields == {"Rollup": "8"}


# An edit beats what was merely found.


def test_an_edit_beats_what_was_merely_found_without_a_conflict() -> None:
    """Both were found, Salesforce's holds; before MongoDB hears of it, somebody edits the document."""
    story = found_on_both("salesforce")
    story.mongodb.edits(Phone="555 0303", at=LONG_AGO)
    assert story.record == {"Name": "Acme", "Phone": "555 0303"}
    assert story.conflicts == []
    story.come_to_rest()
    assert story.salesforce.holds["Phone"] == "555 0303"


def test_what_is_found_later_does_not_beat_an_edit_made_meanwhile() -> None:
    """The document is known and edited while Salesforce's snapshot is still running."""
    story = Story(rules(initial="salesforce"))
    story.mongodb.row(Name="Acme", Phone="555 0002")
    story.mongodb.edits(Phone="555 0303", at=LONG_AGO)
    story.salesforce.row(at=THE_FAR_FUTURE, Name="Acme", Phone="555 0001")
    assert story.record == {"Name": "Acme", "Phone": "555 0303"}
    assert story.conflicts == []
    assert story.writes["salesforce"].fields == {"Phone": "555 0303"}


def test_a_cleared_field_is_not_filled_again_by_what_is_found_later() -> None:
    """Somebody emptied the Phone while the other side was not read yet: an edit, even to null."""
    story = Story(rules(initial="salesforce"))
    story.mongodb.row(Name="Acme", Phone="555 0002")
    story.mongodb.edits(Phone=None)
    story.salesforce.row(Name="Acme", Phone="555 0002")
    assert story.record == {"Name": "Acme"}
    assert story.writes["salesforce"].fields == {"Phone": None}


def test_an_edit_is_only_beaten_by_an_edit() -> None:
    """Once somebody has edited the found value under our eyes, another blind edit is a conflict."""
    story = in_step(Name="Acme", Phone="555 0001")
    story.salesforce.edits(Phone="555 0101", at=2_000)
    story.mongodb.edits(Phone="555 0202", at=1_000)
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}
    assert len(story.conflicts) == 1


OLDER = frozenset({"Name", "Phone"})  # the fields that a source's older schema knows


@pytest.mark.parametrize(("initial", "city"), [(SALESFORCE, "Oslo"), (MONGODB, "Rome")])
def test_a_row_of_an_older_schema_says_nothing_of_a_newer_field(initial: str, city: str) -> None:
    """A source that has not heard of the field does not say that it is empty; its first value is contact, no edit."""
    story = Story(rules(initial=initial))
    story.salesforce.row(Name="Acme", City="Oslo")
    story.mongodb.row(knows=OLDER, Name="Acme")
    assert story.mongodb.holds == {"Name": "Acme"}
    story.mongodb.row(Name="Acme", City="Rome")
    story.come_to_rest()
    assert (story.record, story.conflicts) == ({"Name": "Acme", "City": city}, [])


def test_an_old_row_of_an_older_schema_says_nothing_of_a_newer_field() -> None:
    """Nor does one that is read before an event and told behind it."""
    story = Story(rules())
    story.salesforce.row(Name="Acme", City="Oslo")
    story.mongodb.edits(Phone="555 0101")
    story.mongodb.row(as_of=0, knows=OLDER, Name="Acme")
    story.mongodb.row(Name="Acme", Phone="555 0101", City="Rome")
    assert story.seen[Fact.FIRST_CONTACT] == 1, "the city is told for the first time"
    assert story.record == {"Name": "Acme", "Phone": "555 0101", "City": "Oslo"}


def test_an_older_source_that_does_not_mention_a_field_has_not_refused_it() -> None:
    """Our write of a field that was put back is answered by one who has not heard of it: nobody kept the old value."""
    story = in_step(Name="Acme", City="Oslo")
    story.salesforce.edits(City="Rome")
    echo = story.mongodb.acks_without(story.writes["mongodb"], "City", knows=OLDER)
    assert echo.writes.keys() == {"mongodb"}, "sent once more, as nobody knows what became of it"
    assert (story.record, story.conflicts) == ({"Name": "Acme", "City": "Rome"}, [])


def test_an_edit_asks_for_what_its_record_has_not_told() -> None:
    """It does not wait until it is the record's turn to be read anew; old news asks for nothing."""
    story = Story(rules())
    story.salesforce.row(Name="Acme", City="Oslo")
    story.mongodb.row(knows=OLDER, Name="Acme")
    assert story.salesforce.edits(Phone="555 0101").to_read == {MONGODB}
    assert story.tell_again().to_read == set()
    assert story.mongodb.edits(Phone="555 0202").to_read == {MONGODB}


# An update before our creation's echo. (Case L3.)


@pytest.mark.parametrize("row_first", [True, False])
@pytest.mark.parametrize("older", [SALESFORCE, MONGODB])
def test_an_older_edit_of_a_record_that_both_sides_had_is_a_conflict(older: str, row_first: bool) -> None:
    """
    Our creation is in flight to a record that has been there all along, and an edit of it is told before its row: that
    its author saw what our creation says is not true. The later edit wins, and the conflict is told. (Case L3.)
    """
    story = Story()
    newer_side, older_side = story.salesforce, story.mongodb
    if older == SALESFORCE:
        newer_side, older_side = older_side, newer_side
    newer_side.edits(Phone="555 0505", at=5_000)
    newer_side.row(Name="Acme", Phone="555 0505")
    if row_first:
        older_side.row(Name="Acme", Phone="555 0000")
    else:
        assert story.writes[older].op is WriteOp.CREATE
    older_side.edits(Phone="555 0202", at=2_000)
    if not row_first:
        older_side.row(Name="Acme", Phone="555 0202")
    assert story.record == {"Name": "Acme", "Phone": "555 0505"}
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"555 0505", "555 0202"}
    assert story.writes[older].fields["Phone"] == "555 0505"


# A field that is merely new to the sync. (Case L5.)


def in_step_before_the_city() -> Story:
    """Both sides hold the record; of its City, which the sync has just begun to know, neither has told yet."""
    story = Story()
    story.salesforce.row(knows=OLDER, Name="Acme")
    story.mongodb.row(knows=OLDER, Name="Acme")
    story.come_to_rest()
    story.conflicts.clear()
    return story


@pytest.mark.parametrize("city_first", [True, False])
def test_a_field_that_is_merely_new_to_the_sync_contests_no_deletion(city_first: bool) -> None:
    """MongoDB deletes what it has seen; a row shows a City that was there all along. No conflict, by no clock. (Case L5.)"""
    story = in_step_before_the_city()
    if not city_first:
        story.mongodb.deletes(at=LONG_AGO)
    story.salesforce.row(Name="Acme", City="Oslo", at=THE_FAR_FUTURE)
    if city_first:
        story.mongodb.deletes(at=LONG_AGO)
    assert (story.record, story.conflicts) == (None, [])
    assert story.writes["salesforce"].op is WriteOp.DELETE


@pytest.mark.parametrize("city_first", [True, False])
def test_it_contests_none_in_salesforce_either(city_first: bool) -> None:
    """The document has the City; Salesforce deletes the record."""
    story = in_step_before_the_city()
    if not city_first:
        story.salesforce.deletes(at=LONG_AGO)
    story.mongodb.row(Name="Acme", City="Oslo", at=THE_FAR_FUTURE)
    if city_first:
        story.salesforce.deletes(at=LONG_AGO)
    assert (story.record, story.conflicts) == (None, [])
    assert story.writes["mongodb"].op is WriteOp.DELETE


def test_an_edit_of_a_field_that_is_new_to_the_sync_contests_a_deletion() -> None:
    """Somebody has just typed it: an event says so."""
    story = in_step_before_the_city()
    story.mongodb.deletes(at=LONG_AGO)
    story.salesforce.edits(City="Oslo", at=THE_FAR_FUTURE)
    assert story.state.lives
    assert len(story.conflicts) == 1


def test_a_row_that_shows_an_edit_besides_the_new_field_contests_a_deletion() -> None:
    """The Name is another one than the side had told."""
    story = in_step_before_the_city()
    story.mongodb.deletes(at=LONG_AGO)
    story.salesforce.row(Name="Acme Ltd", City="Oslo", at=THE_FAR_FUTURE)
    assert story.record == {"Name": "Acme Ltd", "City": "Oslo"}
    assert len(story.conflicts) == 1


def test_our_creation_says_nothing_of_a_field_that_is_new_since() -> None:
    """It was written before the sync knew the City: what a row shows there was there, and is nobody's edit. (Case L6.)"""
    story = Story()
    story.salesforce.row(Name="Acme")
    creation = story.writes["mongodb"]
    sent = story.state.sides["mongodb"].sent
    sent[creation.seq] = replace(sent[creation.seq], lacks=frozenset({"City"}))
    story.mongodb.row(Name="Acme", City="Oslo", marker=creation.seq)
    assert story.record == {"Name": "Acme", "City": "Oslo"}
    assert story.state.versions["City"].baseline


def test_a_creation_after_one_that_did_not_know_a_field_leaves_the_field_alone() -> None:
    """
    Somebody has perhaps set it in the record that the earlier creation has made, and a source that does not know it either
    says nothing of that; the next row does. (Case L6; seed 17331 of the World.)
    """
    story = Story()
    story.salesforce.row(Name="Acme", Phone="1")
    first = story.writes["mongodb"]
    sent = story.state.sides["mongodb"].sent
    sent[first.seq] = replace(sent[first.seq], lacks=frozenset({"City"}))
    story.salesforce.edits(Phone=None)
    second = story.writes["mongodb"]
    assert second.op is WriteOp.CREATE
    assert second.knows is not None
    assert "Phone" in second.knows
    assert "City" not in second.knows
    story.mongodb.row(Name="Acme", City="Oslo", marker=second.seq)
    assert story.record == {"Name": "Acme", "City": "Oslo"}
    assert not story.conflicts


def test_who_edits_a_record_that_our_creation_was_carried_out_over_has_seen_what_that_set() -> None:
    """The event of it mentions only what it changed, and what had made the record was never told: the edit is causal."""
    story = Story(rules(policy=MONGODB_WINS))
    story.mongodb.row(Name="Acme", Phone="555 0101")
    story.mongodb.edits(Phone="555 0202")
    story.mongodb.edits(City="Oslo")
    third = story.writes["salesforce"]
    story.salesforce.edits(City="Oslo", ack=third.seq)
    story.salesforce.row(Name="Acme", Phone="555 0303", City="Oslo", marker=third.seq)
    assert (story.state.canonical["Phone"], story.conflicts) == ("555 0303", [])
    assert "salesforce" not in story.writes
