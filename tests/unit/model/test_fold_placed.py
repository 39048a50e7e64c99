"""Documents that may be in one of several collections: they enter, move, leave, and may be there twice."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from salmon.model.change import (
    ERROR,
    MONGODB,
    PLACE,
    SALESFORCE,
    SALESFORCE_ID,
    TWICE,
    Change,
    Misfit,
    Op,
    Value,
    WriteOp,
)
from salmon.model.fold import Fact
from salmon.model.rules import Rules
from salmon.model.views import View
from support.at_hand.stories import KEY, SCHEMA, Story, in_step


def by_city(digest: str = "by city", home: str = "Oslo", elsewhere: str = "Bergen") -> Rules:
    """Records of one city are in `north`, of another in `west`, and all others in neither."""
    places = {home: "north", elsewhere: "west"}

    def place(record: Mapping[str, Value]) -> str | None:
        return places.get(str(record.get("City")))

    return Rules(SCHEMA, views={MONGODB: View(digest, places=place, collections=frozenset(places.values()))})


def in_north(**fields: Value) -> Story:
    """A record of Oslo that both sides have."""
    return in_step(by_city(), **{"Name": "Acme", "City": "Oslo", **fields})


def place_of(story: Story) -> Value:
    return story.mongodb.holds.get(PLACE)


def tell_twice(story: Story) -> None:
    """The source has looked and found documents in both collections."""
    story.mongodb.now += 1
    story.tell(
        Change(
            MONGODB,
            Op.ROW,
            as_of=story.mongodb.now,
            changed=frozenset(),
            misfits={PLACE: Misfit(TWICE, "Both have it.")},
            history=story.mongodb.history,
        )
    )


# In, from one to another, and out.


def test_a_creation_names_the_collection_of_the_record() -> None:
    """The first look at the agreed record says where its document belongs."""
    story = Story(by_city())
    story.salesforce.creates(Name="Acme", City="Bergen")
    write = story.writes[MONGODB]
    assert write.op is WriteOp.CREATE
    assert write.fields[PLACE] == "west"
    story.come_to_rest()
    assert place_of(story) == "west"


def test_a_record_that_no_collection_is_for_is_not_wanted() -> None:
    """As if a filter said so: it is agreed and published, and costs MongoDB no write."""
    story = Story(by_city())
    story.salesforce.creates(Name="Acme", City="Rome")
    assert story.writes == {}
    story.salesforce.edits(City="Oslo")
    assert story.writes[MONGODB].fields[PLACE] == "north"


def test_an_edit_in_salesforce_moves_the_document() -> None:
    """The move is an update that names the other collection: nothing is deleted, and nothing created."""
    story = in_north()
    story.salesforce.edits(City="Bergen")
    write = story.writes[MONGODB]
    assert (write.op, write.fields) == (WriteOp.UPDATE, {"City": "Bergen", PLACE: "west"})
    story.mongodb.creates({**story.mongodb.holds, **write.fields}, ack=write.seq)
    assert MONGODB not in story.writes
    assert place_of(story) == "west"
    assert (story.conflicts, story.seen[Fact.DELETED]) == ([], 0)


def test_an_edit_of_the_application_moves_the_document() -> None:
    """The value goes to Salesforce, and the document is owed its new place alone."""
    story = in_north()
    story.mongodb.edits({PLACE: "north"}, City="Bergen")
    assert story.writes[SALESFORCE].fields == {"City": "Bergen"}
    assert story.writes[MONGODB].fields == {PLACE: "west"}


def test_an_edit_that_follows_a_move_is_made_by_somebody_who_saw_our_values() -> None:
    """The document came with what our write set. Whoever edits that has seen it: no conflict, whatever the clocks say."""
    story = in_north(Phone="555 0100")
    story.salesforce.edits(City="Bergen", Phone="555 0101")
    write = story.writes[MONGODB]
    story.mongodb.creates({**story.mongodb.holds, **write.fields}, ack=write.seq)
    story.mongodb.edits({PLACE: "west"}, Phone="555 0102", at=1)
    assert story.record is not None
    assert story.record["Phone"] == "555 0102"
    assert story.conflicts == []


def test_an_edit_before_the_move_that_our_write_went_over_is_a_conflict() -> None:
    """The application edits the document while our move is on its way; its event comes first, from the former collection."""
    story = in_north(Phone="555 0100")
    story.salesforce.edits(City="Bergen", Phone="555 0101")
    write = story.writes[MONGODB]
    story.mongodb.edits({PLACE: "north"}, Phone="555 0102")
    assert [conflict.contest.field for conflict in story.conflicts] == ["Phone"]
    story.mongodb.creates({**story.mongodb.holds, **write.fields}, ack=write.seq)
    story.come_to_rest()
    assert place_of(story) == "west"
    assert story.record is not None
    assert story.record["Phone"] == story.mongodb.holds["Phone"] == "555 0102"


def test_a_move_by_hand_is_moved_back_and_no_edit() -> None:
    """The collection is merge's: an application that moves a document itself has edited nothing."""
    story = in_north()
    story.mongodb.creates({**story.mongodb.holds, PLACE: "west"}, ack=story.state.sides[MONGODB].marker)
    assert story.conflicts == []
    assert Fact.EDITED not in story.facts()
    assert story.writes.keys() == {MONGODB}
    assert story.writes[MONGODB].fields == {PLACE: "north"}


def test_a_move_by_hand_that_edits_is_an_edit() -> None:
    """What differs in the document as it comes is judged as in any update; the rest is as it was."""
    story = in_north()
    marker = story.state.sides[MONGODB].marker
    story.mongodb.creates({**story.mongodb.holds, PLACE: "west", "Phone": "555 0101"}, ack=marker)
    assert story.writes[SALESFORCE].fields == {"Phone": "555 0101"}
    assert story.writes[MONGODB].fields == {PLACE: "north"}


def test_a_document_that_moves_by_hand_is_not_in_conflict_with_what_is_on_its_way_to_it() -> None:
    """Salesforce has edited a field since. That the document comes along without that is nobody's edit."""
    story = in_north(Phone="555 0100")
    story.salesforce.edits(Phone="555 0101")
    marker = story.state.sides[MONGODB].marker
    story.mongodb.creates({**story.mongodb.holds, PLACE: "west"}, ack=marker)
    assert story.conflicts == []
    assert story.record is not None
    assert story.record["Phone"] == "555 0101"
    assert story.writes[MONGODB].fields == {PLACE: "north", "Phone": "555 0101"}


def test_a_record_leaves_when_no_collection_is_for_it_any_more() -> None:
    """It is taken off MongoDB alone, as by a filter."""
    story = in_north()
    story.salesforce.edits(City="Rome")
    write = story.writes[MONGODB]
    assert write.op is WriteOp.DELETE
    story.mongodb.deletes()
    assert story.state.lives
    assert Fact.DELETED not in story.seen


def test_a_deletion_in_its_collection_deletes_the_record() -> None:
    """The source has looked: it is in no collection. That is a deletion like any other."""
    story = in_north()
    _ends(story, "north")
    assert story.writes[SALESFORCE].op is WriteOp.DELETE
    assert not story.state.lives


def test_the_end_of_a_document_in_another_collection_is_not_the_end_of_the_record() -> None:
    """It was a copy, or the document has moved since: what is there now, a row has to say."""
    story = in_north()
    _ends(story, "west")
    assert story.state.lives
    assert story.facts() == [Fact.ELSEWHERE]
    assert story.last.to_read == {MONGODB}


def test_a_second_move_while_the_first_is_on_its_way_says_where_it_ends() -> None:
    """Each write says all that is owed: the newest alone may reach the sink."""
    story = in_north()
    story.salesforce.edits(City="Bergen")
    story.salesforce.edits(City="Oslo")
    assert story.writes[MONGODB].fields == {"City": "Oslo", PLACE: "north"}


def test_a_row_answers_a_move_by_its_marker() -> None:
    """After events were lost, the row of the document in its new collection is the answer."""
    story = in_north()
    story.salesforce.edits(City="Bergen")
    write = story.writes[MONGODB]
    story.mongodb.row({**story.mongodb.holds, **write.fields}, marker=write.seq)
    assert MONGODB not in story.writes
    assert story.mongodb.in_flight == []


# An event that comes from where the document is not known to be.


def test_an_edit_in_a_collection_where_the_document_is_not_known_to_be_waits_for_a_row() -> None:
    """It may be of another document with the same `_id`."""
    story = in_north(Phone="555 0100")
    story.mongodb.edits({PLACE: "west"}, Phone="555 0101")
    assert story.facts() == [Fact.ELSEWHERE]
    assert story.last.to_read == {MONGODB}
    assert SALESFORCE not in story.writes
    story.mongodb.row({**story.mongodb.holds, PLACE: "west", "Phone": "555 0101"})
    assert story.writes[SALESFORCE].fields == {"Phone": "555 0101"}


def test_what_a_source_of_before_says_of_no_place_is_folded_as_ever() -> None:
    """While the processes are upgraded, events of an older source name no collection."""
    story = in_north()
    story.mongodb.edits(Phone="555 0101")
    assert story.writes[SALESFORCE].fields == {"Phone": "555 0101"}


def moving() -> Story:
    """A record whose document is moved by a write that has no answer yet."""
    story = in_north()
    story.salesforce.edits(City="Bergen")
    assert story.writes[MONGODB].fields[PLACE] == "west"
    return story


def test_the_end_of_a_document_that_tells_no_place_is_looked_into() -> None:
    """A source that knows of one collection alone takes our move for a deletion: the other half is somewhere else."""
    story = moving()
    story.mongodb.now += 1
    moment = story.mongodb.now
    story.tell(Change(MONGODB, Op.DELETE, order=moment.to_bytes(8, "big"), commit_time=moment))
    assert story.state.lives
    assert story.last.to_read == {MONGODB}


def test_a_look_that_finds_nothing_while_a_move_is_on_its_way_is_too_early() -> None:
    """A source that does not know the newest collection finds nothing in the others. What the sink finds is believed."""
    story = moving()
    story.mongodb.absent()
    assert story.state.lives
    story.mongodb.finds_it_gone(story.writes[MONGODB])
    story.mongodb.absent()
    assert not story.state.lives


def test_a_look_after_what_our_write_has_moved_is_not_too_early() -> None:
    """The event of our move could not be folded, because two documents were known; it says all the same that the move is over."""
    story = moving()
    write = story.writes[MONGODB]
    tell_twice(story)
    story.mongodb.creates({**story.mongodb.holds, **write.fields}, ack=write.seq)
    _ends(story, "west")
    assert story.facts() == [Fact.ELSEWHERE]
    story.mongodb.absent()
    assert not story.state.lives


def test_the_end_of_a_document_that_was_to_move_and_then_to_go_is_its_end() -> None:
    """Of two writes on their way the later one takes the record away: there is no other half to wait for."""
    story = moving()
    story.salesforce.edits(City="Rome")
    assert story.writes[MONGODB].op is WriteOp.DELETE
    _ends(story, "north")
    assert story.state.sides[MONGODB].exists is False
    assert story.state.lives
    assert MONGODB not in story.writes


def test_a_document_that_comes_after_the_sink_found_none_is_written_to() -> None:
    """Its insert is taken for a move, as the deletion is told of later; but it says as much of the document as a creation does."""
    story = moving()
    story.mongodb.finds_it_gone(story.writes[MONGODB])
    story.mongodb.creates({"Name": "Acme", "City": "Bergen", PLACE: "north"})
    assert story.writes[MONGODB].fields[PLACE] == "west"


# The same `_id` twice.


def test_of_two_documents_nothing_is_taken_and_nothing_is_written() -> None:
    """The place is a value that cannot be taken. Edits of either document, and of Salesforce, wait."""
    story = in_north()
    tell_twice(story)
    assert story.mongodb.misfits == {PLACE}
    story.mongodb.edits({PLACE: "north"}, Phone="555 0101")
    assert story.facts() == [Fact.ELSEWHERE]
    story.salesforce.edits(Name="Globex")
    assert story.writes == {}


def test_it_is_over_with_the_first_row_that_finds_one() -> None:
    """What is owed by then is written, and what is in the document that is left counts."""
    story = in_north(Phone="555 0100")
    tell_twice(story)
    story.salesforce.edits(Name="Globex")
    marker = story.state.sides[MONGODB].marker
    story.mongodb.row({**story.mongodb.holds, PLACE: "north", "Phone": "555 0101"}, marker=marker)
    assert story.mongodb.misfits == set()
    assert story.writes[MONGODB].fields == {"Name": "Globex"}
    assert story.writes[SALESFORCE].fields == {"Phone": "555 0101"}


@pytest.mark.parametrize("edited", [False, True])
def test_what_a_restored_database_has_twice_is_restored_with_the_first_row_that_finds_one(
    *, edited: bool
) -> None:
    """While there are two documents, nothing is told of either: what is then found is as old as the backup. (Seed 406725.)"""
    story = in_north(Phone="555 0100")
    story.salesforce.edits(Phone="555 0101")
    story.come_to_rest()
    story.mongodb.goes_back()
    tell_twice(story)
    if edited:
        story.mongodb.edits({PLACE: "west"}, Name="Globex")
    tell_twice(story)
    story.mongodb.row({**story.mongodb.holds, PLACE: "north", "Phone": "555 0100"})
    assert Fact.RESTORED in story.facts()
    assert story.conflicts == []
    assert SALESFORCE not in story.writes
    assert story.writes[MONGODB].fields == {"Phone": "555 0101"}
    story.mongodb.edits({PLACE: "north"}, Name="Globex")
    assert story.writes[SALESFORCE].fields == {"Name": "Globex"}


def test_a_sink_that_finds_two_waits_for_a_row() -> None:
    """Whichever comes first, the refusal or the end of the copy: the row that answers says what is there."""
    story = in_north()
    story.salesforce.edits(City="Bergen")
    story.mongodb.finds_it_there(story.writes[MONGODB])
    assert MONGODB not in story.writes
    story.mongodb.row({**story.mongodb.holds})
    assert story.writes[MONGODB].fields == {"City": "Bergen", PLACE: "west"}


def test_a_write_that_meets_two_documents_was_perhaps_carried_out_before() -> None:
    """A sink that died had carried it out before the copy was made. Its event is ours, and nobody's edit."""
    story = in_north(Phone="555 0100")
    story.salesforce.edits(Phone="555 0101")
    write = story.writes[MONGODB]
    story.salesforce.edits(Phone="555 0102")
    story.mongodb.finds_it_there(write, code=TWICE)
    story.mongodb.edits({PLACE: "north"}, Phone="555 0101", ack=write.seq)
    assert story.record is not None
    assert story.record["Phone"] == "555 0102"
    assert story.conflicts == []


def test_a_deletion_that_meets_two_documents_waits() -> None:
    """A person deletes one of them, and then it is carried out."""
    story = in_north()
    story.salesforce.deletes()
    story.mongodb.finds_it_there(story.writes[MONGODB])
    tell_twice(story)
    assert story.writes == {}
    story.mongodb.row({**story.mongodb.holds, PLACE: "north"}, marker=story.state.sides[MONGODB].marker)
    assert story.writes[MONGODB].op is WriteOp.DELETE


def test_the_target_of_a_one_way_object_that_has_two_is_not_tried_for_ever() -> None:
    """Nobody reads it: the sink refuses, and the record waits for an edit, or for `salmon retry`."""
    story = Story(Rules(SCHEMA, views=by_city().views, one_way_to=MONGODB))
    story.salesforce.creates(Name="Acme", City="Oslo")
    story.mongodb.refuses(story.writes[MONGODB], PLACE, code=TWICE)
    assert MONGODB not in story.last.writes
    story.salesforce.edits(Name="Globex")
    assert story.last.writes[MONGODB] is not None


def test_a_move_that_the_collection_refuses_is_not_tried_again_for_a_look() -> None:
    """A validator of the other collection refuses the document, with our value and without: it stays where it is until an edit."""
    story = in_north()
    story.salesforce.edits(City="Bergen")
    for _ in range(2):
        story.mongodb.refuses(story.writes[MONGODB], code="DocumentValidationFailure")
    assert story.mongodb.parked.keys() == {PLACE, "City"}
    story.mongodb.row({**story.mongodb.holds}, marker=story.state.sides[MONGODB].marker)
    assert MONGODB not in story.last.writes
    story.salesforce.edits(City="Oslo")
    assert PLACE not in story.mongodb.parked


# Other rules while it runs.


def test_with_another_filter_the_document_is_owed_its_new_place() -> None:
    """Nobody has edited anything: merge judges each record again."""
    story = in_north()
    story.rules = by_city("swapped", home="Bergen", elsewhere="Oslo")
    story.judge_again()
    assert story.writes[MONGODB].fields == {PLACE: "west"}


def test_a_sync_that_gets_several_collections_owes_each_document_its_place() -> None:
    """Where it is was never told. The sink finds it and writes there, or moves it."""
    story = in_step(Name="Acme", City="Bergen")
    story.rules = by_city()
    story.judge_again()
    assert story.writes[MONGODB].fields == {PLACE: "west"}
    story.mongodb.edits({PLACE: "west"}, ack=story.writes[MONGODB].seq)
    assert story.facts() == [Fact.ELSEWHERE]
    story.mongodb.row({**story.mongodb.holds, PLACE: "west"}, marker=story.writes[MONGODB].seq)
    assert MONGODB not in story.writes


def test_what_is_left_in_a_collection_that_is_no_longer_one_is_created_anew() -> None:
    """The look that finds it in none of the others is no deletion: nobody has deleted anything."""
    story = in_north()
    views = {MONGODB: View("south", places=lambda _: "south", collections=frozenset({"south"}))}
    story.rules = Rules(SCHEMA, views=views)
    story.judge_again()
    story.mongodb.finds_it_gone(story.writes[MONGODB])
    story.mongodb.absent()
    assert story.state.lives
    write = story.writes[MONGODB]
    assert (write.op, write.fields[PLACE]) == (WriteOp.CREATE, "south")


def test_what_is_left_in_the_one_collection_of_before_is_created_anew() -> None:
    """The configuration names another collection, or somebody has renamed it: that is nobody's deletion."""
    story = in_step(Name="Acme", City="Oslo")
    since = story.mongodb.moment()
    story.mongodb.absent(since=since)
    assert story.state.lives
    assert SALESFORCE not in story.writes
    assert story.writes[MONGODB].op is WriteOp.CREATE
    story.come_to_rest()
    story.mongodb.absent(since=since)
    assert not story.state.lives, "it was in the collection of now, and is there no more"


def test_what_was_seen_in_the_collection_of_now_is_deleted() -> None:
    """By a row alone: its documents were read as the object got that collection."""
    story = in_step(Name="Acme", City="Oslo")
    since = story.mongodb.moment()
    story.mongodb.row({**story.mongodb.holds}, marker=story.state.sides[MONGODB].marker)
    story.mongodb.absent(since=since)
    assert not story.state.lives


def test_of_several_collections_only_what_was_in_the_one_that_was_replaced_is_left_behind() -> None:
    """One of them was dropped: what the look does not find was in that one, or it was deleted in the other."""
    for replaced, lives in (("north", True), ("west", False)):
        story = in_north()
        story.mongodb.absent(since=story.mongodb.moment(), others=[replaced])
        assert story.state.lives is lives


def test_what_a_look_finds_in_no_collection_is_deleted() -> None:
    """As ever, where the document was in one of the collections that there are."""
    story = in_north()
    story.mongodb.absent()
    assert not story.state.lives


@pytest.mark.parametrize("name", [SALESFORCE_ID, ERROR])
def test_a_document_tells_the_same_of_salesforce_wherever_it_is(name: str) -> None:
    """The properties that merge owns go along: they are not owed again because of a move."""
    story = in_north()
    story.salesforce.edits(City="Bergen")
    assert name not in story.writes[MONGODB].fields
    assert story.mongodb.holds.get(SALESFORCE_ID) == KEY


def _ends(story: Story, place: str) -> None:
    moment = story.mongodb.moment()
    story.tell(
        Change(
            MONGODB,
            Op.DELETE,
            committed_at=story.clock_ms,
            commit_time=moment,
            order=moment.to_bytes(8, "big"),
            fields={PLACE: place},
        )
    )
