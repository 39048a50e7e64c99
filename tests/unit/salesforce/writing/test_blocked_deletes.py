"""Deletions in Salesforce that other records stand in the way of: what is waited for, and what is final (case L8)."""

from __future__ import annotations

from typing import Final

import pytest

from salmon.model.change import Write
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from support.orgs.salesforce_org import DELETE, UPDATE, A, B, SinkRig, write

APPLIED, LATER, REFUSED = OutcomeKind.APPLIED, OutcomeKind.RETRY_LATER, OutcomeKind.REFUSED
CHILD: Final = "003000000000001AAA"
LOOKUP: Final = ("Contact", "AccountId")
FORBIDDEN: Final = write(DELETE, A, 10, native_id=A, expected=1)


def gone(seq: int = 11) -> SinkRecord:
    return write(DELETE, CHILD, seq, name="Contact", native_id=CHILD, expected=1)


def moved(to: str) -> SinkRecord:
    return write(UPDATE, CHILD, 11, name="Contact", native_id=CHILD, AccountId=to)


@pytest.fixture
def rig() -> SinkRig:
    """An account that may not be deleted while a contact refers to it."""
    rig = SinkRig()
    rig.org.forbids = LOOKUP
    rig.task._forbids = {"Account": frozenset({LOOKUP})}
    for native_id in (A, B):
        rig.org.put("Account", native_id, Name=native_id, Salmon_Seq__c=1)
        rig.known.ids["Account", native_id] = native_id
    rig.org.put("Contact", CHILD, LastName="child", AccountId=A, Salmon_Seq__c=1)
    return rig


def owing(rig: SinkRig, *owed: SinkRecord) -> None:
    writes: dict[tuple[str, str], Write] = {(each.object, each.key): each.write for each in owed}
    rig.task.look_up(lambda name, key: writes.get((name, key)))


def one(rig: SinkRig, record: SinkRecord) -> Outcome:
    (outcome,) = rig.task.put([record])
    return outcome


@pytest.mark.parametrize("frees", [gone(), moved(B)], ids=["deleted", "moved"])
def test_who_stands_in_the_way_goes_first_in_a_batch(rig: SinkRig, frees: SinkRecord) -> None:
    """Whatever the order in which they come."""
    assert rig.put(FORBIDDEN, frees) == [APPLIED, APPLIED]
    assert A not in rig.org.records["Account"]


@pytest.mark.parametrize("frees", [gone(), moved(B)], ids=["deleted", "moved"])
def test_a_deletion_waits_while_who_stands_in_its_way_is_owed_a_write_that_ends_that(
    rig: SinkRig, frees: SinkRecord
) -> None:
    """However long that takes: an application deletes an account and then its contacts, in two batches."""
    owing(rig, frees)
    for _ in range(3):
        outcome = one(rig, FORBIDDEN)
        assert (outcome.kind, outcome.code) == (LATER, "DELETE_FAILED")
        assert outcome.again_s is not None
        rig.now_s += 3_600
    assert rig.put(frees) == [APPLIED]
    owing(rig)
    assert rig.put(FORBIDDEN) == [APPLIED]


@pytest.mark.parametrize(
    "owed", [None, moved(A), write(UPDATE, CHILD, 11, name="Contact", Phone="1")], ids=str
)
def test_who_stays_in_the_way_is_named_after_a_while(rig: SinkRig, owed: SinkRecord | None) -> None:
    """The write that may end it may be about to come; then it is refused, and sent again when that one is written to."""
    owing(rig, *([owed] if owed else []))
    assert one(rig, FORBIDDEN).kind is LATER
    rig.now_s += 60
    outcome = one(rig, FORBIDDEN)
    assert (outcome.kind, outcome.code, outcome.waits_for) == (
        REFUSED,
        "DELETE_FAILED",
        (("Contact", CHILD),),
    )
    assert f"Contact {CHILD} refers to it" in outcome.reason


def test_where_nobody_can_be_named_it_is_refused_after_a_while(rig: SinkRig) -> None:
    """The record in the way is of an object that is not synced, or that the user does not see."""
    rig.task._forbids = {"Account": frozenset({("Case", "AccountId")})}
    assert one(rig, FORBIDDEN).kind is LATER
    rig.now_s += 60
    outcome = one(rig, FORBIDDEN)
    assert (outcome.kind, outcome.waits_for) == (REFUSED, ())
