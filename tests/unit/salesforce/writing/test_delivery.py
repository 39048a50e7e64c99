"""Batches of writes, carried out on an org in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest

from salmon.errors import RequestRejected, Unavailable
from salmon.model.change import Write, WriteOp
from salmon.plugin.contract import OutcomeKind, SinkRecord
from salmon.salesforce.wire.rest import COLLECTION_ROWS, RowError, RowResult
from support.orgs.salesforce import schema
from support.orgs.salesforce_org import CREATE, DELETE, UPDATE, A, B, C, write
from support.orgs.salesforce_org import SinkRig as Rig

CONTACT = "003000000000001AAA"


def test_each_write_sets_its_marker() -> None:
    """So that its event says which write it answers; a creation carries its key, too."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    assert rig.put(write(CREATE, "$oid:1", 10, Name="B"), write(UPDATE, A, 11, native_id=A, Phone=None)) == [
        OutcomeKind.APPLIED,
        OutcomeKind.APPLIED,
    ]
    new = rig.org.records["Account"]["001000000000001NEW"]
    assert (new["Salmon_Id__c"], new["Salmon_Seq__c"]) == ("$oid:1", 10)
    old = rig.org.records["Account"][A]
    assert (old["Phone"], old["Salmon_Seq__c"]) == (None, 11)
    assert rig.org.kinds() == ["insert", "update"], "and nothing was looked at"


def test_a_creation_never_overwrites_what_somebody_else_made() -> None:
    """A record with that key and without our marker is one that nobody has read."""
    rig = Rig()
    rig.org.put("Account", A, Name="by hand", Salmon_Id__c="$oid:1")
    (outcome,) = rig.task.put([write(CREATE, "$oid:1", Name="ours")])
    assert (outcome.kind, outcome.native_id) == (OutcomeKind.EXISTS, A)
    assert rig.org.records["Account"][A]["Name"] == "by hand"


def test_a_creation_under_the_id_of_a_living_record_makes_no_second_one() -> None:
    """A document with a record's Id for its key came before the record's own row: the record is to be read."""
    rig = Rig()
    rig.org.put("Account", A, Name="born in Salesforce")
    (outcome,) = rig.task.put([write(CREATE, A, Name="ours")])
    assert (outcome.kind, outcome.native_id) == (OutcomeKind.EXISTS, A)
    assert [row["Name"] for row in rig.org.records["Account"].values()] == ["born in Salesforce"]


def test_a_creation_under_the_id_of_a_deleted_record_carries_it_as_its_key() -> None:
    """The record that had the Id is gone for good; the new one has another Id, and is created once."""
    rig = Rig()
    assert rig.put(write(CREATE, A, 10, Name="anew")) == [OutcomeKind.APPLIED]
    rig.restarted()
    assert rig.put(write(CREATE, A, 10, Name="anew")) == [OutcomeKind.SKIPPED]
    (row,) = rig.org.records["Account"].values()
    assert row["Salmon_Id__c"] == A


def test_a_creation_that_was_carried_out_before_is_no_second_record() -> None:
    """Killed after the insert, before the commit: the same write is skipped, a newer one becomes an update."""
    rig = Rig()
    rig.put(write(CREATE, "$oid:1", 10, Name="B"))
    rig.restarted()
    assert rig.put(write(CREATE, "$oid:1", 10, Name="B")) == [OutcomeKind.SKIPPED]
    assert rig.put(write(CREATE, "$oid:1", 12, Name="C")) == [OutcomeKind.APPLIED]
    (row,) = rig.org.records["Account"].values()
    assert (row["Name"], row["Salmon_Seq__c"]) == ("C", 12)


def test_a_creation_over_our_own_leaves_what_an_update_may_not_set() -> None:
    """Some fields can be set once, when a record is made."""
    once = [field.name for field in schema("Opportunity").fields if field.create and not field.update]
    rig = Rig()
    rig.put(write(CREATE, "$oid:1", 10, name="Opportunity", Name="A"))
    rig.put(write(CREATE, "$oid:1", 12, name="Opportunity", Name="B", ContactId="003000000000001AAA"))
    (row,) = rig.org.records["Opportunity"].values()
    assert once == ["ContactId"]
    assert row["Name"] == "B"
    assert "ContactId" not in row


def test_an_unclean_start_reads_markers_once_for_each_key() -> None:
    """A write that was not carried out yet says that no later one of its key was, either."""
    rig = Rig(clean=False)
    rig.org.put("Account", A, Name="A", Salmon_Seq__c=20)
    assert rig.put(write(UPDATE, A, 21, native_id=A, Phone="1")) == [OutcomeKind.APPLIED]
    assert rig.put(write(UPDATE, A, 22, native_id=A, Phone="2")) == [OutcomeKind.APPLIED]
    assert rig.org.kinds() == ["query", "update", "update"]


def test_after_one_that_was_carried_out_the_next_of_its_key_is_looked_at_too() -> None:
    """The instance before us may have carried out both, and a user may have edited the record since."""
    rig = Rig(clean=False)
    rig.org.put("Account", A, Name="A", Salmon_Seq__c=20)
    assert rig.put(write(UPDATE, A, 19, native_id=A, Phone="old")) == [OutcomeKind.SKIPPED]
    assert rig.put(write(UPDATE, A, 20, native_id=A, Phone="new")) == [OutcomeKind.SKIPPED]
    assert rig.put(write(UPDATE, A, 21, native_id=A, Phone="newer")) == [OutcomeKind.APPLIED]
    assert rig.org.kinds() == ["query", "query", "query", "update"]


def test_when_all_that_was_owed_at_the_start_is_put_nothing_is_looked_at_any_more() -> None:
    """Nobody else can have carried out what came later."""
    rig = Rig(clean=False)
    rig.org.put("Account", A, Name="A")
    rig.task.caught_up()
    rig.put(write(UPDATE, A, native_id=A, Phone="1"))
    assert rig.org.kinds() == ["update"]


def test_what_a_dead_replica_wrote_is_not_written_over_a_users_later_edit() -> None:
    """It wrote 100 and was killed before its commit; a user edited the field; we take the partition over."""
    rig = Rig(clean=False)
    rig.task.caught_up()
    rig.org.put("Account", A, Name="A", Phone="by a user", Salmon_Seq__c=100)
    rig.task.doubt()
    assert rig.put(write(UPDATE, A, 100, native_id=A, Phone="ours")) == [OutcomeKind.SKIPPED]
    assert rig.org.records["Account"][A]["Phone"] == "by a user"
    rig.task.caught_up()
    assert rig.put(write(UPDATE, A, 101, native_id=A, Phone="newer")) == [OutcomeKind.APPLIED]
    assert rig.org.kinds() == ["query", "update"], "and nothing is looked at any more"


def test_what_was_looked_at_before_a_take_over_is_looked_at_again() -> None:
    """The partition may have left us and come back: its owner between may have written the key."""
    rig = Rig(clean=False)
    rig.org.put("Account", A, Name="A")
    rig.put(write(UPDATE, A, 10, native_id=A, Phone="1"))
    rig.org.put("Account", A, Name="A", Phone="by a user", Salmon_Seq__c=11)
    rig.task.doubt()
    assert rig.put(write(UPDATE, A, 11, native_id=A, Phone="2")) == [OutcomeKind.SKIPPED]


def test_a_put_that_flies_when_partitions_are_taken_makes_nobody_sure() -> None:
    """It looked, if at all, before the take-over: the next write of its key is looked at."""
    rig = Rig(clean=False)
    rig.org.put("Account", A, Name="A")
    update = rig.org.update

    def taken_meanwhile(records: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]:
        rig.task.doubt()
        return update(records)

    rig.org.update = taken_meanwhile  # type: ignore[method-assign]
    rig.put(write(UPDATE, A, 10, native_id=A, Phone="1"))
    rig.put(write(UPDATE, A, 11, native_id=A, Phone="2"))
    assert rig.org.kinds() == ["query", "update", "query", "update"]


@pytest.mark.parametrize(
    ("breaks", "again"), [("before", OutcomeKind.APPLIED), ("after", OutcomeKind.SKIPPED)]
)
def test_an_answer_that_never_came_is_settled_by_reading(breaks: str, again: OutcomeKind) -> None:
    """Nobody hopes: the marker says whether the write was carried out."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    rig.org.breaks = breaks
    with pytest.raises(Unavailable):
        rig.put(write(UPDATE, A, native_id=A, Phone="1"))
    rig.org.breaks = None
    assert rig.put(write(UPDATE, A, native_id=A, Phone="1")) == [again]
    assert rig.org.records["Account"][A]["Phone"] == "1"
    rig.org.calls.clear()
    rig.put(write(UPDATE, A, 11, native_id=A, Phone="2"))
    assert rig.org.kinds() == ["update"], "and then it is sure again"


def test_a_deletion_looks_at_the_record_before() -> None:
    """What was restored or made anew since lives another life."""
    rig = Rig()
    rig.org.put("Account", A, Name="A", Salmon_Seq__c=5)
    rig.org.put("Account", B, Name="B")
    kinds = rig.put(
        write(DELETE, A, native_id=A, expected=5),
        write(DELETE, B, native_id=B, expected=5),
        write(DELETE, C, native_id=C),
    )
    assert kinds == [OutcomeKind.APPLIED, OutcomeKind.EXISTS, OutcomeKind.GONE]
    assert list(rig.org.records["Account"]) == [B]
    assert rig.org.kinds() == ["query", "delete"]


def test_a_deletion_of_what_was_just_created_finds_it_by_its_key() -> None:
    """Merge does not know the Id yet, and may not have to."""
    rig = Rig()
    rig.put(write(CREATE, "$oid:1", 10, Name="A"))
    assert rig.put(write(DELETE, "$oid:1", 11, expected=10)) == [OutcomeKind.APPLIED]
    assert rig.org.records["Account"] == {}


def test_deletions_of_many_records_are_looked_at_in_one_call() -> None:
    """Looked at by queries, each of them would cost as many calls as the deletion itself."""
    rig = Rig()
    ids = [f"001{number:012}AAA" for number in range(500)]
    for native_id in ids[1:]:
        rig.org.put("Account", native_id, Name="A")
    rig.org.queries.clear()
    kinds = rig.put(*(write(DELETE, each, native_id=each) for each in ids))
    assert kinds == [OutcomeKind.GONE] + [OutcomeKind.APPLIED] * 499
    assert rig.org.queries == ["retrieve Account"]
    assert rig.org.kinds() == ["delete"] * 3


def test_a_deletion_is_not_led_astray_by_the_id_of_an_earlier_life() -> None:
    """The key's record was made anew; the identities will say so, but not yet. (Seed 35462 of the World.)"""
    rig = Rig()
    rig.known.ids["Account", "$oid:1"] = A
    rig.org.put("Account", B, Name="second life", Salmon_Id__c="$oid:1", Salmon_Seq__c=10)
    assert rig.put(write(DELETE, "$oid:1", 11, expected=10)) == [OutcomeKind.APPLIED]
    assert rig.org.records["Account"] == {}


def test_a_creation_that_finds_the_record_under_its_own_id_tells_nothing_of_later_writes() -> None:
    """The instance before us had carried one out, and a user has edited the record since. (Seed 18633 of the World.)"""
    rig = Rig(clean=False)
    rig.org.put("Account", A, Name="A", Phone="by a user", Salmon_Seq__c=12)
    assert rig.put(write(CREATE, A, 10, Phone="older")) == [OutcomeKind.EXISTS]
    assert rig.put(write(UPDATE, A, 12, native_id=A, Phone="ours")) == [OutcomeKind.SKIPPED]
    assert rig.org.records["Account"][A]["Phone"] == "by a user"


def test_an_update_of_a_record_that_is_gone_is_told() -> None:
    """And nothing is created in its place."""
    assert Rig().put(write(UPDATE, A, native_id=A, Phone="1")) == [OutcomeKind.GONE]


def test_children_are_deleted_before_their_parents() -> None:
    """A parent's deletion takes its children along, which would then be gone."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    rig.org.put("Contact", "003000000000001AAA", LastName="C", AccountId=A)
    rig.put(
        write(DELETE, A, native_id=A),
        write(DELETE, "003000000000001AAA", name="Contact", native_id="003000000000001AAA"),
    )
    assert rig.org.calls[-1] == ("delete", ["003000000000001AAA", A])


# Results.


def test_one_bad_record_spoils_no_other() -> None:
    """Each result is its own write's."""
    rig = Rig()
    for native_id in (A, B, C):
        rig.org.put("Account", native_id, Name="x")
    rig.org.refuses[B] = RowError("STRING_TOO_LONG", ("Phone",))
    rig.org.refuses[C] = RowError("UNABLE_TO_LOCK_ROW")
    kinds = rig.put(*(write(UPDATE, i, native_id=i, Phone="1") for i in (A, B, C)))
    assert kinds == [OutcomeKind.APPLIED, OutcomeKind.REFUSED, OutcomeKind.RETRY_LATER]


def test_a_record_that_spoils_a_whole_call_is_found() -> None:
    """Some errors fail the call, and all in it; halving finds the culprit, and the rest is carried out."""
    rig = Rig()
    rig.org.spoils.add("Fax")
    for number in range(8):
        rig.org.put("Account", f"00100000000000{number}AAA", Name="x")
    records = [write(UPDATE, i, native_id=i, Phone="1") for i in sorted(rig.org.records["Account"])]
    records[5] = write(UPDATE, records[5].key, native_id=records[5].key, Fax="1")
    kinds = rig.put(*records)
    assert kinds == [OutcomeKind.APPLIED] * 5 + [OutcomeKind.REFUSED] + [OutcomeKind.APPLIED] * 2


def test_a_field_that_spoils_a_whole_call_is_found_and_the_others_do_not_wait() -> None:
    """The org names neither record nor field; what it cannot read is found without carrying anything out (case V3)."""
    rig = Rig()
    rig.org.spoils |= {"Fax", "Website"}
    rig.org.put("Account", A, Name="x")
    names = ("Phone", "Fax", "Site", "Website", "Sic", "Industry", "Description", "AccountNumber")
    (outcome,) = rig.task.put(
        [SinkRecord("Account", A, Write(10, UPDATE, native_id=A, fields=dict.fromkeys(names, "1")))]
    )
    assert (outcome.kind, outcome.fields) == (OutcomeKind.REFUSED, frozenset({"Fax", "Website"}))
    assert rig.org.records["Account"][A] == {"Id": A, "Name": "x"}, (
        "a refused write is never carried out in part"
    )


def test_a_field_that_is_gone_is_looked_for_once_in_a_batch() -> None:
    """All records of the batch name it: the API calls do not grow with them (case V3)."""
    rig = Rig()
    rig.org.spoils.add("Fax")
    ids = [f"0010000000000{number:02}AAA" for number in range(32)]
    for native_id in ids:
        rig.org.put("Account", native_id, Name="x")
    outcomes = rig.task.put([write(UPDATE, i, native_id=i, Fax="1", Phone="2", Site="3") for i in ids])
    assert {outcome.fields for outcome in outcomes} == {frozenset({"Fax"})}
    probes = [asked for kind, asked in rig.org.calls if kind == "update" and asked == ["001000000000000AAA"]]
    assert len(probes) < 10


@pytest.mark.parametrize(
    ("when", "kept"),
    [
        ("0001-01-01", False),
        ("1699-12-31", False),
        ("1700-01-01", True),
        ("4000-12-31", True),
        ("4001-01-01", False),
    ],
)
def test_a_date_that_salesforce_cannot_hold_is_refused_alone_and_never_sent(when: str, kept: bool) -> None:
    """Only its field is named, so merge sends the other fields at once (case V3)."""
    rig = Rig()
    ms = int(datetime.fromisoformat(f"{when}T00:00:00+00:00").timestamp()) * 1000
    days = ms // 86_400_000
    contact = write(CREATE, "$oid:c", name="Contact", LastName="C", EmailBouncedDate=ms, Birthdate=days)
    (outcome,) = rig.task.put([contact])
    if kept:
        assert outcome.kind is OutcomeKind.APPLIED
        return
    assert (outcome.kind, outcome.fields) == (
        OutcomeKind.REFUSED,
        frozenset({"EmailBouncedDate", "Birthdate"}),
    )
    assert "1700 to 4000" in outcome.reason
    assert rig.org.calls == []


def test_a_missing_parent_and_a_missing_record_are_told_apart() -> None:
    """The same code stands for both; a look tells which. The parent was deleted: it may be restored, so it is waited for."""
    rig = Rig()
    rig.org.put("Contact", "003000000000001AAA", LastName="C")
    for native_id in ("003000000000001AAA", "003000000000002AAA"):
        rig.org.refuses[native_id] = RowError("INVALID_CROSS_REFERENCE_KEY")
    orphan, gone = rig.task.put(
        [
            write(UPDATE, i, name="Contact", native_id=i, AccountId=A)
            for i in ("003000000000001AAA", "003000000000002AAA")
        ]
    )
    assert (orphan.kind, orphan.fields, orphan.waits_for, orphan.again_s) == (
        OutcomeKind.DEFERRED,
        frozenset({"AccountId"}),
        (("Account", A),),
        60.0,
    )
    assert "has been deleted" in orphan.reason
    assert gone.kind is OutcomeKind.GONE


def test_a_record_of_no_synced_object_is_not_waited_for() -> None:
    """An owner that is not there: nothing that the sync sees could mend it, so a person has to."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    rig.org.refuses[A] = RowError("INVALID_CROSS_REFERENCE_KEY", ("OwnerId",))
    (outcome,) = rig.task.put([write(UPDATE, A, native_id=A, OwnerId="005000000000001AAA")])
    assert (outcome.kind, outcome.fields) == (OutcomeKind.REFUSED, frozenset({"OwnerId"}))


def test_an_incident_of_minutes_sets_no_write_aside() -> None:
    """Salesforce fails every write without saying why, however often they are put; then it is well again."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    rig.org.refuses[A] = RowError("UNKNOWN_EXCEPTION")
    for _ in range(14):
        assert rig.put(write(UPDATE, A, native_id=A, Phone="1")) == [OutcomeKind.RETRY_LATER]
        rig.now_s += 60
    del rig.org.refuses[A]
    assert rig.put(write(UPDATE, A, native_id=A, Phone="1")) == [OutcomeKind.APPLIED]


def test_a_failure_without_a_reason_is_given_up_after_a_quarter_of_an_hour() -> None:
    """It would hold up its key for ever; a newer write of the key has its own quarter."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    rig.org.refuses[A] = RowError("UNKNOWN_EXCEPTION")
    assert rig.put(write(UPDATE, A, 10, native_id=A, Phone="1")) == [OutcomeKind.RETRY_LATER]
    rig.now_s += 900
    assert rig.put(write(UPDATE, A, 11, native_id=A, Phone="2")) == [OutcomeKind.RETRY_LATER]
    rig.now_s += 900
    assert rig.put(write(UPDATE, A, 11, native_id=A, Phone="2")) == [OutcomeKind.REFUSED]


def test_a_field_that_came_after_the_start_asks_for_a_restart() -> None:
    """The write is right, and this process too old for it."""
    (outcome,) = Rig().task.put([write(CREATE, "$a", New__c="x")])
    assert (outcome.kind, outcome.code) == (OutcomeKind.RETRY_LATER, "SCHEMA_CHANGED")


def test_a_call_is_never_too_big_and_never_names_a_record_twice() -> None:
    """Two keys of one Id (a twin) go by two calls."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    many = [write(CREATE, f"${number}", Name="x") for number in range(COLLECTION_ROWS + 1)]
    rig.put(
        *many, write(UPDATE, A, native_id=A, Phone="1"), write(UPDATE, "twin", 11, native_id=A, Phone="2")
    )
    assert [len(ids) for _, ids in rig.org.calls] == [COLLECTION_ROWS, 1, 1, 1]


def test_a_call_changes_from_object_to_object_no_more_often_than_salesforce_allows() -> None:
    """Ten runs of one object each (sObject Collections): a call with more is refused as a whole."""
    rig = Rig()
    contact = schema("Contact").key_prefix
    for number in range(12):
        rig.org.put("Account", f"001{number:012}AAA", Name="A")
        rig.org.put("Contact", f"{contact}{number:012}AAA", LastName="C")
    writes = [
        write(UPDATE, native_id, name=name, native_id=native_id, Phone="1")
        for number in range(12)
        for name, native_id in (("Account", f"001{number:012}AAA"), ("Contact", f"{contact}{number:012}AAA"))
    ]
    assert set(rig.put(*writes)) == {OutcomeKind.APPLIED}
    assert [len(ids) for kind, ids in rig.org.calls if kind == "update"] == [10, 10, 4]


@pytest.mark.parametrize("op", [CREATE, UPDATE])
def test_a_trigger_that_was_not_made_for_many_records_refuses_none_of_them(op: WriteOp) -> None:
    """It exceeds a limit of Apex for 200 at a time, where each would pass alone: they are sent in smaller calls."""
    rig = Rig()
    rig.org.bulk_max = 60
    ids = [f"001{number:012}AAA" for number in range(COLLECTION_ROWS)]
    for native_id in ids if op is UPDATE else ():
        rig.org.put("Account", native_id, Name="A")
    writes = [
        write(
            op,
            native_id if op is UPDATE else f"$oid:{native_id}",
            native_id=native_id if op is UPDATE else None,
            Name="B",
        )
        for native_id in ids
    ]
    assert set(rig.put(*writes)) == {OutcomeKind.APPLIED}
    assert [len(sent) for kind, sent in rig.org.calls if kind != "query"] == [200, 100, 50, 50, 100, 50, 50]
    assert len(rig.org.records["Account"]) == COLLECTION_ROWS


def test_a_record_at_which_a_trigger_throws_is_refused_alone() -> None:
    """The others of its call failed with it, and pass without it."""
    rig = Rig()
    rig.org.throws_at = {"bad"}
    writes = [write(CREATE, f"$oid:{n}", Name="bad" if n == 117 else "good") for n in range(COLLECTION_ROWS)]
    kinds = rig.put(*writes)
    assert [n for n, kind in enumerate(kinds) if kind is not OutcomeKind.APPLIED] == [117]
    assert kinds[117] is OutcomeKind.REFUSED


def test_a_task_that_is_stopped_makes_no_further_call() -> None:
    """What was not sent is put by its successor."""
    rig = Rig()
    rig.task.stop()
    with pytest.raises(Unavailable, match="stopped"):
        rig.put(write(CREATE, "$a", Name="A"))
    assert rig.org.calls == []


def test_each_call_of_a_put_is_asked_for() -> None:
    """After a suspension another instance may have written newer values of the records that are left."""
    rig = Rig()
    leave = iter([True, True, False])
    rig.task.ask_leave(lambda: next(leave))
    children = [write(CREATE, f"$oid:{n}", name="Contact", LastName="C", AccountId=A) for n in range(900)]
    rig.org.put("Account", A, Name="the parent")
    with pytest.raises(Unavailable, match="taken away"):
        rig.put(*children)
    assert [len(sent) for _, sent in rig.org.calls] == [COLLECTION_ROWS, COLLECTION_ROWS]


def test_an_object_whose_markers_are_hidden_waits_and_the_others_go_on() -> None:
    """Without them no write of it is safe; a person has to mend it, and is told how (case V10)."""
    rig = Rig(clean=False)
    rig.org.put("Contact", CONTACT, LastName="C")
    rig.org.hides["Account"] = RequestRejected(
        "no", code="INVALID_FIELD", words="No such column 'Salmon_Seq__c'"
    )
    outcomes = rig.task.put(
        [
            write(UPDATE, A, native_id=A, Phone="1"),
            write(UPDATE, CONTACT, name="Contact", native_id=CONTACT, Phone="2"),
        ]
    )
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.RETRY_LATER, OutcomeKind.APPLIED]
    assert "objects.Account: the org refuses Account with INVALID_FIELD: No such column 'Salmon_Seq__c'" in (
        outcomes[0].reason
    )
    rig.org.hides.clear()
    rig.org.put("Account", A, Name="A")
    assert rig.put(write(UPDATE, A, native_id=A, Phone="1")) == [OutcomeKind.APPLIED]


def test_a_marker_field_that_is_gone_refuses_no_write() -> None:
    """The writes wait until somebody has given the field back; none of them is set aside (case V10)."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    rig.org.spoils.add("Salmon_Seq__c")
    assert rig.put(write(UPDATE, A, native_id=A, Phone="1")) == [OutcomeKind.RETRY_LATER]
    rig.org.spoils.clear()
    assert rig.put(write(UPDATE, A, native_id=A, Phone="1")) == [OutcomeKind.APPLIED]


def test_a_row_that_stays_locked_is_tried_late_and_no_longer_every_minute() -> None:
    """A batch job has it for longer than a transaction lasts: it waits aside, and holds up nothing (case L10)."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    rig.org.refuses[A] = RowError("UNABLE_TO_LOCK_ROW")
    kinds = []
    for _ in range(5):
        (outcome,) = rig.task.put([write(UPDATE, A, 10, native_id=A, Phone="1")])
        kinds.append(outcome.kind)
        rig.now_s += 40
    assert kinds == [OutcomeKind.RETRY_LATER] * 3 + [OutcomeKind.DEFERRED, OutcomeKind.RETRY_LATER]
    rig.org.refuses.clear()
    assert rig.put(write(UPDATE, A, 11, native_id=A, Phone="1")) == [OutcomeKind.APPLIED]


def test_records_of_several_calls_are_written_at_the_same_time_but_those_of_one_parent() -> None:
    """One call after the other would wait for the org most of the time; children of one parent would lock each other out."""
    rig = Rig()
    together = threading.Barrier(2, timeout=30.0)
    insert = rig.org.insert

    def waits_for_the_other(records: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]:
        together.wait()
        with at_once:
            return insert(records)

    at_once = threading.Lock()
    rig.org.insert = waits_for_the_other  # type: ignore[method-assign]
    kinds = rig.put(*(write(CREATE, f"$oid:{n}", Name="A") for n in range(2 * COLLECTION_ROWS)))
    assert set(kinds) == {OutcomeKind.APPLIED}
    rig.org.insert = insert  # type: ignore[method-assign]
    rig.org.put("Account", A, Name="the parent")
    rig.org.calls.clear()
    children = (write(CREATE, f"$oid:c{n}", name="Contact", LastName="C", AccountId=A) for n in range(300))
    assert set(rig.put(*children)) == {OutcomeKind.APPLIED}
    assert [len(records) for _, records in rig.org.calls] == [200, 100]


def test_fewer_calls_are_made_at_once_where_the_org_reports_locks() -> None:
    """What shares no parent may still share what a trigger locks."""
    rig = Rig()
    before = rig.task.batch_for({("Account", "any")})
    rig.org.put("Account", A, Name="A")
    rig.org.refuses[A] = RowError("UNABLE_TO_LOCK_ROW")
    assert rig.put(write(UPDATE, A, native_id=A, Phone="1")) == [OutcomeKind.RETRY_LATER]
    assert rig.task.batch_for({("Account", "any")}) < before
