"""How far a run is reported, in a row or in parts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from salmon.salesforce.reading.whole.bulk_jobs import BulkJob
from salmon.salesforce.reading.whole.run import Run, Why

A, B, C, D, E, F = (f"00100000000000{number}AAA" for number in range(1, 7))
RUN = Run("Account", Why.HOLE, began=1000, by="rest", total=6)
IN_PARTS = RUN.cut_at([B, D])


def test_a_run_that_is_cut_begins_behind_what_it_has_reported() -> None:
    """The parts leave nothing out, and read nothing twice."""
    begun = replace(RUN, last=A, read=1).cut_at([B, D])
    assert [(piece.after, piece.to, piece.last) for piece in begun.pieces()] == [
        (A, B, A),
        (B, D, B),
        (D, "", D),
    ]
    assert begun.read == 1


def test_a_row_is_still_to_come_by_the_part_that_it_is_in() -> None:
    """After a hole its event waits for it, whatever other parts have reported."""
    first, second, third = IN_PARTS.pieces()
    run = IN_PARTS.with_piece(replace(second, last=C, read=1)).with_piece(replace(first, done=True, read=2))
    assert [run.will_report(each) for each in (A, B, C, D, E, F)] == [False, False, False, True, True, True]
    run = run.with_piece(replace(third, done=True, read=2))
    assert [run.will_report(each) for each in (A, D, E, F)] == [False, True, False, False]
    assert run.read == 5


@pytest.mark.parametrize(
    ("why", "since", "then"),
    [(Why.HOLE, None, "absences"), (Why.FIRST, None, "done"), (Why.REFRESH, 5, "absences")],
)
def test_the_last_part_ends_the_rows_of_the_run(why: Why, since: int | None, then: str) -> None:
    """Then it goes on as one that was read in a row."""
    run = replace(IN_PARTS, why=why, since=since)
    for piece in run.pieces():
        assert run.parts, "there are rows to come"
        run = run.with_piece(replace(piece, read=2).rows_are_reported())
    assert (run.done, run.absences) == (then == "done", then == "absences")
    assert (run.parts, run.last, run.read) == ((), "", 6)


def test_a_run_in_parts_is_the_same_after_a_restart() -> None:
    """Each part with its own place and its own bulk job; one that is done is not read again."""
    first, second, _ = IN_PARTS.pieces()
    job = BulkJob("750", "64.0", as_of=7)
    run = IN_PARTS.with_piece(replace(first, done=True, last=B, read=2))
    run = run.with_piece(replace(second, by="bulk", job=job, last=C, read=1))
    position = json.loads(json.dumps(run.to_position()))
    position["parts"][0]["of_a_later_version"] = 1
    stored = Run.from_position("Account", position)
    assert stored == run
    assert [(piece.part, piece.last, piece.by, piece.job) for piece in stored.pieces()] == [
        (1, C, "bulk", job),
        (2, D, "rest", None),
    ]


def test_a_run_that_an_earlier_version_has_stored_goes_on_in_a_row() -> None:
    """Its one place counts."""
    old = replace(RUN, last=B, read=2).to_position()
    del old["parts"]
    run = Run.from_position("Account", old)
    assert run.pieces() == [run]
    assert [run.will_report(each) for each in (B, C)] == [False, True]
