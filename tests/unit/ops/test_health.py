"""Health: starting, healthy, unhealthy, and why."""

from __future__ import annotations

from salmon.calls import Peer
from salmon.errors import Unavailable
from salmon.ops.health import Health, State, Status
from salmon.plugin.contract import WaitingObject
from support.clock import Clock


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


def test_a_server_that_does_not_answer_is_told_with_time_and_mend_and_is_no_reason_to_kill_the_process() -> (
    None
):
    """mongod is suspended: /health says so, and live stays true (case S5)."""
    clock = Clock()
    health = Health(clock=clock, wall_clock=lambda: 1_000.0 + clock.now_s)
    health.running()
    call = health.calls.begin(Peer.MONGODB, "find")
    clock.now_s = 30
    health.turned()
    report = health.report()
    assert (report.status, report.live, report.degraded) == (Status.UNHEALTHY, True, True)
    [waiting] = report.waiting_for
    assert (waiting.what, waiting.since_s, waiting.since) == ("mongodb", 30, 1_000.0)
    assert waiting.sentence.startswith(
        "MongoDB has not answered for 30 s (find). Check that its primary runs"
    )
    health.calls.answered(call)
    report = health.report()
    assert (report.ready, report.degraded, report.waiting_for) == (True, False, ())


def test_a_loop_that_waits_for_a_server_is_not_hung() -> None:
    """The org takes two minutes for a query, and the loop has nothing else to do: it lives (case S5)."""
    clock = Clock()
    health = Health(turn_max_s=60, clock=clock)
    health.running()
    call = health.calls.begin(Peer.SALESFORCE, "GET /query")
    clock.now_s = 125
    assert health.report().live
    health.calls.answered(call)
    clock.now_s = 180
    assert health.report().live
    clock.now_s = 186
    assert not health.report().live, "a minute after the answer it has still not turned"


def test_without_partitions_it_is_not_ready_and_says_for_how_long() -> None:
    """A dead member of the group holds them: 20 changes wait, and nothing is done (case S11)."""
    clock = Clock()
    health = Health(clock=clock)
    health.running()
    health.holds(0)
    assert health.report().status is Status.STARTING
    clock.now_s = 40
    health.turned()
    report = health.report()
    assert (report.ready, report.live, report.degraded) == (False, True, True)
    assert "not given this instance a partition for 40 s" in report.message
    assert [each.what for each in report.waiting_for] == ["partitions"]
    health.holds(3)
    assert health.report().ready


def test_a_rebalance_is_no_outage() -> None:
    """For some seconds nobody has the partitions that move."""
    clock = Clock()
    health = Health(clock=clock)
    health.running()
    health.holds(3)
    health.holds(0)
    clock.now_s = 10
    assert health.report().ready


def test_a_spare_instance_stands_by() -> None:
    """More replicas than partitions: it is in order that one has none (case S11)."""
    clock = Clock()
    health = Health(clock=clock)
    health.running()
    health.holds(0)
    health.spare(True)
    clock.now_s = 59
    report = health.report()
    assert (report.ready, report.degraded) == (True, False)
    assert "On standby" in report.message
    health.spare(False)
    assert not health.report().ready
    [waiting] = health.report().waiting_for
    assert waiting.since_s == 0, "before, others had the partitions"


def test_a_standby_without_any_leader_is_not_ready_and_says_for_how_long() -> None:
    """Nobody reads the side: it is not in order to stand by for nobody."""
    clock = Clock()
    health = Health(clock=clock)
    health.standing_by()
    clock.now_s = 1_000
    health.turned()
    assert (health.report().ready, health.report().waiting_for) == (True, ())
    health.spare(False)
    clock.now_s += 40
    health.turned()
    report = health.report()
    assert (report.ready, report.live, report.degraded) == (False, True, True)
    [waiting] = report.waiting_for
    assert (waiting.what, waiting.since_s) == ("partitions", 40)
    assert "not given this instance the lead for 40 s" in waiting.sentence
    assert "joins the group again by itself" in waiting.sentence
    health.holds(1)
    health.starting("reading positions")
    assert [each.what for each in health.report().waiting_for] == ["reading positions"]


def test_what_start_up_waits_for_is_told_with_time_and_mend() -> None:
    """Since when, and what to do: a phase that lasts is no riddle."""
    clock = Clock()
    health = Health(clock=clock)
    health.starting("waiting for the schema of Account", "See whether salesforce-source runs.")
    clock.now_s = 20
    health.starting("waiting for the schema of Account", "See whether salesforce-source runs.")
    [waiting] = health.report().waiting_for
    assert waiting.since_s == 20
    assert (
        waiting.sentence
        == "Waiting for the schema of Account, for 20 s now. See whether salesforce-source runs."
    )


def test_no_other_member_is_blamed_while_kafka_itself_is_away() -> None:
    """Partitions are gone because the brokers are: one sentence, the right one (case S11)."""
    clock = Clock()
    health = Health(clock=clock)
    health.running()
    health.holds(0)
    health.calls.begin(Peer.KAFKA, "asking whether it is there")
    clock.now_s = 40
    health.turned()
    assert [each.what for each in health.report().waiting_for] == ["kafka"]


def test_a_standby_that_takes_over_starts_up_and_is_not_hung() -> None:
    """It waits for schemas before its loop begins: that may take longer than a turn."""
    clock = Clock()
    health = Health(turn_max_s=60, clock=clock)
    health.standing_by()
    health.starting("reading positions")
    clock.now_s = 100
    report = health.report()
    assert (report.status, report.live) == (Status.STARTING, True)


def test_an_object_that_waits_is_named_with_time_and_mend_while_the_process_works_for_the_others() -> None:
    """It is ready, since a restart would not help, and degraded, since somebody has to look (case V10)."""
    clock = Clock()
    health = Health(clock=clock)
    health.running()
    health.objects_wait([WaitingObject("Account", 5.0, "objects.Account: it has no field Id. Give it one.")])
    clock.now_s = 10
    report = health.report()
    (waits,) = report.waiting_for
    assert (report.ready, report.degraded) == (True, True)
    assert (waits.what, waits.since_s) == ("Account", 15.0)
    assert waits.sentence == "objects.Account: it has no field Id. Give it one."
    assert waits.sentence in report.message
    health.objects_wait([])
    report = health.report()
    assert (report.degraded, report.waiting_for) == (False, ())
