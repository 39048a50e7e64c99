"""Refusals for another record's sake: which records keep what away from which, and when that may have ended (case L8)."""

from __future__ import annotations

from salmon.model.change import Write, WriteOp
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.sink.waiting.refusals import Refusals, Refused

HOLDER = ("Account", "h")


def _record(*fields: str) -> SinkRecord:
    return SinkRecord("Account", "a/b", Write(5, WriteOp.UPDATE, fields=dict.fromkeys(fields, "x")))


def _refused(*fields: str) -> Refused:
    outcome = Outcome(OutcomeKind.REFUSED, fields=frozenset(fields), waits_for=(HOLDER,))
    refused = Refused.by(_record(*fields), outcome, 3)
    assert refused is not None
    return refused


def test_an_entry_survives_being_written_and_read() -> None:
    """Keys with slashes and all; and only by those who have its partition."""
    refused, refusals = _refused("AccountNumber"), Refusals()
    assert Refused.of(refused.entry, refused.position()) == refused
    refusals.load({refused.entry: refused.position()}, {("Account", 2)})
    assert refused.id not in refusals
    refusals.load({refused.entry: refused.position()}, {("Account", 3)})
    assert refusals.kept_by(HOLDER) == [refused]


def test_where_it_was_decided_is_kept_with_the_entry() -> None:
    """So that the holder is followed from there, after a restart too; and a task may name the fields by any set."""
    outcome = Outcome(OutcomeKind.REFUSED, fields={"Name"}, waits_for=(HOLDER,))  # type: ignore[arg-type]
    refused = Refused.by(_record("Name"), outcome, 3, {HOLDER: 17}.get)
    assert refused is not None
    assert Refused.of(refused.entry, refused.position()) == refused
    assert (refused.seen, len({refused})) == (17, 1)


def test_a_refusal_that_is_nobody_elses_matter_is_not_kept() -> None:
    """A value that is too long is corrected in its own record."""
    assert Refused.by(_record("Name"), Outcome(OutcomeKind.REFUSED), 3) is None


def test_a_write_to_the_holder_matters_if_it_may_give_the_value_up() -> None:
    """Its deletion, or another value in the field; not an edit of something else."""
    refused = _refused("AccountNumber")
    writes = {
        "number": Write(9, WriteOp.UPDATE, fields={"AccountNumber": None}),
        "gone": Write(9, WriteOp.DELETE),
        "phone": Write(9, WriteOp.UPDATE, fields={"Phone": "1"}),
    }
    assert [name for name, write in writes.items() if refused.may_end_with(write)] == ["number", "gone"]


def test_a_write_that_sets_the_fields_ends_the_refusal() -> None:
    """Corrected in its own record; a write of other fields leaves it as it is."""
    refusals = Refusals()
    refusals.put(_refused("AccountNumber"))
    assert refusals.settled_by(_record("Name")) is None
    settled = refusals.settled_by(_record("Name", "AccountNumber"))
    assert settled is not None
    refusals.drop(settled.id)
    assert refusals.kept_by(HOLDER) == []
