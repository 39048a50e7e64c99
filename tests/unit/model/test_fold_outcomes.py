"""Step 6 of the fold: what a sink tells of a write that did not simply succeed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from salmon.model.change import ERROR, WriteOp
from salmon.model.fold import Fact
from salmon.model.policies import EXISTENCE
from salmon.model.rules import Rules
from salmon.model.schema import ObjectSchema
from salmon.model.state import Park
from support.at_hand.stories import SCHEMA, Story, born_in_mongodb, in_step, rules

PARENT = "0015g00000Par11AAA"
POLLED = rules(eventless=frozenset({"salesforce"}))

# REFUSED: an update.


def refused_city(told: Rules | None = None) -> Story:
    """MongoDB edits Phone and City; Salesforce refuses the City."""
    story = in_step(told, Name="Acme", Phone="555 0000", City="Oslo")
    story.mongodb.edits(Phone="555 0101", City="nowhere")
    story.salesforce.refuses(story.writes["salesforce"], "City", code="INVALID", reason="no such city")
    return story


def test_the_field_at_fault_is_parked_and_the_rest_is_sent_again() -> None:
    """`on_reject: keep`: MongoDB keeps its City; the Phone that was refused along with it goes on."""
    story = refused_city()
    assert story.salesforce.parked["City"].why is Park.REFUSED
    assert story.writes["salesforce"].fields == {"Phone": "555 0101"}
    assert Fact.PARKED in story.facts()
    story.come_to_rest()
    assert story.salesforce.holds == {"Name": "Acme", "Phone": "555 0101", "City": "Oslo"}
    assert story.record == {"Name": "Acme", "Phone": "555 0101", "City": "nowhere"}


def test_the_document_tells_what_was_refused() -> None:
    """Whoever looks at the document sees Salesforce's own code and the reason, until the refusal is mended."""
    story = refused_city()
    assert story.writes["mongodb"].fields == {ERROR: "INVALID: no such city"}
    story.come_to_rest()
    story.mongodb.edits(City="Bergen")
    story.come_to_rest()
    assert ERROR not in story.mongodb.holds


def test_an_edit_of_a_parked_field_is_tried_again() -> None:
    """Somebody corrects the City in MongoDB: parked until then, and no longer."""
    story = refused_city()
    story.come_to_rest()
    story.mongodb.edits(City="Bergen")
    assert story.writes["salesforce"].fields == {"City": "Bergen"}
    story.come_to_rest()
    assert story.salesforce.holds["City"] == "Bergen"
    assert story.salesforce.parked == {}


def test_an_edit_of_another_field_does_not_repeat_the_refused_one() -> None:
    """A parked field is sent with nothing, or it would be refused for ever."""
    story = refused_city()
    story.come_to_rest()
    story.mongodb.edits(Phone="555 0202")
    assert story.writes["salesforce"].fields == {"Phone": "555 0202"}


def test_fields_refused_together_are_freed_together() -> None:
    """A validation rule over two fields: correcting one of them may be what cures both."""
    story = in_step(Name="Acme", Phone="555 0000", City="Oslo")
    story.mongodb.edits(Phone="555 0101", City="nowhere")
    story.salesforce.refuses(story.writes["salesforce"], "Phone", "City")
    story.come_to_rest()
    story.mongodb.edits(City="Bergen")
    assert story.writes["salesforce"].fields == {"Phone": "555 0101", "City": "Bergen"}


def test_an_error_that_names_no_field_is_the_fault_of_all() -> None:
    """Salesforce did not say which: none of them is sent again until one is edited."""
    story = in_step(Name="Acme", Phone="555 0000", City="Oslo")
    story.mongodb.edits(Phone="555 0101", City="Bergen")
    story.salesforce.refuses(story.writes["salesforce"])
    assert story.salesforce.parked.keys() == {"Phone", "City"}
    assert "salesforce" not in story.writes


def test_an_error_that_names_a_field_outside_the_write_is_the_fault_of_all() -> None:
    """The rest would be the same write again, for ever."""
    story = in_step(Name="Acme", Phone="555 0000", City="Oslo")
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.refuses(story.writes["salesforce"], "City")
    assert story.salesforce.parked.keys() == {"Phone"}
    assert "salesforce" not in story.writes


def test_salesforces_own_edit_ends_a_refusal() -> None:
    """Salesforce enters the very value that it refused before (a rule was changed): nothing waits any more."""
    story = refused_city()
    story.come_to_rest()
    story.salesforce.edits(City="nowhere")
    assert story.salesforce.parked == {}
    assert story.writes["mongodb"].fields == {ERROR: None}


def test_with_revert_the_refusing_side_is_right() -> None:
    """`on_reject: revert`: MongoDB gets Salesforce's City back; the Phone still goes on."""
    story = refused_city(rules(on_reject="revert"))
    assert story.salesforce.parked == {}
    assert story.record == {"Name": "Acme", "Phone": "555 0101", "City": "Oslo"}
    assert story.writes["mongodb"].fields == {"City": "Oslo"}
    assert story.writes["salesforce"].fields == {"Phone": "555 0101"}
    assert story.conflicts == []


def test_a_revert_does_not_undo_what_was_edited_since() -> None:
    """The City that was refused has been corrected in MongoDB already."""
    story = in_step(rules(on_reject="revert"), Name="Acme", City="Oslo")
    story.mongodb.edits(City="nowhere")
    refused = story.writes["salesforce"]
    story.mongodb.edits(City="Bergen")
    story.salesforce.refuses(refused, "City")
    assert story.record == {"Name": "Acme", "City": "Bergen"}
    story.come_to_rest()
    assert story.salesforce.holds["City"] == "Bergen"


def test_an_operator_may_mend_what_was_refused() -> None:
    """His value is an edit like any other: the field is no longer parked, and tried again."""
    story = refused_city()
    story.come_to_rest()
    story.edit_of_an_operator(City="Bergen")
    assert story.writes["salesforce"].fields == {"City": "Bergen"}
    assert story.writes["mongodb"].fields == {"City": "Bergen", ERROR: None}


# REFUSED: a creation.


def test_a_refused_creation_waits_as_a_whole_where_it_lacks_what_is_required() -> None:
    """Without a good Name there is no account: nothing is sent until somebody edits the record."""
    story = born_in_mongodb(Name="x", Phone="555 0101")
    story.salesforce.refuses(story.writes["salesforce"], "Name", code="TOO_SHORT")
    assert EXISTENCE in story.salesforce.parked
    assert "salesforce" not in story.writes
    assert story.record is not None, "the document keeps its record"
    assert story.writes["mongodb"].fields == {ERROR: "TOO_SHORT"}


@pytest.mark.parametrize("cure", [{"Name": "Acme"}, {"City": "Oslo"}])
def test_any_edit_of_the_record_may_cure_a_refused_creation(cure: dict[str, str]) -> None:
    """Also the edit of a field that was empty, and so not in the refused write at all."""
    story = born_in_mongodb(Name="x", Phone="555 0101")
    story.salesforce.refuses(story.writes["salesforce"])
    story.come_to_rest()
    story.mongodb.edits(cure)
    assert story.writes["salesforce"].op is WriteOp.CREATE
    assert story.writes["salesforce"].fields == {"Name": "x", "Phone": "555 0101", **cure}
    story.come_to_rest()
    assert ERROR not in story.mongodb.holds


def test_a_creation_goes_on_without_a_field_that_it_can_do_without() -> None:
    """Salesforce refused only the City: the record is created without it."""
    story = born_in_mongodb(Name="Acme", City="nowhere")
    story.salesforce.refuses(story.writes["salesforce"], "City")
    assert story.writes["salesforce"].op is WriteOp.CREATE
    assert story.writes["salesforce"].fields == {"Name": "Acme"}
    story.come_to_rest()
    assert story.salesforce.parked.keys() == {"City"}
    assert story.mongodb.holds["City"] == "nowhere"


def test_a_refused_creation_is_always_kept() -> None:
    """Even with `on_reject: revert`: to revert it would be to delete what somebody has just entered."""
    story = born_in_mongodb(rules(on_reject="revert"), Name="Acme")
    story.salesforce.refuses(story.writes["salesforce"])
    assert story.record == {"Name": "Acme"}
    assert EXISTENCE in story.salesforce.parked
    assert "mongodb" not in story.writes or story.writes["mongodb"].op is WriteOp.UPDATE


def refused_over_an_earlier_one(told: Rules) -> Story:
    """The first creation has made the record; the second, with a City that was edited since, is refused."""
    story = born_in_mongodb(told, Name="Acme", City="Oslo")
    made = story.writes["salesforce"]
    story.mongodb.edits(City="nowhere")
    refused = story.writes["salesforce"]
    story.salesforce.acks(made)
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.refuses(refused)
    return story


def test_a_creation_that_is_refused_where_the_record_is_there_by_now_does_not_stop_all_else() -> None:
    """It is refused like an update: what it named waits, and other fields go on (seed 912124)."""
    story = refused_over_an_earlier_one(rules())
    assert story.salesforce.parked.keys() == {"Name", "City"}
    assert story.writes["salesforce"].op is WriteOp.UPDATE
    assert story.writes["salesforce"].fields == {"Phone": "555 0101"}


def test_a_creation_that_is_refused_where_the_record_is_there_by_now_is_reverted() -> None:
    """`on_reject: revert`: nothing has to be deleted for that, so Salesforce's City is right at once (seed 912124)."""
    story = refused_over_an_earlier_one(rules(on_reject="revert"))
    assert story.salesforce.parked == {}
    assert story.record == {"Name": "Acme", "City": "Oslo", "Phone": "555 0101"}
    story.come_to_rest()
    assert story.mongodb.holds["City"] == "Oslo"


def test_a_creation_that_is_locked_out_where_the_record_is_there_by_now_delays_no_deletion() -> None:
    """It waits like an update; what is to be deleted is deleted."""
    story = born_in_mongodb(Name="Acme", City="Oslo")
    made = story.writes["salesforce"]
    story.mongodb.edits(City="Bergen")
    locked = story.writes["salesforce"]
    story.salesforce.acks(made)
    story.salesforce.defers(locked)
    assert story.salesforce.parked.keys() == {"Name", "City"}
    story.mongodb.deletes()
    assert story.writes["salesforce"].op is WriteOp.DELETE


# REFUSED: a delete.


def test_a_refused_delete_parks_the_records_existence() -> None:
    """Salesforce will not delete the account (it has closed deals): it stays there, and is not asked again."""
    story = in_step(Name="Acme")
    story.mongodb.deletes()
    story.salesforce.refuses(story.writes["salesforce"], code="DELETE_FAILED")
    assert story.salesforce.parked[EXISTENCE].why is Park.REFUSED
    assert story.writes == {}
    assert story.record is None


def test_a_refused_delete_lets_the_record_live_where_that_is_to_be_reverted() -> None:
    """`on_reject: revert`: what Salesforce still has is given back to MongoDB."""
    story = in_step(rules(on_reject="revert"), Name="Acme", Phone="555 0000")
    story.mongodb.deletes()
    story.salesforce.refuses(story.writes["salesforce"])
    assert story.record == {"Name": "Acme", "Phone": "555 0000"}
    assert story.writes["mongodb"].op is WriteOp.CREATE
    assert "salesforce" not in story.writes


# GONE and EXISTS.


def test_after_gone_nothing_goes_there_until_the_side_has_spoken() -> None:
    """Salesforce lost the record and nobody told us: guessing would create a duplicate."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.finds_it_gone(story.writes["salesforce"])
    assert "salesforce" not in story.writes
    out = story.mongodb.edits(Phone="555 0202")
    assert "salesforce" not in out.writes
    story.salesforce.row(Name="Acme", Phone="555 0000")
    assert story.writes["salesforce"].fields == {"Phone": "555 0202"}


def test_an_update_that_was_on_its_way_does_not_end_the_waiting() -> None:
    """It was committed before the record went: only a row, a creation or a deletion says what is there now."""
    story = in_step(Name="Acme", Phone="555 0000", City="Oslo")
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.finds_it_gone(story.writes["salesforce"])
    out = story.salesforce.edits(City="Bergen")
    assert "salesforce" not in out.writes
    assert "salesforce" not in story.writes


def test_gone_and_then_absent_is_a_delete_that_had_not_seen_the_edit() -> None:
    """The side speaks: it deleted the record before our edit came; the policy decides between the two."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101", at=2_000)
    story.salesforce.finds_it_gone(story.writes["salesforce"])
    story.salesforce.absent(at=1_000)
    assert [c.contest.field for c in story.conflicts] == [EXISTENCE]
    assert story.writes["salesforce"].op is WriteOp.CREATE, "the edit was later"
    assert story.writes["salesforce"].fields == {"Name": "Acme", "Phone": "555 0101"}


def test_a_deletes_gone_is_answered_by_an_absence() -> None:
    """Both sides deleted the record; the sink found nothing to delete, and the read confirms it."""
    story = in_step(Name="Acme")
    story.mongodb.deletes()
    story.salesforce.finds_it_gone(story.writes["salesforce"])
    story.salesforce.absent()
    assert story.writes == {}
    assert story.conflicts == []


def test_a_refused_value_that_somebody_sets_later_is_an_edit() -> None:
    """The refused write was never carried out: a row that shows its value does not show our doing."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.refuses(story.writes["salesforce"], "Phone")
    story.mongodb.edits(Phone="555 0000")
    story.mongodb.edits(Name="Globex")
    story.salesforce.row(Name="Globex", Phone="555 0101", marker=story.writes["salesforce"].seq)
    assert story.record == {"Name": "Globex", "Phone": "555 0101"}


def test_what_is_made_again_before_our_deletion_was_told_lives() -> None:
    """Nothing tells of our deletion but an absence, and that is not taken for somebody's deletion of the new record."""
    story = in_step(POLLED, Name="Acme")
    story.mongodb.deletes()
    deletion, deleted_at = story.writes["salesforce"], story.clock_ms
    story.salesforce.finds_it_gone(deletion)
    story.mongodb.creates(Name="Globex")
    story.salesforce.absent(at=deleted_at)
    assert (story.record, story.conflicts) == ({"Name": "Globex"}, [])
    assert story.writes["salesforce"].op is WriteOp.CREATE


def test_a_deletion_that_met_nothing_when_it_was_repeated_is_still_ours_when_it_is_told() -> None:
    """Its outcome overtakes the event; what was brought back on the other side meanwhile is not deleted again."""
    story = in_step(Name="Acme")
    story.salesforce.deletes()
    story.mongodb.finds_it_gone(story.writes["mongodb"])
    story.salesforce.creates(Name="Acme")
    story.mongodb.deletes()
    assert (story.record, story.conflicts) == ({"Name": "Acme"}, [])
    assert story.writes["mongodb"].op is WriteOp.CREATE
    assert "salesforce" not in story.writes


def test_an_update_that_met_nothing_when_it_was_repeated_is_still_ours_when_it_is_told() -> None:
    """It was carried out, the document was deleted, and its repetition met nothing: nobody contests the deletion in Salesforce."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    write = story.writes["mongodb"]
    story.mongodb.finds_it_gone(write)
    story.salesforce.deletes()
    story.mongodb.acks(write)
    story.mongodb.deletes()
    assert (story.record, story.conflicts, story.writes) == (None, [], {})


def test_an_absence_does_not_settle_a_deletion_that_is_still_on_its_way() -> None:
    """It was read before that was carried out, on what somebody has put there again."""
    story = in_step(Name="Acme")
    story.salesforce.deletes()
    story.mongodb.absent()
    story.mongodb.creates(Name="Globex")
    story.mongodb.deletes()
    assert story.record == {"Name": "Globex"}
    assert story.writes["mongodb"].op is WriteOp.CREATE


def test_after_exists_the_records_are_joined_by_what_the_side_shows() -> None:
    """Our CREATE met a record without our marker: it is read, and `initial` decides, as at first contact."""
    story = born_in_mongodb(Name="Acme", Phone="555 0101")
    story.salesforce.finds_it_there(story.writes["salesforce"])
    assert "salesforce" not in story.writes
    story.salesforce.row(Name="Acme", City="Oslo")
    assert story.record == {"Name": "Acme", "Phone": "555 0101", "City": "Oslo"}
    assert story.writes["salesforce"].op is WriteOp.UPDATE
    assert story.writes["salesforce"].fields == {"Phone": "555 0101"}


def test_a_deletion_told_by_the_stream_ends_the_waiting_too() -> None:
    """The side speaks by an event, which comes before the row that was asked for."""
    story = in_step(Name="Acme")
    story.mongodb.edits(City="Oslo", at=2_000)
    story.salesforce.finds_it_gone(story.writes["salesforce"])
    story.salesforce.deletes(at=1_000)
    assert story.writes["salesforce"].op is WriteOp.CREATE


# DEFERRED and RETRY.


def test_a_reference_to_a_missing_parent_waits_and_the_rest_goes_on() -> None:
    """DEFERRED applied nothing: the write is sent again without the reference."""
    story = born_in_mongodb(Name="Acme", ParentId=PARENT)
    story.salesforce.defers(story.writes["salesforce"], "ParentId")
    assert story.salesforce.parked["ParentId"].why is Park.DEFERRED
    assert story.writes["salesforce"].op is WriteOp.CREATE
    assert story.writes["salesforce"].fields == {"Name": "Acme"}


def test_a_deferred_reference_that_is_read_with_another_spelling_is_sent_at_once() -> None:
    """Its parent came after it, and a collation takes both for the same: it waits no longer for a spelling nobody has (case V2)."""
    story = in_step(Name="Acme")
    story.mongodb.edits(ParentId="ABC")
    story.salesforce.defers(story.writes["salesforce"], "ParentId")
    story.mongodb.row(Name="Acme", ParentId="abc")
    assert story.salesforce.parked == {}
    assert story.writes["salesforce"].fields == {"ParentId": "abc"}
    assert story.conflicts == []


def test_a_deferred_reference_is_sent_once_the_parent_is_there() -> None:
    """RETRY: `identity` shows the parent."""
    story = born_in_mongodb(Name="Acme", ParentId=PARENT)
    deferred = story.writes["salesforce"]
    story.salesforce.defers(deferred, "ParentId")
    story.come_to_rest()
    story.salesforce.retries(deferred, "ParentId")
    assert story.writes["salesforce"].op is WriteOp.UPDATE
    assert story.writes["salesforce"].fields == {"ParentId": PARENT}
    story.come_to_rest()
    assert story.salesforce.holds["ParentId"] == PARENT
    assert story.salesforce.parked == {}


def test_a_retry_frees_only_what_was_deferred() -> None:
    """A field that was refused stays parked, whatever parents turn up."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(City="nowhere")
    refused = story.writes["salesforce"]
    story.salesforce.refuses(refused, "City")
    story.come_to_rest()
    story.salesforce.retries(replace(refused, seq=refused.seq - 1))
    assert story.salesforce.parked.keys() == {"City"}
    assert story.writes == {}


def test_a_retry_of_the_refused_write_itself_sends_it_again() -> None:
    """The record that kept its unique value away has given it up: nobody has to edit this one (case L8)."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(City="taken")
    refused = story.writes["salesforce"]
    story.salesforce.refuses(refused, "City", code="DUPLICATE_VALUE")
    story.come_to_rest()
    story.salesforce.retries(refused, "City")
    assert story.writes["salesforce"].fields == {"City": "taken"}
    story.come_to_rest()
    assert (story.salesforce.holds["City"], story.salesforce.parked) == ("taken", {})
    assert ERROR not in story.mongodb.holds


def test_a_record_waits_as_a_whole_for_a_parent_that_it_cannot_do_without() -> None:
    """A required reference: there is no record in Salesforce before its parent is there."""
    fields = (replace(f, required=True) if f.name == "ParentId" else f for f in SCHEMA.fields)
    story = born_in_mongodb(
        Rules(ObjectSchema("Account", tuple(fields), "001")), Name="Acme", ParentId=PARENT
    )
    deferred = story.writes["salesforce"]
    story.salesforce.defers(deferred, "ParentId")
    assert "salesforce" not in story.writes
    out = story.mongodb.edits(Name="Acme Ltd")
    assert "salesforce" not in out.writes
    story.salesforce.retries(deferred, "ParentId")
    assert story.writes["salesforce"].op is WriteOp.CREATE
    assert story.writes["salesforce"].fields == {"Name": "Acme Ltd", "ParentId": PARENT}


def test_a_record_waits_as_a_whole_for_a_parent_that_can_be_named_at_its_creation_only() -> None:
    """A creation without it could never be completed; it goes ahead with the parent, or once nobody wants that parent."""
    for answer in ("the parent is there", "the reference is cleared"):
        story = born_in_mongodb(Name="Acme", Source=PARENT)
        deferred = story.writes["salesforce"]
        story.salesforce.defers(deferred, "Source")
        assert "salesforce" not in story.writes
        assert "salesforce" not in story.mongodb.edits(Name="Acme Ltd").writes
        if answer == "the parent is there":
            story.salesforce.retries(deferred, "Source")
            assert story.writes["salesforce"].fields == {"Name": "Acme Ltd", "Source": PARENT}
        else:
            story.mongodb.edits(Source=None)
            assert story.writes["salesforce"].fields == {"Name": "Acme Ltd"}
        story.come_to_rest()
        assert story.salesforce.parked == {}


def test_a_record_that_is_nothing_but_references_is_created_once_they_are_there() -> None:
    """With all of them at fault nothing is left to create; the retry names the references, and frees the record with them."""
    story = born_in_mongodb(ParentId=PARENT)
    deferred = story.writes["salesforce"]
    story.salesforce.defers(deferred, "ParentId")
    assert "salesforce" not in story.writes
    story.salesforce.retries(deferred, "ParentId")
    assert story.writes["salesforce"].fields == {"ParentId": PARENT}
    assert story.salesforce.parked == {}


def test_a_deferred_field_is_no_error_of_the_document() -> None:
    """It waits by itself; nobody has anything to mend."""
    story = born_in_mongodb(Name="Acme", ParentId=PARENT)
    story.salesforce.defers(story.writes["salesforce"], "ParentId")
    story.come_to_rest()
    assert ERROR not in story.mongodb.holds


# An outcome overtakes events.


def test_an_outcome_does_not_swallow_the_echo_of_an_earlier_write() -> None:
    """The first write succeeded, the second was refused, and the refusal is heard before the first echo."""
    story = in_step(Name="Acme", Phone="555 0000", City="Oslo")
    story.mongodb.edits(Phone="555 0101")
    first = story.writes["salesforce"]
    story.mongodb.edits(Phone="555 0202", City="nowhere")
    story.salesforce.refuses(story.writes["salesforce"], "City")
    story.salesforce.acks(first)
    assert story.record == {"Name": "Acme", "Phone": "555 0202", "City": "nowhere"}, "nobody edited it back"
    assert story.conflicts == []
    story.come_to_rest()
    assert story.salesforce.holds["Phone"] == "555 0202"


def test_an_outcome_of_a_write_that_was_answered_since_says_nothing() -> None:
    """The sink repeats its refusal after a crash, when a later write has been acknowledged."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(City="nowhere")
    refused = story.writes["salesforce"]
    story.mongodb.edits(City="Bergen")
    story.salesforce.acks(story.writes["salesforce"])
    story.salesforce.refuses(refused, "City")
    assert story.salesforce.parked == {}
    assert story.writes == {}


# DEFERRED as a whole: what is locked waits for its time.


def test_a_locked_record_is_left_alone_until_its_time_comes() -> None:
    """Nothing of the write is sent again before RETRY, and nothing is called refused (case L10)."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(Name="Acme Ltd", City="Bergen")
    locked = story.writes["salesforce"]
    out = story.salesforce.defers(locked)
    assert out.writes.get("salesforce") is None
    assert {parked.why for parked in story.salesforce.parked.values()} == {Park.DEFERRED}
    assert ERROR not in story.mongodb.holds
    story.salesforce.retries(locked)
    assert story.writes["salesforce"].fields == {"Name": "Acme Ltd", "City": "Bergen"}
    story.come_to_rest()
    assert story.salesforce.parked == {}


def test_a_deletion_that_is_locked_out_waits_and_is_carried_out_in_the_end() -> None:
    """It is not sent again and again meanwhile (case L10)."""
    story = in_step(Name="Acme")
    story.mongodb.deletes()
    locked = story.writes["salesforce"]
    out = story.salesforce.defers(locked)
    assert out.writes.get("salesforce") is None
    assert story.salesforce.parked[EXISTENCE].why is Park.DEFERRED
    story.salesforce.retries(locked)
    assert story.writes["salesforce"].op is WriteOp.DELETE
    story.come_to_rest()
    assert not story.state.lives


def test_a_creation_that_is_locked_out_waits_as_a_whole() -> None:
    """What it belongs to is locked: no empty record is made meanwhile, though no field is required (case L10)."""
    fields = tuple(replace(f, required=False) for f in SCHEMA.fields)
    story = born_in_mongodb(Rules(ObjectSchema("Account", fields, "001")), Name="Acme")
    locked = story.writes["salesforce"]
    out = story.salesforce.defers(locked)
    assert out.writes.get("salesforce") is None
    story.salesforce.retries(locked)
    assert (story.writes["salesforce"].op, story.writes["salesforce"].fields) == (
        WriteOp.CREATE,
        {"Name": "Acme"},
    )


def test_a_record_that_is_edited_while_its_deletion_is_locked_out_lives_on() -> None:
    """The write that lets it live is no longer the deletion's matter (cases L10 and L11)."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.deletes()
    story.salesforce.defers(story.writes["salesforce"])
    story.mongodb.creates(Name="Acme again")
    story.come_to_rest()
    assert story.salesforce.holds == {"Name": "Acme again"}
