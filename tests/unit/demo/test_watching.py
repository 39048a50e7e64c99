"""How long edits take, measured from outside."""

from __future__ import annotations

import pytest

from salmon.demo.watching import Watch, quantile
from salmon.model.change import MONGODB, SALESFORCE


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Watch:
    return Watch(clock)


def test_a_lag_runs_from_the_return_of_the_call_to_the_other_side(watch: Watch, clock: Clock) -> None:
    """What the call itself took is the side's own time."""
    watch.begun("x", "Account", SALESFORCE)
    clock.now = 1.0
    watch.returned("x")
    assert watch.in_flight()["Account"] == 1
    clock.now = 1.25
    watch.seen("x", MONGODB)
    assert watch.lags_s(name="Account", side=SALESFORCE) == [0.25]
    assert watch.in_flight().total() == 0


def test_what_an_edits_own_side_shows_is_no_arrival(watch: Watch) -> None:
    """A change stream shows an application its own edits, too; and values that nobody here wrote."""
    watch.begun("x", "Account", MONGODB)
    watch.returned("x")
    watch.seen("x", MONGODB)
    watch.seen("y", SALESFORCE)
    watch.seen(5, SALESFORCE)
    assert watch.in_flight().total() == 1
    assert watch.lags_s() == []


def test_an_edit_that_is_there_before_its_call_returned_took_no_time(watch: Watch, clock: Clock) -> None:
    """The answer may be slower than the sync; and a second sight changes nothing."""
    watch.begun("x", "Account", SALESFORCE)
    watch.seen("x", MONGODB)
    clock.now = 0.5
    watch.returned("x")
    watch.seen("x", MONGODB)
    assert watch.lags_s(side=SALESFORCE) == [0.0]


def test_an_edit_that_failed_is_not_waited_for(watch: Watch) -> None:
    """It was never made."""
    watch.begun("x", "Account", SALESFORCE)
    watch.failed("x")
    assert watch.in_flight().total() == 0


def test_quantiles_are_values_that_were_measured() -> None:
    """By nearest rank."""
    lags = [float(number) for number in range(1, 101)]
    assert (quantile(lags, 0.5), quantile(lags, 0.99), quantile([7.0], 0.99)) == (50.0, 99.0, 7.0)
    assert quantile([], 0.5) is None
