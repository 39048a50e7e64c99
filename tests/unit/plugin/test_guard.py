"""The rules of a guarded sink, for sides that keep markers."""

from __future__ import annotations

import pytest

from salmon.plugin import Outcome, OutcomeKind, Value, Write, WriteOp, due

NAMES = {"Name", "Phone", "City"}


def write(op: WriteOp, *, expected: int = 0, **fields: Value) -> Write:
    return Write(10, op, expected, fields=fields)


@pytest.mark.parametrize("op", list(WriteOp))
def test_a_write_that_is_done_or_overtaken_does_nothing(op: WriteOp) -> None:
    """However often it is repeated, and by whichever instance."""
    for marker in (10, 11):
        assert not due(write(op, Phone="1"), marker, NAMES).writes
    assert due(write(op), 11, NAMES).outcome.kind is OutcomeKind.SKIPPED


def test_what_nobody_has_read_is_neither_overwritten_nor_deleted() -> None:
    """It carries no marker of ours, or that of another life."""
    for each in (
        write(WriteOp.CREATE, Name="x"),
        write(WriteOp.UPDATE, expected=5, Name="x"),
        write(WriteOp.DELETE, expected=5),
    ):
        found = due(each, 0, NAMES)
        assert found.outcome.kind is OutcomeKind.EXISTS
        assert not found.writes


def test_a_record_that_was_read_without_a_marker_is_updated_and_deleted() -> None:
    """It was there before the sync."""
    assert due(write(WriteOp.UPDATE, Name="x"), 0, NAMES).fields == {"Name": "x"}
    assert due(write(WriteOp.DELETE), 0, NAMES).deletes


def test_what_is_gone_is_told() -> None:
    """The source then reports that it is absent."""
    for op in (WriteOp.UPDATE, WriteOp.DELETE):
        assert due(write(op), None, NAMES).outcome.kind is OutcomeKind.GONE


def test_a_creation_clears_what_it_knows_and_does_not_name() -> None:
    """The record is one that an older creation of ours has made."""
    found = due(write(WriteOp.CREATE, Name="x"), 7, NAMES)
    assert found.fields == {"Name": "x", "Phone": None, "City": None}
    assert found.outcome == Outcome(OutcomeKind.APPLIED)


def test_a_creation_after_another_changes_only_what_differs() -> None:
    """Somebody may have edited the rest since the first one made the record."""
    second = Write(
        10, WriteOp.CREATE, 7, fields={"Name": "x", "City": "y"}, differs=frozenset({"Name", "Phone"})
    )
    assert due(second, 7, NAMES).fields == {"Name": "x", "Phone": None}
    assert due(second, 6, NAMES).fields == {"Name": "x", "City": "y", "Phone": None}, "an older record"
