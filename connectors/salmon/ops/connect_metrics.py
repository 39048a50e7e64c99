"""
Kafka Connect's metrics of a task, under Connect's names: kafka_connect_<group>_<attribute>, as its Prometheus exporter writes them.

Its states, and what is Salmon's own, are in salmon.ops.collectors and salmon.ops.metrics.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from salmon.ops.rates import Level, Paced, Recent, Worked, extremes, mean, rate

TASK: Final = "0"  # One task per connector; Connect counts from 0.
CALL_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_REBALANCES: Final = "kafka_connect_connect_worker_rebalance_metrics_"
_CONNECTOR: Final = ("connector", "task")


class ConnectMetrics:
    """The labels `connector` and `task` are already set."""

    def __init__(self, connector: str) -> None:
        self.connector = connector
        self.registry = CollectorRegistry()

        # source tasks.
        self.records_polled = self._paced(
            "source_task_metrics_source_record_poll", "Records that the source task has returned."
        )
        self.records_written = self._paced(
            "source_task_metrics_source_record_write", "Records committed to Kafka in transactions."
        )
        self.records_polled_active = self._level(
            "source_task_metrics_source_record_active_count", "Records polled and not yet committed to Kafka."
        )
        # sink tasks.
        self.records_read = self._paced("sink_task_metrics_sink_record_read", "Records read from Kafka.")
        self.records_sent = self._paced(
            "sink_task_metrics_sink_record_send",
            "Records given to the sink task. Fewer than were read, because a newer record of a key replaces older ones.",
        )
        self.records_active = self._level(
            "sink_task_metrics_sink_record_active_count", "Records read and not yet finished."
        )
        self.record_lag_max = self._connect_gauge(
            "sink_task_metrics_sink_record_lag_max",
            "The largest distance to a partition's end, in records. The mark at a transaction's end counts as one.",
        )
        self.partition_count = self._connect_gauge(
            "sink_task_metrics_partition_count", "Partitions assigned to this task."
        )
        self.offset_commits = self._paced(
            "sink_task_metrics_offset_commit_completion", "Offset commits that Kafka confirmed."
        )
        self.offset_commits_skipped = self._paced(
            "sink_task_metrics_offset_commit_skip", "Offset commits that failed or came too late."
        )
        # errors. A counter's name must not end like these names, so they are gauges that only rise.
        self.record_failures = self._connect_gauge(
            "task_error_metrics_total_record_failures", "Failed tries to process a record."
        )
        self.record_errors = self._connect_gauge(
            "task_error_metrics_total_record_errors", "Records that failed for good."
        )
        self.records_skipped = self._connect_gauge(
            "task_error_metrics_total_records_skipped", "Records set aside."
        )
        self.retries = self._connect_gauge("task_error_metrics_total_retries", "Tries after a failure.")
        self.dead_letters = self._connect_gauge(
            "task_error_metrics_deadletterqueue_produce_requests", "Records written to the dead letter queue."
        )
        self.last_error_timestamp = self._connect_gauge(
            "task_error_metrics_last_error_timestamp", "When the last error occurred, in ms since 1970."
        )

        self.errors_logged = self._connect_gauge(
            "task_error_metrics_total_errors_logged", "Records that failed for good and are in the log."
        )
        self.dead_letter_failures = self._connect_gauge(
            "task_error_metrics_deadletterqueue_produce_failures",
            "Dead letters whose transaction failed. They are written with its repetition.",
        )
        self._commit_number = self._connect_gauge(
            "sink_task_metrics_offset_commit_seq_no", "The number of the last offset commit."
        )
        self._rebalances = self._worker_counter(
            "completed_rebalances", "How often partitions were given to this instance, or the lead."
        )
        self._rebalancing = self._worker_gauge(
            "rebalancing", "1 while this instance takes partitions over, or the lead."
        )
        self._rebalanced_at: float | None = None
        self.transaction_seconds = Histogram(
            "salmon_transaction_seconds",
            "How long one Kafka transaction took.",
            ("connector",),
            buckets=CALL_BUCKETS_S,
            registry=self.registry,
        ).labels(connector)
        self._show_recent()

    def _show_recent(self) -> None:
        """Register what is worked out at each scrape."""
        self.recent_puts, self._polls, self._batches, self._transactions = (Recent() for _ in range(4))
        self._commits, self._commits_well, self._takeovers = (Recent() for _ in range(3))
        source, sink, task = "source_task_metrics", "sink_task_metrics", "connector_task_metrics"
        of_task = {
            **extremes(
                f"{sink}_put_batch",
                "How long one batch of writes took, in ms",
                self.recent_puts,
                unit="_time_ms",
            ),
            **extremes(
                f"{source}_poll_batch",
                "How long a poll took that brought records, in ms",
                self._polls,
                unit="_time_ms",
            ),
            **extremes(
                f"{source}_transaction_size",
                "Records in one transaction",
                self._transactions,
                of=("avg", "max", "min"),
            ),
            **extremes(f"{task}_batch_size", "Records in one batch", self._batches),
            **extremes(
                f"{task}_offset_commit",
                "How long a commit of offsets took, in ms",
                self._commits,
                unit="_time_ms",
            ),
            **extremes(
                f"{source}_source_record_active_count",
                "Records polled and not yet committed to Kafka",
                self.records_polled_active.recent,
            ),
            **extremes(
                f"{sink}_sink_record_active_count",
                "Records read and not yet finished",
                self.records_active.recent,
            ),
            **rate(
                f"{source}_source_record_poll",
                "Records that the source task has returned",
                self.records_polled,
            ),
            **rate(
                f"{source}_source_record_write",
                "Records committed to Kafka in transactions",
                self.records_written,
            ),
            **rate(f"{sink}_sink_record_read", "Records read from Kafka", self.records_read),
            **rate(f"{sink}_sink_record_send", "Records given to the sink task", self.records_sent),
            **rate(
                f"{sink}_offset_commit_completion", "Offset commits that Kafka confirmed", self.offset_commits
            ),
            **rate(
                f"{sink}_offset_commit_skip",
                "Offset commits that failed or came too late",
                self.offset_commits_skipped,
            ),
            f"{task}_offset_commit_success_percentage": (
                "Which part of the commits of offsets in the last minute worked, from 0 to 1.",
                lambda: mean(self._commits_well.values()),
            ),
            f"{task}_offset_commit_failure_percentage": (
                "Which part of the commits of offsets in the last minute failed, from 0 to 1.",
                lambda: mean([1 - well for well in self._commits_well.values()]),
            ),
        }
        worker = "connect_worker_rebalance_metrics"
        of_worker = {
            **extremes(
                f"{worker}_rebalance",
                "How long it took to take over partitions, in ms",
                self._takeovers,
                unit="_time_ms",
            ),
            f"{worker}_time_since_last_rebalance_ms": (
                "How long ago this instance took partitions over, in ms; 0 before it first does.",
                self._since_takeover_ms,
            ),
        }
        self.registry.register(Worked({"connector": self.connector, "task": TASK}, of_task))
        self.registry.register(Worked({"connector": self.connector}, of_worker))

    def batch_polled(self, records: int, seconds: float) -> None:
        """A source's poll brought *records*."""
        self._batches.add(records)
        self._polls.add(seconds * 1000)

    def batch_put(self, records: int) -> None:
        """A sink's task finished a batch of *records*."""
        self._batches.add(records)

    def transaction_written(self, records: int) -> None:
        """A source's transaction was committed, with *records*."""
        self._transactions.add(records)

    def records_set_aside(self, count: int) -> None:
        """*count* records failed for good; each is a dead letter, and the log says so."""
        if count:
            for each in (self.record_errors, self.records_skipped, self.dead_letters, self.errors_logged):
                each.inc(count)
            self.last_error_timestamp.set(time.time() * 1000)

    @contextmanager
    def committing(self, *, dead_letters: int = 0) -> Iterator[None]:
        """Time a transaction with *dead_letters* in it. It failed if the block raises."""
        began = time.monotonic()
        try:
            yield
        except BaseException:
            self.committed(time.monotonic() - began, well=False)
            self.dead_letter_failures.inc(dead_letters)
            raise
        lasted_s = time.monotonic() - began
        self.committed(lasted_s, well=True)
        self.transaction_seconds.observe(lasted_s)

    def committed(self, seconds: float, *, well: bool) -> None:
        """Offsets were committed, or could not be."""
        self._commits.add(seconds * 1000)
        self._commits_well.add(float(well))
        if well:
            self._commit_number.inc()

    @contextmanager
    def taking_over(self) -> Iterator[None]:
        """For the length of the block, this instance takes over partitions that Kafka has given to it, or the lead."""
        began = time.monotonic()
        self._rebalancing.set(1)
        try:
            yield
        finally:
            self._rebalancing.set(0)
            self._rebalances.inc()
            self._rebalanced_at = time.monotonic()
            self._takeovers.add((self._rebalanced_at - began) * 1000)

    def _connect_counter(self, name: str, sentence: str) -> Counter:
        made = Counter(f"kafka_connect_{name}", sentence, _CONNECTOR, registry=self.registry)
        return made.labels(self.connector, TASK)

    def _connect_gauge(self, name: str, sentence: str) -> Gauge:
        made = Gauge(f"kafka_connect_{name}", sentence, _CONNECTOR, registry=self.registry)
        return made.labels(self.connector, TASK)

    def _worker_counter(self, name: str, sentence: str) -> Counter:
        made = Counter(f"{_REBALANCES}{name}", sentence, ("connector",), registry=self.registry)
        return made.labels(self.connector)

    def _worker_gauge(self, name: str, sentence: str) -> Gauge:
        made = Gauge(f"{_REBALANCES}{name}", sentence, ("connector",), registry=self.registry)
        return made.labels(self.connector)

    def _since_takeover_ms(self) -> float:
        at = self._rebalanced_at
        return 0.0 if at is None else (time.monotonic() - at) * 1000

    def _paced(self, name: str, sentence: str) -> Paced:
        return Paced(self._connect_counter(name, sentence))

    def _level(self, name: str, sentence: str) -> Level:
        return Level(self._connect_gauge(name, sentence), Recent())
