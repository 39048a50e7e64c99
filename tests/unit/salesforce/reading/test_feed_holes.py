"""What the source tells after events were lost for good."""

from __future__ import annotations

from dataclasses import replace

import pytest

from salmon.errors import PositionLost, RateLimited, RequestRejected, SetupError
from salmon.model.change import Op
from salmon.salesforce.reading.stream.subscription import Ended
from support.orgs.salesforce import OUR_USER, MemoryOrg, payload, synced
from support.orgs.salesforce_feed import NOW, A, B, C, D, Rig, org_of, read_all

E = "003000000000001AAA"
AN_HOUR_AGO = "2001-09-09T00:46:40Z"


def fallen(org: MemoryOrg) -> Rig:
    """A rig that has heard of a commit at NOW and then lost its position."""
    rig = Rig.streaming(org)
    rig.hear(payload("CREATE", D, at=NOW, Name="D"))
    rig.gather()
    rig.ops()
    rig.stream.items.append(Ended(PositionLost("corrupted")))
    rig.gather()
    return rig


def readable_again(org: MemoryOrg) -> Rig:
    """A fallen rig that has found another position, at a time when its rows can be read."""
    rig = fallen(org)
    rig.keepalive()
    rig.gather()
    rig.pass_s(2)
    org.look_at_clock()
    return rig


def lose_position(rig: Rig, *, to: int) -> None:
    """Let the rig's position be lost, and find another one at the time *to*, when its rows can be read."""
    rig.stream.items.append(Ended(PositionLost("corrupted")))
    rig.gather()
    rig.keepalive()
    rig.gather()
    rig.org.now_ms = to + 5000
    rig.org.look_at_clock()


def test_a_lost_position_is_answered_by_reading_what_has_changed_since() -> None:
    """A new position first, then rows and absences; the old position is stored until then."""
    org = org_of(A, B)
    org.put("Account", C, Name="C")
    org.remove("Account", C, "2001-09-09T01:46:40Z")
    rig = fallen(org)
    assert rig.streams[-2].closed
    assert rig.place == 1
    rig.keepalive()
    rig.gather()
    assert rig.place == 2
    assert {run.object for run in rig.snapshots.begun[-2:]} == {"Account", "Contact"}
    with pytest.raises(AssertionError, match="not due"):
        rig.snapshots.read_chunk()
    rig.pass_s(2)
    org.look_at_clock()
    read_all(rig)
    assert rig.ops() == [(A, Op.ROW), (B, Op.ROW), (C, Op.ABSENT)]
    assert rig.identity_loads == 2, "records born elsewhere may have been created in the hole"


def test_what_was_stamped_long_before_a_lost_position_is_not_read_again() -> None:
    """Events told of it. Its own next event need not wait for a row, once the reading has passed it by."""
    org = org_of(B)
    org.put("Account", A, Name="A", SystemModstamp=AN_HOUR_AGO)
    rig = readable_again(org)
    read_all(rig)
    rig.hear(payload("UPDATE", A, at=NOW + 9000, commit=5, Phone="1"))
    rig.gather()
    assert rig.ops() == [(B, Op.ROW), (A, Op.UPDATE)]


@pytest.mark.parametrize("why", ["another field", "no stamps", "the first reading is not done"])
def test_all_is_read_again_after_a_lost_position_where_not_all_was_known_before(why: str) -> None:
    """Only of what rows and events had told as a whole it is known that nothing before the hole is missing."""
    org = MemoryOrg(NOW)
    org.put("Account", A, Name="A", SystemModstamp=AN_HOUR_AGO)
    rig = Rig.streaming(org)
    if why == "no stamps":
        bare = replace(synced("Account"), names=synced("Account").names - {"SystemModstamp"})
        rig = Rig(org, rig.stored, [bare, synced("Contact")])
    else:
        run = dict(rig.stored["snapshot/Account"])
        run |= {"done": False} if why.startswith("the first") else {"covers": ["Name"]}
        rig = Rig(org, {**rig.stored, "snapshot/Account": run})
    rig.hear(payload("CREATE", D, at=NOW, Name="D"))
    rig.gather()
    rig.ops()
    lose_position(rig, to=NOW + 5000)
    read_all(rig, "Account")
    assert (A, Op.ROW) in rig.ops()


@pytest.mark.parametrize("why", ["selected again", "its events did not come"])
def test_deletions_are_looked_for_without_a_limit_where_an_objects_own_events_did_not_come(why: str) -> None:
    """The events of others went on meanwhile, so what these say of the time is nothing."""
    org = org_of(A, B)
    org.remove("Account", A, AN_HOUR_AGO)
    org.put("Contact", E, Name="E")
    rig = Rig.streaming(org)
    rig.feed.selected({"Account": "one"})
    rig.hear(payload("UPDATE", E, name="Contact", at=NOW + 3_600_000, commit=2))
    rig.gather()
    rig.ops()
    if why == "selected again":
        rig.feed.selected({"Account": "another"})
    else:
        rig.feed.read_again("Account")
    rig.pass_s(3_700)
    org.look_at_clock()
    read_all(rig, "Account")
    assert rig.ops() == [(B, Op.ROW), (A, Op.ABSENT)]


def test_after_a_hole_a_records_first_event_is_preceded_by_its_row() -> None:
    """What was lost of the record is told before what came after; of that key alone."""
    org = org_of(A, B)
    rig = fallen(org)
    rig.keepalive()
    rig.gather()
    rig.pass_s(3)
    rig.hear(payload("UPDATE", B, at=NOW + 3000, commit=5, Phone="1"))
    rig.gather()
    assert rig.ops() == []
    rig.pass_s(2)
    rig.gather()
    assert rig.ops() == [(B, Op.ROW), (B, Op.UPDATE)]
    rig.hear(payload("UPDATE", B, at=NOW + 9000, commit=6, Phone="2"))
    rig.gather()
    assert rig.ops() == [(B, Op.UPDATE)], "its row has been told: later ones need not wait"


def test_what_was_told_long_before_a_hole_is_not_told_again() -> None:
    """A new position may be days back, where nobody works; each record would be read for it. What came late is told."""
    org = org_of(A, B)
    rig = fallen(org)
    rig.keepalive()
    rig.gather()
    rig.pass_s(5)
    rig.hear(payload("UPDATE", A, at=NOW - 3_600_000, commit=1, Phone="1"))
    rig.hear(payload("UPDATE", B, at=NOW - 1000, commit=2, Phone="2"))
    rig.gather()
    rig.gather()
    assert rig.ops() == [(B, Op.ROW), (B, Op.UPDATE)]


def test_a_kill_in_a_hole_does_not_forget_it() -> None:
    """The hole is stored together with the new position."""
    rig = fallen(org_of(A, B))
    rig.keepalive()
    rig.gather()
    again = rig.restarted()
    again.pass_s(3)
    again.hear(payload("UPDATE", B, at=NOW + 3000, commit=5, Phone="1"))
    again.gather()
    assert again.ops() == []
    assert not again.snapshots.running["Account"].done


def test_a_kill_before_the_new_position_is_known_finds_the_old_one_lost_again() -> None:
    """Nothing says that the hole was seen to until it is."""
    rig = fallen(org_of(A))
    again = rig.restarted()
    assert again.stream.start == (1).to_bytes(8, "big")


@pytest.mark.parametrize(("kind", "named"), [("GAP_OVERFLOW", "000000000000000AAA"), ("UPDATE", "001*")])
def test_an_overflow_is_a_hole_of_its_object_alone(kind: str, named: str) -> None:
    """Contacts go on; Accounts wait for their rows."""
    org = org_of(A)
    rig = Rig.streaming(org)
    rig.hear(
        payload(kind, named, at=NOW, commit=2),
        payload("UPDATE", A, at=NOW + 3000, commit=3, Phone="1"),
        payload(
            "CREATE", "003000000000001AAA", name="Contact", at=NOW + 3000, commit=4, Name={"LastName": "C"}
        ),
    )
    rig.gather()
    assert rig.ops() == [("003000000000001AAA", Op.CREATE)]
    rig.pass_s(5)
    rig.gather()
    assert rig.ops() == [(A, Op.ROW), (A, Op.UPDATE)]
    read_all(rig, "Account")
    assert rig.ops() == [(A, Op.ROW)]


@pytest.mark.parametrize(
    ("kind", "named"), [("GAP_OVERFLOW", "000000000000000AAA"), ("GAP_CREATE", A)], ids=["overflow", "gap"]
)
def test_an_event_never_tells_the_id_of_a_parent_whose_key_was_lost(kind: str, named: str) -> None:
    """The creation of an account that carries a key was lost: before its contact's event is reported, the org is asked for the key."""
    org = org_of()
    org.put("Account", A, Name="Acme", Salmon_Id__c="$oid:1")
    org.put("Contact", E, LastName="C", AccountId=A, Account={"Id": A, "Salmon_Id__c": "$oid:1"})
    rig = Rig.streaming(org_of())
    rig.org.records.update(org.records)
    rig.hear(
        payload(kind, named, at=NOW, commit=2),
        payload("CREATE", E, name="Contact", at=NOW, commit=3, Name={"LastName": "C"}, AccountId=A),
    )
    rig.gather()
    told = [record.change for record in rig.told if record.object == "Contact"]
    assert [(change.op, change.fields["AccountId"]) for change in told] == [(Op.CREATE, "$oid:1")]


def moved_away(org: MemoryOrg) -> Rig:
    """
    Account cannot be read, and of the account A nothing was told yet. Our write puts a contact below it and sets its phone, and
    then a person does both anew.
    """
    org.put("Account", A, Name="Acme", Salmon_Id__c="$oid:1")
    org.put("Account", B, Name="Burns")
    org.put("Contact", E, LastName="C", Phone="theirs", AccountId=B, Account={"Id": B, "Salmon_Id__c": None})
    rig = Rig.streaming(org_of())
    rig.org.records.update(org.records)
    ours = payload(
        "UPDATE",
        E,
        name="Contact",
        at=NOW,
        commit=3,
        user=OUR_USER,
        AccountId=A,
        Phone="ours",
        Salmon_Seq__c=7.0,
    )
    theirs = payload("UPDATE", E, name="Contact", at=NOW, commit=4, AccountId=B, Phone="theirs")
    rig.troubles.block("Account", "it has no field Id")
    rig.hear(payload("GAP_CREATE", A, at=NOW, commit=2), ours, theirs)
    rig.gather()
    assert rig.ops() == []
    rig.pass_s(5)
    return rig


def test_an_event_that_waits_for_its_parents_key_is_told_in_full() -> None:
    """
    Only the event tells that our write was carried out before the person's edit, which so has seen it: the row shows what
    came of both, and another parent. Without the event, the edit would be reported as a conflict with what it answers.
    """
    rig = moved_away(org_of())
    rig.gather()
    row, ours, theirs = (record.change for record in rig.told)
    assert (row.op, row.fields["AccountId"], row.fields["Phone"]) == (Op.ROW, B, "theirs")
    assert (ours.ack, dict(ours.fields)) == (7, {"AccountId": "$oid:1", "Phone": "ours"})
    assert (theirs.ack, dict(theirs.fields)) == (None, {"AccountId": B, "Phone": "theirs"})


def test_an_event_whose_parents_key_cannot_be_learnt_is_left_to_the_row() -> None:
    """An Id would stand in the place of the parent's key for good. The record's other events are told."""
    rig = moved_away(org_of())
    rig.org.hides["Account"] = RequestRejected("no", code="INVALID_TYPE", words="no such object")
    rig.gather()
    row, theirs = (record.change for record in rig.told)
    assert (row.op, theirs.op, theirs.ack) == (Op.ROW, Op.UPDATE, None)


def test_an_event_that_came_before_its_records_key_was_known_is_told_under_that_key() -> None:
    """Its creation was lost, so nobody knew the key when it came; under its Id it would be another record."""
    org = org_of()
    rig = Rig.streaming(org)
    org.put("Account", A, Name="Acme", Salmon_Id__c="$oid:1")
    rig.hear(
        payload("GAP_CREATE", A, at=NOW, commit=2),
        payload("UPDATE", A, at=NOW, commit=3, Phone="1"),
    )
    rig.gather()
    rig.pass_s(5)
    rig.gather()
    assert rig.ops() == [("$oid:1", Op.ROW), ("$oid:1", Op.UPDATE)]


def test_an_event_of_broken_bytes_is_a_hole_of_its_object() -> None:
    """Nothing is known of it but the object it was of."""
    rig = Rig.streaming(org_of(A))
    rig.hear(payload("UPDATE", A, at=NOW, Phone="1"))
    rig.stream.items[-1].events[0].event.payload = b"broken"  # type: ignore[union-attr]
    rig.gather()
    assert [(run.object, run.why.value) for run in rig.snapshots.begun] == [("Account", "hole")]


def test_a_key_that_lives_on_in_another_record_does_not_die_with_the_first() -> None:
    """The recycle bin holds the former record of a key that was created anew."""
    org = org_of()
    org.put("Account", A, Name="first life", Salmon_Id__c="$oid:1")
    org.remove("Account", A, "2001-09-09T01:46:40Z")
    org.put("Account", B, Name="second life", Salmon_Id__c="$oid:1")
    rig = readable_again(org)
    read_all(rig)
    assert rig.ops() == [("$oid:1", Op.ROW)]


def test_a_key_does_not_die_while_it_is_given_to_another_record() -> None:
    """The rows were told when the key's former record was deleted and created anew; only the bin's turn comes after."""
    org = org_of()
    org.put("Account", A, Name="first life", Salmon_Id__c="$oid:1")
    rig = readable_again(org)
    rig.snapshots.read_chunk()
    rig.gather()
    org.remove("Account", A, "2001-09-09T01:46:40Z")
    org.put("Account", B, Name="second life", Salmon_Id__c="$oid:1")
    read_all(rig, "Account")
    assert rig.ops() == [("$oid:1", Op.ROW)], "and no absence, that would cover the event of its new life"


def test_nor_does_the_id_of_a_record_that_is_created_again_under_it() -> None:
    """The record was born in Salesforce, so its key is its Id; the one in its place carries that."""
    org = org_of(A)
    rig = readable_again(org)
    rig.snapshots.read_chunk()
    rig.gather()
    org.remove("Account", A, "2001-09-09T01:46:40Z")
    org.put("Account", B, Name="second life", Salmon_Id__c=A)
    read_all(rig, "Account")
    assert rig.ops() == [(A, Op.ROW)]


def test_nor_does_the_id_of_a_record_that_is_restored() -> None:
    """The one that was in its place is in the recycle bin now, and only the bin's turn comes after (seed 176124, by a request)."""
    org = org_of(A)
    org.remove("Account", A, "2001-09-09T01:46:40Z")
    org.put("Account", B, Name="second life", Salmon_Id__c=A)
    rig = readable_again(org)
    rig.snapshots.read_chunk()
    rig.gather()
    org.remove("Account", B, "2001-09-09T01:46:40Z")
    org.records["Account"][A] = org.deleted["Account"].pop(A)
    read_all(rig, "Account")
    assert rig.ops() == [(A, Op.ROW)], "and no absence, that would cover the event of the restored one"


def test_a_key_dies_with_the_record_whose_id_it_is_once_the_one_that_carried_it_is_gone() -> None:
    """That one has left the recycle bin long ago; the record was restored, and was deleted in the hole."""
    org = org_of(A)
    rig = Rig.streaming(org)
    rig.feed._identity.learn("Account", B, A)
    rig.hear(payload("CREATE", D, at=NOW, Name="D"))
    rig.gather()
    rig.ops()
    org.remove("Account", A, "2001-09-09T01:46:40Z")
    lose_position(rig, to=NOW)
    read_all(rig, "Account")
    assert rig.ops() == [(A, Op.ABSENT)]


def test_the_id_of_a_record_that_carries_another_key_dies_with_the_one_that_carries_it() -> None:
    """That record has a key of its own, so it does not keep alive the one that its Id is."""
    org = org_of()
    org.put("Account", A, Name="A", Salmon_Id__c="$oid:1")
    org.put("Account", B, Name="B", Salmon_Id__c=A)
    org.remove("Account", B, "2001-09-09T01:46:40Z")
    rig = readable_again(org)
    read_all(rig, "Account")
    assert rig.ops() == [("$oid:1", Op.ROW), (A, Op.ABSENT)]


def test_a_deletion_that_waited_when_its_position_was_lost_is_looked_for() -> None:
    """However late the events are that were told meanwhile: it has not been told, nor would it be after a restart."""
    org = org_of(A, B, C)
    rig = Rig.streaming(org)
    rig.hear(payload("GAP_UPDATE", C, at=NOW - 5000, commit=1))
    rig.hear(payload("GAP_UPDATE", A, at=NOW, commit=2), payload("DELETE", A, at=NOW, commit=3))
    rig.hear(payload("UPDATE", B, at=NOW + 3_600_000, commit=4, Phone="1"))
    org.now_ms = NOW - 3000
    rig.gather()
    rig.gather()
    assert rig.ops() == [(B, Op.UPDATE), (C, Op.ROW)]
    assert rig.place == 1
    org.remove("Account", A, "2001-09-09T01:46:40Z")
    again = rig.restarted()
    lose_position(again, to=NOW + 3_600_000)
    read_all(again, "Account")
    assert again.ops() == [(B, Op.ROW), (C, Op.ROW), (A, Op.ABSENT)]


def test_a_second_hole_does_not_forget_the_deletions_of_the_first() -> None:
    """They were not looked for yet when it opened."""
    org = org_of(A, B)
    rig = fallen(org)
    org.remove("Account", A, "2001-09-09T01:46:40Z")
    rig.keepalive()
    rig.gather()
    rig.hear(payload("UPDATE", B, at=NOW + 3_600_000, commit=5, Phone="1"))
    rig.gather()
    lose_position(rig, to=NOW + 3_700_000)
    read_all(rig, "Account")
    assert (A, Op.ABSENT) in rig.ops()


def test_an_old_event_does_not_give_a_key_back_to_the_record_that_carried_it_before() -> None:
    """The bin shows the former record, and the stream its creation, before the absences are told. (World seed 118242.)"""
    org = org_of()
    org.put("Account", A, Name="first life", Salmon_Id__c="$oid:1")
    rig = readable_again(org)
    org.remove("Account", A, "2001-09-09T01:46:40Z")
    org.put("Account", B, Name="second life", Salmon_Id__c="$oid:1")
    rig.snapshots.read_chunk()
    rig.snapshots.read_chunk()
    rig.hear(payload("CREATE", A, at=NOW + 60_000, commit=5, Name="first life", Salmon_Id__c="$oid:1"))
    for _ in range(4):
        rig.gather()
    assert Op.ABSENT not in {op for _, op in rig.ops()}


def test_what_only_a_person_can_mend_is_raised_after_what_was_heard_before() -> None:
    """The events that came before are told first."""
    rig = Rig.streaming()
    rig.hear(payload("CREATE", A, at=NOW, Name="A"))
    rig.stream.items.append(Ended(SetupError("no access")))
    rig.gather()
    assert rig.ops() == [(A, Op.CREATE)]
    with pytest.raises(SetupError):
        rig.gather()


def test_events_that_wait_for_no_row_go_on_while_an_allowance_is_used_up() -> None:
    """For a day it may be. What waits for its row is told when the org may be asked again."""
    rig = Rig.streaming(org_of(A, B))
    rig.hear(payload("GAP_UPDATE", A, at=NOW))
    rig.gather()
    rig.pass_s(5)
    rig.org.fails_with = RateLimited("no calls are left")
    rig.hear(payload("UPDATE", B, at=NOW + 5000, Name="B"))
    for _ in range(3):
        rig.gather()
    assert rig.ops() == [(B, Op.UPDATE)]
    rig.org.fails_with = None
    rig.gather()
    assert rig.ops() == [(A, Op.ROW)]
