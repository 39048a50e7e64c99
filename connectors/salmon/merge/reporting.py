"""Reports a committed batch to the metrics and the log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

import structlog

from salmon.merge.batch import Batch
from salmon.model.fold import Fact
from salmon.ops.metrics import Metrics

log = structlog.get_logger(__name__)

_EVENTS: Final[Mapping[Fact, str]] = {
    Fact.OSCILLATING: "fields_oscillate",
    Fact.MISFIT: "fields_hold_misfits",
    Fact.RESTORED: "fields_given_back",
}


def report_batch(metrics: Metrics, batch: Batch, read: int, refused: int) -> None:
    """
    Count the changes of a batch by their results, and log conflicts, parked fields, and what a side that was restored to an earlier
    time gets back.

    Args:
        read: How many changes the batch has.
        refused: How many of them were set aside.
    """
    now_s = time.time()
    metrics.records_read.inc(read)
    facts = Counter((name, report.side, report.fact) for name, report in batch.reports)
    for (name, side, fact), count in facts.items():
        metrics.change_folded(name, side, fact.value.lower(), count)
    for name, report in batch.reports:
        if report.fact is Fact.ACKNOWLEDGED and report.committed_at:
            metrics.echo_seen(name, f"to_{report.side}", report.committed_at, now_s)
    for (name, side, why, waits), count in batch.parkings.items():
        metrics.fields_parked(name, side, why, count, waits=waits)
    for name, conflict in batch.conflicts:
        if conflict.fault:
            log.warning("policy_failed", object=name, policy=conflict.policy, fault=conflict.fault)
        metrics.conflict_met(name, conflict.winner.side if conflict.winner else None)
        log.info(
            "conflict_decided",
            object=name,
            key=conflict.contest.key,
            field=conflict.contest.field,
            policy=conflict.policy,
            winner=conflict.winner.side if conflict.winner else None,
        )
    for name, key, report in batch.named:
        log.warning(
            _EVENTS.get(report.fact, "fields_parked"),
            object=name,
            key=key,
            side=report.side,
            fields=report.fields,
        )
    metrics.records_set_aside(refused)
