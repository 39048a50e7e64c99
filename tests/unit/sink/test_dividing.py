"""A record that makes each whole call fail: how it is found, and that an outage is not mistaken for one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from salmon.errors import RateLimited, RetriableError, Unavailable
from salmon.model.change import Write, WriteOp
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.sink.dividing import CALL_FAILED, FAILING_MIN_S, TRIES_MIN, Dividing
from support.clock import Clock

APPLIED = Outcome(OutcomeKind.APPLIED)


class Side:
    """A task whose calls fail as a whole if one of the *poisonous* keys is in them."""

    def __init__(self, *poisonous: str) -> None:
        self.poisonous = set(poisonous)
        self.away = False
        self.calls: list[int] = []

    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]:
        self.calls.append(len(records))
        if self.away or any(record.key in self.poisonous for record in records):
            raise Unavailable("the server answered UNKNOWN_EXCEPTION (HTTP 500).")
        return [APPLIED for _ in records]


def records(*keys: str) -> list[SinkRecord]:
    return [SinkRecord("Account", key, Write(seq=1, op=WriteOp.UPDATE, expected=0)) for key in keys]


def many(count: int, first: str = "a") -> list[SinkRecord]:
    return records(*(f"{first}{number:03}" for number in range(count)))


def tried_until_divided(dividing: Dividing, batch: Sequence[SinkRecord], clock: Clock) -> Sequence[Outcome]:
    """Put the batch as the worker does, until it is not an outage any more."""
    for _ in range(TRIES_MIN - 1):
        with pytest.raises(Unavailable):
            dividing.put(batch)
        clock.now_s += FAILING_MIN_S / (TRIES_MIN - 1)
    return dividing.put(batch)


def failing(batch: Sequence[SinkRecord], outcomes: Sequence[Outcome]) -> dict[str, OutcomeKind]:
    return {record.key: outcome.kind for record, outcome in zip(batch, outcomes, strict=True) if outcome.code}


@pytest.mark.parametrize("place", [0, 99, 199])
def test_one_record_that_fails_each_call_holds_up_no_other(clock: Clock, place: int) -> None:
    """Of 200 records 199 are written within a few calls, and the one waits by itself."""
    batch = many(200)
    side = Side(batch[place].key)
    dividing = Dividing(side, rng=random.Random(1), clock=clock)
    outcomes = tried_until_divided(dividing, batch, clock)
    assert failing(batch, outcomes) == {batch[place].key: OutcomeKind.RETRY_LATER}
    assert len(side.calls) < TRIES_MIN + 20
    side.calls.clear()
    later = [batch[place], *many(50, "b")]
    assert failing(later, dividing.put(later)) == {batch[place].key: OutcomeKind.RETRY_LATER}
    assert side.calls == [50, 1], "it is sent after the others, and spoils no call of theirs any more"


def test_what_fails_alone_again_and_again_is_deferred_with_the_reason_and_written_when_it_can_be(
    clock: Clock,
) -> None:
    """It is never refused; merge sends it again, and `why` shows what the side answered."""
    side = Side("a001")
    dividing = Dividing(side, rng=random.Random(1), clock=clock)
    tried_until_divided(dividing, many(5), clock)
    (again,) = dividing.put(records("a001"))
    (deferred,) = dividing.put(records("a001"))
    assert again.kind is OutcomeKind.RETRY_LATER
    assert (deferred.kind, deferred.code) == (OutcomeKind.DEFERRED, CALL_FAILED)
    assert "UNKNOWN_EXCEPTION" in deferred.reason
    assert deferred.again_s
    side.poisonous.clear()
    assert dividing.put(records("a001")) == [APPLIED]
    side.calls.clear()
    dividing.put(records("a001", "a002"))
    assert side.calls == [2], "it is like all others again"


def test_several_such_records_are_found_too(clock: Clock) -> None:
    """What is not found within the calls of one turn is found in the next ones, without a further wait."""
    batch = many(200)
    poisonous = {batch[place].key for place in (0, 17, 18, 60, 100, 150, 199)}
    side = Side(*poisonous)
    dividing = Dividing(side, rng=random.Random(1), clock=clock)
    outcomes = tried_until_divided(dividing, batch, clock)
    written = {record.key for record, each in zip(batch, outcomes, strict=True) if each == APPLIED}
    for _ in range(10):
        rest = [record for record in batch if record.key not in written]
        again = dividing.put(rest) if rest else ()
        written |= {record.key for record, each in zip(rest, again, strict=False) if each == APPLIED}
    assert {record.key for record in batch} - written == poisonous
    assert len(side.calls) < 150


def test_an_outage_stays_an_outage(clock: Clock) -> None:
    """Nothing is carried out, alone or together: all waits, no record is suspected, and an attempt costs a few calls."""
    side = Side()
    side.away = True
    dividing = Dividing(side, rng=random.Random(1), clock=clock)
    for _ in range(20):
        with pytest.raises(Unavailable):
            dividing.put(many(200))
        clock.now_s += 5.0
    assert len(side.calls) <= 20 * 4
    side.away = False
    side.calls.clear()
    assert set(dividing.put(many(200))) == {APPLIED}
    assert side.calls == [200]


def test_a_short_failure_divides_nothing(clock: Clock) -> None:
    """Three tries within a second are no reason to send anything in parts."""
    side = Side("a001")
    dividing = Dividing(side, rng=random.Random(1), clock=clock)
    for _ in range(5):
        with pytest.raises(Unavailable):
            dividing.put(many(10))
    assert side.calls == [10] * 5


def test_a_suspect_alone_in_an_outage_waits_for_its_end(clock: Clock) -> None:
    """If nothing else was carried out for a minute, it is not the record's fault."""
    side = Side("a001")
    dividing = Dividing(side, rng=random.Random(1), clock=clock)
    tried_until_divided(dividing, many(5), clock)
    clock.now_s += 61
    with pytest.raises(Unavailable):
        dividing.put(records("a001"))


def test_a_batch_of_one_is_found_at_fault_while_other_batches_go_through(clock: Clock) -> None:
    """A sink with two calls at a time: the other thread's batches show that the side works."""
    side = Side("a001")
    dividing = Dividing(side, rng=random.Random(1), clock=clock)
    for _ in range(TRIES_MIN - 1):
        with pytest.raises(Unavailable):
            dividing.put(records("a001"))
        clock.now_s += FAILING_MIN_S
        dividing.put(records("b001"))
    (outcome,) = dividing.put(records("a001"))
    assert outcome.kind is OutcomeKind.RETRY_LATER


@pytest.mark.parametrize("error", [RateLimited("slow down"), RetriableError("in general")])
def test_what_is_about_no_record_is_passed_on(clock: Clock, error: RetriableError) -> None:
    """An allowance that is used up is not asked for record by record."""

    def refuses(_: Sequence[SinkRecord]) -> Sequence[Outcome]:
        calls.append(1)
        raise error

    calls: list[int] = []
    dividing = Dividing(Task(refuses), rng=random.Random(1), clock=clock)
    for _ in range(5):
        with pytest.raises(type(error)):
            dividing.put(many(10))
        clock.now_s += FAILING_MIN_S
    assert len(calls) == 5


class Task:
    """A task that is a function."""

    def __init__(self, put: Callable[[Sequence[SinkRecord]], Sequence[Outcome]]) -> None:
        self.put = put
