"""The trail of an edit: who asks gets one line for each step, and spans if they are collected."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from salmon.app.tracing import collect_spans
from salmon.ops import trail
from salmon.ops.trail import Step


class Collected:
    """A collector that remembers."""

    def __init__(self) -> None:
        self.steps: list[tuple[Step, str]] = []

    def add(self, step: Step, *, correlation: str, **_: Any) -> None:
        self.steps.append((step, correlation))


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    trail.collect(None)
    logging.getLogger("salmon.ops.trail").setLevel(logging.NOTSET)


def test_the_trail_is_followed_once_its_level_is_debug_or_spans_are_collected() -> None:
    """The level may be set while the process runs, for the trail alone."""
    logging.getLogger("salmon.ops.trail").setLevel(logging.INFO)
    assert not trail.followed()
    logging.getLogger("salmon.ops.trail").setLevel(logging.DEBUG)
    assert trail.followed()
    logging.getLogger("salmon.ops.trail").setLevel(logging.INFO)
    trail.collect(Collected())
    assert trail.followed()


def test_a_step_is_one_line_with_its_correlation_and_how_long_ago_the_edit_was() -> None:
    """Facts are fields; an edit whose time is unknown has no age."""
    with capture_logs() as lines:
        trail.went(Step.REPORTED, correlation="mongodb-5-1", object="Account", key="001A", op="UPDATE")
        trail.went(Step.FINISHED, correlation="", object="Account", key="001A", edited_at_ms=1)
    assert lines[0] == {
        "event": "change_reported",
        "log_level": "debug",
        "correlation": "mongodb-5-1",
        "object": "Account",
        "key": "001A",
        "op": "UPDATE",
    }
    assert lines[1]["correlation"] is None
    assert lines[1]["after_s"] > 1_000_000


def test_a_row_has_no_span() -> None:
    """Its write is named after its place in `changes`, which the source does not know."""
    collected = Collected()
    trail.collect(collected)
    trail.went(Step.REPORTED, correlation="", object="Account", key="001A")
    trail.went(Step.REPORTED, correlation="mongodb-5-1", object="Account", key="001A")
    assert collected.steps == [(Step.REPORTED, "mongodb-5-1")]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_no_span_is_collected_unless_a_receiver_is_named(environment: dict[str, str]) -> None:
    """OpenTelemetry's own variables decide."""
    collect_spans("merge", environment)
    assert trail._Collected.by is None


def test_a_receiver_without_the_extra_is_a_line_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables may be meant for other programs of the cluster: the sync goes on, and says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "salmon.ops.spans", None)
    with capture_logs() as lines:
        collect_spans("merge", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"})
    assert trail._Collected.by is None
    assert lines[0]["event"] == "spans_not_collected"
    assert "salmon-connect[otel]" in lines[0]["mend"]
