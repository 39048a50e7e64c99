"""What the stream has passed by, while it was not synced, is read anew once it is."""

from __future__ import annotations

from dataclasses import replace

from salmon.model.change import Op
from salmon.plugin.contract import Signal, SignalKind
from salmon.salesforce.catalog import SyncedObject
from salmon.salesforce.reading.whole.run import Why
from support.orgs.salesforce import payload, synced
from support.orgs.salesforce_feed import NOW, A, B, C, Rig, org_of, read_all

ACCOUNT, CONTACT = synced("Account"), synced("Contact")


def without(field: str) -> SyncedObject:
    """The Account with a field left out of the sync."""
    schema = ACCOUNT.schema
    fields = tuple(each for each in schema.fields if each.name != field)
    return SyncedObject(replace(schema, fields=fields), ACCOUNT.names)


def reconfigured(rig: Rig, *objects: SyncedObject, one_way: tuple[str, ...] = ()) -> Rig:
    """The rig after a restart with another configuration, which has committed once."""
    again = rig.restarted(objects or None, one_way=one_way)
    again.gather()
    return again


def test_a_field_that_is_added_has_its_object_read_anew() -> None:
    """Nobody would tell of it otherwise, and of a record that is told in part nothing is ever sent."""
    before = reconfigured(Rig.streaming(org_of(A, B)), without("Phone"), CONTACT)
    assert "Phone" not in before.stored["snapshot/Account"]["covers"]
    rig = reconfigured(before)
    assert [(run.object, run.why) for run in rig.snapshots.begun] == [("Account", Why.HOLE)]
    rig.pass_s(2)
    rig.hear(payload("UPDATE", B, at=NOW + 2000, commit=5, Phone="1"))
    rig.gather()
    assert rig.ops() == [], "its row comes first"
    rig.pass_s(3)
    rig.gather()
    assert rig.ops() == [(B, Op.ROW), (B, Op.UPDATE)]
    read_all(rig, "Account")
    assert reconfigured(rig).snapshots.begun == [], "it is read once"


def test_a_kill_before_the_rows_does_not_forget_them() -> None:
    """What is to be read is stored before the stream goes on."""
    before = reconfigured(Rig.streaming(org_of(A, B)), without("Phone"), CONTACT)
    again = reconfigured(reconfigured(before))
    assert not again.snapshots.running["Account"].done


def test_a_field_that_is_taken_out_has_nothing_read() -> None:
    """What is still synced was told all along."""
    assert reconfigured(Rig.streaming(org_of(A)), without("Phone"), CONTACT).snapshots.begun == []


def test_an_object_that_is_put_back_is_read_with_all_its_deletions() -> None:
    """Its events have passed by for nobody knows how long."""
    org = org_of(A)
    org.put("Account", C, Name="C")
    org.remove("Account", C, "2001-01-01T00:00:00Z")
    before = reconfigured(Rig.streaming(org), CONTACT)
    before.hear(payload("CREATE", "003000000000001AAA", name="Contact", at=NOW, Name={"LastName": "C"}))
    before.gather()
    rig = reconfigured(before)
    rig.pass_s(2)
    org.look_at_clock()
    read_all(rig, "Account")
    assert rig.ops() == [(A, Op.ROW), (C, Op.ABSENT)]


def test_the_target_of_a_one_way_object_that_becomes_a_source_is_read() -> None:
    """A request that had its records read meanwhile does not stand in for that: events have passed by since."""
    before = reconfigured(Rig.streaming(org_of(A)), one_way=("Account",))
    before.feed.request(Signal(7, SignalKind.SNAPSHOT, "Account"))
    before.pass_s(3)
    before.org.look_at_clock()
    before.gather()
    read_all(before, "Account")
    assert before.answered == {7}
    assert [run.why for run in reconfigured(before).snapshots.begun] == [Why.HOLE]


def test_a_position_that_does_not_say_what_it_covers_covers_nothing() -> None:
    """To read too much is costly; to read too little would lose edits in silence."""
    rig = Rig.streaming(org_of(A))
    stored = rig.stored["snapshot/Account"]
    rig.stored["snapshot/Account"] = {name: stored[name] for name in stored if name != "covers"}
    assert [run.object for run in reconfigured(rig).snapshots.begun] == ["Account"]
