"""What Salesforce does by itself as it carries out a write of ours to another record is nobody's edit. (Case L1.)"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from salmon.model.change import WriteOp
from salmon.model.fold import Fact, Folded
from salmon.model.policies import EXISTENCE, HOLD, SALESFORCE_WINS, Policy
from support.at_hand.stories import Story, born_in_mongodb, in_step, rules

PARENT = "0015g00000Parent1AA"
OTHER_PARENT = "0015g00000Parent2AA"
EARLY, LATE = 1_000, 2_000  # ms
STAMP = 1_700_000_123_000


def child() -> Story:
    return in_step(Name="Acme", Phone="555 0000", ParentId=PARENT)


# A lookup that is cleared.


@pytest.mark.parametrize("policy", [None, SALESFORCE_WINS, HOLD])
def test_a_lookup_cleared_by_our_own_delete_brings_no_deleted_record_back(policy: Policy | None) -> None:
    """MongoDB deletes a contact and then an opportunity of it; the org, whose clock is ahead, clears the lookup between."""
    story = in_step(rules(policy=policy) if policy else rules(), Name="Acme", ParentId=PARENT)
    story.mongodb.deletes(at=EARLY)
    owed = story.writes["salesforce"]
    story.salesforce.edits_as_we_write(ParentId=None, LastModifiedDate=STAMP, at=LATE)
    assert (story.state.lives, story.conflicts) == (False, [])
    assert story.writes["salesforce"] == owed, "the deletion is on its way already"
    assert Fact.CONSEQUENCE in story.facts()
    story.salesforce.deletes()
    assert story.writes == {}


def test_a_deletion_that_had_not_seen_a_lookup_cleared_by_our_own_delete_is_no_conflict() -> None:
    """The same the other way round: the cleared lookup is told first, and with a later time."""
    story = child()
    story.salesforce.edits_as_we_write(ParentId=None, at=LATE)
    story.mongodb.deletes(at=EARLY)
    assert (story.record, story.conflicts) == (None, [])
    assert story.writes["salesforce"].op is WriteOp.DELETE


def test_nor_is_it_one_where_a_user_of_the_org_had_set_that_lookup() -> None:
    """The lookup was somebody's edit; that it is cleared is the org's doing all the same. (Seed 661 of the World.)"""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(ParentId=PARENT)
    story.come_to_rest()
    story.salesforce.edits_as_we_write(ParentId=None, at=LATE)
    story.mongodb.deletes(at=EARLY)
    assert (story.record, story.conflicts) == (None, [])


def test_a_row_tells_it_as_well_as_an_event() -> None:
    """The event fell into a gap; the record's last change was our user's, and its marker is the one it had."""
    story = child()
    marker = story.state.sides["salesforce"].marker
    story.mongodb.deletes(at=EARLY)
    story.salesforce.row(Name="Acme", Phone="555 0000", marker=marker or None, by_us=True, at=LATE)
    assert (story.state.lives, story.conflicts) == (False, [])


def test_the_document_of_a_living_record_follows() -> None:
    """It would refer to a record that is gone for good."""
    story = child()
    story.salesforce.edits_as_we_write(ParentId=None)
    assert story.writes["mongodb"].fields == {"ParentId": None}
    assert "salesforce" not in story.writes
    story.come_to_rest()
    assert story.record == {"Name": "Acme", "Phone": "555 0000"}


@pytest.mark.parametrize("edit_first", [True, False])
def test_an_edit_of_the_lookup_beats_what_the_org_cleared_without_a_conflict(edit_first: bool) -> None:
    """Somebody gives the document another parent before it hears that the first one is gone."""
    story = child()
    tellers: list[Callable[[], Folded]] = [
        lambda: story.mongodb.edits(ParentId=OTHER_PARENT, at=EARLY),
        lambda: story.salesforce.edits_as_we_write(ParentId=None, at=LATE),
    ]
    for tell in tellers if edit_first else reversed(tellers):
        tell()
    assert story.record is not None
    assert (story.record["ParentId"], story.conflicts) == (OTHER_PARENT, [])
    assert story.writes["salesforce"].fields == {"ParentId": OTHER_PARENT}


def test_what_a_flow_does_in_our_transaction_is_an_edit() -> None:
    """It sets a value, under our user and without our marker: that is somebody's will."""
    story = child()
    story.mongodb.deletes(at=EARLY)
    story.salesforce.edits_as_we_write(Phone="555 0101", ParentId=None, at=LATE)
    assert story.state.lives
    (conflict,) = story.conflicts
    assert conflict.contest.field == EXISTENCE


def test_a_lookup_that_a_user_clears_is_an_edit() -> None:
    """The same event by anybody else contests the deletion."""
    story = child()
    story.mongodb.deletes(at=EARLY)
    story.salesforce.edits(ParentId=None, at=LATE)
    assert story.state.lives


def test_what_our_own_write_clears_is_known_by_its_marker() -> None:
    """It answers the write, as ever."""
    story = child()
    story.mongodb.edits(ParentId=None)
    story.salesforce.acks(story.writes["salesforce"])
    assert Fact.ACKNOWLEDGED in story.facts()
    assert Fact.CONSEQUENCE not in story.facts()


def test_a_cleared_lookup_that_our_write_overwrote_is_no_edit_either() -> None:
    """A row shows the lookup that we wrote; the event of the time before says that the org had cleared the former one."""
    story = child()
    cleared = story.salesforce.moment()
    story.mongodb.edits(ParentId=OTHER_PARENT)
    write = story.writes["salesforce"]
    story.salesforce.now += 5
    story.salesforce.row(Name="Acme", Phone="555 0000", ParentId=OTHER_PARENT, marker=write.seq)
    story.salesforce.now = cleared - 1
    story.salesforce.edits_as_we_write(ParentId=None)
    story.salesforce.edits(ParentId=OTHER_PARENT, ack=write.seq)
    assert story.conflicts == []


def test_a_roll_up_that_our_write_has_moved_contests_no_deletion() -> None:
    """MongoDB deletes a child and then its parent, whose roll-up the org computes between the two."""
    story = in_step(Name="Acme", Shout="ACME!", Rollup="7")
    story.salesforce.edits_as_we_write(Shout="ACME 6!", LastModifiedDate=STAMP, at=LATE)
    story.mongodb.deletes(at=EARLY)
    assert (story.record, story.conflicts) == (None, [])


def test_a_refreshed_roll_up_contests_no_deletion() -> None:
    """Only rows tell it, and these do not say who made it move."""
    story = in_step(Name="Acme", Rollup="7")
    story.salesforce.row(Name="Acme", Rollup="6", at=LATE)
    story.mongodb.deletes(at=EARLY)
    assert (story.record, story.conflicts) == (None, [])


# A deletion that cascades.


def test_a_deletion_that_cascades_from_ours_is_followed() -> None:
    """MongoDB deletes an account, and the org deletes its contacts with it."""
    story = child()
    story.salesforce.deletes_as_we_write()
    assert story.record is None
    assert story.writes["mongodb"].op is WriteOp.DELETE


@pytest.mark.parametrize("policy", [None, SALESFORCE_WINS, HOLD])
def test_an_edit_that_a_cascade_had_not_seen_keeps_the_record_without_a_conflict(
    policy: Policy | None,
) -> None:
    """Nobody meant to delete this record: it is created anew, whatever the clocks and the policy say."""
    story = in_step(rules(policy=policy) if policy else rules(), Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101", at=EARLY)
    story.salesforce.deletes_as_we_write(at=LATE)
    assert story.conflicts == []
    assert story.writes["salesforce"].op is WriteOp.CREATE
    assert story.writes["salesforce"].fields["Phone"] == "555 0101"


@pytest.mark.parametrize("policy", [None, SALESFORCE_WINS, HOLD])
def test_an_edit_that_had_not_seen_a_cascade_keeps_the_record_without_a_conflict(
    policy: Policy | None,
) -> None:
    """The same, where the cascade is told first."""
    story = in_step(rules(policy=policy) if policy else rules(), Name="Acme", Phone="555 0000")
    story.salesforce.deletes_as_we_write(at=LATE)
    story.mongodb.edits(Phone="555 0101", at=EARLY)
    assert story.conflicts == []
    assert story.writes["salesforce"].op is WriteOp.CREATE
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}


def test_our_own_deletion_is_no_cascade() -> None:
    """It answers the delete that is in flight."""
    story = child()
    story.mongodb.deletes()
    story.salesforce.deletes_as_we_write()
    assert Fact.CONSEQUENCE not in story.facts()
    assert story.writes == {}


# What the org fills in as it carries out a write of ours: a default, or what a flow makes of it.


def test_what_the_org_fills_in_as_our_creation_is_carried_out_is_agreed_where_nobody_says_otherwise() -> None:
    """A checkbox is false and a probability comes from the stage; the document is given both."""
    story = born_in_mongodb(Name="Acme")
    story.salesforce.acks(story.writes["salesforce"], City="by default")
    assert story.writes["mongodb"].fields["City"] == "by default"
    assert "salesforce" not in story.writes


def test_what_the_org_fills_in_never_beats_an_edit_nor_is_it_in_conflict_with_one() -> None:
    """Whether the edit was made before merge heard of the default, or after."""
    for heard_before in (False, True):
        story = born_in_mongodb(Name="Acme")
        creation = story.writes["salesforce"]
        if heard_before:
            story.salesforce.acks(creation, City="by default")
        story.mongodb.edits(City="Oslo", at=1)
        if not heard_before:
            story.salesforce.acks(creation, City="by default")
        assert story.conflicts == []
        assert story.state.canonical["City"] == "Oslo"
        assert story.writes["salesforce"].fields == {"City": "Oslo"}


def test_a_field_that_was_cleared_since_our_creation_is_not_filled_in() -> None:
    """Somebody set it and took it back before the creation was answered: that is the last word."""
    story = born_in_mongodb(Name="Acme")
    creation = story.writes["salesforce"]
    story.mongodb.edits(City="Oslo")
    story.mongodb.edits(City=None)
    story.salesforce.acks(creation, City="by default")
    assert "City" not in story.state.canonical
    assert story.writes["salesforce"].fields == {"City": None}


def test_what_the_org_fills_in_is_no_edit_of_what_a_former_record_was_sent() -> None:
    """A City was on its way to a record that was deleted; the new one gets no City, and the org's default. (Seed 56890.)"""
    story = in_step(Name="Acme")
    story.mongodb.edits(City="Bergen")
    story.mongodb.edits(City=None)
    story.mongodb.edits(Name="Globex")
    story.salesforce.absent(at=1)
    creation = story.writes["salesforce"]
    assert (creation.op, set(creation.fields)) == (WriteOp.CREATE, {"Name"})
    story.salesforce.row(Name="Globex", City="by default", marker=creation.seq, by_us=True)
    told = len(story.conflicts)
    story.mongodb.edits(City="Oslo")
    assert len(story.conflicts) == told
    assert story.state.canonical["City"] == "Oslo"


def test_what_the_org_fills_in_is_no_edit_once_the_late_event_of_the_creation_tells_of_it() -> None:
    """Of two creations on their way, the row does not say which has made the record: perhaps it was edited between (seed 1301402)."""
    story = born_in_mongodb(Name="Acme")
    story.salesforce.absent()
    story.mongodb.edits(Phone="555 0101")
    creation = story.writes["salesforce"]
    assert creation.op is WriteOp.CREATE
    assert len(story.salesforce.in_flight) > 1
    made = story.salesforce.moment()
    story.salesforce.now += 1
    story.salesforce.row(creation.fields, City="by default", marker=creation.seq, by_us=True)
    story.salesforce.now = made - 1
    story.salesforce.acks(creation, City="by default")
    story.mongodb.edits(City="Oslo")
    assert story.conflicts == []
    assert story.state.canonical["City"] == "Oslo"


def test_what_the_org_fills_in_is_no_edit_though_a_later_write_of_ours_came_before_the_row() -> None:
    """The second creation was carried out as an update of what the first has made; the event of the first tells of it (seed 102697)."""
    story = born_in_mongodb(Name="Acme")
    story.salesforce.absent()
    creation = story.writes["salesforce"]
    story.mongodb.edits(Name="Globex")
    newer = story.writes["salesforce"]
    made = story.salesforce.moment()
    story.salesforce.now += 1
    story.salesforce.row(newer.fields, City="by default", marker=newer.seq, by_us=True)
    story.salesforce.now = made - 1
    story.salesforce.acks(creation, City="by default")
    story.mongodb.edits(City="Oslo")
    assert story.conflicts == []
    assert story.state.canonical["City"] == "Oslo"


def test_an_edit_that_our_creation_said_is_one_though_its_event_comes_late() -> None:
    """The org has lost the record, and is sent what was edited there: it takes the place of what cannot be taken (seed 161168)."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(misfits=["Phone"])
    story.salesforce.edits(Phone="555 0101")
    story.salesforce.goes_back()
    story.salesforce.absent()
    creation = story.writes["salesforce"]
    assert creation.op is WriteOp.CREATE
    made = story.salesforce.moment()
    story.salesforce.now += 1
    story.salesforce.row(creation.fields, marker=creation.seq)
    story.salesforce.now = made - 1
    story.salesforce.acks(creation)
    assert story.writes["mongodb"].fields["Phone"] == "555 0101"


def test_the_late_event_of_a_creation_makes_no_edit_undone() -> None:
    """What somebody has set since the org filled the field in is an edit, and in conflict with one that did not know of it."""
    story = born_in_mongodb(Name="Acme")
    story.salesforce.absent()
    story.mongodb.edits(Phone="555 0101")
    creation = story.writes["salesforce"]
    made = story.salesforce.moment()
    story.salesforce.now += 1
    story.salesforce.row(creation.fields, City="Bergen", marker=creation.seq)
    story.salesforce.now = made - 1
    story.salesforce.acks(creation, City="by default")
    story.mongodb.edits(City="Oslo")
    (conflict,) = story.conflicts
    assert {conflict.contest.standing.value, conflict.contest.challenger.value} == {"Bergen", "Oslo"}


def test_what_the_org_fills_in_contests_no_deletion() -> None:
    """The document was deleted before it was given the default. So it is where a row shows the new record, as we left it."""
    for told_by in ("event", "row"):
        story = born_in_mongodb(Name="Acme")
        creation = story.writes["salesforce"]
        story.salesforce.absent()
        if told_by == "event":
            story.salesforce.acks(creation, City="by default")
        else:
            story.salesforce.row(Name="Acme", City="by default", marker=creation.seq, by_us=True)
        story.mongodb.deletes()
        assert story.conflicts == []
        assert not story.state.lives
        assert story.writes["salesforce"].op is WriteOp.DELETE


def test_what_a_flow_sets_besides_as_it_sees_our_update_is_no_half_of_a_conflict() -> None:
    """Somebody edits that very field in the database meanwhile: a person's edit stands."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(Name="Globex")
    write = story.writes["salesforce"]
    story.mongodb.edits(City="Bergen", at=1)
    story.salesforce.acks(write, City="by a flow")
    assert story.conflicts == []
    assert story.state.canonical["City"] == "Bergen"


def test_what_a_flow_makes_of_somebody_s_edit_contests_a_deletion_as_that_edit_did() -> None:
    """A user of the org set the field; that a flow in our transaction set it again does not take the edit away."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(Name="Globex")
    write = story.writes["salesforce"]
    story.salesforce.edits(City="Bergen")
    story.salesforce.acks(write, City="BERGEN")
    story.mongodb.deletes()
    (conflict,) = story.conflicts
    assert conflict.contest.field == EXISTENCE


def test_what_a_row_shows_that_somebody_modified_since_our_creation_is_an_edit() -> None:
    """It may be theirs; so it contests the deletion of the document."""
    story = born_in_mongodb(Name="Acme")
    creation = story.writes["salesforce"]
    story.salesforce.absent()
    story.salesforce.row(Name="Acme", City="Oslo", marker=creation.seq)
    story.mongodb.deletes()
    assert [conflict.contest.field for conflict in story.conflicts] == [EXISTENCE]


@pytest.mark.parametrize("creations", [1, 2])
def test_a_row_shows_a_lookup_of_what_we_made_that_our_own_deletion_has_cleared(creations: int) -> None:
    """Nobody has edited the record in Salesforce, so its deletion in MongoDB is in conflict with nobody. (Seed 5093.)"""
    story = born_in_mongodb(Name="Acme", ParentId=PARENT)
    if creations == 2:
        story.mongodb.edits(Name="Globex")
    creation = story.writes["salesforce"]
    told = {name: value for name, value in creation.fields.items() if name != "ParentId"}
    story.salesforce.row(told, marker=creation.seq, by_us=True)
    assert "ParentId" not in story.state.canonical
    story.mongodb.deletes()
    assert (story.state.lives, story.conflicts) == (False, [])


def test_a_lookup_that_a_poll_finds_cleared_behind_our_user_is_nobodys_edit() -> None:
    """No event will tell that the org has done it as we deleted its target (seed 9720)."""
    story = in_step(rules(eventless=frozenset({"salesforce"})), Name="Acme", ParentId=PARENT)
    story.mongodb.edits(Name="Globex")
    write = story.writes["salesforce"]
    story.salesforce.row(Name="Globex", marker=write.seq, by_us=True)
    story.mongodb.deletes()
    assert (story.record, story.conflicts) == (None, [])
