"""Parents whose creation no event has told: asked for their keys before anything refers to them."""

from __future__ import annotations

import pytest

from salmon.errors import RateLimited, RequestRejected, Unavailable
from salmon.model.change import SALESFORCE, Change, Op
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.salesforce import identity
from salmon.salesforce.catalog import SyncedObject
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.whole.rows import RowReader
from support.orgs.salesforce import OUR_USER, MemoryOrg, payload, schema, synced
from support.orgs.salesforce_feed import NOW, A, B, C, Rig, org_of

KEY = "$oid:65f0c0ffee00000000000001"
CHILD, SIBLING = "003000000000001AAA", "003000000000002AAA"


def rig_with_a_lost_creation() -> Rig:
    """The document with this key was created in the org, as A, and no event of that ever comes."""
    org = org_of(B, C)
    rig = Rig.streaming(org)
    org.put("Account", A, Name="Born in MongoDB", Salmon_Id__c=KEY)
    org.put("Contact", CHILD, LastName="Byron", AccountId=A)
    org.queries.clear()
    return rig


def child(native_id: str = CHILD, *, at: int = NOW, user: str = "", **fields: object) -> dict[str, object]:
    by = {"user": user} if user else {}
    return payload("CREATE", native_id, name="Contact", at=at, **by, **fields)  # type: ignore[arg-type]


def parents_told(rig: Rig) -> list[object]:
    told, rig.told = rig.told, []
    return [record.change.fields.get("AccountId") for record in told]


def test_a_parent_whose_creation_was_lost_is_reported_by_its_key() -> None:
    """By its Id, it would look as if somebody had made the child point elsewhere."""
    rig = rig_with_a_lost_creation()
    rig.hear(child(AccountId=A))
    rig.gather()
    assert parents_told(rig) == [KEY]
    assert ("Account", A, KEY) in rig.identities, "and the sinks learn it, too"


def test_who_was_met_is_asked_for_nothing_again() -> None:
    """One query for all that a response refers to; none for who was read, or whose creation was heard."""
    rig = rig_with_a_lost_creation()
    rig.hear(child(AccountId=A), child(SIBLING, AccountId=B))
    rig.gather()
    assert parents_told(rig) == [KEY, B]
    assert len(rig.org.queries) == 1
    new = "001000000000009AAA"
    rig.hear(payload("CREATE", new, at=NOW, Name="Heard"), child(AccountId=new), child(AccountId=B))
    rig.hear(payload("UPDATE", CHILD, name="Contact", at=NOW, AccountId=A))
    rig.hear(payload("UPDATE", CHILD, name="Contact", at=NOW, Title="Countess"))
    rig.gather()
    assert parents_told(rig)[1:] == [new, B, KEY, None]
    assert len(rig.org.queries) == 1


def test_many_parents_are_asked_for_by_one_call() -> None:
    """Of all the responses that have come: while a backlog comes, each call would hold it up."""
    rig = rig_with_a_lost_creation()
    parents = [f"001{number:012}AAA" for number in range(100, 400)]
    for start in range(0, 300, 100):
        rig.hear(
            *(
                child(f"{each.replace('001', '003', 1)}", AccountId=each)
                for each in parents[start : start + 100]
            )
        )
    rig.hear(child(AccountId=A))
    rig.gather()
    assert parents_told(rig) == [*parents, KEY]
    assert rig.org.queries == ["retrieve Account"]


def test_the_echo_of_a_write_of_ours_asks_for_nothing() -> None:
    """It refers to what the sink found by the keys that this source has published: a load costs no calls here."""
    rig = rig_with_a_lost_creation()
    rig.hear(child(AccountId=C, user=OUR_USER, Salmon_Seq__c=7.0))
    rig.gather()
    assert parents_told(rig) == [C]
    assert rig.org.queries == []


@pytest.mark.parametrize("outage", [Unavailable("no answer"), RateLimited("used up")])
def test_while_the_org_does_not_answer_only_the_child_waits(outage: Exception) -> None:
    """Its event is not lost, nor is it reported by a guess; those of other records go on."""
    rig = rig_with_a_lost_creation()
    rig.org.fails_with = outage
    rig.hear(child(AccountId=A), payload("UPDATE", B, at=NOW, Phone="1"))
    rig.hear(payload("UPDATE", CHILD, name="Contact", at=NOW + 1000, Title="Countess"))
    rig.gather()
    assert [record.key for record in rig.told] == [B]
    assert rig.place == 0, "after a kill, the child's event comes again"
    rig.told.clear()
    rig.org.fails_with = None
    rig.pass_s(10)
    rig.gather()
    events = [record.change for record in rig.told if record.change.is_event]
    assert [(each.op, each.fields.get("AccountId")) for each in events] == [
        (Op.CREATE, KEY),
        (Op.UPDATE, None),
    ]
    assert rig.place == rig.number


def test_an_object_that_the_org_hides_keeps_no_child_waiting() -> None:
    """Nobody gets an answer by waiting; the parent is reported by its Id, as all that is not synced."""
    rig = rig_with_a_lost_creation()
    rig.org.hides["Account"] = RequestRejected("hidden", code="INVALID_TYPE")
    rig.hear(child(AccountId=A))
    rig.gather()
    assert parents_told(rig) == [A]


def test_a_parent_of_a_lookup_to_several_objects_is_asked_for_too() -> None:
    """There, the value of an event has the object beside the Id."""
    org = MemoryOrg(NOW)
    org.put("Contact", CHILD, LastName="Byron", Salmon_Id__c=KEY)
    who = FieldSchema("WhoId", "reference", Kind.STRING, reference_to=("Contact", "Lead"))
    task = SyncedObject(ObjectSchema("Task", (who,), "00T"), frozenset({"Id", "WhoId"}))
    known = Identity({"Contact": schema("Contact"), "Task": task.schema})
    reader = RowReader(org, task, known, {"Contact": synced("Contact"), "Task": task})
    called = Change(SALESFORCE, Op.CREATE, fields={"WhoId": f"Contact:{CHILD}"})
    assert reader.learn_parents([called]) == frozenset()
    assert known.key("Contact", CHILD) == KEY


def test_the_memory_of_who_was_met_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was met long ago is asked for once more."""
    monkeypatch.setattr(identity, "MET_MAX", 10)
    known = Identity({})
    for number in range(100):
        known.meet([str(number)])
        assert known.has_met(str(number))
    met = [number for number in range(100) if known.has_met(str(number))]
    assert 10 <= len(met) <= 22
    assert met[-1] == 99
