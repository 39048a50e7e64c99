"""The metrics as a whole: each is explained, none grows with the records, Connect's have Connect's names, and alerts find theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import pytest
from prometheus_client import Counter, Metric

from salmon.calls import Peer
from salmon.errors import Unavailable
from salmon.kafka.topics import CONNECTORS
from salmon.model import sides
from salmon.model.change import SIDES, Op
from salmon.model.fold import Fact
from salmon.ops.health import Health, State
from salmon.ops.metrics import Metrics
from salmon.ops.rates import Paced
from salmon.plugin.contract import OutcomeKind, SnapshotProgress
from salmon.source.reach import StreamAge
from salmon.status.waiting import WHY
from support.programs.prometheus import ALERTS, RECORDING, queries, rules_of

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
    "plugin": "the transforms and predicates of the configuration",
    "stream": "the stream of changes, and one for each event of the configuration",
}


def with_each(name: str, *ends: str) -> set[str]:
    """The attributes that begin alike."""
    return {f"{name}_{end}" for end in ends}


STARTS: Final = (
    "startup_attempts_total",
    "startup_success_total",
    "startup_success_percentage",
    "startup_failure_total",
    "startup_failure_percentage",
)
# Kafka Connect, Monitoring: attribute by group (KIP-196 and later). Not here, because they are texts: leader-name, epoch and connect-protocol.
OF_CONNECT: Final = {
    "connector_metrics": {"info", "status"},
    "connector_task_metrics": {
        "status",
        "running_ratio",
        "pause_ratio",
        *with_each("batch_size", "avg", "max"),
        *with_each("offset_commit", "avg_time_ms", "max_time_ms", "success_percentage", "failure_percentage"),
    },
    "source_task_metrics": {
        *with_each("source_record_poll", "rate", "total"),
        *with_each("source_record_write", "rate", "total"),
        "source_record_active_count",
        *with_each("source_record_active_count", "avg", "max"),
        *with_each("poll_batch", "avg_time_ms", "max_time_ms"),
        *with_each("transaction_size", "min", "avg", "max"),
    },
    "sink_task_metrics": {
        *with_each("sink_record_read", "rate", "total"),
        *with_each("sink_record_send", "rate", "total"),
        "sink_record_active_count",
        *with_each("sink_record_active_count", "avg", "max"),
        "sink_record_lag_max",
        "partition_count",
        "offset_commit_seq_no",
        *with_each("offset_commit_completion", "rate", "total"),
        *with_each("offset_commit_skip", "rate", "total"),
        *with_each("put_batch", "avg_time_ms", "max_time_ms"),
    },
    "task_error_metrics": {
        "total_record_failures",
        "total_record_errors",
        "total_records_skipped",
        "total_retries",
        "total_errors_logged",
        *with_each("deadletterqueue_produce", "requests", "failures"),
        "last_error_timestamp",
    },
    "connect_worker_metrics": {
        *with_each("connector", "count", *STARTS),
        *with_each("task", "count", *STARTS),
        *(
            f"connector_{state}_task_count"
            for state in ("total", "running", "paused", "failed", "unassigned", "destroyed", "restarting")
        ),
    },
    "connect_worker_rebalance_metrics": {
        "completed_rebalances_total",
        "rebalancing",
        *with_each("rebalance", "avg_time_ms", "max_time_ms"),
        "time_since_last_rebalance_ms",
    },
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
    metrics.count_former_paths(lambda: dict.fromkeys(names, 1))
    metrics.certificate_ends(2e9)
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
            for why in WHY:
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
    assert one - (three - one) // 2 < 200, "what does not depend on them"


def test_kafka_connects_metrics_are_all_here_under_their_own_names() -> None:
    """Dashboards that were made for Connect find what they look for; and nothing else is named like that."""
    found = {name for name in samples(used(1)) if name.startswith("kafka_connect_")}
    wanted = {f"kafka_connect_{group}_{name}" for group, names in OF_CONNECT.items() for name in names}
    assert {name for name in found if not name.endswith("_created")} == wanted


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


def of_task(metrics: Metrics, name: str) -> float:
    """What the process exports of a task under one of Connect's names."""
    labels = {"connector": metrics.connector, "task": "0"}
    value = metrics.registry.get_sample_value(f"kafka_connect_{name}", labels)
    assert value is not None, name
    return value


def test_a_rate_is_what_was_counted_in_the_last_minute_by_its_seconds() -> None:
    """Of a process that is younger than a minute: by the seconds of its life. What is older does not count."""
    now = [1000.0]
    paced = Paced(Counter("records", "Records."), clock=lambda: now[0])
    assert paced.per_s() == 0
    paced.inc(20)
    now[0] += 10
    paced.inc(20)
    assert paced.per_s() == 4
    now[0] += 49.5
    assert paced.per_s() == pytest.approx(40 / 59.5)
    now[0] += 1
    assert paced.per_s() == pytest.approx(20 / 60)
    now[0] += 3600
    assert paced.per_s() == 0


def test_commits_are_timed_and_those_that_fail_have_their_share() -> None:
    """A dead letter whose transaction failed was not written: it is counted, too."""
    metrics = Metrics("mongodb-source")
    for fails in (False, False, False, True):
        with suppress(OSError), metrics.committing(dead_letters=2):
            if fails:
                raise OSError
    task = "connector_task_metrics_offset_commit"
    assert of_task(metrics, f"{task}_success_percentage") == 0.75
    assert of_task(metrics, f"{task}_failure_percentage") == 0.25
    assert of_task(metrics, f"{task}_max_time_ms") > 0
    assert of_task(metrics, "sink_task_metrics_offset_commit_seq_no") == 3
    assert of_task(metrics, "task_error_metrics_deadletterqueue_produce_failures") == 2


def test_records_in_flight_have_an_average_and_a_maximum_of_the_last_minute() -> None:
    """Connect's active counts: a peak between two scrapes is not missed."""
    metrics = Metrics("mongodb-sink")
    for count in (10, 40, 0):
        metrics.records_active.set(count)
    name = "sink_task_metrics_sink_record_active_count"
    assert [of_task(metrics, f"{name}{which}") for which in ("", "_avg", "_max")] == [
        0,
        pytest.approx(50 / 3),
        40,
    ]


def test_the_shares_of_running_and_pausing_are_of_the_time_since_the_start() -> None:
    """30 s of starting, 60 s at work, 30 s paused."""
    now = [0.0]
    health, metrics = Health(clock=lambda: now[0]), Metrics("mongodb-sink")
    metrics.watch_health("sink", health.report)
    for seconds, what in ((30, health.running), (60, lambda: health.put_down(State.PAUSED, 0, "Paused."))):
        now[0] += seconds
        what()
    now[0] += 30
    assert of_task(metrics, "connector_task_metrics_running_ratio") == 0.5
    assert of_task(metrics, "connector_task_metrics_pause_ratio") == 0.25


def test_a_start_counts_as_failed_only_if_nothing_ever_ran() -> None:
    """Connect's counts of starts, for the one connector of the process."""
    health, metrics = Health(), Metrics("mongodb-sink")
    metrics.watch_health("sink", health.report)

    def starts() -> list[float | None]:
        return [
            metrics.registry.get_sample_value(
                f"kafka_connect_connect_worker_metrics_task_startup_{what}_total",
                {"connector": "mongodb-sink"},
            )
            for what in ("attempts", "success", "failure")
        ]

    assert starts() == [1, 0, 0]
    health.ended(Unavailable("gone"))
    assert starts() == [1, 0, 1]
    health.running()
    health.ended(Unavailable("gone"))
    assert starts() == [1, 1, 0]


def test_taking_partitions_over_is_a_rebalance_of_this_worker() -> None:
    """One that fails counts, too: it has taken its time."""
    metrics = Metrics("merge")

    def worker(name: str) -> float | None:
        return metrics.registry.get_sample_value(
            f"kafka_connect_connect_worker_rebalance_metrics_{name}", {"connector": "merge"}
        )

    assert worker("time_since_last_rebalance_ms") == 0
    with suppress(OSError), metrics.taking_over():
        assert worker("rebalancing") == 1
        raise OSError
    assert (worker("rebalancing"), worker("completed_rebalances_total")) == (0, 1)
    assert (worker("time_since_last_rebalance_ms") or 0) > 0


@pytest.mark.parametrize(
    "query", [*(rule["expr"] for rule in (*rules_of(ALERTS), *rules_of(RECORDING))), *queries()]
)
def test_a_query_of_a_rule_or_dashboard_asks_for_labels_that_the_metric_has(query: str) -> None:
    """A label that no series has selects nothing. Not asked: metrics that have no series until something happens."""
    exported = {name: {*labels, "job", "namespace", "instance"} for name, labels in samples(used(1)).items()}
    for name, labels in re.findall(r"(\w+)\{([^}]*)\}", query):
        assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)", re.sub(r"\"[^\"]*\"", '""', labels))) <= exported.get(
            name, set(CLOSED) | {"job", "namespace", "instance", "alertname", "alertstate"}
        ), name
