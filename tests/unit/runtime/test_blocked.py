"""A stop while a task hangs: each method of its life made to block, one by one, on a broker in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest

from salmon.model.change import Change, Op
from salmon.plugin.contract import Signal, SignalKind, SourceBatch, SourceRecord
from salmon.runtime.lifecycle import Lifecycle, Part
from salmon.sink.worker import SinkWorker
from salmon.source.worker import SourceWorker
from support.at_hand.memory_sync import MemorySync, PromptSource
from support.runtime import OBJECT, SCHEMA, Sink, Source, running
from support.waiting import until

SOURCE, SINK = "mongodb-source", "mongodb-sink"
DEADLINE_S = 1.0
# Until the deadline, what is left of it for a part that ended before, and a busy machine.
ENDED_MAX_S = DEADLINE_S + 4.0


class Blocks:
    """Makes one method of a task block until the test is over."""

    def __init__(self) -> None:
        self.entered, self.over = Event(), Event()

    def method(self, task: Any, name: str) -> None:
        before: Callable[..., Any] | None = getattr(task, name, None)

        def blocked(*arguments: Any, **options: Any) -> Any:
            self.entered.set()
            self.over.wait(60)
            return None if before is None else before(*arguments, **options)

        setattr(task, name, blocked)


class Beside:
    """Another part of the process, started before the worker; like the REST server."""

    name = "rest"

    def __init__(self) -> None:
        self.told = Event()

    def run(self) -> None:
        self.told.wait(60)

    def stop(self) -> None:
        self.told.set()

    def cut(self) -> None:
        pass


@pytest.fixture
def blocks() -> Iterator[Blocks]:
    blocks = Blocks()
    yield blocks
    blocks.over.set()


@pytest.fixture
def sync(monkeypatch: pytest.MonkeyPatch) -> MemorySync:
    for name in ("IDLE_POLL_S", "POLL_S"):
        monkeypatch.setattr(f"salmon.sink.worker.{name}", 0.01)
    monkeypatch.setattr("salmon.sink.worker.JOIN_MAX_S", 0.1)
    return MemorySync(partitions=1)


def stopped(worker: Part, begun: Callable[[], object]) -> BaseException | None:
    """Start *worker* as a process does, stop it when it has *begun*, and return how it ended, in time."""
    life, beside = Lifecycle(drain_deadline_s=DEADLINE_S), Beside()
    life.start(beside)
    life.start(worker)
    until(begun, within_s=20)
    began = time.monotonic()
    life.stop("SIGTERM")
    error = life.wait()
    assert time.monotonic() - began < ENDED_MAX_S, "nobody waits longer than the deadline"
    assert beside.told.is_set(), "the other parts were stopped, too"
    return error


def batch(number: int) -> SourceBatch:
    change = Change("mongodb", Op.UPDATE, fields={"Name": f"n{number}"})
    return SourceBatch((SourceRecord(OBJECT, f"k{number}", change),), {"stream": {"at": number}})


def told(sync: MemorySync) -> list[object]:
    topic = sync.topics.changes(OBJECT)
    return [sync.changes_codec.decode(value or b"").fields.get("Name") for value in sync.values(topic)]


@pytest.mark.parametrize(
    "method", ["connect", "schemas", "start", "request", "poll", "progress", "waiting", "note"]
)
def test_a_source_whose_task_hangs_is_stopped_by_the_deadline_and_its_successor_goes_on(
    sync: MemorySync, blocks: Blocks, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late, and said so; what it had not committed is told by the next one, once."""
    monkeypatch.setattr("salmon.source.worker.MEASURE_EVERY_S", 0.0)
    task = Source()
    blocks.method(task, method)
    sync.signal(SOURCE, Signal(0, SignalKind.READ, OBJECT, keys=("k1",), reason="test"))
    error = stopped(SourceWorker(sync.instance(SOURCE), task, (OBJECT,)), blocks.entered.is_set)
    assert isinstance(error, TimeoutError)
    assert SOURCE in str(error)
    assert told(sync) == []

    successor = PromptSource()
    successor.offers.put(batch(1))
    with running(SourceWorker(sync.instance(SOURCE), successor, (OBJECT,))):
        until(lambda: told(sync) == ["n1"], within_s=20)
        until(lambda: successor.asked, "the signal is asked of the next one", within_s=20)


@pytest.mark.parametrize("method", ["stop", "close"])
def test_a_source_whose_task_hangs_while_it_ends_has_committed_what_it_told(
    sync: MemorySync, blocks: Blocks, method: str
) -> None:
    """It is in Kafka by then, with its position; only the end is late."""
    task = PromptSource()
    task.offers.put(batch(1))
    blocks.method(task, method)
    worker = SourceWorker(sync.instance(SOURCE), task, (OBJECT,))
    assert isinstance(stopped(worker, lambda: told(sync) == ["n1"]), TimeoutError)
    assert blocks.entered.is_set()
    assert sync.entries(SOURCE) == {"stream": {"at": 1}}


def test_a_sink_whose_put_hangs_ends_in_good_order_and_says_that_a_write_is_in_doubt(
    sync: MemorySync, blocks: Blocks
) -> None:
    """Nothing is known of it, so the next one puts it again, and looks first."""
    sync.write("a", 1, Name="x")
    task = Sink()
    blocks.method(task, "put")
    assert stopped(sink_worker(sync, task), blocks.entered.is_set) is None
    successor = Sink()
    with running(sink_worker(sync, successor)):
        until(lambda: successor.seqs("a") == [1], within_s=20)
        assert successor.clean is False


@pytest.mark.parametrize(("method", "written"), [("start", False), ("stop", True), ("close", True)])
def test_a_sink_whose_task_hangs_as_it_starts_or_ends_is_late_and_repeats_nothing_that_it_told(
    sync: MemorySync, blocks: Blocks, method: str, *, written: bool
) -> None:
    """What was written is committed before the task is asked to end."""
    sync.write("a", 1, Name="x")
    task = Sink()
    blocks.method(task, method)
    begun = (lambda: task.written) if written else blocks.entered.is_set
    error = stopped(sink_worker(sync, task), begun)
    assert isinstance(error, TimeoutError)
    assert SINK in str(error)
    successor = Sink()
    with running(sink_worker(sync, successor)):
        until(lambda: successor.clean is written, within_s=20)
        until(lambda: successor.seqs("a") == ([] if written else [1]), within_s=20)


def sink_worker(sync: MemorySync, task: Sink) -> SinkWorker:
    return SinkWorker(sync.instance(SINK), task, {OBJECT: SCHEMA}, [OBJECT])
