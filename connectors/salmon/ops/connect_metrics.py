"""
Kafka Connect's metrics of a task, under Connect's names: kafka_connect_<group>_<attribute>, as its Prometheus exporter writes them.

Its states, and what is Salmon's own, are in salmon.ops.collectors and salmon.ops.metrics.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

TASK: Final = "0"  # One task per connector; Connect counts from 0.
WINDOW_S: Final = 60.0
_SAMPLES_MAX: Final = 10_000  # in one window
_CONNECTOR: Final = ("connector", "task")


class ConnectMetrics:
    """The labels `connector` and `task` are already set."""

    def __init__(self, connector: str) -> None:
        self.connector = connector
        self.registry = CollectorRegistry()

        # source tasks.
        self.records_polled = self._connect_counter(
            "source_task_metrics_source_record_poll", "Records that the source task has returned."
        )
        self.records_written = self._connect_counter(
            "source_task_metrics_source_record_write", "Records committed to Kafka in transactions."
        )
        self.records_polled_active = self._connect_gauge(
            "source_task_metrics_source_record_active_count", "Records polled and not yet committed to Kafka."
        )
        # sink tasks.
        self.records_read = self._connect_counter(
            "sink_task_metrics_sink_record_read", "Records read from Kafka."
        )
        self.records_sent = self._connect_counter(
            "sink_task_metrics_sink_record_send",
            "Records given to the sink task. Fewer than were read, because a newer record of a key replaces older ones.",
        )
        self.records_active = self._connect_gauge(
            "sink_task_metrics_sink_record_active_count", "Records read and not yet finished."
        )
        self.record_lag_max = self._connect_gauge(
            "sink_task_metrics_sink_record_lag_max", "The largest distance to a partition's end, in records."
        )
        self.partition_count = self._connect_gauge(
            "sink_task_metrics_partition_count", "Partitions assigned to this task."
        )
        self.offset_commits = self._connect_counter(
            "sink_task_metrics_offset_commit_completion", "Offset commits that Kafka confirmed."
        )
        self.offset_commits_skipped = self._connect_counter(
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

        self.recent_puts, self._polls, self._batches, self._transactions = (Recent() for _ in range(4))
        averages = {
            "sink_task_metrics_put_batch": (
                "How long one batch of writes took, in ms",
                "_time_ms",
                self.recent_puts,
            ),
            "source_task_metrics_poll_batch": (
                "How long a poll took that brought records, in ms",
                "_time_ms",
                self._polls,
            ),
            "source_task_metrics_transaction_size": ("Records in one transaction", "", self._transactions),
            "connector_task_metrics_batch_size": ("Records in one batch", "", self._batches),
        }
        self.registry.register(Averages(connector, TASK, averages))

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

    def _connect_counter(self, name: str, sentence: str) -> Counter:
        made = Counter(f"kafka_connect_{name}", sentence, _CONNECTOR, registry=self.registry)
        return made.labels(self.connector, TASK)

    def _connect_gauge(self, name: str, sentence: str) -> Gauge:
        made = Gauge(f"kafka_connect_{name}", sentence, _CONNECTOR, registry=self.registry)
        return made.labels(self.connector, TASK)


class Recent:
    """Values of the last minute, for Kafka Connect's averages. Safe between threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._values: deque[tuple[float, float]] = deque(maxlen=_SAMPLES_MAX)

    def add(self, value: float) -> None:
        with self._lock:
            self._values.append((self._clock(), value))

    def values(self) -> list[float]:
        """Those of the last minute; of very many, the last ones."""
        since = self._clock() - WINDOW_S
        with self._lock:
            while self._values and self._values[0][0] < since:
                self._values.popleft()
            return [value for _, value in self._values]


class Timed:
    """A histogram that also keeps its latest values, in milliseconds."""

    def __init__(self, histogram: Histogram, recent: Recent) -> None:
        self._histogram, self._recent = histogram, recent

    def observe(self, seconds: float) -> None:
        self._histogram.observe(seconds)
        self._recent.add(seconds * 1000)


class Averages(Collector):
    """
    Kafka Connect's averages and maxima.

    Args:
        of: Name without its last part -> what is averaged, and in which unit.
    """

    def __init__(self, connector: str, task: str, of: Mapping[str, tuple[str, str, Recent]]) -> None:
        self._labels, self._of = (connector, task), of

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, (sentence, unit, recent) in self._of.items():
            values = recent.values()
            shown = {"avg": sum(values) / len(values) if values else 0.0, "max": max(values, default=0.0)}
            for which, value in shown.items():
                family = GaugeMetricFamily(
                    f"kafka_connect_{name}_{which}{unit}",
                    f"{sentence}: {'average' if which == 'avg' else 'maximum'} of the last minute.",
                    labels=("connector", "task"),
                )
                family.add_metric(self._labels, value)
                yield family
