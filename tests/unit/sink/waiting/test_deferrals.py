"""Waits: which records wait for which parents, and when nothing of it is left."""

from __future__ import annotations

from salmon.model.change import Write, WriteOp
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.sink.waiting.deferrals import LATE_MAX_S, Wait, Waits

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


# What is locked waits for a time.

LOCKED = Outcome(OutcomeKind.DEFERRED, code="ENTITY_IS_LOCKED", again_s=60.0)


def test_a_locked_record_is_tried_ever_later_and_never_later_than_an_hour() -> None:
    """An approval may take days: one try an hour is cheap, and none is the last (case L10)."""
    waits, now_ms, seen = Waits(), 0, []
    for seq in range(12):
        wait = waits.deferred(record(seq, "Name"), LOCKED, 3, now_ms)
        assert Wait.of(wait.entry, wait.position()) == wait, "a restart keeps it"
        waits.put(wait)
        assert wait.due_ms is not None
        seen.append((wait.due_ms - now_ms) / 1000)
        assert waits.due(wait.due_ms - 1) == []
        (due,) = waits.due(wait.due_ms)
        now_ms = wait.due_ms
        waits.put(due.after_asking(now_ms))
    assert seen[:4] == [60, 120, 240, 480]
    assert seen[-1] == LATE_MAX_S


def test_a_lock_sets_aside_all_of_the_record_whatever_waits_for_a_parent_besides() -> None:
    """It names no fields, and so does its end."""
    waits = Waits()
    waits.put(waits.deferred(record(5, "AccountId"), deferral("AccountId", PARENT), 3))
    wait = waits.deferred(record(6, "Name"), LOCKED, 3, 0)
    assert (wait.fields, wait.parents) == (frozenset(), frozenset({PARENT}))


def orphan(field: str, parent: tuple[str, str]) -> Outcome:
    return Outcome(OutcomeKind.DEFERRED, fields=frozenset({field}), waits_for=(parent,), again_s=60.0)


def test_a_deleted_parent_is_waited_for_by_the_clock_and_by_its_return() -> None:
    """Its Id is known all the time, so that alone answers nothing; a new Id of its key does, and so does the time."""
    waits = Waits()
    wait = waits.deferred(record(5, "AccountId"), orphan("AccountId", PARENT), 3, 0)
    waits.put(wait)
    assert waits.parents == frozenset(), "nobody asks whether its Id is known"
    assert waits.due(59_999) == []
    assert waits.due(60_000) == waits.answered_by([PARENT]) == [wait]


def test_a_missing_parent_is_asked_for_though_a_deleted_one_is_waited_for_besides() -> None:
    """Its Id may have come meanwhile; and a restart forgets neither."""
    waits = Waits()
    waits.put(waits.deferred(record(5, "AccountId"), orphan("AccountId", PARENT), 3, 0))
    wait = waits.deferred(record(6, "ReportsToId"), deferral("ReportsToId", OTHER), 3, 0)
    assert Wait.of(wait.entry, wait.position()) == wait
    waits.put(wait)
    assert waits.parents == {OTHER}
    assert waits.answered_by([OTHER]) == [wait]


def test_who_refers_to_a_deleted_parent_is_not_locked() -> None:
    """Its other fields are written meanwhile; that they were is no reason to try the reference again at once."""
    waits = Waits()
    waits.put(waits.deferred(record(5, "AccountId"), orphan("AccountId", PARENT), 3, 0))
    assert waits.timed(record(6, "Name")) is None
    waits.put(waits.deferred(record(7, "Name"), LOCKED, 3, 0))
    assert waits.timed(record(8, "Name")) is not None
