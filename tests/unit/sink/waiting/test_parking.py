"""Writes that a side cannot take now: how long they wait, and when one of them has waited for long enough."""

from __future__ import annotations

from salmon.model.change import Write, WriteOp
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.sink.waiting.parking import GIVEN_UP, Parking

LATER = Outcome(OutcomeKind.RETRY_LATER, code="UNABLE_TO_LOCK_ROW", reason="locked.")
APPLIED = Outcome(OutcomeKind.APPLIED)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def record(key: str, seq: int = 1) -> SinkRecord:
    return SinkRecord("Account", key, Write(seq, WriteOp.UPDATE))


def parking(timeout_s: float | None = 60.0) -> tuple[Parking, Clock]:
    clock = Clock()
    return Parking(timeout_s, clock), clock


def test_a_write_that_waits_for_too_long_while_others_are_carried_out_has_failed() -> None:
    """It is refused, with the side's last code in the reason."""
    it, clock = parking()
    assert it.judged(record("a"), LATER) is LATER
    clock.now += 61
    it.judged(record("b"), APPLIED)
    given_up = it.judged(record("a"), LATER)
    assert (given_up.kind, given_up.code) == (OutcomeKind.REFUSED, GIVEN_UP)
    assert "UNABLE_TO_LOCK_ROW" in given_up.reason
    assert it.records() == ()


def test_nothing_is_given_up_while_nothing_at_all_is_carried_out() -> None:
    """The side may be in trouble as a whole, and an outage fills no dead letter queue."""
    it, clock = parking()
    it.judged(record("b"), APPLIED)
    clock.now += 1
    it.judged(record("a"), LATER)
    clock.now += 1_000_000
    assert it.judged(record("a"), LATER) is LATER


def test_a_newer_write_of_the_record_begins_its_own_wait() -> None:
    """It is another write, and may be taken."""
    it, clock = parking()
    it.judged(record("a", 1), LATER)
    clock.now += 61
    it.judged(record("b"), APPLIED)
    assert it.judged(record("a", 2), LATER) is LATER
    assert it.oldest_s == 0


def test_without_a_time_out_a_write_is_tried_without_end() -> None:
    """errors.retry.timeout: -1."""
    it, clock = parking(None)
    it.judged(record("a"), LATER)
    clock.now += 1_000_000
    it.judged(record("b"), APPLIED)
    assert it.judged(record("a"), LATER) is LATER
    assert it.oldest_s == 1_000_000


def test_what_waits_is_shown_after_a_minute_and_no_longer_when_it_is_done() -> None:
    """How many, since when, and why; one sentence for an object."""
    it, clock = parking(None)
    for key in ("a", "b"):
        it.judged(record(key), LATER)
        assert it.waiting("Salesforce") == []
        clock.now += 50
    (waits,) = it.waiting("Salesforce")
    assert (waits.object, waits.since_s) == ("Account", 100)
    assert "2 writes wait" in waits.sentence
    assert "UNABLE_TO_LOCK_ROW" in waits.sentence
    it.judged(record("a"), APPLIED)
    it.forget(("Account", "b"))
    assert it.waiting("Salesforce") == []
    assert it.oldest_s == 0
