"""Parts that run beside a worker: they start with it, end with it, and end it if they fail."""

from __future__ import annotations

from threading import Event

import pytest

from salmon.app.events import Together
from salmon.errors import SchemaOutdated
from support.runtime import running
from support.waiting import until


class Piece:
    """A part that runs until it is stopped, or fails as the test says."""

    name = "piece"

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.began, self.ended, self.was_cut = error, Event(), Event(), False

    def run(self) -> None:
        self.began.set()
        if self.error is not None:
            raise self.error
        self.ended.wait()

    def stop(self) -> None:
        self.ended.set()

    def cut(self) -> None:
        self.was_cut = True


class Stuck(Piece):
    """A part that waits for a server that does not answer."""

    def stop(self) -> None:
        pass


def test_all_end_when_the_worker_is_stopped() -> None:
    """The worker's name is that of the whole."""
    worker, beside = Piece(), Piece()
    whole = Together(worker, [beside])
    with running(whole) as (run,):
        until(lambda: worker.began.is_set() and beside.began.is_set())
        run.stop()
    assert beside.ended.is_set()
    assert whole.name == worker.name


def test_a_part_that_fails_ends_the_worker_and_its_error_is_that_of_the_whole() -> None:
    """So a schema that is newer than ours restarts the process."""
    worker = Piece()
    with pytest.raises(SchemaOutdated):
        Together(worker, [Piece(SchemaOutdated("newer"))]).run()
    assert worker.ended.is_set()


def test_a_part_that_does_not_end_is_left_behind_at_the_deadline() -> None:
    """It is a daemon, and what it has not committed is repeated."""
    worker, stuck = Piece(), Stuck()
    whole = Together(worker, [stuck])
    with running(whole) as (run,):
        until(stuck.began.is_set)
        whole.stop()
        whole.cut()
        run.join()
    stuck.ended.set()
    assert stuck.was_cut
