"""Unique values in Salesforce: what waits for another record's write, what is swapped, what is final (case L8)."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.model.change import Write
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from support.orgs.salesforce_org import CREATE, DELETE, UPDATE, A, B, C, SinkRig, write

APPLIED, LATER, REFUSED = OutcomeKind.APPLIED, OutcomeKind.RETRY_LATER, OutcomeKind.REFUSED


@pytest.fixture
def rig() -> SinkRig:
    """Three records with numbers that are unique."""
    rig = SinkRig()
    rig.org.unique = "AccountNumber"
    for native_id, number in ((A, "1"), (B, "2"), (C, "3")):
        rig.org.put("Account", native_id, Name=native_id, AccountNumber=number, Salmon_Seq__c=1)
    return rig


def _numbers(rig: SinkRig) -> dict[str, Any]:
    return {native_id: row.get("AccountNumber") for native_id, row in rig.org.records["Account"].items()}


def _set(native_id: str, number: str | None, seq: int = 10) -> SinkRecord:
    return write(UPDATE, native_id, seq, native_id=native_id, AccountNumber=number)


def _owing(rig: SinkRig, *owed: SinkRecord) -> None:
    writes: dict[tuple[str, str], Write] = {(each.object, each.key): each.write for each in owed}
    rig.task.look_up(lambda name, key: writes.get((name, key)))


def _one(rig: SinkRig, record: SinkRecord) -> Outcome:
    (outcome,) = rig.task.put([record])
    return outcome


def test_two_records_swap_their_numbers(rig: SinkRig) -> None:
    """One of them is cleared on the way, which no source takes for an edit (case L8)."""
    assert rig.put(_set(A, "2"), _set(B, "1", 11)) == [APPLIED, APPLIED]
    assert _numbers(rig) == {A: "2", B: "1", C: "3"}
    assert [rig.org.records["Account"][each]["Salmon_Seq__c"] for each in (A, B)] == [10, 11]


def test_three_numbers_go_round(rig: SinkRig) -> None:
    """Whatever the order in which they come (case L8)."""
    assert rig.put(_set(A, "2"), _set(B, "3"), _set(C, "1")) == [APPLIED] * 3
    assert _numbers(rig) == {A: "2", B: "3", C: "1"}


def test_a_chain_needs_no_clearing(rig: SinkRig) -> None:
    """Each is put again once the next has given its number up (case L8)."""
    assert rig.put(_set(A, "2"), _set(B, "3"), _set(C, "4")) == [APPLIED] * 3
    assert _numbers(rig) == {A: "2", B: "3", C: "4"}
    sent = sum(len(ids) for kind, ids in rig.org.calls if kind == "update")
    assert sent == 3 + 2 + 1, "and nothing besides"


def test_a_new_record_takes_the_number_of_one_that_is_deleted(rig: SinkRig) -> None:
    """Deletions come last in a batch; the creation is put once more after them (case L8)."""
    new = write(CREATE, "$oid:1", 12, Name="new", AccountNumber="1")
    assert rig.put(new, write(DELETE, A, 11, native_id=A, expected=1)) == [APPLIED, APPLIED]
    assert "1" in _numbers(rig).values()
    assert A not in _numbers(rig)


def test_a_number_is_waited_for_while_its_holders_write_is_owed(rig: SinkRig) -> None:
    """However long that takes (case L8)."""
    _owing(rig, write(DELETE, B, 11, native_id=B))
    for _ in range(3):
        outcome = _one(rig, _set(A, "2"))
        assert outcome.kind is LATER
        assert outcome.again_s is not None
        rig.now_s += 3_600
    rig.org.remove("Account", B, "2001-09-09T01:46:40Z")
    assert _one(rig, _set(A, "2")).kind is APPLIED


def test_a_circle_that_is_closed_by_a_write_which_waits_elsewhere_is_opened_here(rig: SinkRig) -> None:
    """Ours is cleared, so that the other's own try goes through, and ours after it (case L8)."""
    theirs = _set(B, "1", 11)
    _owing(rig, theirs)
    assert _one(rig, _set(A, "2")).kind is LATER
    assert rig.org.records["Account"][A]["AccountNumber"] is None
    assert rig.org.records["Account"][A]["Salmon_Seq__c"] == 0, (
        "the write itself is still to come, also after a crash"
    )
    assert _one(rig, theirs).kind is APPLIED
    assert _one(rig, _set(A, "2")).kind is APPLIED
    assert _numbers(rig) == {A: "2", B: "1", C: "3"}


@pytest.mark.parametrize(
    "owed", [None, _set(B, "2", 11), write(UPDATE, B, 11, native_id=B, Phone="1")], ids=str
)
def test_a_number_that_another_keeps_is_refused_after_a_while_and_the_holder_is_named(
    rig: SinkRig, owed: SinkRecord | None
) -> None:
    """Nothing that is owed to it would change the number: a person decides which of the two is wrong (case L8)."""
    _owing(rig, *([owed] if owed else []))
    assert _one(rig, _set(A, "2")).kind is LATER
    rig.now_s += 60
    outcome = _one(rig, _set(A, "2"))
    assert (outcome.kind, outcome.code, outcome.fields) == (
        REFUSED,
        "DUPLICATE_VALUE",
        frozenset({"AccountNumber"}),
    )
    assert outcome.reason == (
        f"AccountNumber must be unique in Salesforce, and Account {B} has the same value. Correct it in one of the two."
    )
    assert _numbers(rig) == {A: "1", B: "2", C: "3"}
