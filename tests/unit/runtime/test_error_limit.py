"""When nothing more is set aside, and what ends that."""

from __future__ import annotations

import pytest

from salmon.runtime.error_limit import Counts, ErrorLimit, Tolerance


def limit(**tolerance: float) -> ErrorLimit:
    return ErrorLimit(Tolerance(**tolerance))  # type: ignore[arg-type]


def test_failures_in_a_row_stop_it_and_a_success_begins_a_new_row() -> None:
    """A success between them shows that not everything fails."""
    it = limit(consecutive=10, ratio=1)
    assert it.allows(0, 6)
    assert it.allows(1, 6)
    assert it.allows(0, 10)
    assert not it.allows(0, 1)
    assert it.stopped
    assert "More than 10 records in a row" in it.why


def test_a_large_share_of_failures_stops_it() -> None:
    """Not before there are enough records to speak of a share."""
    it = limit(consecutive=0, ratio=0.5, window=100)
    for _ in range(4):
        assert it.allows(10, 10)
    assert it.allows(15, 1)
    assert not it.allows(1, 30)
    assert "50%" in it.why


def test_what_failed_long_ago_is_forgotten() -> None:
    """The share is one of the last records, not of all."""
    it = limit(consecutive=0, ratio=0.5, window=100)
    assert it.allows(51, 49)
    for _ in range(3):
        assert it.allows(100, 0)
    assert it.allows(10, 90)


@pytest.mark.parametrize("failed", [1, 1000])
def test_where_nothing_is_tolerated_the_first_failure_stops_it(failed: int) -> None:
    """errors.tolerance: none."""
    it = ErrorLimit(Tolerance(tolerates=False))
    assert it.allows(1000, 0)
    assert not it.allows(1000, failed)
    assert "errors.tolerance is none" in it.why


def test_it_goes_on_when_more_and_more_records_are_tried_and_none_fails() -> None:
    """One record, then two, then four: one failure among them begins with one again."""
    it = limit(consecutive=5, ratio=1)
    assert not it.allows(0, 6)
    tried = []
    for failed in (1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0):
        tried.append(it.at_most(500))
        assert it.allows(0 if failed else tried[-1], failed) is not bool(failed)
    assert tried == [1, 1, 2, 4, 1, 2, 4, 8, 16, 32, 64]
    assert not it.stopped
    assert it.at_most(500) == 500
    assert it.allows(0, 5), "counting has begun anew"


def test_it_goes_on_when_nothing_is_left_to_try_and_the_last_try_was_good() -> None:
    """Where there is little to do, nobody waits for 64 records."""
    it = limit(consecutive=5, ratio=1)
    assert not it.allows(0, 6)
    assert not it.nothing_left()
    assert it.allows(1, 0)
    assert it.nothing_left()
    assert not it.stopped


def test_a_restart_does_not_begin_at_zero() -> None:
    """Otherwise a process that is killed again and again would set everything aside."""
    it = limit(consecutive=10, ratio=1)
    assert it.allows(0, 10)
    counted = it.unsaved()
    assert counted is not None
    it.saved(counted)
    assert it.unsaved() is None
    again = limit(consecutive=10, ratio=1)
    again.restore(counted.position())
    assert not again.allows(0, 1)
    assert again.unsaved() is None, "what was not set aside is not counted"


def test_without_failures_nothing_is_stored() -> None:
    """A healthy process writes no entry, and one that has become healthy takes its entry away."""
    it = limit(consecutive=10, window=10)
    assert it.allows(5, 0)
    assert it.unsaved() is None
    assert it.allows(0, 1)
    failed = it.unsaved()
    assert failed is not None
    assert Counts.of(failed.position()) == failed
    it.saved(failed)
    for _ in range(4):
        assert it.allows(10, 0)
    counted = it.unsaved()
    assert counted is not None
    assert counted.position() is None


def test_what_was_not_committed_is_not_counted() -> None:
    """An outage of Kafka repeats a batch, and is not to be taken for many failures."""
    it = limit(consecutive=3, ratio=1)
    before = it.counts
    for _ in range(5):
        it.recount(before)
        assert it.allows(0, 3)


def test_settings_that_allow_more_end_a_stop_without_a_restart() -> None:
    """They are read again on SIGHUP. Others that would not have allowed it either change nothing."""
    tolerance = Tolerance(consecutive=5, ratio=1)
    it = ErrorLimit(tolerance)
    assert not it.allows(0, 20)
    assert not it.allows(0, 1), "one record is tried"
    tolerance.take(Tolerance(consecutive=10, ratio=1))
    assert not it.allows(0, 1), "20 in a row are more than 10, too"
    tolerance.take(Tolerance(consecutive=100, ratio=1))
    assert it.allows(0, 1)
    assert not it.stopped
    assert it.at_most(500) == 500
