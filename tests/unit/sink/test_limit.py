"""Sinks that nearly everything is refused by: nothing more is set aside, and they go on by themselves when the cause is gone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from salmon.backoff import Backoff
from salmon.errors import Unavailable
from salmon.model.change import Write, WriteOp
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.runtime.error_limit import Tolerance
from salmon.runtime.instance import Instance
from salmon.sink.platform_events.events import Carrier, EventSink
from salmon.sink.waiting.parking import GIVEN_UP
from salmon.sink.worker import SinkWorker
from support.at_hand.dead_letters import INSERTED
from support.at_hand.memory_sync import MemorySync, reading
from support.runtime import OBJECT, SCHEMA, Sink, applied, headers_of, running
from support.waiting import until

CONNECTOR = "mongodb-sink"
REFUSED = Outcome(OutcomeKind.REFUSED, code="RULE", reason="a rule says no")


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salmon.sink.worker.IDLE_POLL_S", 0.01)
    monkeypatch.setattr("salmon.sink.worker.POLL_S", 0.01)
    monkeypatch.setattr("salmon.sink.worker.MEASURE_EVERY_S", 0.05)
    monkeypatch.setattr("salmon.sink.platform_events.events.POLL_S", 0.01)


@pytest.fixture
def sync() -> MemorySync:
    return MemorySync()


def is_on(gauge: Any) -> bool:
    return reading(gauge) == 1


def instance(sync: MemorySync, tolerance: Tolerance) -> Instance:
    return replace(sync.instance(CONNECTOR), tolerance=tolerance)


def worker(of: Instance, sink: Sink) -> SinkWorker:
    return SinkWorker(of, sink, {OBJECT: SCHEMA}, [OBJECT])


def test_when_everything_is_refused_the_sink_stops_setting_aside_and_goes_on_when_the_cause_is_gone(
    sync: MemorySync,
) -> None:
    """The first few go to the dead letter queue; all others wait, are shown, and are written in the end."""
    sink = Sink(lambda _: REFUSED, batch_max=1)
    this = instance(sync, Tolerance(consecutive=3, retry_delay_max_s=0.01))
    for number in range(20):
        sync.write(f"k{number}", number + 1)
    it = worker(this, sink)
    with running(it) as (run,):
        until(lambda: reading(this.metrics.limit_stopped) == 1 and sink.tries > 10)
        assert len(sync.dead_letters(CONNECTOR)) == 3
        assert "records in a row" in this.health.report().message
        sink.answer = applied
        until(lambda: it.buffer.count == 0)
        until(lambda: reading(this.metrics.limit_stopped) == 0)
        run.stop()
    assert len(sync.dead_letters(CONNECTOR)) == 3
    assert len(sync.changes()) == 3, "merge hears of no other refusal"


def test_a_sink_that_restarts_sets_no_more_aside_than_one_that_runs(sync: MemorySync) -> None:
    """What was counted is stored with the dead letters."""
    tolerance = Tolerance(consecutive=3, retry_delay_max_s=0.01)
    for number in range(20):
        sync.write(f"k{number}", number + 1)
    for _ in range(2):
        this = instance(sync, tolerance)
        with running(worker(this, Sink(lambda _: REFUSED, batch_max=1))) as (run,):
            until(partial(is_on, this.metrics.limit_stopped))
            run.stop()
    assert len(sync.dead_letters(CONNECTOR)) == 3


def test_where_no_error_is_tolerated_the_first_refusal_waits(sync: MemorySync) -> None:
    """errors.tolerance: none. Nothing is set aside; the write is taken once its cause is gone."""
    sink = Sink(lambda _: REFUSED)
    this = instance(sync, Tolerance(tolerates=False, retry_delay_max_s=0.01))
    sync.write("a", 1)
    it = worker(this, sink)
    with running(it) as (run,):
        until(lambda: sink.tries > 2)
        sink.answer = applied
        until(lambda: it.buffer.count == 0)
        run.stop()
    assert sync.dead_letters(CONNECTOR) == []
    assert sync.changes() == []


def test_a_write_that_is_tried_for_too_long_is_set_aside_and_its_later_write_goes_on(
    sync: MemorySync,
) -> None:
    """errors.retry.timeout: only while other records are written, and only later writes of its own record wait."""

    def answer(record: SinkRecord) -> Outcome:
        locked = record.key == "locked" and record.write.seq == 1
        return Outcome(OutcomeKind.RETRY_LATER, code="LOCK", reason="locked.") if locked else applied(record)

    sink = Sink(answer)
    this = instance(sync, Tolerance(retry_timeout_s=0.05, retry_delay_max_s=0.01))
    it = worker(this, sink)
    with running(it) as (run,):
        sync.write("locked", 1)
        until(lambda: sink.seqs("locked"))
        seq = 1
        while not sync.dead_letters(CONNECTOR):
            seq += 1
            sync.write("other", seq)
        until(lambda: it.buffer.count == 0)
        sync.write("locked", 2)
        until(lambda: 2 in sink.seqs("locked"))
        run.stop()
    (letter,) = sync.dead_letters(CONNECTOR)
    assert headers_of(letter)["salmon.code"] == GIVEN_UP


def test_an_outage_counts_as_no_failure_and_fills_no_dead_letter_queue(sync: MemorySync) -> None:
    """However long it takes, with the lowest limits there are."""
    sink = Sink()
    sink.outage = Unavailable("away")
    this = instance(sync, Tolerance(tolerates=False, retry_timeout_s=0.0, retry_delay_max_s=0.01))
    sync.write("a", 1)
    with running(worker(this, sink)) as (run,):
        until(lambda: sink.tries > 3)
        assert reading(this.metrics.limit_stopped) == 0
        sink.outage = None
        until(lambda: sink.seqs("a"))
        run.stop()
    assert sync.dead_letters(CONNECTOR) == []


def test_events_that_are_all_refused_wait_in_their_order(sync: MemorySync) -> None:
    """The limit holds for them too, and nothing is lost or doubled when they are taken again."""
    topic = sync.topics.events(INSERTED)
    sync.broker.create(topic)
    sink = Sink(lambda _: REFUSED)

    def decode(message: object) -> SinkRecord:
        key = message.key().decode()  # type: ignore[attr-defined]
        return SinkRecord(INSERTED, key, Write(1, WriteOp.CREATE))

    this = instance(sync, Tolerance(consecutive=3))
    part = EventSink(
        this,
        INSERTED,
        topic,
        lambda: Carrier(sink, decode, "inserted"),
        backoff=Backoff(first_s=0.01, max_s=0.02),
    )
    for number in range(6):
        sync.produce(topic, f"e{number}", b"x")
    with running(part) as (run,):
        until(lambda: part._limit.stopped and sink.tries > 3)
        kept = len(sync.dead_letters(CONNECTOR))
        assert kept <= 3
        sink.answer = applied
        until(lambda: sum(sync.broker.committed(f"{sync.name}-{CONNECTOR}-{INSERTED}").values()) >= 6)
        run.stop()
    assert len(sync.dead_letters(CONNECTOR)) == kept
