"""Step 7 of the fold: what each side is owed, and when it is told."""

from __future__ import annotations

from salmon.model.change import ERROR, SALESFORCE_ID, WriteOp
from salmon.model.rules import IN_FLIGHT_MAX, OVERWRITTEN_MAX, SENT_MAX, Rules
from salmon.model.schema import ObjectSchema
from support.at_hand.stories import KEY, SCHEMA, Story, born_in_mongodb, in_step, rules, text

THE_FAR_FUTURE = 4_000_000_000_000
LATER_ID = "0015g00000Abc34AAA"

# What a write says.


def test_a_write_says_everything_that_is_still_owed() -> None:
    """In a compacted topic the newest command is all there is: it repeats what an earlier one said."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    story.mongodb.edits(City="Oslo")
    assert story.writes["salesforce"].fields == {"Phone": "555 0101", "City": "Oslo"}


def test_an_update_says_what_a_creation_on_its_way_would_clear() -> None:
    """An earlier one has made the document, and the newer is still to be carried out, over what a user set meanwhile (seed 81069)."""
    story = Story()
    story.salesforce.creates(Name="Acme", Phone="555 0000")
    first = story.writes["mongodb"]
    story.salesforce.edits(Phone=None)
    again = story.writes["mongodb"]
    assert again.op is WriteOp.CREATE
    story.mongodb.acks(first)
    story.mongodb.edits(Phone="555 0101", at=THE_FAR_FUTURE)
    assert story.writes["mongodb"].fields == {"Phone": "555 0101"}


def test_a_creation_leaves_alone_what_an_earlier_one_on_its_way_says_as_well() -> None:
    """That one has perhaps made the document, and somebody has edited it since: nobody made a conflict with that."""
    story = Story()
    story.salesforce.creates(Name="Acme", Phone="555 0000")
    first = story.writes["mongodb"]
    assert (first.expected, first.differs) == (0, None)
    story.salesforce.edits(Name="Globex")
    again = story.writes["mongodb"]
    assert (again.op, again.expected) == (WriteOp.CREATE, first.seq)
    assert again.fields["Phone"] == "555 0000", "where there is no document yet, it makes the whole"
    assert again.differs is not None
    assert {"Name"} == again.differs & {"Name", "Phone", "City"}
    story.mongodb.acks(first)
    story.mongodb.edits(Phone="555 0101", City="Oslo")
    assert story.writes["mongodb"].fields == {"Name": "Globex"}
    story.mongodb.edits(ack=again.seq, Name="Globex")
    story.mongodb.edits(Phone="555 0202", City=None)
    assert story.record is not None
    assert story.record["Phone"] == "555 0202"
    assert "City" not in story.record
    assert not story.conflicts


def test_a_creation_changes_all_fields_in_which_any_earlier_one_differs() -> None:
    """Nobody knows which of them has made the document: the newest says the same of the Name as the first, but not as the second."""
    story = Story()
    story.salesforce.creates(Name="Acme")
    first = story.writes["mongodb"]
    story.salesforce.edits(Name="Globex")
    story.salesforce.edits(Name="Acme", City="Oslo")
    newest = story.writes["mongodb"]
    assert newest.expected == first.seq
    assert newest.differs is not None
    assert {"Name", "City"} == newest.differs & {"Name", "City", "Phone"}


def test_so_it_is_where_only_the_oldest_of_them_differs() -> None:
    """The newest says the same of the Name as the second: but perhaps the first one has made the document, and only that one."""
    story = Story()
    story.salesforce.creates(Name="Acme")
    story.salesforce.edits(Name="Globex")
    story.salesforce.edits(City="Oslo")
    newest = story.writes["mongodb"]
    assert newest.differs is not None
    assert {"Name", "City"} == newest.differs & {"Name", "City", "Phone"}


def test_so_it_does_where_a_row_shows_that_the_earlier_one_has_made_the_document() -> None:
    """And an application has edited there what the creation on its way will empty."""
    story = Story()
    story.salesforce.creates(Name="Acme", City="Bergen")
    first = story.writes["mongodb"]
    story.salesforce.edits(City=None)
    again = story.writes["mongodb"]
    assert again.op is WriteOp.CREATE
    story.mongodb.row({**first.fields, "City": "Oslo"}, marker=first.seq)
    assert story.record == {"Name": "Acme", "City": "Oslo"}
    owed = story.writes["mongodb"]
    assert (owed.op, owed.fields, owed.seq > again.seq) == (WriteOp.UPDATE, {"City": "Oslo"}, True)


def test_a_creation_after_a_deletion_on_its_way_changes_all_fields() -> None:
    """What the first life has left must go."""
    story = Story()
    story.salesforce.creates(Name="Acme")
    story.salesforce.deletes()
    deletion = story.writes["mongodb"]
    assert deletion.op is WriteOp.DELETE
    story.salesforce.creates(Name="Acme")
    creation = story.writes["mongodb"]
    assert (creation.op, creation.differs) == (WriteOp.CREATE, None)


def test_the_sides_of_which_the_sink_is_not_guarded_get_whole_creations() -> None:
    """A creation in Salesforce is an insert, and is never carried out over another."""
    story = Story()
    story.mongodb.creates(Name="Acme")
    story.mongodb.edits(Phone="555 0101")
    assert story.writes["salesforce"].op is WriteOp.CREATE
    assert story.writes["salesforce"].differs is None


def test_what_a_row_shows_of_a_field_that_a_creation_has_left_alone_is_an_edit() -> None:
    """Its author saw what both creations say, whether or not an event has told so before the row."""
    for is_heard in (True, False):
        story = Story()
        story.salesforce.creates(Name="Acme", Phone="555 0000")
        first = story.writes["mongodb"]
        story.salesforce.edits(Name="Globex")
        again = story.writes["mongodb"]
        if is_heard:
            story.mongodb.acks(first)
            story.mongodb.edits(Phone="555 0101", City="Bergen")
        story.mongodb.row({**again.fields, "Phone": "555 0202", "City": "Oslo"}, marker=again.seq)
        assert story.record is not None
        assert (story.record["Phone"], story.record["City"]) == ("555 0202", "Oslo")
        assert story.state.versions["Phone"].origin == "mongodb"
        assert not story.state.versions["City"].baseline
        assert not story.conflicts


def test_so_it_is_where_a_document_was_looked_for_before_there_was_one() -> None:
    """That it was missing then says nothing of what the author of the edit saw in it (seed 9331180)."""
    story = Story()
    story.salesforce.creates(Name="Acme", Phone="555 0000")
    story.mongodb.absent()
    again = story.writes["mongodb"]
    assert again.differs is not None
    story.mongodb.row({**again.fields, "Phone": "555 0202"}, marker=again.seq)
    assert (story.state.canonical["Phone"], story.conflicts) == ("555 0202", [])


def test_what_a_creation_on_its_way_has_cleared_is_in_conflict_with_who_saw_that_alone() -> None:
    """A row has overtaken all that was told of it; the edit that is gone is told with the one in its place (seed 108567)."""
    story = Story()
    story.salesforce.creates(Name="Acme", Phone="555 0000")
    first = story.writes["mongodb"]
    story.salesforce.edits(Phone=None)
    again = story.writes["mongodb"]
    story.mongodb.acks(first)
    story.mongodb.edits(Phone="555 0101", at=THE_FAR_FUTURE)
    newest = story.writes["mongodb"]
    cleared, edited, written = (story.mongodb.moment() for _ in range(3))
    story.mongodb.row({**newest.fields, "Name": "Acme", SALESFORCE_ID: KEY}, marker=newest.seq)
    for at, tell in ((cleared, {"ack": again.seq, "Phone": None}), (edited, {"Phone": "555 0202"})):
        story.mongodb.now = at - 1
        story.mongodb.edits(**tell)
    story.mongodb.now = written - 1
    story.mongodb.acks(newest)
    *_, conflict = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"555 0101", "555 0202"}


def test_a_write_says_only_what_differs() -> None:
    """An UPDATE carries the edited field, not the record."""
    story = in_step(Name="Acme", Phone="555 0000", City="Oslo")
    story.mongodb.edits(City="Bergen")
    assert story.writes["salesforce"].fields == {"City": "Bergen"}


def test_a_write_to_salesforce_says_nothing_that_salesforce_would_refuse_to_set() -> None:
    """Neither derived fields nor, in an update, those for inserts only."""
    story = Story(rules(initial="mongodb"))
    story.mongodb.row(Name="Acme", Phone="555 0101", Source="web", Shout="acme?", Rollup="9")
    assert story.writes["salesforce"].fields == {"Name": "Acme", "Phone": "555 0101", "Source": "web"}
    story.salesforce.row(Name="Acme")
    assert story.writes["salesforce"].op is WriteOp.UPDATE
    assert story.writes["salesforce"].fields == {"Phone": "555 0101"}


def test_a_creation_in_salesforce_says_nothing_that_only_salesforce_sets() -> None:
    """A record that is created anew was there before, with values of formulas: an insert that carries them is refused."""
    story = in_step(Name="Acme", Phone="555 0000", Shout="ACME")
    story.mongodb.edits(Phone="555 0101", at=story.clock_ms + 60_000)
    story.salesforce.deletes(at=0)
    write = story.writes["salesforce"]
    assert write.op is WriteOp.CREATE
    assert write.fields == {"Name": "Acme", "Phone": "555 0101"}


def test_an_update_expects_the_marker_of_the_write_before_it() -> None:
    """The sink sees by it whether the record is still the one that we know."""
    story = in_step(Name="Acme")
    story.salesforce.edits(Name="Acme Ltd")
    first = story.writes["mongodb"]
    story.mongodb.acks(first)
    story.salesforce.edits(Name="Acme Inc")
    assert story.writes["mongodb"].expected == first.seq


def test_an_update_expects_no_marker_of_a_record_that_never_had_one() -> None:
    """Salesforce's own record carries none before our first write."""
    story = in_step(Name="Acme")
    story.mongodb.edits(City="Oslo")
    assert story.writes["salesforce"].expected == 0


def test_a_write_carries_the_id_of_the_side_it_goes_to() -> None:
    """Salesforce is updated by its own Id, which is not the record key of what MongoDB created."""
    story = born_in_mongodb(Name="Acme")
    assert story.writes["salesforce"].native_id is None, "it has none yet"
    story.salesforce.creates(ack=story.writes["salesforce"].seq, native_id=LATER_ID, Name="Acme")
    story.come_to_rest()
    story.mongodb.edits(City="Oslo")
    assert story.writes["salesforce"].native_id == LATER_ID


def test_a_write_tells_whose_edit_it_is_and_since_when() -> None:
    """The time of the edit travels with the write, for the lag."""
    story = in_step(Name="Acme")
    story.salesforce.edits(Name="Acme Ltd", at=1_234)
    assert story.writes["mongodb"].committed_at == 1_234


def test_a_field_of_which_a_side_has_told_nothing_is_not_sent_there() -> None:
    """Notes can be set but come by no event: after our creation nobody knows what the org made of them."""
    schema = ObjectSchema("Account", (*SCHEMA.fields, text("Notes", live=False)), "001")
    story = born_in_mongodb(Rules(schema), Name="Acme", Notes="call back")
    story.come_to_rest()
    story.mongodb.edits(Notes="called")
    assert story.writes == {}
    story.salesforce.row(marker=story.state.sides["salesforce"].marker, Name="Acme", Notes="call back")
    assert story.writes["salesforce"].fields == {"Notes": "called"}


# When it is said.


def test_the_same_write_is_not_emitted_twice() -> None:
    """Another edit by the same side that changes nothing of what is owed: the command in flight says it all."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    out = story.mongodb.edits(Shout="acme?")
    assert "salesforce" not in out.writes


def test_it_is_emitted_again_after_a_row_that_does_not_show_it() -> None:
    """The command may have been carried out before the row, and overwritten since: better once more."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    first = story.writes["salesforce"]
    story.salesforce.row(Name="Acme", Phone="555 0000")
    again = story.writes["salesforce"]
    assert again.fields == first.fields
    assert again.seq > first.seq


def test_a_value_that_is_taken_back_overtakes_the_write_in_flight() -> None:
    """Salesforce still holds the old number, but the command on its way would overwrite it."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    story.mongodb.edits(Phone="555 0000")
    assert story.writes["salesforce"].fields == {"Phone": "555 0000"}
    story.come_to_rest()
    assert story.salesforce.holds["Phone"] == "555 0000"


def test_a_creation_in_flight_is_superseded_by_a_delete() -> None:
    """Created and deleted before Salesforce heard of it: the delete may only take what our creation made."""
    story = born_in_mongodb(Name="Acme")
    creation = story.writes["salesforce"]
    story.mongodb.deletes()
    delete = story.writes["salesforce"]
    assert delete.op is WriteOp.DELETE
    assert delete.expected == creation.seq


def test_a_creation_in_flight_is_followed_by_the_whole_record() -> None:
    """The record is edited before Salesforce has it: the newer CREATE says all of it."""
    story = born_in_mongodb(Name="Acme")
    story.mongodb.edits(City="Oslo")
    assert story.writes["salesforce"].op is WriteOp.CREATE
    assert story.writes["salesforce"].fields == {"Name": "Acme", "City": "Oslo"}


def test_an_update_in_flight_is_superseded_by_a_delete() -> None:
    """MongoDB edits and then deletes: the delete is what is left to do."""
    story = in_step(Name="Acme")
    story.mongodb.edits(City="Oslo")
    story.mongodb.deletes()
    assert story.writes["salesforce"].op is WriteOp.DELETE
    story.salesforce.acks(story.writes["salesforce"])
    assert story.writes == {}


def test_no_more_than_eight_writes_are_in_flight() -> None:
    """A record that is edited all the time while its sink is down must not grow merge's memory."""
    story = in_step(Name="Acme")
    for number in range(IN_FLIGHT_MAX + 4):
        story.mongodb.edits(City=f"Town {number}")
    assert IN_FLIGHT_MAX == 8
    assert len(story.salesforce.in_flight) == IN_FLIGHT_MAX
    assert story.writes["salesforce"].fields == {"City": "Town 7"}


def test_the_next_ack_emits_all_that_was_held_back() -> None:
    """Beyond the limit nothing is lost: one write says it all."""
    story = in_step(Name="Acme")
    for number in range(IN_FLIGHT_MAX):
        story.mongodb.edits(City=f"Town {number}")
    newest = story.writes["salesforce"]
    story.mongodb.edits(Phone="555 0101")
    story.mongodb.edits(City="Oslo")
    assert story.writes["salesforce"] == newest
    story.salesforce.acks(newest)
    assert story.writes["salesforce"].fields == {"Phone": "555 0101", "City": "Oslo"}
    story.come_to_rest()
    assert story.salesforce.holds == {"Name": "Acme", "Phone": "555 0101", "City": "Oslo"}


def test_a_row_emits_what_was_held_back_too() -> None:
    """The sink carried out nothing, but the record was read: a fresh start."""
    story = in_step(Name="Acme")
    for number in range(IN_FLIGHT_MAX + 1):
        story.mongodb.edits(City=f"Town {number}")
    story.salesforce.row(Name="Acme")
    assert story.writes["salesforce"].fields == {"City": "Town 8"}


def test_an_outcome_emits_what_was_held_back_too() -> None:
    """The newest write in flight was refused for its City: the Phone that had to wait goes now."""
    story = in_step(Name="Acme")
    for number in range(IN_FLIGHT_MAX):
        story.mongodb.edits(City=f"Town {number}")
    newest = story.writes["salesforce"]
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.refuses(newest, "City")
    assert story.writes["salesforce"].fields == {"Phone": "555 0101"}


def test_what_a_sink_may_still_answer_is_remembered_up_to_a_bound() -> None:
    """It is down for a month, and each row that is read meanwhile lets a write go out anew."""
    story = in_step(Name="Acme")
    for number in range(SENT_MAX + 1):
        story.mongodb.edits(City=f"Town {number}")
        story.salesforce.row(Name="Acme")
    assert len(story.salesforce.in_flight) == SENT_MAX
    assert story.writes["salesforce"].seq in story.salesforce.in_flight, "the oldest are forgotten"


def test_what_our_writes_overwrote_is_remembered_up_to_a_bound() -> None:
    """Rows tell of each write of ours at once, while the events lag by hours."""
    story = in_step(Name="Acme")
    for number in range(OVERWRITTEN_MAX + 1):
        story.mongodb.edits(City=f"Town {number}")
        story.salesforce.row(Name="Acme", City=f"Town {number}", marker=story.writes["salesforce"].seq)
    assert len(story.state.sides["salesforce"].overwritten) == OVERWRITTEN_MAX


# Tombstones.


def test_a_tombstone_clears_the_key_when_nothing_is_owed() -> None:
    """A sink that starts anew finds no command that was carried out long ago."""
    story = in_step(Name="Acme")
    story.salesforce.edits(Name="Acme Ltd")
    out = story.mongodb.acks(story.writes["mongodb"])
    assert out.writes == {"mongodb": None}
    assert story.salesforce.row(Name="Acme Ltd").writes == {}, "once is enough"


def test_there_is_no_tombstone_while_a_write_is_in_flight() -> None:
    """MongoDB has the value by itself, but the command was not answered: its marker may still be on its way."""
    story = in_step(Name="Acme")
    story.salesforce.edits(Name="Acme Ltd")
    out = story.mongodb.edits(Name="Acme Ltd")
    assert "mongodb" not in out.writes
    assert story.writes["mongodb"].fields == {"Name": "Acme Ltd"}


def test_a_write_that_can_never_be_carried_out_is_cleared_away() -> None:
    """Its only field was refused and parked: a sink that starts anew must not try it again."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(City="nowhere")
    out = story.salesforce.refuses(story.writes["salesforce"], "City")
    assert out.writes["salesforce"] is None


# What merge itself owns in a document.


def test_a_document_tells_its_salesforce_id() -> None:
    """As soon as Salesforce has given one; a document that loses it gets it back."""
    story = in_step(Name="Acme")
    assert story.mongodb.holds[SALESFORCE_ID] == story.key
    story.mongodb.row(marker=story.state.sides["mongodb"].marker, Name="Acme")
    assert story.writes["mongodb"].fields == {SALESFORCE_ID: story.key}


def test_what_somebody_writes_into_merges_own_properties_is_overwritten() -> None:
    """They are no fields: nobody's edit of them ever becomes the agreed value, or reaches Salesforce."""
    story = in_step(Name="Acme")
    story.mongodb.edits({SALESFORCE_ID: LATER_ID, ERROR: "none of your business"})
    assert story.writes["mongodb"].fields == {SALESFORCE_ID: story.key, ERROR: None}
    assert "salesforce" not in story.writes
    assert story.record == {"Name": "Acme"}


# Audit stamps.


def test_stamps_cause_no_write_of_their_own() -> None:
    """Salesforce moves them with every write, our own included: they would never come to rest."""
    story = in_step(Name="Acme", LastModifiedDate=1)
    out = story.salesforce.edits(LastModifiedDate=2)
    assert out.writes == {}
    assert story.record == {"Name": "Acme", "LastModifiedDate": 2}, "though `records` has them"


def test_stamps_ride_along_with_other_fields() -> None:
    """The next write to MongoDB brings them up to date."""
    story = in_step(Name="Acme", LastModifiedDate=1)
    story.salesforce.edits(LastModifiedDate=2)
    story.salesforce.edits(Name="Acme Ltd", LastModifiedDate=3)
    assert story.writes["mongodb"].fields == {"Name": "Acme Ltd", "LastModifiedDate": 3}


def test_stamps_cause_writes_where_they_shall() -> None:
    """`stamps: always`: for those who need LastModifiedDate in MongoDB to the second."""
    story = in_step(rules(stamps_always=True), Name="Acme", LastModifiedDate=1)
    story.salesforce.edits(LastModifiedDate=2)
    assert story.writes["mongodb"].fields == {"LastModifiedDate": 2}
    assert "salesforce" not in story.writes


def test_a_stamp_that_moved_with_our_own_write_does_not_come_back_to_mongodb_alone() -> None:
    """MongoDB's edit moves LastModifiedDate in the org: the ring is quiet after one round."""
    story = in_step(Name="Acme", LastModifiedDate=1)
    story.mongodb.edits(Name="Acme Ltd")
    story.salesforce.acks(story.writes["salesforce"], LastModifiedDate=2)
    assert story.writes == {}
