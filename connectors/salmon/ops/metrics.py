"""
All metrics of a process, declared once: here, in connect_metrics (a task's, as Kafka Connect has them) and in collectors (made at the scrape).

If Kafka Connect has a metric, its name is used (`kafka_connect_<group>_<attribute>`, as its Prometheus exporter writes it).
Other names are `salmon_*`, with the unit in the name. Labels come from closed sets: connectors, objects, sides, kinds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from prometheus_client import (
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from salmon.calls import Peer, Silence
from salmon.kafka.foreign import FOREIGN
from salmon.ops.collectors import HealthMetrics, OldestWrites, PositionAges, StreamAge
from salmon.ops.connect_metrics import CALL_BUCKETS_S, TASK, ConnectMetrics
from salmon.ops.health import HealthReport
from salmon.ops.rates import Timed
from salmon.plugin.contract import BudgetState, SharedBudget, SnapshotProgress
from salmon.plugin.failures import FAILURES

__all__ = ["TASK", "Metrics"]

# From one fast transaction (5 ms) to an hour of backlog.
_LAG_BUCKETS_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600,
)  # fmt: skip


_OF_BUDGETS: Final[Sequence[tuple[str, str, Callable[[BudgetState], float | None]]]] = (
    (
        "allowed",
        "What the side allows everybody in 24 hours (API calls, event deliveries).",
        lambda b: b.allowed,
    ),
    ("used", "What everybody has used of it in the last 24 hours.", lambda b: b.used),
    ("ours", "What this sync has used of it in the last 24 hours.", lambda b: b.ours),
    ("left", "What this sync may still use now, by its configured share and floor.", lambda b: b.left),
    (
        "level",
        "0: nothing waits for it; 1 to 3: more and more of what can wait; 4: all does.",
        lambda b: b.level,
    ),
    (
        "exhausted_in_seconds",
        "When nothing is left, at the pace of the last hour. Absent while that is not in sight.",
        lambda b: b.exhausted_in_s,
    ),
)


class Metrics(ConnectMetrics):
    """
    The metrics of one connector's process, in their own registry.

    The labels `connector` and `task` are already set on all of Connect's metrics, and `connector` on Salmon's.
    """

    def __init__(self, connector: str) -> None:
        super().__init__(connector)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        # Our own.
        self.parked_writes = self._gauge(
            "salmon_parked_writes",
            "Writes that the side could not take yet while it takes others. Each holds up later writes of its own record alone.",
        ).labels(connector)
        self.parked_oldest_seconds = self._gauge(
            "salmon_parked_oldest_seconds", "For how long the oldest of these writes has been tried."
        ).labels(connector)
        self.limit_stopped = self._gauge(
            "salmon_error_limit_stopped",
            "1 while so many records fail that none is set aside (errors.limit), otherwise 0.",
        ).labels(connector)
        self._changes = self._counter(
            "salmon_changes", "Changes written to `changes`, by kind.", "object", "op"
        )
        self._outcomes = self._counter("salmon_writes", "Writes, by outcome.", "object", "outcome")
        self._source_lag = self._histogram(
            "salmon_source_lag_seconds",
            "From a change's commit on its side to its commit in Kafka.",
            "object",
            "side",
        )
        self._write_lag = self._histogram(
            "salmon_write_lag_seconds",
            "From the commit of the change that caused a write, on its own side, to the other side's confirmation.",
            "object",
            "direction",
        )
        self._end_to_end_lag = self._histogram(
            "salmon_end_to_end_lag_seconds",
            "From a change's commit on its side to the echo of the write on the other, as merge sees it.",
            "object",
            "direction",
        )
        self._events = self._counter(
            "salmon_events",
            "Platform events: read from the org or an outbox, inserted, published, told (the outcome is in the outbox's document), skipped (already there) or set "
            "aside.",
            "event",
            "step",
        )
        self._event_lag = self._histogram(
            "salmon_event_lag_seconds",
            "From an event's publication, or the change that it is published for, to this step.",
            "event",
            "step",
        )
        self._cut = self._counter(
            "salmon_cut_values",
            "Values in documents of which only a part is synced: a time of day in a date field is left out.",
            "object",
        )
        self._facts = self._counter(
            "salmon_folded",
            "Changes by what the fold decided, and by the side that reported them.",
            "object",
            "side",
            "fact",
        )
        self._conflicts = self._counter(
            "salmon_conflicts",
            "Conflicts (edits that did not know of each other), by the side that won.",
            "object",
            "winner",
        )
        self._parked = self._counter(
            "salmon_parked_fields",
            "Fields that are not sent to a side for now: refused, deferred (a parent is missing), held (a conflict), "
            "oscillating, or misfit (its value cannot be synced).",
            "object",
            "side",
            "why",
        )
        self._freed = self._counter(
            "salmon_freed_fields",
            "Fields that were parked and are synced again: edited, decided, or the parent exists now.",
            "object",
            "side",
            "why",
        )
        self._guard_held = self._gauge(
            "salmon_guard_held_deletes",
            "Deletes that wait for a decision: see `salmon guard list`.",
            "object",
        )
        self._guard_trips = self._counter(
            "salmon_guard_trips", "How often an object's deletes passed the guard's limit.", "object"
        )
        self._snapshot_read = self._gauge(
            "salmon_snapshot_read_records", "Records that the snapshot has read.", "object"
        )
        self._snapshot_total = self._gauge(
            "salmon_snapshot_total_records", "The side's own estimate of how many there are.", "object"
        )
        self._snapshot_left = self._gauge(
            "salmon_snapshot_left_seconds",
            "How long the rest of the snapshot takes at its pace so far.",
            "object",
        )
        self._snapshot_by_bulk = self._gauge(
            "salmon_snapshot_by_bulk",
            "1 where the object is read by Bulk API 2.0, and not by REST.",
            "object",
        )
        self._poll_age = self._gauge(
            "salmon_poll_age_seconds",
            "Of a polled object: how long ago the reading began that has shown all its changes up to then.",
            "object",
        )
        self._snapshot_done = self._gauge(
            "salmon_snapshot_done", "1 when the snapshot of the object is complete.", "object"
        )
        self.verify_ended = self._gauge(
            "salmon_verify_last_run_timestamp_seconds",
            "When the last scheduled verify ended with a result, in seconds since 1970.",
        ).labels(connector)
        self.verify_seconds = self._gauge(
            "salmon_verify_last_run_duration_seconds", "How long the last scheduled verify took."
        ).labels(connector)
        self.verify_failures = self._counter(
            "salmon_verify_failures", "Scheduled verifies that ended without a result."
        ).labels(connector)
        self._verified = self._gauge(
            "salmon_verify_records", "Records, by what the last scheduled verify found.", "object", "verdict"
        )
        self.leads = self._gauge("salmon_leads", "1 while this instance does the connector's work.").labels(
            connector
        )
        self.rejoins = self._counter(
            "salmon_group_rejoins",
            "How often this instance has joined its consumer group again, because the group had given its partitions to nobody.",
        ).labels(connector)
        self.waits = self._gauge(
            "salmon_deferred_records", "Records with fields that wait for a parent."
        ).labels(connector)
        self.outage = self._gauge("salmon_outage", "1 while the connector's side cannot be reached.").labels(
            connector
        )
        self._certificate_ends = self._gauge(
            "salmon_rest_certificate_end_timestamp_seconds",
            "When the certificate of the REST port ends, in seconds since 1970. Absent without rest.tls.",
        )
        self.put_seconds = Timed(
            self._timing("salmon_put_seconds", "How long one batch of writes took."), self.recent_puts
        )
        self._count(
            "salmon_foreign_records",
            "Records in our topics that another program wrote. They were skipped; the log says where they are.",
            "topic",
            FOREIGN.counts,
        )
        self._count(
            "salmon_plugin_failures",
            "Values and records for which a transform or predicate of an installed package has failed; the log names the error.",
            "plugin",
            FAILURES.counts,
        )

    # What happens, in one call each.

    def change_written(self, obj: str, op: str, side: str, committed_at_ms: int, now_s: float) -> None:
        """One change is committed in Kafka. *committed_at_ms* 0: the side did not report when it was made."""
        self._changes.labels(self.connector, obj, op).inc()
        if committed_at_ms:
            self._source_lag.labels(self.connector, obj, side).observe(_lag_s(committed_at_ms, now_s))

    def event_passed(self, event: str, step: str, since_ms: int, now_s: float) -> None:
        """A platform event got as far as *step*. *since_ms*: when it, or what it is published for, came to be; 0: unknown."""
        self._events.labels(self.connector, event, step).inc()
        if since_ms:
            self._event_lag.labels(self.connector, event, step).observe(_lag_s(since_ms, now_s))

    def values_cut(self, obj: str, count: int) -> None:
        """A part of *count* values was left out."""
        self._cut.labels(self.connector, obj).inc(count)

    def write_finished(
        self, obj: str, outcome: str, direction: str, committed_at_ms: int, now_s: float
    ) -> None:
        """One write has its outcome; *outcome* in small letters."""
        self._outcomes.labels(self.connector, obj, outcome).inc()
        if committed_at_ms and outcome == "applied":
            self._write_lag.labels(self.connector, obj, direction).observe(_lag_s(committed_at_ms, now_s))

    def echo_seen(self, obj: str, direction: str, committed_at_ms: int, now_s: float) -> None:
        """The echo of a write arrived. *committed_at_ms*: of the change that caused the write."""
        self._end_to_end_lag.labels(self.connector, obj, direction).observe(_lag_s(committed_at_ms, now_s))

    def change_folded(self, obj: str, side: str, fact: str, count: int = 1) -> None:
        """The fold reports *fact*, in small letters, of *count* changes of *side*."""
        self._facts.labels(self.connector, obj, side, fact).inc(count)

    def conflict_met(self, obj: str, winner: str | None) -> None:
        self._conflicts.labels(self.connector, obj, winner or "held").inc()

    def fields_parked(self, obj: str, side: str, why: str, count: int, *, waits: bool) -> None:
        """*count* fields began to wait on *side*, or no longer wait; *why* in small letters."""
        (self._parked if waits else self._freed).labels(self.connector, obj, side, why).inc(count)

    def guard_tripped(self, obj: str) -> None:
        """An object's deletes exceeded the limit."""
        self._guard_trips.labels(self.connector, obj).inc()

    def guard_holds(self, obj: str, deletes: int) -> None:
        """*deletes* deletes of the object wait for a decision."""
        self._guard_held.labels(self.connector, obj).set(deletes)

    def snapshots(self, progress: Iterable[SnapshotProgress]) -> None:
        """How far the snapshots have come."""
        for each in progress:
            self._snapshot_read.labels(self.connector, each.object).set(each.read)
            if each.total is not None:
                self._snapshot_total.labels(self.connector, each.object).set(each.total)
            self._snapshot_done.labels(self.connector, each.object).set(each.done)
            self._snapshot_by_bulk.labels(self.connector, each.object).set(each.by_bulk)
            if each.polled_s is not None:
                self._poll_age.labels(self.connector, each.object).set(each.polled_s)
            if each.left_s is not None:
                self._snapshot_left.labels(self.connector, each.object).set(each.left_s)

    def verified(self, obj: str, counts: Mapping[str, int]) -> None:
        """What a scheduled verify has found: verdict (equal, different, missing, ...) -> records."""
        for verdict, count in counts.items():
            self._verified.labels(self.connector, obj, verdict).set(count)

    def certificate_ends(self, at_s: float) -> None:
        """The REST port shows a certificate that ends at *at_s*, in seconds since 1970."""
        self._certificate_ends.labels(self.connector).set(at_s)

    def error_met(self) -> None:
        self.last_error_timestamp.set(time.time() * 1000)

    def count_api_calls(self, calls: Callable[[], Mapping[str, int]]) -> None:
        """Show what *calls* returns at each scrape: calls to the side so far, by resource."""
        self._count("salmon_api_calls", "Calls to the connector's side, by resource.", "resource", calls)

    def count_former_paths(self, writes: Callable[[], Mapping[str, int]]) -> None:
        """Show what *writes* returns at each scrape: fields written at their former paths so far, by object."""
        self._count(
            "salmon_former_path_writes",
            "Fields that applications have written at the path from before `fields.rename`, where they are not synced.",
            "object",
            writes,
        )

    def show_budgets(self, budgets: Callable[[], Iterable[SharedBudget]]) -> None:
        """Show what *budgets* returns at each scrape."""
        self.registry.register(_Budgets(self.connector, budgets))

    def watch_peers(self, silences: Callable[[], Iterable[Silence]]) -> None:
        """Show what *silences* returns at each scrape."""
        self.registry.register(_Silences(self.connector, silences))

    def watch_health(self, kind: str, report: Callable[[], HealthReport]) -> None:
        """Show what *report* returns at each scrape. *kind*: source, sink or unknown, as Kafka Connect says."""
        self.registry.register(HealthMetrics(self.connector, kind, report))

    def watch_positions(self, ages: Callable[[], Sequence[StreamAge]]) -> None:
        """Show how old a source's positions are at each scrape."""
        self.registry.register(PositionAges(self.connector, ages))

    def watch_writes(self, since_ms: Callable[[], Mapping[str, int]]) -> None:
        """Show at each scrape how old each object's oldest write is. *since_ms*: in ms since 1970; 0: none."""
        self.registry.register(OldestWrites(self.connector, since_ms, time.time))

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)

    def _counter(self, name: str, sentence: str, *labels: str) -> Counter:
        return Counter(name, sentence, ("connector", *labels), registry=self.registry)

    def _count(self, name: str, sentence: str, label: str, counts: Callable[[], Mapping[str, int]]) -> None:
        self.registry.register(_Counts(self.connector, name, sentence, label, counts))

    def _gauge(self, name: str, sentence: str, *labels: str) -> Gauge:
        return Gauge(name, sentence, ("connector", *labels), registry=self.registry)

    def _timing(self, name: str, sentence: str) -> Histogram:
        made = Histogram(name, sentence, ("connector",), buckets=CALL_BUCKETS_S, registry=self.registry)
        return made.labels(self.connector)

    def _histogram(self, name: str, sentence: str, *labels: str) -> Histogram:
        return Histogram(
            name, sentence, ("connector", *labels), buckets=_LAG_BUCKETS_S, registry=self.registry
        )


class _Counts(Collector):
    """What somebody else counts, by one label; it is asked at each scrape."""

    def __init__(
        self, connector: str, name: str, sentence: str, label: str, counts: Callable[[], Mapping[str, int]]
    ) -> None:
        self._connector, self._name, self._sentence = connector, name, sentence
        self._label, self._counts = label, counts

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._sentence, labels=("connector", self._label))
        for value, count in sorted(self._counts().items()):
            family.add_metric((self._connector, value), count)
        yield family


class _Budgets(Collector):
    def __init__(self, connector: str, budgets: Callable[[], Iterable[SharedBudget]]) -> None:
        self._connector, self._budgets = connector, budgets

    def collect(self) -> Iterable[GaugeMetricFamily]:
        states = [state for each in self._budgets() for state in each.states()]
        for name, sentence, value in _OF_BUDGETS:
            family = GaugeMetricFamily(f"salmon_budget_{name}", sentence, labels=("connector", "budget"))
            for each in states:
                if (shown := value(each)) is not None:
                    family.add_metric((self._connector, each.name), shown)
            yield family


class _Silences(Collector):
    def __init__(self, connector: str, silences: Callable[[], Iterable[Silence]]) -> None:
        self._connector = connector
        self._silences = silences

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "salmon_peer_silent_seconds",
            "How long a server has not answered this process, if longer than 25 s; otherwise 0.",
            labels=("connector", "peer"),
        )
        silent_s = {each.peer: each.since_s for each in self._silences()}
        for peer in Peer:
            family.add_metric((self._connector, peer), silent_s.get(peer, 0.0))
        yield family


def _lag_s(committed_at_ms: int, now_s: float) -> float:
    return max(
        0.0, now_s - committed_at_ms / 1000
    )  # The clocks of two machines differ: a negative lag counts as 0.
