"""The seq of a write, states that are values, and objects that go one way only."""

from __future__ import annotations

from copy import deepcopy

from salmon.model.change import SALESFORCE_ID, Change, Op, WriteOp
from salmon.model.fold import Published, fold
from salmon.model.rules import SEQ_MAX, Rules
from salmon.model.state import Park, new_state
from support.at_hand.stories import KEY, OTHER_ID, SCHEMA, Story, in_step, rules

# Seq: it rises per key, always.


def test_a_writes_seq_is_the_offset_of_the_change_that_caused_it() -> None:
    """So whoever reads a seq finds the change in the topic."""
    story = in_step(Name="Acme")
    story.offset = 4_999
    story.salesforce.edits(Name="Acme Ltd")
    assert story.writes["mongodb"].seq == 5_000


def test_a_seq_rises_though_the_changes_topic_was_made_anew() -> None:
    """Offsets begin at 0 again: the sinks' guards must not take a fresh write for an old one."""
    story = in_step(Name="Acme")
    before = story.state.seq
    story.offset = -1
    story.salesforce.edits(Name="Acme Ltd")
    assert story.writes["mongodb"].seq == before + 1


def test_a_seq_rises_above_every_marker_that_a_side_shows() -> None:
    """The state topic was lost, but the document still carries the marker of long ago."""
    story = Story()
    story.mongodb.row(marker=80_000, Name="Acme", Phone="555 0002")
    story.salesforce.row(Name="Acme", Phone="555 0001")
    assert story.writes["mongodb"].seq == 80_002, (
        "one above the marker for the row, one more for the next change"
    )
    assert story.writes["mongodb"].expected == 80_000


def test_a_marker_that_nobody_of_ours_can_have_set_does_not_drive_the_seq() -> None:
    """Somebody typed it. The marker field has an end, and seqs need room to rise."""
    story = Story()
    story.mongodb.row(marker=SEQ_MAX, Name="Acme", Phone="555 0002")
    story.salesforce.row(Name="Acme", Phone="555 0001")
    assert story.writes["mongodb"].seq == story.offset


def test_a_correlation_follows_the_change_into_its_writes() -> None:
    """One word from edit to write, in every log."""
    told = rules()
    row = Change("salesforce", Op.ROW, as_of=1, native_id=KEY, fields={"Name": "Acme"})
    out = fold(
        new_state(told.names), row, object="Account", key=KEY, offset=7, rules=told, correlation="abc123"
    )
    write = out.writes["mongodb"]
    assert write is not None
    assert (write.seq, write.correlation) == (7, "abc123")


# A state is a value.


def test_a_fold_leaves_the_state_it_was_given_as_it_is() -> None:
    """A Kafka transaction may fail after the fold: the same change is then folded again, from the same state."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    before, kept = story.state, deepcopy(story.state)
    first = story.salesforce.acks(story.writes["salesforce"], City="Oslo")
    again = fold(before, story.changes[-1], object="Account", key=KEY, offset=story.offset, rules=story.rules)
    assert before == kept
    assert again == first


def test_the_same_log_gives_the_same_state() -> None:
    """Determinism: a worker that starts anew from nothing but the log knows what the other one knew."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    story.mongodb.edits(Phone="555 0202")
    story.come_to_rest()
    state, first = new_state(story.rules.names), story.offset - len(story.changes) + 1
    for offset, change in enumerate(story.changes, first):
        state = fold(state, change, object="Account", key=KEY, offset=offset, rules=story.rules).state
    assert state == story.state


# One-way objects: the target does not answer; it is taken to have what was emitted.


def to_mongodb() -> Rules:
    return Rules(SCHEMA, one_way_to="mongodb")


def test_a_one_way_write_carries_the_whole_record() -> None:
    """The target may have missed every earlier write, and nobody would ever know."""
    story = Story(to_mongodb())
    story.salesforce.row(Name="Acme", Phone="555 0101")
    story.salesforce.edits(City="Oslo")
    write = story.writes["mongodb"]
    assert write.op is WriteOp.CREATE
    told = {name: value for name, value in write.fields.items() if value is not None}
    assert told == {"Name": "Acme", "Phone": "555 0101", "City": "Oslo", SALESFORCE_ID: KEY}


def test_a_one_way_write_clears_by_saying_so() -> None:
    """Every null is named: which value the target was told before, it may never have heard."""
    story = Story(to_mongodb())
    story.salesforce.row(Name="Acme", Phone="555 0101")
    story.salesforce.edits(Phone=None)
    story.salesforce.edits(City="Oslo")
    fields = story.writes["mongodb"].fields
    assert fields["Phone"] is None, "though the write before said so too"
    assert fields.keys() == story.rules.names["mongodb"]


def test_a_one_way_target_is_not_waited_for() -> None:
    """No write is kept in flight, there is no limit to them, and no tombstone: the topic holds the whole table."""
    story = Story(to_mongodb())
    story.salesforce.row(Name="Acme")
    for number in range(20):
        out = story.salesforce.edits(City=f"Town {number}")
        assert out.writes["mongodb"] is not None
    assert story.mongodb.in_flight == []
    assert story.salesforce.row(Name="Acme", City="Town 19").writes == {}


def test_a_one_way_target_is_not_listened_to() -> None:
    """Whatever is edited there changes neither the agreed record nor what is owed."""
    story = Story(to_mongodb())
    story.salesforce.row(Name="Acme")
    out = story.mongodb.edits(Name="acme")
    assert out.writes == {}
    assert out.published is Published.UNCHANGED
    assert story.record == {"Name": "Acme"}


def test_a_one_way_origin_is_never_written_to() -> None:
    """`direction: to_mongodb`: Salesforce gets no write, whatever happens."""
    story = Story(to_mongodb())
    story.salesforce.row(Name="Acme")
    story.mongodb.deletes()
    story.edit_of_an_operator(Name="Acme Ltd")
    assert "salesforce" not in story.writes


def test_a_one_way_origin_always_wins() -> None:
    """There is nobody to be in conflict with."""
    story = Story(to_mongodb())
    story.salesforce.row(Name="Acme")
    story.salesforce.edits(Name="Acme Ltd", at=2_000)
    story.salesforce.edits(Name="Acme Inc", at=1_000)
    assert story.record == {"Name": "Acme Inc"}
    assert story.conflicts == []


def test_a_one_way_deletion_goes_the_same_way() -> None:
    """The target is told once; a repetition of the event tells it nothing more."""
    story = Story(to_mongodb())
    story.salesforce.row(Name="Acme")
    story.salesforce.deletes()
    assert story.writes["mongodb"].op is WriteOp.DELETE
    assert story.tell_again().writes == {}
    assert story.record is None


def test_what_a_one_way_target_could_not_take_is_sent_again_once_it_can() -> None:
    """The write waited for its parent, or for a lock to end; the target has nothing of it."""
    story = Story(rules(one_way_to="salesforce"))
    story.mongodb.creates(Name="Acme", ParentId="0015g00000Par11AAA")
    write = story.writes["salesforce"]
    story.salesforce.defers(write, "ParentId")
    again = story.salesforce.retries(write, "ParentId").writes["salesforce"]
    assert again is not None
    assert (again.op, again.fields) == (write.op, write.fields)
    story.mongodb.deletes()
    story.salesforce.defers(story.writes["salesforce"])
    deletion = story.salesforce.retries(story.writes["salesforce"]).writes["salesforce"]
    assert deletion is not None
    assert deletion.op is WriteOp.DELETE


def test_what_a_one_way_target_refused_is_set_aside_and_the_rest_is_sent() -> None:
    """One bad field holds up no other; an edit of it is sent with the whole record (case V3)."""
    story = Story(rules(one_way_to="salesforce"))
    story.mongodb.creates(Name="Acme", Phone="12", City="Oslo")
    rest = story.salesforce.refuses(story.writes["salesforce"], "Phone", code="INVALID").writes["salesforce"]
    assert rest is not None
    assert rest.op is WriteOp.CREATE
    assert "Phone" not in rest.fields
    assert rest.fields["City"] == "Oslo"
    assert {name: (each.why, each.code) for name, each in story.salesforce.parked.items()} == {
        "Phone": (Park.REFUSED, "INVALID")
    }
    story.mongodb.edits(Phone="555 0101")
    assert story.writes["salesforce"].fields["Phone"] == "555 0101"
    assert story.salesforce.parked == {}


def test_a_one_way_record_that_was_refused_as_a_whole_waits_for_any_edit() -> None:
    """The cure may be in each of its fields."""
    story = Story(rules(one_way_to="salesforce"))
    story.mongodb.creates(Name="Acme", Phone="12")
    assert story.salesforce.refuses(story.writes["salesforce"], "Name").writes == {}
    story.mongodb.edits(City="Oslo")
    assert story.writes["salesforce"].fields["Name"] == "Acme"


def test_salmon_retry_sends_a_one_way_target_the_whole_record_again() -> None:
    """Entered twice, it has one effect, and what is refused again can be retried again (case L10)."""
    story = Story(rules(one_way_to="salesforce"))
    story.mongodb.creates(Name="Acme", Phone="12")
    for _ in range(2):
        write = story.writes["salesforce"]
        story.salesforce.refuses(write)
        again = story.tell_retry(write.seq).writes["salesforce"]
        assert again is not None
        assert (again.op, again.fields) == (WriteOp.CREATE, write.fields)
        assert story.tell_retry(write.seq).writes == {}


def test_a_one_way_deletion_that_was_refused_can_be_retried_and_a_creation_hinders_none() -> None:
    """The target may have the record from an earlier write, whatever became of the later ones."""
    story = Story(rules(one_way_to="salesforce"))
    story.mongodb.creates(Name="Acme")
    story.salesforce.refuses(story.writes["salesforce"])
    story.mongodb.deletes()
    deletion = story.writes["salesforce"]
    assert deletion.op is WriteOp.DELETE
    assert deletion.expected == 0, "whatever write it may carry"
    story.salesforce.refuses(deletion)
    again = story.tell_retry(deletion.seq).writes["salesforce"]
    assert again is not None
    assert again.op is WriteOp.DELETE


def test_what_a_one_way_write_met_says_nothing_of_the_record_that_follows() -> None:
    """
    The sink has found a record, deleted it, and made another one by the time that merge hears of the first: else the second
    would be looked for by the Id of the first, and stay for ever. (Seed 91467.)
    """
    story = Story(rules(one_way_to="salesforce"))
    story.mongodb.creates(Name="Acme")
    met = story.writes["salesforce"]
    story.mongodb.deletes()
    story.mongodb.creates(Name="Acme")
    assert story.salesforce.finds_it_there(met, native_id=OTHER_ID).writes == {}
    story.mongodb.deletes()
    deletion = story.writes["salesforce"]
    assert (deletion.op, deletion.native_id) == (WriteOp.DELETE, None)


def test_what_a_one_way_write_met_is_updated_although_the_record_was_edited_since() -> None:
    """However often it is edited: the newest values go to what the first write has met."""
    story = Story(rules(one_way_to="salesforce"))
    story.mongodb.creates(Name="Acme")
    met = story.writes["salesforce"]
    story.mongodb.edits(Name="Globex")
    write = story.salesforce.finds_it_there(met, native_id=OTHER_ID).writes["salesforce"]
    assert write is not None
    assert (write.op, write.native_id, write.fields["Name"]) == (WriteOp.UPDATE, OTHER_ID, "Globex")


def test_the_refusal_of_a_one_way_write_that_has_a_successor_is_no_news() -> None:
    """The newer one carries the whole record; if that is refused, too, it is told for itself."""
    story = Story(rules(one_way_to="salesforce"))
    story.mongodb.creates(Name="Acme", Phone="12")
    older = story.writes["salesforce"]
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.refuses(older, "Phone")
    assert story.salesforce.parked == {}
