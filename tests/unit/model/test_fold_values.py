"""Steps 3 and 4 of the fold: what one field of a change means when somebody edits, tidies or keeps it."""

from __future__ import annotations

import pytest

from salmon.model.fold import Fact, Published
from support.at_hand.stories import born_in_mongodb, in_step

THE_FAR_FUTURE = 9_000_000_000_000  # ms: a clock that is centuries ahead
LONG_AGO = 1  # ms: a clock that was never set

# Echoes of what has been overtaken, and triggers.


def test_the_echo_of_an_overtaken_write_is_no_news() -> None:
    """MongoDB is edited twice; Salesforce's echo of the first edit arrives after the second."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    first = story.writes["salesforce"]
    story.mongodb.edits(Phone="555 0202")
    second = story.writes["salesforce"]
    story.salesforce.acks(first)
    assert story.record == {"Name": "Acme", "Phone": "555 0202"}
    assert story.salesforce.in_flight == [second.seq]
    story.come_to_rest()
    assert story.salesforce.holds["Phone"] == "555 0202"
    assert story.conflicts == []


def test_a_trigger_that_tidies_our_phone_number_is_an_edit_and_no_conflict() -> None:
    """We write 555 0101 to Salesforce; its trigger stores +1 555 0101 in the same transaction."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.acks(story.writes["salesforce"], Phone="+1 555 0101")
    assert story.record == {"Name": "Acme", "Phone": "+1 555 0101"}
    assert story.writes["mongodb"].fields == {"Phone": "+1 555 0101"}
    assert story.conflicts == []


def test_a_trigger_wins_for_any_clock() -> None:
    """The user's clock is centuries ahead: the trigger has seen what the user wrote all the same."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101", at=THE_FAR_FUTURE)
    story.salesforce.edits(ack=story.writes["salesforce"].seq, at=LONG_AGO, Phone="+1 555 0101")
    assert story.record == {"Name": "Acme", "Phone": "+1 555 0101"}
    assert story.conflicts == []


def test_a_trigger_may_change_fields_that_we_did_not_write() -> None:
    """The event of our own write is never dropped for its origin: a flow set the City in its transaction."""
    story = in_step(Name="Acme", Phone="555 0000", City="Oslo")
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.acks(story.writes["salesforce"], City="Bergen")
    assert story.record == {"Name": "Acme", "Phone": "555 0101", "City": "Bergen"}
    assert story.writes["mongodb"].fields == {"City": "Bergen"}


def test_what_a_trigger_made_of_an_overtaken_value_is_no_news() -> None:
    """The trigger tidied 555 0101, but a user has changed that number to 555 0202 meanwhile."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    first = story.writes["salesforce"]
    story.mongodb.edits(Phone="555 0202")
    story.salesforce.acks(first, Phone="+1 555 0101")
    assert story.record == {"Name": "Acme", "Phone": "555 0202"}
    assert story.conflicts == []
    story.come_to_rest()
    assert story.salesforce.holds["Phone"] == "555 0202"


def test_a_row_that_differs_from_an_overtaken_write_may_be_an_edit() -> None:
    """A row cannot tell a trigger's product from a user's edit made since: that is a conflict, and told."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    first = story.writes["salesforce"]
    story.mongodb.edits(Phone="555 0202")
    story.salesforce.row(marker=first.seq, at=THE_FAR_FUTURE, Name="Acme", Phone="555 0303")
    assert story.record == {"Name": "Acme", "Phone": "555 0303"}
    assert [c.contest.field for c in story.conflicts] == ["Phone"]


def test_a_field_that_salesforce_refuses_in_silence_keeps_its_value() -> None:
    """A flow puts the old City back before our write is saved: the event does not even mention the City."""
    story = in_step(Name="Acme", Phone="555 0000", City="Oslo")
    story.mongodb.edits(Phone="555 0101", City="Bergen")
    story.salesforce.acks_without(story.writes["salesforce"], "City")
    assert story.record == {"Name": "Acme", "Phone": "555 0101", "City": "Oslo"}
    assert story.writes["mongodb"].fields == {"City": "Oslo"}
    assert story.conflicts == []


def test_a_field_that_salesforce_keeps_empty_in_silence_is_emptied_in_mongodb() -> None:
    """The kept value may be null: it is a value like any other."""
    story = in_step(Name="Acme")
    story.mongodb.edits(City="Bergen")
    story.salesforce.acks_without(story.writes["salesforce"], "City")
    assert story.record == {"Name": "Acme"}
    assert story.writes["mongodb"].fields == {"City": None}


def test_a_silent_refusal_of_an_overtaken_value_is_no_news() -> None:
    """Salesforce kept Oslo instead of Bergen, but MongoDB says Tromsø by now: that is still to be tried."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(City="Bergen")
    first = story.writes["salesforce"]
    story.mongodb.edits(City="Tromsø")
    story.salesforce.acks_without(first, "City")
    assert story.record == {"Name": "Acme", "City": "Tromsø"}
    assert story.writes["salesforce"].fields == {"City": "Tromsø"}


def test_an_echo_that_does_not_mention_what_was_so_before_is_no_refusal() -> None:
    """Salesforce tells only of what changed; a field that already had our value did not."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(City="Bergen")
    story.salesforce.edits(City="Bergen")
    story.salesforce.acks_without(story.writes["salesforce"], "City")
    assert story.record == {"Name": "Acme", "City": "Bergen"}
    assert story.writes == {}


# Agreed, and known.


def test_two_users_who_enter_the_same_value_agree() -> None:
    """Both sides are edited alike at once: no conflict, and nothing more to write."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    write = story.writes["mongodb"]
    story.mongodb.edits(Phone="555 0101")
    assert story.conflicts == []
    assert "salesforce" not in story.writes
    story.mongodb.acks(write)
    assert story.writes == {}


def test_null_and_missing_are_the_same() -> None:
    """An application stores null in a field that was not there: nobody has edited anything."""
    story = in_step(Name="Acme")
    out = story.mongodb.edits(Phone=None)
    assert out.writes == {}
    assert out.published is Published.UNCHANGED


def test_a_cleared_field_is_cleared_on_the_other_side() -> None:
    """Named and null: the user emptied it, and the write says so."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone=None)
    assert story.record == {"Name": "Acme"}
    assert story.writes["mongodb"].fields == {"Phone": None}


def test_null_in_a_field_that_is_not_named_is_not_said() -> None:
    """An event that tells of the City says nothing of the Phone."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(City="Oslo")
    assert story.record == {"Name": "Acme", "Phone": "555 0000", "City": "Oslo"}


def test_a_row_that_shows_what_we_knew_does_not_beat_an_edit_on_its_way_there() -> None:
    """Salesforce is read before MongoDB's edit reached it: its old phone number is known, not new."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101", at=LONG_AGO)
    story.salesforce.row(at=THE_FAR_FUTURE, Name="Acme", Phone="555 0000")
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}
    assert story.conflicts == []


def test_a_row_that_shows_something_new_is_an_edit() -> None:
    """Events were lost in a hole; the row tells what they would have told."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.row(Name="Acme", Phone="555 0101", City="Oslo")
    assert story.record == {"Name": "Acme", "Phone": "555 0101", "City": "Oslo"}
    assert story.writes["mongodb"].fields == {"Phone": "555 0101", "City": "Oslo"}
    assert story.conflicts == []


def test_a_row_that_lacks_a_known_field_has_been_emptied() -> None:
    """A row speaks of every field: what it does not show is empty there."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.row(Name="Acme")
    assert story.record == {"Name": "Acme"}
    assert story.writes["mongodb"].fields == {"Phone": None}


# Causal: made after seeing the agreed value.


@pytest.mark.parametrize(("first_at", "then_at"), [(THE_FAR_FUTURE, LONG_AGO), (LONG_AGO, THE_FAR_FUTURE)])
def test_an_edit_made_after_seeing_a_value_wins_for_any_clock(first_at: int, then_at: int) -> None:
    """Salesforce's edit is seen in MongoDB and changed there; no clock of either side matters."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101", at=first_at)
    story.mongodb.acks(story.writes["mongodb"])
    story.mongodb.edits(Phone="555 0202", at=then_at)
    assert story.record == {"Name": "Acme", "Phone": "555 0202"}
    assert story.conflicts == []
    assert story.writes["salesforce"].fields == {"Phone": "555 0202"}


@pytest.mark.parametrize(("first_at", "then_at"), [(THE_FAR_FUTURE, LONG_AGO), (LONG_AGO, THE_FAR_FUTURE)])
def test_it_is_so_the_other_way_round_too(first_at: int, then_at: int) -> None:
    """MongoDB's edit is seen in Salesforce and changed there."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101", at=first_at)
    story.salesforce.acks(story.writes["salesforce"])
    story.salesforce.edits(Phone="555 0202", at=then_at)
    assert story.record == {"Name": "Acme", "Phone": "555 0202"}
    assert story.conflicts == []


def test_several_edits_of_one_side_in_a_row_are_no_conflict() -> None:
    """Whoever edits his own value again has seen it, whether or not the other side has."""
    story = in_step(Name="Acme", Phone="555 0000")
    for number in ("1", "2", "3"):
        story.mongodb.edits(Phone=f"555 000{number}")
    assert story.record == {"Name": "Acme", "Phone": "555 0003"}
    assert story.conflicts == []


def test_edits_of_different_fields_both_survive() -> None:
    """Both sides edit one record at once, but not the same field."""
    story = in_step(Name="Acme", Phone="555 0000", City="Oslo")
    story.salesforce.edits(Phone="555 0101")
    story.mongodb.edits(City="Bergen")
    assert story.conflicts == []
    story.come_to_rest()
    assert story.record == {"Name": "Acme", "Phone": "555 0101", "City": "Bergen"}
    assert story.salesforce.holds["City"] == "Bergen"
    assert story.mongodb.holds["Phone"] == "555 0101"


# Fields that a side may not set.


def test_mongodbs_edit_of_a_derived_field_is_overwritten_and_reported() -> None:
    """Shout is derived by the org: an application that writes it is overruled, and put right."""
    story = in_step(Name="Acme", Shout="ACME!")
    story.mongodb.edits(Shout="acme?", at=THE_FAR_FUTURE)
    assert [(r.fact, r.side, r.fields) for r in story.last.reports] == [
        (Fact.OVERRULED, "mongodb", ("Shout",))
    ]
    assert story.record == {"Name": "Acme", "Shout": "ACME!"}
    assert story.writes["mongodb"].fields == {"Shout": "ACME!"}
    assert "salesforce" not in story.writes
    assert story.conflicts == []


def test_a_derived_field_that_mongodb_made_up_is_removed() -> None:
    """Salesforce has no value for it: neither may the document."""
    story = in_step(Name="Acme")
    story.mongodb.edits(Shout="acme?")
    assert story.writes["mongodb"].fields == {"Shout": None}


def test_a_derived_field_always_follows_salesforce() -> None:
    """Its change is written to MongoDB, whatever was edited there meanwhile and whatever the clocks say."""
    story = in_step(Name="Acme", Shout="ACME!")
    story.mongodb.edits(Shout="acme?", at=THE_FAR_FUTURE)
    story.salesforce.edits(Shout="ACME LTD!", at=LONG_AGO)
    assert story.record == {"Name": "Acme", "Shout": "ACME LTD!"}
    assert story.writes["mongodb"].fields == {"Shout": "ACME LTD!"}
    assert story.conflicts == []


def test_what_is_derived_from_our_write_follows_at_once() -> None:
    """MongoDB renames the account; the org derives Shout from it in the same transaction."""
    story = in_step(Name="Acme", Shout="ACME!")
    story.mongodb.edits(Name="Bolt")
    story.salesforce.acks(story.writes["salesforce"], Shout="BOLT!")
    assert story.record == {"Name": "Bolt", "Shout": "BOLT!"}
    assert story.writes["mongodb"].fields == {"Shout": "BOLT!"}


def test_a_refreshed_field_follows_the_rows() -> None:
    """No event carries a roll-up; each read of the record brings it up to date in MongoDB."""
    story = in_step(Name="Acme", Rollup="7")
    story.salesforce.row(Name="Acme", Rollup="8")
    assert story.record == {"Name": "Acme", "Rollup": "8"}
    assert story.writes["mongodb"].fields == {"Rollup": "8"}


def test_a_field_for_inserts_only_can_be_set_by_the_document_that_begins_a_record() -> None:
    """Source may be set when Salesforce creates the record."""
    story = born_in_mongodb(Name="Acme", Source="web")
    assert story.writes["salesforce"].fields == {"Name": "Acme", "Source": "web"}


def test_a_field_for_inserts_only_cannot_be_edited_in_mongodb_afterwards() -> None:
    """Salesforce would refuse the update: the edit is overruled and the document put right."""
    story = born_in_mongodb(Name="Acme", Source="web")
    story.come_to_rest()
    story.mongodb.edits(Source="fair")
    assert story.facts() == [Fact.OVERRULED]
    assert story.record == {"Name": "Acme", "Source": "web"}
    assert story.writes["mongodb"].fields == {"Source": "web"}
    assert "salesforce" not in story.writes
