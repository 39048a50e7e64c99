"""What runs a connector's worker: a pause drains it and waits, to resume is to restart, and a signal ends both."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from salmon.app.work import Asked, Work
from salmon.errors import StartAgain, Stopping
from salmon.ops.connect.status_topic import Target
from salmon.ops.health import Health, State
from salmon.runtime.retry import Retrying
from support.at_hand.connect_rest import Worker, running
from support.waiting import until


class Inner:
    """A worker that works until it is stopped."""

    name = "inner"

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.runs = self.drained = 0

    def run(self) -> None:
        self.runs += 1
        self.stopped.wait(20)
        self.drained += 1

    def stop(self) -> None:
        self.stopped.set()

    def cut(self) -> None:
        pass


class Process:
    """Builds the worker, perhaps only when the test lets it."""

    def __init__(self, health: Health) -> None:
        self.health, self.inner = health, Inner()
        self.may_build = threading.Event()
        self.may_build.set()
        self.building = threading.Event()

    def part(self, _retrying: Retrying) -> Inner:
        self.building.set()
        self.may_build.wait(20)
        self.health.running()
        return self.inner

    def consequence_of(self, error: BaseException) -> BaseException:
        return error

    def pause_s(self) -> float:
        return 0.0


class Run:
    """The work of a process in its thread, and how it ended."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.process = Process(worker.health)
        self.work = Work(self.process, worker.standing)
        self.ended: list[BaseException | None] = []
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.work.run()
        except StartAgain as error:
            self.ended.append(error)
        else:
            self.ended.append(None)

    def end(self) -> BaseException | None:
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.ended[0]


@pytest.fixture
def run() -> Iterator[Run]:
    worker = Worker("merge")
    with running(worker):
        yield Run(worker)


def is_put_down(run: Run, state: State) -> None:
    until(lambda: run.worker.health.report().state is state, f"it is {state}")


def test_a_pause_drains_the_worker_and_to_resume_is_to_restart(run: Run) -> None:
    """What is in flight is finished first; the state is then shown until somebody resumes."""
    run.thread.start()
    until(lambda: run.process.inner.runs, "it works")
    run.worker.standing.ask_for(Target.PAUSED)
    is_put_down(run, State.PAUSED)
    assert run.process.inner.drained == 1
    run.worker.standing.ask_for(Target.STOPPED)
    is_put_down(run, State.STOPPED)
    run.worker.standing.ask_for(Target.STARTED)
    assert isinstance(run.end(), Asked)
    assert run.worker.health.report().state is State.RESTARTING


def test_a_signal_ends_a_process_that_is_paused_and_nothing_restarts(run: Run) -> None:
    """Its exit is a normal one; the pause is still there at the next start."""
    run.thread.start()
    run.worker.standing.ask_for(Target.PAUSED)
    is_put_down(run, State.PAUSED)
    run.work.stop()
    assert run.end() is None
    assert run.worker.standing.target is Target.PAUSED


def test_a_pause_that_is_over_before_the_worker_has_drained_ends_in_a_restart(run: Run) -> None:
    """Otherwise the process would end for good, with exit code 0."""
    drain = threading.Event()
    run.process.inner.run = lambda: drain.wait(20) and None  # type: ignore[assignment,method-assign]
    run.thread.start()
    run.worker.standing.ask_for(Target.PAUSED)
    until(run.process.inner.stopped.is_set, "the worker was told to end")
    run.worker.standing.ask_for(Target.STARTED)
    drain.set()
    assert isinstance(run.end(), Asked)


def test_a_pause_while_the_worker_is_built_is_obeyed_before_it_runs(run: Run) -> None:
    """It must not begin, and then be stopped."""
    run.process.may_build.clear()
    run.thread.start()
    run.process.building.wait(10)
    run.worker.standing.ask_for(Target.PAUSED)
    run.process.may_build.set()
    is_put_down(run, State.PAUSED)
    assert run.process.inner.runs == 0


def test_a_pause_is_obeyed_while_the_worker_waits_for_a_server(run: Run) -> None:
    """Building it may take for ever, e.g. while nobody registers the schemas."""

    def part(retrying: Retrying) -> Inner:
        run.process.building.set()
        assert retrying.stop.wait(20)
        raise Stopping

    run.process.part = part  # type: ignore[assignment,method-assign]
    run.thread.start()
    run.process.building.wait(10)
    run.worker.standing.ask_for(Target.PAUSED)
    is_put_down(run, State.PAUSED)
    run.worker.standing.ask_for(Target.STARTED)
    assert isinstance(run.end(), Asked)


def test_a_restart_drains_the_worker_first(run: Run) -> None:
    """It is no kill: nothing has to be repeated."""
    run.thread.start()
    until(lambda: run.process.inner.runs, "it works")
    run.worker.standing.ask_for_restart(None)
    assert isinstance(run.end(), Asked)
    assert run.process.inner.drained == 1


def test_a_worker_that_ends_by_itself_is_not_restarted(run: Run) -> None:
    """Nobody has asked for it."""
    run.process.inner.stop()
    run.thread.start()
    assert run.end() is None
