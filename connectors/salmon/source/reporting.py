"""Reports a committed batch to the metrics and the log."""

from __future__ import annotations

import time

import structlog

from salmon.model.change import CUT
from salmon.ops import trail
from salmon.ops.metrics import Metrics
from salmon.plugin.contract import SourceRecord
from salmon.source.batches import Encoded

log = structlog.get_logger(__name__)


def report_batch(metrics: Metrics, encoded: Encoded) -> None:
    """Count what was committed, and log its dead letters and, if somebody follows it, each change."""
    now_s, is_followed = time.time(), trail.followed()
    for record in encoded.written:
        change = record.change
        if is_followed:
            _follow(record)
        # A row's time is that of the record's last edit, perhaps years ago. That is not our lag.
        committed_at = change.committed_at if change.is_event else 0
        metrics.change_written(record.object, change.op, change.origin, committed_at, now_s)
        if CUT in change.source:
            metrics.values_cut(record.object, change.source[CUT].count(",") + 1)
    for event in encoded.events.values():
        metrics.event_passed(event.event, "read", event.published_at, now_s)
    metrics.records_written.inc(len(encoded.written) + len(encoded.events))
    metrics.transaction_written(len(encoded.outputs))
    metrics.records_polled_active.set(0)
    if encoded.dead_letters:
        log.warning("records_set_aside", count=encoded.dead_letters)
        metrics.records_set_aside(encoded.dead_letters)


def _follow(record: SourceRecord) -> None:
    change = record.change
    trail.went(
        trail.Step.REPORTED,
        correlation=change.source.get("correlation", ""),
        object=record.object,
        key=record.key,
        edited_at_ms=change.committed_at if change.is_event else 0,
        op=change.op,
        answers=change.ack,
    )
