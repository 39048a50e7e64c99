"""
Metrics that are made when they are scraped: from the health, and from what waits.

What grows while nothing happens (the age of a position, of a write) must not stand still because the loop does. So it is computed at
each scrape, from the time since which it has been so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from salmon import __version__
from salmon.ops.health import HealthReport, State


class StreamAge(Protocol):
    """How old a stream's position is, and for how long its side keeps what follows; None: not known."""

    @property
    def stream(self) -> str: ...
    @property
    def age_s(self) -> float: ...
    @property
    def kept_s(self) -> float | None: ...


class PositionAges(Collector):
    """How old the positions of a source are, beside its side's retention."""

    def __init__(self, connector: str, ages: Callable[[], Sequence[StreamAge]]) -> None:
        self._connector, self._ages = connector, ages

    def collect(self) -> Iterable[GaugeMetricFamily]:
        labels = ("connector", "stream")
        age = GaugeMetricFamily(
            "salmon_position_age_seconds",
            "How old the stored position in the side's stream of changes is: everything that the side reported before is in Kafka.",
            labels=labels,
        )
        kept = GaugeMetricFamily(
            "salmon_position_retention_seconds",
            "For how long the side keeps what follows a position. An older position is lost, and everything is read again.",
            labels=labels,
        )
        for each in self._ages():
            age.add_metric((self._connector, each.stream), each.age_s)
            if each.kept_s is not None:
                kept.add_metric((self._connector, each.stream), each.kept_s)
        yield from (age, kept)


class OldestWrites(Collector):
    """How old the oldest write is that has not come back, by object."""

    def __init__(
        self, connector: str, since_ms: Callable[[], Mapping[str, int]], clock: Callable[[], float]
    ) -> None:
        self._connector, self._since_ms, self._clock = connector, since_ms, clock

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "salmon_oldest_unacknowledged_write_seconds",
            "How long ago merge sent the oldest write that this sink has read and that has not come back as an echo; 0 if none waits.",
            labels=("connector", "object"),
        )
        now_s = self._clock()
        for name, since_ms in sorted(self._since_ms().items()):
            age_s = max(0.0, now_s - since_ms / 1000) if since_ms else 0.0
            family.add_metric((self._connector, name), age_s)
        yield family


_STARTS: Final = {"attempts": "all", "success": "those that worked", "failure": "those that failed"}
_STARTED: Final = {"success": "worked", "failure": "failed"}


class HealthMetrics(Collector):
    """What /health says, as numbers; and Kafka Connect's metrics of connectors, tasks and workers, of which there is one each."""

    def __init__(self, connector: str, kind: str, report: Callable[[], HealthReport]) -> None:
        self._connector, self._kind, self._report = connector, kind, report

    def collect(self) -> Iterable[GaugeMetricFamily]:
        report = self._report()
        yield self._one("salmon_ready", "1 while the process does its work, or stands by.", report.ready)
        yield self._one(
            "salmon_degraded",
            "1 while something that the process needs is missing: see waiting_for in /health.",
            report.degraded,
        )
        waits_s = [each.since_s for each in report.waiting_for]
        yield self._one(
            "salmon_waits", "How many things the process waits for, as /health lists them.", len(waits_s)
        )
        yield self._one(
            "salmon_longest_wait_seconds",
            "How long the process has waited for what it has waited for longest; 0 if for nothing.",
            max(waits_s, default=0.0),
        )
        yield from self._of_connect(report.state)
        yield from self._of_worker(report)
        for name, state in (("running", State.RUNNING), ("pause", State.PAUSED)):
            family = GaugeMetricFamily(
                f"kafka_connect_connector_task_metrics_{name}_ratio",
                f"Which part of the time since the process began the task was {state.lower()}, from 0 to 1.",
                labels=("connector", "task"),
            )
            family.add_metric((self._connector, "0"), report.shares.get(state, 0.0))
            yield family

    def _of_worker(self, report: HealthReport) -> Iterable[GaugeMetricFamily]:
        """One start of one connector with one task: a process that starts again counts from zero."""
        worker = "kafka_connect_connect_worker_metrics"
        failed = report.state is State.FAILED and not report.has_run
        for kind in ("connector", "task"):
            for what, count in (("attempts", 1), ("success", report.has_run), ("failure", failed)):
                yield self._one(
                    f"{worker}_{kind}_startup_{what}_total", f"Starts of the {kind}: {_STARTS[what]}.", count
                )
            for what, share in (("success", report.has_run), ("failure", failed)):
                yield self._one(
                    f"{worker}_{kind}_startup_{what}_percentage",
                    f"Which part of the starts of the {kind} {_STARTED[what]}, from 0 to 1.",
                    share,
                )
        for state in (State.RUNNING, State.PAUSED, State.FAILED, State.UNASSIGNED, State.RESTARTING):
            yield self._one(
                f"{worker}_connector_{state.lower()}_task_count",
                f"Tasks that are {state.lower()} in this worker.",
                report.state is state,
            )
        yield self._one(f"{worker}_connector_total_task_count", "Tasks of the connector in this worker.", 1)
        yield self._one(
            f"{worker}_connector_destroyed_task_count",
            "Tasks that were deleted. There are none: a connector is in the configuration or it is not.",
            0,
        )

    def _of_connect(self, state: State) -> Iterable[GaugeMetricFamily]:
        info = GaugeMetricFamily(
            "kafka_connect_connector_metrics_info",
            "Class, type and version of the connector, as labels. Always 1.",
            labels=("connector", "connector_class", "connector_type", "connector_version"),
        )
        info.add_metric((self._connector, self._connector, self._kind, __version__), 1)
        yield info
        of_connector = GaugeMetricFamily(
            "kafka_connect_connector_metrics_status",
            "1 for the state that the connector is in, 0 for the others.",
            labels=("connector", "status"),
        )
        of_task = GaugeMetricFamily(
            "kafka_connect_connector_task_metrics_status",
            "1 for the state that the task is in, 0 for the others.",
            labels=("connector", "task", "status"),
        )
        for each in State:
            of_connector.add_metric((self._connector, each.lower()), each is state)
            of_task.add_metric((self._connector, "0", each.lower()), each is state)
        yield from (of_connector, of_task)
        worker = "kafka_connect_connect_worker_metrics"
        yield self._one(f"{worker}_connector_count", "Connectors that run in this worker.", 1)
        yield self._one(f"{worker}_task_count", "Tasks that run in this worker.", 1)

    def _one(self, name: str, sentence: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, sentence, labels=("connector",))
        family.add_metric((self._connector,), value)
        return family
