"""Health: starting, healthy, unhealthy, and why."""

from __future__ import annotations

from salmon.errors import Unavailable
from salmon.runtime.health import Health, State, Status


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_it_says_what_it_is_waiting_for_while_it_starts() -> None:
    """Not ready, but alive: killing it would not help."""
    health = Health()
    health.starting("waiting for the schema of Account")
    report = health.report()
    assert (report.status, report.live, report.ready) == (Status.STARTING, True, False)
    assert "schema of Account" in report.message


def test_a_loop_that_stands_still_is_not_live() -> None:
    """No turn for a minute: the one case in which a restart helps."""
    clock = Clock()
    health = Health(turn_max_s=60, clock=clock)
    health.running()
    clock.now_s = 61
    assert (health.report().status, health.report().live) == (Status.UNHEALTHY, False)
    health.turned()
    assert health.report().ready


def test_an_outage_is_unhealthy_after_a_while_and_no_reason_to_kill_it() -> None:
    """A hiccup is not told; what lasts is, with its cause, and it heals."""
    clock = Clock()
    health = Health(failing_max_s=30, clock=clock)
    health.running()
    health.failing("writing", Unavailable("no MongoDB answers"))
    assert health.report().ready
    clock.now_s = 31
    health.failing("writing", Unavailable("no MongoDB answers"))
    report = health.report()
    assert (report.status, report.live) == (Status.UNHEALTHY, True)
    assert "no MongoDB answers" in report.message
    health.recovered()
    assert health.report().ready


def test_a_standby_is_healthy_and_has_no_task() -> None:
    """It does what it is there for."""
    health = Health()
    health.standing_by()
    report = health.report()
    assert (report.status, report.state) == (Status.HEALTHY, State.UNASSIGNED)


def test_what_ended_it_is_told_as_the_trace() -> None:
    """FAILED, with the reason, as Kafka Connect shows it."""
    health = Health()
    health.ended(Unavailable("gone"))
    report = health.report()
    assert (report.state, report.live) == (State.FAILED, False)
    assert "gone" in (report.trace or "")
