"""Trying again: how long to wait, when to give up, who is told."""

from __future__ import annotations

import math
from threading import Event

import pytest

from salmon.backoff import Backoff
from salmon.errors import DataError, FatalError, SignInRefused, Stopping, Unavailable, UnfitServer
from salmon.runtime.retry import Retrying, Streak


class Heard:
    """An listener that remembers."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.recoveries = 0

    def failing(self, doing: str, error: Exception) -> None:
        self.failed.append(doing)

    def recovered(self) -> None:
        self.recoveries += 1


def test_it_is_repeated_until_it_works_and_the_listener_knows() -> None:
    """Two failures and a success: the answer comes back, both failures and the recovery were told."""
    heard = Heard()
    troubles = iter([Unavailable("one"), Unavailable("two")])

    def call() -> str:
        for trouble in troubles:
            raise trouble
        return "yes"

    retrying = Retrying(Event(), heard, Backoff(first_s=0.0))
    assert retrying.until_it_works("asking", call) == "yes"
    assert (heard.failed, heard.recoveries) == (["asking", "asking"], 1)


def test_an_error_of_another_branch_is_not_repeated() -> None:
    """Only what can heal is tried again."""

    def call() -> None:
        raise DataError("never")

    with pytest.raises(DataError):
        Retrying(Event(), Heard()).until_it_works("asking", call)


def test_after_its_bound_the_error_goes_to_the_caller() -> None:
    """A first contact that fails for too long is a mistake, and somebody must hear it."""
    now = iter(range(0, 100, 10))

    def call() -> None:
        raise Unavailable("away")

    retrying = Retrying(Event(), Heard(), Backoff(first_s=0.0), clock=lambda: float(next(now)))
    with pytest.raises(Unavailable):
        retrying.until_it_works("asking", call, give_up_after_s=25.0)


def test_told_to_stop_it_waits_no_longer() -> None:
    """The wait between tries ends at once."""
    stop = Event()
    stop.set()

    def call() -> None:
        raise Unavailable("away")

    with pytest.raises(Stopping):
        Retrying(stop, Heard(), Backoff(first_s=60.0)).until_it_works("asking", call)


def test_a_streak_waits_longer_with_each_failure_and_its_end_is_told() -> None:
    """Else one hiccup of a loop that goes on by itself would be told as a failure for ever."""
    heard, backoff = Heard(), Backoff(first_s=0.001, max_s=0.004)
    streak = Streak(Retrying(Event(), heard, backoff))
    assert not streak.worked()
    for _ in range(3):
        streak.failed("reading", Unavailable("no answer"))
    assert (heard.failed, streak.failures) == (["reading"] * 3, 3)
    assert streak.worked()
    assert (heard.recoveries, streak.failures) == (1, 0)


def test_a_server_that_never_answered_ends_the_wait_with_what_to_correct() -> None:
    """The last words do not promise another try (case S4)."""
    now = iter(range(0, 1000, 10))
    retrying = Retrying(Event(), Heard(), Backoff(first_s=0.0), clock=lambda: float(next(now)))

    def call() -> None:
        raise Unavailable("https://org refused to sign in (HTTP 503).")

    with pytest.raises(FatalError) as caught:
        retrying.first_contact("connecting", call, max_s=30)
    assert str(caught.value).startswith("https://org refused to sign in (HTTP 503). ")
    assert "has never worked" in str(caught.value)
    assert "tried again" not in str(caught.value)


def test_a_server_that_was_reached_before_is_waited_for_even_where_it_refuses_us() -> None:
    """503 and 401 of a sign-in that worked yesterday, and a server in maintenance, are an outage, and health tells of it (case S4)."""
    heard = Heard()
    answers: list[Exception] = [
        Unavailable("503"),
        SignInRefused("401"),
        UnfitServer("no set"),
        Unavailable("503"),
    ]

    def call() -> None:
        if answers:
            raise answers.pop()

    Retrying(Event(), heard, Backoff(first_s=0.0)).first_contact("connecting", call, max_s=math.inf)
    assert answers == []
    with pytest.raises(SignInRefused):
        Retrying(Event(), heard, Backoff(first_s=0.0)).first_contact("connecting", refuse, max_s=30)


def refuse() -> None:
    raise SignInRefused("401")
