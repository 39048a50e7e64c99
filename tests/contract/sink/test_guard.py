"""A sink that does not believe a mass delete, on real brokers and on the fake one: held back, told, approved, superseded, remembered."""

from __future__ import annotations

import time

import pytest

from salmon.config.sections.deletions import DeleteGuardConfig
from salmon.model.change import WriteOp
from salmon.plugin.contract import Signal, SignalKind
from salmon.sink import partitions
from salmon.sink.worker import SinkWorker
from support.broker_fixtures import ON_EVERY_BROKER
from support.runtime import OBJECT, SCHEMA, Sink, Sync, running
from support.waiting import until

CONNECTOR = "mongodb-sink"
pytestmark = ON_EVERY_BROKER
LIMITS = DeleteGuardConfig(deletes_max=4, share_floor=4)


def worker(sync: Sync, sink: Sink) -> SinkWorker:
    return SinkWorker(sync.instance(CONNECTOR), sink, {OBJECT: SCHEMA}, [OBJECT], guards={OBJECT: LIMITS})


def mass_delete(sync: Sync, count: int = 10) -> None:
    """More deletes than are believed, of one moment."""
    now_ms = round(time.time() * 1000)
    for number in range(count):
        sync.delete(f"k{number}", number + 1, committed_at=now_ms)


def deleted(sink: Sink) -> set[str]:
    return {each.key for each in sink.written if each.write.op is WriteOp.DELETE}


def held(sync: Sync) -> int:
    """How many deletes wait, as the sink has kept it."""
    entries = sync.entries(CONNECTOR)
    return sum(at["held"] for name, at in entries.items() if name.startswith("guard/") and at["paused"])


def ends(sync: Sync) -> list[int]:
    """Of each partition of `writes`."""
    until = [0, 0]
    for message in sync.records(sync.topics.writes("mongodb", OBJECT)):
        number, offset = message.partition(), message.offset()
        assert number is not None
        assert offset is not None
        until[number] = max(until[number], offset + 1)
    return until


def approve(sync: Sync, until: list[int] | None = None) -> None:
    """What `salmon guard approve` sends."""
    signal = Signal(0, SignalKind.APPROVE, OBJECT, reason="by a test", until=tuple(until or ends(sync)))
    sync.signal(CONNECTOR, signal)


def test_a_mass_delete_is_held_back_told_and_carried_out_when_it_is_approved(sync: Sync) -> None:
    """Other writes go on; health names the mend; an approval lets exactly what waits go."""
    sink = Sink()
    instance = sync.instance(CONNECTOR)
    it = SinkWorker(instance, sink, {OBJECT: SCHEMA}, [OBJECT], guards={OBJECT: LIMITS})
    mass_delete(sync)
    with running(it) as (run,):
        until(lambda: held(sync) == 10 - len(deleted(sink)))
        assert len(deleted(sink)) <= 4
        sync.write("other", 50)
        until(lambda: sink.seqs("other") == [50], "only deletes wait")
        assert "salmon guard approve" in instance.health.report().message
        assert instance.health.report().ready, "nothing is wrong with the process"
        assert b"salmon_guard_trips_total" in instance.metrics.exposition()
        approve(sync)
        until(lambda: len(deleted(sink)) == 10)
        until(lambda: held(sync) == 0)
        run.stop()


def test_a_restart_lets_nothing_more_through(sync: Sync) -> None:
    """A sink that is started again knows what it has deleted, and what waits; and that it was not done."""
    first, second = Sink(), Sink()
    mass_delete(sync)
    with running(worker(sync, first)) as (run,):
        until(lambda: held(sync) >= 6)
        run.stop()
    with running(worker(sync, second)) as (run,):
        until(second.caught_up_seen.is_set)
        sync.delete("late", 60, committed_at=round(time.time() * 1000) + 3_600_000)
        until(lambda: run.worker.buffer.held() and held(sync) >= 7)
        run.stop()
    assert second.clean is False, "what was carried out behind a held delete is to be looked at"
    assert "late" not in deleted(second)
    assert len(deleted(first) | deleted(second)) <= 4


def test_a_held_delete_is_superseded_by_a_newer_command_and_then_the_pause_is_over(sync: Sync) -> None:
    """Discarded: each record lives again, and what is deleted later is counted as ever."""
    sink = Sink()
    mass_delete(sync)
    with running(worker(sync, sink)) as (run,):
        until(lambda: held(sync) >= 6)
        for number in range(10):
            sync.write(f"k{number}", 100 + number)
        until(lambda: all(100 + number in sink.seqs(f"k{number}") for number in range(10)))
        until(lambda: held(sync) == 0)
        before = len(deleted(sink))
        sync.delete("k0", 200, committed_at=1_000)
        until(lambda: len(deleted(sink)) > before or 200 in sink.seqs("k0"))
        run.stop()


def test_more_than_memory_is_for_can_be_discarded_too(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    """What supersedes the held deletes stands behind what is not read: the sink finds out anew what is owed."""
    monkeypatch.setattr(partitions, "HELD_MAX", 3)
    monkeypatch.setattr(partitions, "LOOK_AGAIN_S", 0.5)
    sink = Sink()
    with running(worker(sync, sink)) as (run,):
        mass_delete(sync)
        until(lambda: run.worker.buffer.held_count >= 3)
        for number in range(10):
            sync.write(f"k{number}", 100 + number)
        until(lambda: all(100 + number in sink.seqs(f"k{number}") for number in range(10)))
        until(lambda: held(sync) == 0)
        run.stop()
    assert len(deleted(sink)) <= 4


def test_what_came_after_an_approval_is_judged_anew(sync: Sync) -> None:
    """Four more are everyday work again; they do not wait for an approval of their own."""
    sink = Sink()
    mass_delete(sync)
    with running(worker(sync, sink)) as (run,):
        until(lambda: held(sync) >= 6)
        shown = ends(sync)
        for number in range(4):
            sync.delete(f"later{number}", 50 + number, committed_at=round(time.time() * 1000))
        until(lambda: held(sync) >= 10)
        approve(sync, shown)
        until(lambda: len(deleted(sink)) == 14)
        run.stop()


def test_an_approval_from_before_the_start_is_heard(sync: Sync) -> None:
    """The sink was down when somebody decided."""
    sink = Sink()
    mass_delete(sync)
    approve(sync)
    with running(worker(sync, sink)) as (run,):
        until(lambda: len(deleted(sink)) == 10)
        run.stop()
