"""Waits: which records wait for which parents, and when nothing of it is left."""

from __future__ import annotations

from salmon.model.change import Write, WriteOp
from salmon.model.connector import Outcome, OutcomeKind, SinkRecord
from salmon.runtime.waits import Wait, Waits

PARENT, OTHER = ("Account", "p"), ("Account", "q")


def record(seq: int, *fields: str) -> SinkRecord:
    return SinkRecord("Contact", "a/b", Write(seq, WriteOp.UPDATE, fields=dict.fromkeys(fields, "x")))


def deferral(field: str, parent: tuple[str, str]) -> Outcome:
    return Outcome(OutcomeKind.DEFERRED, fields=frozenset({field}), waits_for=(parent,))


def test_an_entry_survives_being_written_and_read() -> None:
    """Keys with slashes and all."""
    wait = Waits().deferred(record(5, "AccountId"), deferral("AccountId", PARENT), 3)
    assert Wait.of(wait.entry, wait.position()) == wait


def test_a_later_deferral_adds_to_what_is_waited_for() -> None:
    """Fields that were set aside before are in no later write, so they go on waiting."""
    waits = Waits()
    waits.put(waits.deferred(record(5, "AccountId"), deferral("AccountId", PARENT), 3))
    waits.put(waits.deferred(record(6, "ReportsToId"), deferral("ReportsToId", OTHER), 3))
    (wait,) = waits.answered_by([PARENT])
    assert (wait.seq, wait.fields, wait.parents) == (
        6,
        frozenset({"AccountId", "ReportsToId"}),
        frozenset({PARENT, OTHER}),
    )


def test_an_answer_is_found_by_its_parent_only() -> None:
    """Who waits for another parent goes on waiting; who was answered waits for nothing."""
    waits = Waits()
    waits.put(waits.deferred(record(5, "AccountId"), deferral("AccountId", PARENT), 3))
    assert waits.answered_by([OTHER]) == []
    (wait,) = waits.answered_by([PARENT, OTHER])
    waits.drop(wait.id)
    assert waits.answered_by([PARENT]) == []
    assert waits.parents == frozenset()


def test_a_write_that_sets_all_the_fields_leaves_nothing_to_wait_for() -> None:
    """The reference was changed to one that is there; a write of other fields changes nothing."""
    waits = Waits()
    waits.put(waits.deferred(record(5, "AccountId"), deferral("AccountId", PARENT), 3))
    assert waits.settled_by(record(6, "Name")) is None
    assert waits.settled_by(record(7, "Name", "AccountId")) is not None


def test_only_the_waits_of_our_own_partitions_are_looked_after() -> None:
    """Each instance has those of the keys whose partitions it has."""
    waits = Waits()
    wait = waits.deferred(record(5, "AccountId"), deferral("AccountId", PARENT), 3)
    entries = {wait.entry: wait.position(), "clean/0": {"clean": True}}
    waits.load(entries, {("Contact", 2)})
    assert len(waits) == 0
    waits.load(entries, {("Contact", 3)})
    assert waits.holds("Contact", "a/b")
