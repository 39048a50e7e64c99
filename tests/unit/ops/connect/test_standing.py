"""What is asked of a connector by the status topic: who obeys, and how long it holds."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from salmon.errors import SetupError, Unavailable
from salmon.kafka import topics
from salmon.ops.connect import loggers
from salmon.ops.connect.standing import StatusLog
from salmon.ops.connect.status_topic import Target, wanted_of
from salmon.ops.health import State
from support.at_hand.connect_rest import MemoryStatusLog, MemoryStatusTopic, Worker, rows, running
from support.waiting import until


@pytest.fixture
def topic() -> MemoryStatusTopic:
    return MemoryStatusTopic()


@pytest.fixture
def pair(topic: MemoryStatusTopic) -> Iterator[tuple[Worker, Worker]]:
    """Two replicas of one connector, which work."""
    workers = Worker("mongodb-sink", 0, topic=topic), Worker("mongodb-sink", 1, topic=topic)
    for each in workers:
        each.health.running()
    with running(*workers):
        yield workers


def test_a_pause_is_obeyed_by_every_replica_and_by_those_that_start_later(
    pair: tuple[Worker, Worker], topic: MemoryStatusTopic
) -> None:
    """It is in Kafka before it is answered, so it survives every restart."""
    one, other = pair
    ended = []
    other.standing.listen(lambda: ended.append(True))
    one.standing.ask_for(Target.PAUSED)
    assert one.standing.target is Target.PAUSED, "the one that was asked knows it when it answers"
    other.wanted_is(Target.PAUSED)
    until(lambda: ended, "its worker was told to end")
    later = Worker("mongodb-sink", 2, topic=topic)
    later.standing.begin(topic.open)
    assert later.standing.must_end
    elsewhere = Worker("merge", topic=topic)
    elsewhere.standing.begin(topic.open)
    assert not elsewhere.standing.must_end, "another connector is not concerned"
    one.standing.ask_for(Target.STARTED)
    other.wanted_is(Target.STARTED)


def test_a_restart_is_obeyed_once_and_not_by_a_process_that_starts_after_it(
    pair: tuple[Worker, Worker], topic: MemoryStatusTopic
) -> None:
    """The record stays in the topic; a process that obeyed it must not restart for ever."""
    one, other = pair
    one.standing.ask_for_restart(None)
    until(lambda: one.standing.restart_asked and other.standing.restart_asked, "both restart")
    again = Worker("mongodb-sink", 0, topic=topic)
    again.standing.begin(topic.open)
    assert not again.standing.must_end


def test_a_restart_of_one_task_leaves_the_other_replicas_alone(pair: tuple[Worker, Worker]) -> None:
    """A task is a replica."""
    one, other = pair
    one.standing.ask_for_restart(1)
    until(lambda: other.standing.restart_asked, "the one that is meant restarts")
    one.standing.ask_for(Target.STARTED)  # its own record comes after the request
    assert not one.standing.restart_asked


def test_a_process_describes_itself_when_its_state_changes(
    pair: tuple[Worker, Worker], topic: MemoryStatusTopic
) -> None:
    """A stock consumer can read it, with Kafka Connect's keys and states; a failure says why."""
    one, _ = pair
    until(lambda: "status-task-mongodb-sink-0" in rows(topic), "it reported that it works")
    said = rows(topic)["status-task-mongodb-sink-0"]
    assert (said["state"], said["worker_id"], said["url"]) == ("RUNNING", one.server.worker_id, one.url)
    one.health.ended(SetupError("no such object. Correct the name."))
    until(lambda: rows(topic)["status-task-mongodb-sink-0"]["state"] == "FAILED", "it reported the failure")
    assert "no such object" in rows(topic)["status-task-mongodb-sink-0"]["trace"]


def test_what_cannot_be_stored_is_not_promised(pair: tuple[Worker, Worker], topic: MemoryStatusTopic) -> None:
    """Kafka is away: the request is refused, and nothing of it happens later."""
    one, other = pair
    topic.away = True
    with pytest.raises(Unavailable):
        one.standing.ask_for(Target.PAUSED)
    topic.away = False
    other.standing.ask_for(Target.STARTED)
    one.wanted_is(Target.STARTED)


def test_before_kafka_was_reached_nothing_can_be_asked() -> None:
    """The sentence says when to try again."""
    with pytest.raises(Unavailable, match=r"not reached Kafka yet.*Try again"):
        Worker().standing.ask_for(Target.PAUSED)


def test_a_topic_that_was_made_again_is_read_from_its_beginning(topic: MemoryStatusTopic) -> None:
    """Its reader is lost, and not the process."""
    worker = Worker(topic=topic)
    opened: list[MemoryStatusLog] = []

    def lost(_timeout_s: float) -> None:
        raise SetupError("it is not there any more")

    def open_log() -> StatusLog:
        opened.append(topic.open())
        if len(opened) == 1:
            opened[0].follow = lost  # type: ignore[assignment,method-assign]
        return opened[-1]

    worker.open_log = open_log
    with running(worker):
        until(lambda: len(opened) > 1, "it was opened again")
        worker.standing.ask_for(Target.PAUSED)
        worker.wanted_is(Target.PAUSED)


def test_a_call_to_kafka_that_hangs_does_not_hold_up_the_stop(topic: MemoryStatusTopic) -> None:
    """The other parts are asked to stop only when this one has ended, and the time to stop is short."""
    worker, hangs, release = Worker(topic=topic), threading.Event(), threading.Event()
    opened = topic.open()

    def follow(_timeout_s: float) -> None:
        hangs.set()
        release.wait(20)

    opened.follow = follow  # type: ignore[assignment,method-assign]
    worker.open_log = lambda: opened
    with running(worker):
        assert hangs.wait(5)
    release.set()


def test_a_target_state_of_a_later_version_is_ignored() -> None:
    """Nothing is known of it, so the connector works."""
    assert wanted_of({"target-state-merge": {"state": "DREAMING"}}, "merge").target is Target.STARTED


def test_a_level_is_set_in_all_processes_that_run(pair: tuple[Worker, Worker]) -> None:
    """And only for loggers of Salmon: the debug lines of drivers show records."""
    one, _ = pair
    one.standing.ask_for_level("pymongo", "DEBUG")
    one.standing.ask_for_level("salmon.test.standing", "ERROR")
    until(lambda: loggers.level_of("salmon.test.standing").level == "ERROR", "the level is set")
    assert loggers.level_of("pymongo").level != "DEBUG"


def test_a_pause_is_shown_as_what_waits_and_not_as_a_failure() -> None:
    """The process is well; /health says since when it does nothing, and how to resume it."""
    worker = Worker()
    worker.health.running()
    worker.health.put_down(State.PAUSED, 60.0, "Paused by a person.")
    report = worker.health.report()
    assert (report.state, report.ready, report.live, report.degraded) == (State.PAUSED, True, True, True)
    [waiting] = report.waiting_for
    assert waiting.what == "paused"
    assert waiting.since_s >= 60


def test_the_status_topic_is_one_of_those_that_a_sync_needs() -> None:
    """It is created with the others, and compacted."""
    specs = topics.specs(topics.Topics("crm"), ["Account"], partitions=2, replication_factor=1)
    [spec] = [each for each in specs if each.name == "crm.status"]
    assert spec.compacted
    assert spec.partitions == 1
