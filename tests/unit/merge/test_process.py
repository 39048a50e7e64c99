"""Merge on a broker in memory: changes that are lost before it reads them, and a Kafka that is away in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from salmon.config.models import SyncConfig
from salmon.config.sections.failures import ErrorsConfig
from salmon.errors import TooManyErrors
from salmon.kafka.codecs.serdes import Signals
from salmon.merge.process import MergeProcess
from salmon.model.change import SALESFORCE, Change, Op
from salmon.model.sides import OWN
from salmon.plugin.contract import SignalKind
from support import runtime
from support.at_hand.memory_broker import error
from support.at_hand.memory_sync import MemorySync, reading
from support.at_hand.merging import merging
from support.impatient_members import look_every
from support.runtime import OBJECT, SCHEMA
from support.sync_config import sync_config
from support.waiting import until


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop waits for the poll that is under way."""
    monkeypatch.setattr("salmon.merge.process._POLL_S", 0.01)


@pytest.fixture
def sync() -> MemorySync:
    return MemorySync(partitions=2)


@pytest.fixture
def config(sync: MemorySync, tmp_path: Path) -> SyncConfig:
    return SyncConfig.model_validate(
        sync_config(
            name=sync.name,
            topics={"partitions": 2, "replication_factor": 1},
            objects={OBJECT: {"collection": "accounts"}},
            merge={"state_dir": str(tmp_path / "state")},
        )
    )


@contextmanager
def running(sync: MemorySync, config: SyncConfig) -> Iterator[MergeProcess]:
    """Merge in its thread, from its start to its end; an error that ended it fails the test."""
    process = merging(sync, config, {OBJECT: SCHEMA})
    with runtime.running(process) as (run,):
        try:
            yield process
        finally:
            run.stop(30.0)


def feed(sync: MemorySync, *keys: str) -> None:
    """One row of each of these records."""
    for key in keys:
        change = Change(SALESFORCE, Op.ROW, committed_at=5, as_of=1000, native_id=key, fields={"Name": key})
        sync.produce(sync.topics.changes(OBJECT), key, sync.changes_codec.encode(change))


def agreed(sync: MemorySync) -> set[str]:
    """The keys of the agreed records."""
    return {(message.key() or b"").decode() for message in sync.records(sync.topics.records(OBJECT))}


def asked_for(sync: MemorySync) -> list[tuple[str, str]]:
    """Source and object of each request to read everything again."""
    found = []
    for source in (side.source for side in OWN):
        topic = sync.topics.signals(source)
        codec = Signals(sync.registry, topic)
        signals = [codec.decode(value, offset=0) for value in sync.values(topic) if value is not None]
        found += [(source, each.object) for each in signals if each.kind is SignalKind.SNAPSHOT]
    return found


def lose_all(sync: MemorySync) -> None:
    """As retention does while merge is away for too long."""
    topic = sync.topics.changes(OBJECT)
    for number, partition in enumerate(sync.broker.topics[topic]):
        sync.broker.delete_before(topic, number, len(partition.entries))


KEYS = tuple(f"k{number}" for number in range(8))  # some in each partition


def test_all_lost_partitions_of_an_object_are_one_request_to_each_source(
    sync: MemorySync, config: SyncConfig
) -> None:
    """And a restart right afterwards does not ask again: the new places are committed with the requests."""
    with running(sync, config):
        feed(sync, *KEYS)
        until(lambda: agreed(sync) == set(KEYS), "all are agreed")
    feed(sync, *KEYS)
    lose_all(sync)
    expected = [(source, OBJECT) for source in (side.source for side in OWN)]
    for _ in range(2):
        with running(sync, config):
            until(lambda: asked_for(sync) == expected, "the sources are asked", seen=lambda: asked_for(sync))
            feed(sync, "later")
            until(lambda: "later" in agreed(sync), "it goes on")
        assert asked_for(sync) == expected


def test_where_nobody_has_the_partitions_merge_joins_again_and_folds(
    sync: MemorySync, config: SyncConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group has given them to nobody, and a member that it knows would wait for ever."""
    look_every(0.01, monkeypatch)
    sync.broker.withhold(f"{sync.name}-merge")
    with running(sync, config) as process:
        feed(sync, *KEYS)
        until(lambda: agreed(sync) == set(KEYS), "all are agreed")
        assert reading(process._metrics.rejoins) >= 1


def test_a_place_that_is_lost_while_merge_runs_is_answered_without_a_restart(
    sync: MemorySync, config: SyncConfig
) -> None:
    """librdkafka fetches nothing more there, and refuses a seek."""
    with running(sync, config):
        feed(sync, *KEYS)
        until(lambda: agreed(sync) == set(KEYS), "all are agreed")
        sync.broker.create(
            sync.topics.changes(OBJECT), 2
        )  # deleted and created again: it ends before merge's place
        until(lambda: asked_for(sync), "the sources are asked")
        feed(sync, *(f"new {key}" for key in KEYS))
        until(lambda: agreed(sync) >= {f"new {key}" for key in KEYS}, "every partition goes on")


def test_kafka_that_fails_while_a_change_is_set_aside_is_waited_for(
    sync: MemorySync, config: SyncConfig
) -> None:
    """The change is read again after the next poll, which shows whether the partition is still ours."""
    with running(sync, config):
        feed(sync, "first")
        until(lambda: agreed(sync) == {"first"}, "it runs")
        sync.broker.fail("produce", error(KafkaError.MSG_SIZE_TOO_LARGE), of=f"{sync.name}-merge-0")
        sync.broker.fail("commit_transaction", error(KafkaError._TRANSPORT), of=f"{sync.name}-merge-0")
        feed(sync, "second")
        until(lambda: agreed(sync) == {"first", "second"}, "nothing is lost")


def test_when_no_change_can_be_folded_nothing_more_is_set_aside_and_the_process_restarts(
    sync: MemorySync, config: SyncConfig
) -> None:
    """The changes stay where they are, and are folded by a release that can (tried here with what is none)."""
    strict = config.model_copy(update={"errors": ErrorsConfig.model_validate({"limit.consecutive": 3})})
    topic = sync.topics.changes(OBJECT)

    def ended() -> BaseException:
        with runtime.running(merging(sync, strict, {OBJECT: SCHEMA})) as (run,):
            return runtime.error_of(run)

    for number in range(10):
        sync.produce(topic, f"k{number}", b"?")
    for _ in range(2):
        assert isinstance(ended(), TooManyErrors)
    assert len(sync.dead_letters("merge")) <= 3
    tolerant = config.model_copy(
        update={"errors": ErrorsConfig.model_validate({"limit.consecutive": 0, "limit.ratio": 1})}
    )
    with running(sync, tolerant):
        feed(sync, "good")
        until(lambda: agreed(sync) == {"good"}, "it goes on")
    assert len(sync.dead_letters("merge")) == 10


def test_it_shows_how_many_changes_are_still_before_it(
    sync: MemorySync, config: SyncConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read one at a time, the lag falls with each; at the end only the mark of the last transaction is left."""
    monkeypatch.setattr("salmon.merge.process.BATCH_MAX", 1)
    shown: list[float] = []
    feed(sync, *map(str, range(9)))
    with running(sync, config) as process:
        gauge = process._metrics.record_lag_max
        monkeypatch.setattr(gauge, "set", shown.append)
        until(lambda: len(agreed(sync)) == 9, "all are folded")
        until(lambda: shown[-1] <= 1, "nothing is before it")
    assert max(shown) > 2
