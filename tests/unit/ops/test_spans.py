"""The steps of an edit as OpenTelemetry spans: one trace, however many processes make it."""

from __future__ import annotations

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from salmon.ops.spans import Spans
from salmon.ops.trail import Step

EDIT = {"correlation": "mongodb-5-1", "object": "Account", "key": "001A"}


class Process:
    """A process that collects spans."""

    def __init__(self, connector: str) -> None:
        self._exporter = InMemorySpanExporter()
        self.spans = Spans(connector, SimpleSpanProcessor(self._exporter))

    def went(self, step: Step, edit: dict[str, str] = EDIT, **facts: object) -> None:
        self.spans.add(step, began_ms=1_700_000_000_000, facts=dict(facts), **edit)

    @property
    def sent(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


def test_the_steps_of_an_edit_are_one_trace_across_processes() -> None:
    """The write and its echo are below the report, which another process has made."""
    source, sink = Process("mongodb-source"), Process("salesforce-sink")
    source.went(Step.REPORTED, op="UPDATE")
    sink.went(Step.FINISHED, outcome="APPLIED", seq=7)
    sink.went(Step.CAME_BACK, seq=7)
    (first,), (written, back) = source.sent, sink.sent
    assert first.parent is None
    for each in (written, back):
        assert each.context.trace_id == first.context.trace_id
        assert each.parent is not None
        assert each.parent.span_id == first.context.span_id
    assert len({each.context.span_id for each in (first, written, back)}) == 3
    assert first.start_time == 1_700_000_000_000 * 1_000_000
    assert written.attributes is not None
    assert written.attributes["salmon.outcome"] == "APPLIED"
    assert written.attributes["salmon.seq"] == "7"


def test_edits_of_two_records_in_one_transaction_are_two_traces() -> None:
    """They have one correlation, and each goes its own way."""
    source = Process("mongodb-source")
    source.went(Step.REPORTED)
    source.went(Step.REPORTED, {**EDIT, "key": "001B"})
    one, two = source.sent
    assert one.context.trace_id != two.context.trace_id


def test_a_ratio_keeps_a_trace_as_a_whole_or_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process decides by the trace's id, so all decide alike."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    source, sink = Process("mongodb-source"), Process("salesforce-sink")
    for number in range(40):
        edit = {**EDIT, "key": f"k{number}"}
        source.went(Step.REPORTED, edit)
        sink.went(Step.FINISHED, edit)
    kept = {each.context.trace_id for each in source.sent}
    assert 0 < len(kept) < 40
    assert {each.context.trace_id for each in sink.sent} == kept
