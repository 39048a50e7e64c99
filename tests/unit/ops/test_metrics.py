"""The metrics as a whole: each is explained, none grows with the records, Connect's have Connect's names, and alerts find theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import Metric

from salmon.calls import Peer
from salmon.kafka.topics import CONNECTORS
from salmon.model import sides
from salmon.model.change import SIDES, Op
from salmon.model.fold import Fact
from salmon.ops.health import Health, State
from salmon.ops.metrics import Metrics
from salmon.plugin.contract import OutcomeKind, SnapshotProgress
from salmon.source.reach import StreamAge
from salmon.status.overview import PARKED_WHY

DEPLOY: Final = Path(__file__).parents[3] / "deploy" / "prometheus"

# Label -> where its values come from: each is a closed set, or is named in the configuration.
CLOSED: Final = {
    "connector": "the connectors",
    "task": "0",
    "status": "State",
    "connector_class": "the connectors",
    "connector_type": "source, sink, unknown",
    "connector_version": "our version",
    "object": "the configuration",
    "event": "the configuration",
    "side": "the sides",
    "direction": "the sides",
    "winner": "the sides, or held",
    "op": "Op",
    "outcome": "OutcomeKind",
    "fact": "Fact",
    "why": "Park, or misfit",
    "step": "read, inserted, published, skipped, set aside",
    "verdict": "what verify finds",
    "resource": "the kinds of calls, as salesforce.wire names them",
    "peer": "Peer",
    "topic": "our topics",
    "stream": "the stream of changes, and one for each event of the configuration",
}
# Kafka Connect, Monitoring: attribute by group (KIP-196 and later), as far as we have it.
OF_CONNECT: Final = {
    "connector_metrics": {"info", "status"},
    "connector_task_metrics": {"status", "batch_size_avg", "batch_size_max"},
    "source_task_metrics": {
        "source_record_poll_total",
        "source_record_write_total",
        "source_record_active_count",
        "poll_batch_avg_time_ms",
        "poll_batch_max_time_ms",
        "transaction_size_avg",
        "transaction_size_max",
    },
    "sink_task_metrics": {
        "sink_record_read_total",
        "sink_record_send_total",
        "sink_record_active_count",
        "sink_record_lag_max",
        "partition_count",
        "offset_commit_completion_total",
        "offset_commit_skip_total",
        "put_batch_avg_time_ms",
        "put_batch_max_time_ms",
    },
    "task_error_metrics": {
        "total_record_failures",
        "total_record_errors",
        "total_records_skipped",
        "total_retries",
        "deadletterqueue_produce_requests",
        "last_error_timestamp",
    },
    "connect_worker_metrics": {"connector_count", "task_count"},
}


def used(objects: int) -> Metrics:
    """The metrics of a process in which all has happened that can, to each of so many objects."""
    metrics, health = Metrics("merge"), Health()
    names = [f"Object{number}__c" for number in range(objects)]
    metrics.watch_health("unknown", health.report)
    metrics.watch_peers(health.calls.silences)
    metrics.watch_writes(lambda: dict.fromkeys(names, 1_000))
    metrics.watch_positions(lambda: [StreamAge("stream", 1.0, 2.0)])
    metrics.count_api_calls(lambda: {"query": 1})
    for name in names:
        for op in Op:
            metrics.change_written(name, op, "mongodb", 1_000, 2.0)
        for fact in Fact:
            for side in SIDES:
                metrics.change_folded(name, side, fact.value.lower())
        for each in sides.OWN:
            for kind in OutcomeKind:
                metrics.write_finished(name, kind.lower(), each.direction, 1_000, 2.0)
            metrics.echo_seen(name, each.direction, 1_000, 2.0)
            for why in PARKED_WHY:
                for waits in (True, False):
                    metrics.fields_parked(name, each.name, why, 1, waits=waits)
            metrics.conflict_met(name, each.name)
        metrics.conflict_met(name, None)
        metrics.values_cut(name, 1)
        metrics.event_passed(name, "read", 1_000, 2.0)
        metrics.guard_tripped(name)
        metrics.guard_holds(name, 1)
        metrics.verified(name, {"equal": 1, "different": 1, "missing": 1, "parked": 1, "moving": 1})
        metrics.snapshots([SnapshotProgress(name, 1, 2, done=False, left_s=1.0, polled_s=1.0)])
    return metrics


def families(metrics: Metrics) -> Iterator[Metric]:
    """All but Python's own."""
    for family in metrics.registry.collect():
        if not family.name.startswith(("process_", "python_")):
            yield family


def samples(metrics: Metrics) -> dict[str, set[str]]:
    """Name of each sample -> its labels."""
    found: dict[str, set[str]] = {}
    for family in families(metrics):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_each_metric_is_explained_in_a_sentence_and_is_ours_or_connects() -> None:
    """What nobody can read is no help at night."""
    for family in families(used(1)):
        assert family.name.startswith(("salmon_", "kafka_connect_")), family.name
        assert re.fullmatch(r"[A-Z0-9].{15,}[.\d]", family.documentation), family.name


def test_each_label_has_few_values() -> None:
    """Never a key, an Id or a text: each such value would be a series of its own for as long as the process runs."""
    labels = {label for of_name in samples(used(1)).values() for label in of_name}
    assert labels - {"le"} <= CLOSED.keys()


def test_the_number_of_series_depends_on_the_objects_alone() -> None:
    """A sync of 200 objects stays within what one Prometheus takes from one target."""

    def series(objects: int) -> int:
        return sum(len(family.samples) for family in families(used(objects)))

    one, three = series(1), series(3)
    assert (three - one) % 2 == 0, "each object has the same"
    assert (three - one) // 2 < 350
    assert one - (three - one) // 2 < 150, "what does not depend on them"


def test_what_is_named_like_kafka_connects_is_kafka_connects() -> None:
    """Dashboards that were made for Connect find these under the names that they know."""
    for name in samples(used(1)):
        if name.startswith("kafka_connect_") and not name.endswith("_created"):
            known = [group for group in OF_CONNECT if name.startswith(f"kafka_connect_{group}_")]
            group = max(known, key=len, default="")
            assert name.removeprefix(f"kafka_connect_{group}_") in OF_CONNECT.get(group, set()), name


@pytest.mark.parametrize("connector", CONNECTORS)
def test_status_and_the_age_of_what_waits_are_of_the_time_of_the_scrape(connector: str) -> None:
    """A loop that hangs does not keep its metrics young."""
    since_ms, health, metrics = {"Account": 1_000}, Health(), Metrics(connector)
    metrics.watch_health("source", health.report)
    metrics.watch_writes(lambda: since_ms)

    def sample(name: str, **labels: str) -> float:
        return metrics.registry.get_sample_value(name, {"connector": connector, **labels}) or 0.0

    assert sample("kafka_connect_connector_metrics_status", status="unassigned") == 1
    assert sample("salmon_ready") == 0
    assert sample("salmon_waits") == 1
    assert sample("salmon_oldest_unacknowledged_write_seconds", object="Account") > 1_000_000
    health.running()
    since_ms["Account"] = 0
    states = {each: sample("kafka_connect_connector_metrics_status", status=each.lower()) for each in State}
    assert [each for each, is_it in states.items() if is_it] == [State.RUNNING]
    assert sample("salmon_ready") == 1
    assert sample("salmon_longest_wait_seconds") == 0
    assert sample("salmon_oldest_unacknowledged_write_seconds", object="Account") == 0


def test_averages_are_of_the_last_minute() -> None:
    """As Kafka Connect's are, so that a slow hour is not hidden by a fast week."""
    metrics = Metrics("mongodb-sink")
    for seconds in (0.1, 0.3):
        metrics.put_seconds.observe(seconds)
    metrics.batch_put(500)

    def sample(name: str) -> float | None:
        labels = {"connector": "mongodb-sink", "task": "0"}
        return metrics.registry.get_sample_value(f"kafka_connect_{name}", labels)

    assert sample("sink_task_metrics_put_batch_avg_time_ms") == pytest.approx(200)
    assert sample("sink_task_metrics_put_batch_max_time_ms") == pytest.approx(300)
    assert sample("connector_task_metrics_batch_size_max") == 500
    metrics._batches._clock = lambda: 1e12
    assert sample("connector_task_metrics_batch_size_max") == 0
    assert {peer.value for peer in Peer}, "the label's closed set"


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_asks_for_metrics_that_there_are_and_says_what_to_do(alert: dict[str, Any]) -> None:
    """An alert on a name that nobody exports would never fire."""
    metrics = used(1)
    exported = {**samples(metrics), "up": {"job", "instance"}}
    exported["salmon_foreign_records_total"] = {"connector", "topic"}  # has no series until there is one
    names = re.findall(r"\b(?:salmon_\w+|kafka_connect_\w+|up)\b(?=[\s{)\[])", alert["expr"])
    assert names
    for name in names:
        assert name in exported, name
    of_all = set[str]().union(*(exported[name] for name in names))
    asked = re.findall(r"[{,](\w+)=", alert["expr"]) + re.findall(
        r"\$labels\.(\w+)", str(alert["annotations"])
    )
    assert set(asked) <= of_all
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert alert["annotations"].keys() == {"summary", "mend"}


def test_prometheus_is_given_the_alerts() -> None:
    """The example configuration names the file."""
    assert yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["rule_files"] == ["alerts.yml"]
