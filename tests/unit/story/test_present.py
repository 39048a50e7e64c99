"""Where a record stands, and the one sentence for whoever asks why it did not sync."""

from __future__ import annotations

from typing import Any

from salmon.model.policies import EXISTENCE, HOLD
from salmon.story.reading import Story as Told
from salmon.story.reading import lines
from support.at_hand.stories import Story, born_in_mongodb, in_step, rules
from support.at_hand.told import now_of, told_of


def told(story: Story, **instead: Any) -> Told:
    """The record's story, without its entries."""
    return Told("Account", story.key, (), now_of(story, **instead), whole=True)


def test_a_record_in_step_says_so() -> None:
    """Nothing waits, and nothing differs."""
    now = now_of(in_step(Name="Acme"))
    assert now.settled
    assert now.sentence.endswith("is in sync: both sides have the agreed values.")
    assert now.row == {"Name": "Acme"}
    assert [side["differs"] for side in now.sides.values()] == [{}, {}]


def test_of_the_target_of_a_one_way_object_it_is_not_said_what_it_holds() -> None:
    """It is never read, so that an edit there is not known; the command that looks is named."""
    story = Story(rules(one_way_to="mongodb"))
    story.salesforce.row(Name="Acme")
    now = now_of(story)
    assert now.settled
    assert now.sentence.startswith(f"All values of Account {story.key} were sent to MongoDB.")
    assert "in sync" not in now.sentence
    assert "and its target is never read, so what MongoDB holds now is not known here" in now.sentence
    assert f"`salmon verify --object Account --keys '{story.key}'` compares it." in now.sentence
    assert "  mongodb: was sent it" in lines(told(story), 0)
    story.salesforce.deletes()
    assert "is deleted at its source, and its deletion was sent to MongoDB" in now_of(story).sentence


def test_a_deleted_record_says_so() -> None:
    """On both sides, once both have said it."""
    story = in_step(Name="Acme")
    story.salesforce.deletes()
    assert not now_of(story).settled
    story.come_to_rest()
    now = now_of(story)
    assert now.settled
    assert now.sentence.endswith("is deleted on both sides.")


def test_a_write_under_way_names_the_side_the_write_and_whom_to_look_at() -> None:
    """With how long ago it left."""
    story = in_step(Name="Acme")
    story.mongodb.edits(Name="Acme Ltd")
    now = now_of(story)
    assert f"waits for Salesforce to carry out write {story.offset} (UPDATE, sent 60 min ago)" in now.sentence
    assert "salesforce-sink" in now.sentence
    assert now.sides["salesforce"]["in_flight"] == [{"seq": story.offset, "op": "UPDATE", "fields": ["Name"]}]
    assert now.sides["salesforce"]["differs"] == {"Name": {"holds": "Acme", "agreed": "Acme Ltd"}}


def test_a_deletion_that_the_guard_holds_names_the_guard_how_many_wait_and_both_commands() -> None:
    """The sink runs and does what it should, so nobody is sent to look at it."""
    story = in_step(Name="Acme")
    story.mongodb.deletes()
    now = now_of(story, guarded={"salesforce": 30})
    assert not now.settled
    assert now.sentence.endswith(
        "waits for a decision, because the delete guard holds its deletion in Salesforce (30 deletes wait there): "
        "`salmon guard approve --object Account --side salesforce` deletes all of them; "
        "`salmon guard discard --object Account --side salesforce` keeps these records."
    )


def test_a_deletion_of_a_one_way_object_that_the_guard_holds_cannot_be_discarded() -> None:
    """Its source is never written to, so a person restores the record there."""
    story = Story(rules(one_way_to="mongodb"))
    story.salesforce.row(Name="Acme")
    story.salesforce.deletes()
    said = now_of(story, guarded={"mongodb": 1}).sentence
    assert "(1 delete waits there): `salmon guard approve --object Account --side mongodb` deletes" in said
    assert "restore it at its source" in said
    assert "discard" not in said


def test_the_guard_of_a_side_is_not_named_for_an_edit() -> None:
    """It holds deletes of other records only."""
    story = in_step(Name="Acme")
    story.mongodb.edits(Name="Acme Ltd")
    assert "guard" not in now_of(story, guarded={"salesforce": 30}).sentence


def test_of_a_record_that_is_to_be_deleted_no_field_differs() -> None:
    """Nothing is agreed of its fields; one line says that the side still has it."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.deletes()
    now = now_of(story)
    assert now.sides["salesforce"]["differs"] == {}
    shown = lines(told(story), 0)
    assert shown[1:4] == ["  salesforce: has it as " + story.key, shown[2], "    to be deleted there"]
    assert "in flight: write" in shown[2]


def test_a_refused_field_names_code_reason_and_mend() -> None:
    """The document is where it is corrected."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(City="nowhere")
    story.salesforce.refuses(story.writes["salesforce"], "City", code="INVALID", reason="no such city")
    story.come_to_rest()
    now = now_of(story)
    assert (
        "was refused by Salesforce in City: INVALID (no such city); correct it in MongoDB and Salmon tries again"
    ) in now.sentence
    (parked,) = now.sides["salesforce"]["parked"]
    assert (parked["field"], parked["why"], parked["code"]) == ("City", "REFUSED", "INVALID")


def test_a_refused_field_names_the_command_that_sends_it_again() -> None:
    """For when the document is right, and what refused it is gone (case L10)."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(City="nowhere")
    story.salesforce.refuses(story.writes["salesforce"], "City", code="INVALID")
    story.come_to_rest()
    assert f"salmon retry --object Account --key '{story.key}'" in now_of(story).sentence


def test_a_value_that_could_not_be_taken_is_named_with_its_mend() -> None:
    """The record is not in step: its document holds what Salesforce cannot (case V6)."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(misfits=["City"])
    story.come_to_rest()
    now = now_of(story)
    assert not now.settled
    assert (
        "has a value in MongoDB that cannot be synced in City; all other fields are synced: City: it is not of its type."
    ) in now.sentence
    (misfit,) = now.sides["mongodb"]["misfits"]
    assert (misfit["field"], misfit["code"]) == ("City", "NOT_OF_TYPE")


def test_a_new_document_without_what_salesforce_needs_says_what_that_is() -> None:
    """Nothing else is wrong: no process is to be looked at (case V7)."""
    story = Story(key="65f0c0ffee")
    story.mongodb.creates(City="Oslo", misfits=["Name"])
    story.come_to_rest()
    now = now_of(story)
    assert "waits to be created in Salesforce, because Account needs a value in Name" in now.sentence
    assert "see whether" not in now.sentence


def test_a_refused_creation_speaks_of_the_record() -> None:
    """Not of each of its fields."""
    story = born_in_mongodb(Name="x")
    story.salesforce.refuses(story.writes["salesforce"], code="TOO_SHORT")
    story.come_to_rest()
    assert "was refused by Salesforce as a new record: TOO_SHORT" in now_of(story).sentence


def test_one_refusal_is_one_line_however_many_fields_it_keeps_waiting() -> None:
    """The code and its words once; the fields named, or the record as a whole."""
    story = born_in_mongodb(Name="x", City="Oslo")
    story.salesforce.refuses(story.writes["salesforce"], code="TOO_SHORT", reason="Too short.")
    shown = lines(told(story), 0)
    assert [line for line in shown if line.startswith("    waits")] == [
        "    waits: the record as a whole, refused: TOO_SHORT (Too short)"
    ]
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(City="nowhere", Phone="12")
    story.salesforce.refuses(story.writes["salesforce"], "City", "Phone", code="INVALID", reason="No.")
    story.come_to_rest()
    assert "    waits: City, Phone, refused: INVALID (No)" in lines(told(story), 0)
    assert "in City, Phone: INVALID (No); correct it" in now_of(story).sentence


def test_a_refused_deletion_says_where_it_is_still() -> None:
    """And what to do there."""
    story = in_step(Name="Acme")
    story.mongodb.deletes()
    story.salesforce.refuses(story.writes["salesforce"], code="DELETE_FAILED")
    story.come_to_rest()
    assert "its deletion was refused by Salesforce: DELETE_FAILED" in now_of(story).sentence


def test_a_missing_parent_is_waited_for() -> None:
    """Nobody has to do anything, unless the parent never comes."""
    story = born_in_mongodb(Name="Acme", ParentId="0015g00000Par11AAA")
    story.salesforce.defers(story.writes["salesforce"], "ParentId")
    story.come_to_rest()
    assert now_of(story).sentence.endswith(
        "cannot be written to Salesforce yet (ParentId), because the record that it refers to does not exist there: it "
        "continues by itself as soon as that record exists; if it never will, correct ParentId in MongoDB."
    )


def test_a_locked_record_names_the_lock_and_when_it_is_tried_again() -> None:
    """There is nothing to correct (case L10)."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(City="Bergen")
    locked = story.writes["salesforce"]
    reason = "the record is locked; it is tried again at 2026-11-29T01:00:00Z"
    story.salesforce.defers(locked, code="ENTITY_IS_LOCKED", reason=reason)
    assert (
        f"cannot be written to Salesforce now (City): ENTITY_IS_LOCKED ({reason}); Salmon tries again by itself"
    ) in now_of(story).sentence


def test_a_conflict_on_hold_names_both_values_and_the_command() -> None:
    """A person decides."""
    story = in_step(rules(policy=HOLD), Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    story.mongodb.edits(Phone="555 0202")
    story.come_to_rest()
    said = now_of(story).sentence
    assert "Phone is '555 0202' in MongoDB and '555 0101' in Salesforce" in said
    assert f"salmon conflicts resolve Account '{story.key}' Phone --take salesforce|mongodb|VALUE" in said


def test_a_hidden_value_is_nowhere() -> None:
    """Not in the sentence, the values, the row or the history; that it differs is shown all the same, and other fields are."""
    story = in_step(rules(policy=HOLD), Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    story.mongodb.edits(Phone="555 0202")
    story.come_to_rest()
    assert "555" in f"{now_of(story)} {told_of(story)}"
    now, entries = now_of(story, hidden=["Phone"]), told_of(story, hidden=["Phone"])
    assert "555" not in f"{now} {entries}"
    assert "Phone is (masked) in MongoDB and (masked) in Salesforce" in now.sentence
    assert now.sides["mongodb"]["differs"]["Phone"] == {"holds": "(masked)", "agreed": "(masked)"}
    assert now.row is not None
    assert (now.row["Name"], now.row["Phone"]) == ("Acme", "(masked)")


def test_a_contested_life_names_both_choices() -> None:
    """The side that has it, and the side that deleted it."""
    story = in_step(rules(policy=HOLD), Name="Acme")
    story.salesforce.deletes()
    story.mongodb.edits(Name="Acme Ltd")
    story.come_to_rest()
    said = now_of(story).sentence
    assert f"'{EXISTENCE}' --take mongodb keeps it, --take salesforce deletes it" in said


def test_a_write_that_met_another_record_waits_for_a_look() -> None:
    """GONE: nothing goes there until the side has spoken."""
    story = in_step(Name="Acme")
    story.mongodb.edits(Name="Acme Ltd")
    story.salesforce.finds_it_gone(story.writes["salesforce"])
    assert "waits until it has been read again in Salesforce" in now_of(story).sentence


def test_what_merge_has_not_folded_is_said() -> None:
    """Beside whatever else waits; of a record that merge knows, and of one that it does not."""
    story = in_step(Name="Acme")
    assert "has not processed its last 2 changes" in now_of(story, unmerged=2).sentence
    assert "waits for merge" in now_of(story, unmerged=2, state=None).sentence


def test_a_record_that_nobody_has_told_of() -> None:
    """Perhaps the key is mistyped."""
    now = now_of(Story(), state=None)
    assert not now.settled
    assert "Salmon does not know" in now.sentence
