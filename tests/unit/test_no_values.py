"""
Nothing that an operator reads has a record's value, whatever befalls the record: log lines (debug ones too), metrics and health.

Here the workers meet planted values in memory; tests/support/leaks.py searches what the real processes write.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from salmon.harmless import harmless_traceback
from salmon.kafka.codecs.serdes import Writes
from salmon.model.change import Change, Op, Write, WriteOp
from salmon.plugin.contract import DeadLetter, Outcome, OutcomeKind, SinkRecord, SourceBatch, SourceRecord
from salmon.runtime.instance import Instance
from salmon.sink.worker import SinkWorker
from salmon.source.worker import SourceWorker
from support.at_hand.memory_sync import MemorySync, PromptSource
from support.runtime import OBJECT, SCHEMA, Sink, running
from support.waiting import until

PLANTED = "Ada Lovelace, ada@acme.example"


@pytest.fixture(autouse=True)
def everything_is_said() -> Iterator[None]:
    """Debug lines, too."""
    salmon = logging.getLogger("salmon")
    before = salmon.level
    salmon.setLevel(logging.DEBUG)
    yield
    salmon.setLevel(before)


def said(instance: Instance, lines: list[Any]) -> str:
    """All that an operator can read of a process; lines as they are before anything is redacted."""
    for line in lines:
        if (error := line.get("exc_info")) is not None:
            line["exc_info"] = harmless_traceback(error)
    return f"{lines}{instance.metrics.exposition().decode()}{instance.health.report()}"


def planted(sync: MemorySync, key: str, seq: int) -> None:
    """A write with a planted value."""
    codec = Writes(SCHEMA, sync.registry, sync.writes())
    sync.produce(sync.writes(), key, codec.encode(Write(seq, WriteOp.UPDATE, fields={"Name": PLANTED})))


def test_a_sink_says_nothing_of_what_it_writes() -> None:
    """Written, refused, tried again, deferred, and in bytes that are no write at all."""
    kinds = {
        "applied": OutcomeKind.APPLIED,
        "refused": OutcomeKind.REFUSED,
        "later": OutcomeKind.RETRY_LATER,
        "deferred": OutcomeKind.DEFERRED,
        "gone": OutcomeKind.GONE,
    }

    def answer(record: SinkRecord) -> Outcome:
        kind = kinds[record.key]
        if kind is OutcomeKind.RETRY_LATER:
            kinds[record.key] = OutcomeKind.APPLIED
        return Outcome(
            kind, code="STRING_TOO_LONG", fields=frozenset({"Name"}), reason="it is too long", said=PLANTED
        )

    sync, sink = MemorySync(partitions=1), Sink(answer)
    instance = sync.instance("mongodb-sink")
    with capture_logs() as lines, running(SinkWorker(instance, sink, {OBJECT: SCHEMA}, [OBJECT])) as (run,):
        for seq, key in enumerate(kinds, start=1):
            planted(sync, key, seq)
        sync.produce(sync.writes(), "foreign", PLANTED.encode())
        until(lambda: len(sink.written) >= len(kinds) + 1)
        until(lambda: sync.values(sync.topics.dlq("mongodb-sink")))
        run.stop()
    events = {line["event"] for line in lines}
    assert {
        "write_finished",
        "write_not_applied",
        "write_repeated_later",
        "foreign_record_passed_over",
    } <= events
    assert PLANTED not in said(instance, lines)


def test_a_source_says_nothing_of_what_it_reports() -> None:
    """Reported, of the wrong type, refused by Kafka, and set aside by the side's reader."""
    sync, source = MemorySync(partitions=1), PromptSource()
    changes = sync.topics.changes(OBJECT)
    sync.broker.refuses = lambda topic, key, _: topic == changes and b"refused" in (key or b"")
    instance = sync.instance("mongodb-source")

    def edit(key: str, value: Any) -> SourceRecord:
        return SourceRecord(OBJECT, key, Change("mongodb", Op.UPDATE, fields={"Name": value}))

    letter = DeadLetter(OBJECT, "aside", PLANTED.encode(), ValueError(PLANTED))
    records = (edit("good", PLANTED), edit("odd", {"deep": PLANTED}), edit("refused", PLANTED))
    source.offers.put(SourceBatch(records, {"stream": {"at": 1}}, dead_letters=(letter,)))
    sync.produce(sync.topics.signals("mongodb-source"), OBJECT, PLANTED.encode())
    with capture_logs() as lines, running(SourceWorker(instance, source, (OBJECT,))) as (run,):
        until(lambda: [line for line in lines if line["event"] == "records_set_aside"])
        run.stop()
    assert {"change_reported", "record_refused_by_kafka"} <= {line["event"] for line in lines}
    assert PLANTED not in said(instance, lines)


def test_an_error_that_nobody_expected_ends_a_process_without_its_value() -> None:
    """It is in the log with the place where it came from, and in health as the reason."""
    sync = MemorySync(partitions=1)
    instance = sync.instance("mongodb-sink")
    error = KeyError(PLANTED)
    with capture_logs() as lines:
        instance.health.ended(error)
        lines.append({"event": "ended_unexpectedly", "exc_info": error, "log_level": "error"})
    assert PLANTED not in said(instance, lines)
    assert "KeyError" in (instance.health.report().trace or "")
