"""References between records of one batch and to records that are there, or not."""

from __future__ import annotations

import pytest

from salmon.model.change import Value, Write
from salmon.plugin.contract import OutcomeKind, SinkRecord
from salmon.salesforce.wire.rest import RowError
from support.orgs.salesforce_org import CREATE, UPDATE, A, B, C, write
from support.orgs.salesforce_org import SinkRig as Rig

OWNER = "005000000000001AAA"


def test_a_contact_and_its_account_in_one_batch() -> None:
    """Whichever comes first in the batch, the parent is created first and the child gets its Id."""
    rig = Rig()
    kinds = rig.put(
        write(CREATE, "$oid:c", name="Contact", LastName="C", AccountId="$oid:a"),
        write(CREATE, "$oid:a", Name="A"),
    )
    assert kinds == [OutcomeKind.APPLIED, OutcomeKind.APPLIED]
    (contact,) = rig.org.records["Contact"].values()
    assert contact["AccountId"] == "001000000000001NEW"


def test_a_chain_of_parents_of_one_object() -> None:
    """Round after round, each when its parent is there."""
    rig = Rig()
    kinds = rig.put(
        write(CREATE, "$c", Name="C", ParentId="$b"),
        write(CREATE, "$b", Name="B", ParentId="$a"),
        write(CREATE, "$a", Name="A"),
    )
    assert kinds == [OutcomeKind.APPLIED] * 3
    assert rig.org.kinds() == ["insert"] * 3


def test_a_parent_that_is_not_there_defers_the_whole_write() -> None:
    """Nothing is carried out in part: merge sends the rest as a write of its own."""
    rig = Rig()
    (outcome,) = rig.task.put([write(CREATE, "$oid:c", name="Contact", LastName="C", AccountId="$oid:a")])
    assert (outcome.kind, outcome.fields, outcome.waits_for) == (
        OutcomeKind.DEFERRED,
        frozenset({"AccountId"}),
        (("Account", "$oid:a"),),
    )
    assert rig.org.calls == []


def test_records_that_refer_to_each_other_are_deferred() -> None:
    """Neither can be first; merge parks the references and sends the rest."""
    rig = Rig()
    assert rig.put(
        write(CREATE, "$a", Name="A", ParentId="$b"), write(CREATE, "$b", Name="B", ParentId="$a")
    ) == [
        OutcomeKind.DEFERRED,
        OutcomeKind.DEFERRED,
    ]


def test_a_record_that_is_its_own_parent_is_deferred_and_waits_for_itself() -> None:
    """Its Id is not there before it is."""
    (outcome,) = Rig().task.put([write(CREATE, "$a", Name="A", ParentId="$a")])
    assert outcome.waits_for == (("Account", "$a"),)


def test_a_child_of_a_refused_parent_waits() -> None:
    """The parent may be mended and come later."""
    rig = Rig()
    rig.org.refuses["bad"] = RowError("STRING_TOO_LONG", ("Name",))
    kinds = rig.put(
        write(CREATE, "$oid:a", Name="bad"),
        write(CREATE, "$oid:c", name="Contact", LastName="C", AccountId="$oid:a"),
    )
    assert kinds == [OutcomeKind.REFUSED, OutcomeKind.DEFERRED]


@pytest.mark.parametrize(
    ("value", "sent"),
    [("$oid:a", B), (A, A), ("005000000000001AAA", "005000000000001AAA")],
)
def test_references_become_ids(value: str, sent: str) -> None:
    """By identity, by a key that is an Id, or as they are where the target is not synced."""
    rig = Rig()
    rig.known.ids["Account", "$oid:a"] = B
    field = "OwnerId" if value.startswith("005") else "AccountId"
    rig.put(SinkRecord("Contact", "$oid:c", Write(10, CREATE, fields={"LastName": "C", field: value})))
    (contact,) = rig.org.records["Contact"].values()
    assert contact[field] == sent


def test_an_id_of_another_object_is_no_parent() -> None:
    """A contact's Id in AccountId would be refused; it is not there as an account."""
    (outcome,) = Rig().task.put(
        [write(CREATE, "$c", name="Contact", LastName="C", AccountId="003000000000001AAA")]
    )
    assert outcome.kind is OutcomeKind.DEFERRED


def test_a_key_that_lives_again_leads_to_its_new_record() -> None:
    """A record that was deleted in Salesforce and edited in MongoDB: its key is its former Id."""
    rig = Rig()
    assert rig.put(write(CREATE, A, Name="lives again")) == [OutcomeKind.APPLIED]
    rig.put(write(CREATE, "$c", name="Contact", LastName="C", AccountId=A))
    (contact,) = rig.org.records["Contact"].values()
    assert contact["AccountId"] == "001000000000001NEW"


def test_a_parent_that_was_deleted_is_named() -> None:
    """Salesforce does not say which; merge parks that field alone, and sends the rest."""
    rig = Rig()
    rig.org.put("Account", B, Name="B")
    rig.org.refuses["None"] = RowError("ENTITY_IS_DELETED")
    (outcome,) = rig.task.put(
        [write(CREATE, "$c", name="Contact", LastName="C", AccountId=A, OwnerId="005000000000001AAA")]
    )
    assert (outcome.kind, outcome.code, outcome.fields) == (
        OutcomeKind.DEFERRED,
        "ENTITY_IS_DELETED",
        frozenset({"AccountId"}),
    )


def test_a_reference_of_15_characters_is_the_same_id_as_its_18() -> None:
    """A contact's AccountId as people copy it links; the org's answer brings the 18 back (case V1)."""
    rig = Rig()
    rig.put(
        write(CREATE, "$oid:c", name="Contact", LastName="C", AccountId=A[:15], OwnerId="005000000000001")
    )
    (contact,) = rig.org.records["Contact"].values()
    assert (contact["AccountId"], contact["OwnerId"]) == (A, "005000000000001")


def test_fifteen_characters_that_are_the_key_of_a_parent_are_that_parent() -> None:
    """A record that was born in MongoDB may have such an `_id`: it comes before any Id."""
    rig = Rig()
    rig.known.ids["Account", "001000000000042"] = B
    rig.put(write(CREATE, "$oid:c", name="Contact", LastName="C", AccountId="001000000000042"))
    (contact,) = rig.org.records["Contact"].values()
    assert contact["AccountId"] == B


def test_fifteen_characters_of_no_record_wait_for_their_parent() -> None:
    """It may be the key of a parent that is still to be created: DEFERRED, not refused for good."""
    rig = Rig()
    rig.org.refuses[C] = RowError("INVALID_CROSS_REFERENCE_KEY")
    rig.org.put("Contact", C, LastName="C")
    (outcome,) = rig.task.put([write(UPDATE, C, name="Contact", native_id=C, AccountId="001000000000042")])
    assert (outcome.kind, outcome.fields, outcome.waits_for) == (
        OutcomeKind.DEFERRED,
        frozenset({"AccountId"}),
        (("Account", "001000000000042"),),
    )


def test_fifteen_letters_and_digits_of_no_objects_id_are_a_key() -> None:
    """`customer0000042` looks like an Id, but of no object that the field may refer to: its parent is to come."""
    assert Rig().put(write(CREATE, "$oid:c", name="Contact", LastName="C", AccountId="customer0000042")) == [
        OutcomeKind.DEFERRED
    ]


def test_null_is_never_sent_where_the_org_takes_none() -> None:
    """A checkbox is set to false; of any other field that may not be empty nothing is said (case V4)."""
    rig = Rig()
    opportunity = "006000000000001AAA"
    rig.org.put("Opportunity", opportunity, Name="O", OwnerId=OWNER, IsPrivate=True, NextStep="1")
    nulls: dict[str, Value] = dict.fromkeys(("IsPrivate", "OwnerId", "Name", "NextStep"))
    record = SinkRecord("Opportunity", opportunity, Write(10, UPDATE, native_id=opportunity, fields=nulls))
    assert rig.put(record) == [OutcomeKind.APPLIED]
    kept = rig.org.records["Opportunity"][opportunity]
    assert (kept["IsPrivate"], kept["OwnerId"], kept["Name"], kept["NextStep"]) == (False, OWNER, "O", None)
