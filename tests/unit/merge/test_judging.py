"""Merge after the filters of an object have changed: every record is judged again, once, whatever is killed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from salmon.config.models import SyncConfig
from salmon.kafka.codecs.serdes import Writes
from salmon.kafka.offsets import OffsetStore
from salmon.merge import judging, process, settings
from salmon.model.change import MONGODB, SALESFORCE, Change, Op, WriteOp
from salmon.model.views import View
from salmon.ops.health import Health
from support import runtime
from support.at_hand.memory_broker import error
from support.at_hand.memory_sync import MemorySync
from support.at_hand.merging import merging
from support.runtime import OBJECT, SCHEMA
from support.sync_config import sync_config
from support.waiting import until

KEYS = tuple(f"k{number:02}" for number in range(20))
PARTITIONS = 2


class Sync:
    """Merge over a broker in memory, with filters that a test sets."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.memory = MemorySync(partitions=PARTITIONS)
        self.views: dict[str, View] = {}
        self.health = Health()
        self.config = SyncConfig.model_validate(
            sync_config(
                name=self.memory.name,
                topics={"partitions": PARTITIONS, "replication_factor": 1},
                objects={OBJECT: {"collection": "accounts"}},
                merge={"state_dir": str(folder / "state")},
            )
        )
        rules_of = settings.rules_of

        def with_views(*told: Any, **named: Any) -> Any:
            return replace(rules_of(*told, **named), views=dict(self.views))

        monkeypatch.setattr(settings, "rules_of", with_views)

    @contextmanager
    def running(self) -> Iterator[None]:
        self.health = Health()
        merge = merging(self.memory, self.config, {OBJECT: SCHEMA}, self.health)
        with runtime.running(merge) as (run,):
            try:
                yield
            finally:
                run.stop(30.0)

    def feed(self, *keys: str) -> None:
        for key in keys:
            change = Change(
                SALESFORCE, Op.ROW, committed_at=5, as_of=1000, native_id=key, fields={"Name": key}
            )
            self.memory.produce(
                self.memory.topics.changes(OBJECT), key, self.memory.changes_codec.encode(change)
            )

    def newest(self) -> dict[str, WriteOp]:
        """Key -> the newest write to MongoDB."""
        topic = self.memory.topics.writes(MONGODB, OBJECT)
        decode = Writes(SCHEMA, self.memory.registry, topic).decode
        return {
            (message.key() or b"").decode(): decode(message.value() or b"").op
            for message in self.memory.records(topic)
            if message.value()
        }

    def asked(self) -> list[str]:
        """The keys of the records that merge had judged again, as often as it did."""
        topic = self.memory.topics.changes(OBJECT)
        decode = self.memory.changes_codec.decode
        return sorted(
            (message.key() or b"").decode()
            for message in self.memory.records(topic)
            if decode(message.value() or b"").op is Op.RETRY
        )

    def positions(self) -> dict[str, Any]:
        memory = self.memory
        loaded = OffsetStore(memory.clients, memory.topics, memory.registry).load("merge")
        return {place: position for place, position in loaded.items() if "offset" in position}


@pytest.fixture
def sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sync:
    monkeypatch.setattr(process, "_POLL_S", 0.01)
    monkeypatch.setattr(judging, "STEP", 3)
    return Sync(tmp_path, monkeypatch)


def even(digest: str = "even") -> dict[str, View]:
    """Only records with an even number go to MongoDB."""
    return {MONGODB: View(digest, lambda record: int(str(record["Name"])[1:]) % 2 == 0)}


ODD_LEAVE = {key: WriteOp.DELETE if int(key[1:]) % 2 else WriteOp.CREATE for key in KEYS}


def test_a_filter_that_is_new_takes_away_records_that_nobody_edits(sync: Sync) -> None:
    """Each is judged once, and a restart afterwards judges none."""
    with sync.running():
        sync.feed(*KEYS)
        until(lambda: sync.newest() == dict.fromkeys(KEYS, WriteOp.CREATE), "all are created")
    assert all(position.keys() == {"offset", "topic_id"} for position in sync.positions().values())
    sync.views = even()
    for _ in range(2):
        with sync.running():
            until(
                lambda: {key: op for key, op in sync.newest().items() if key in KEYS} == ODD_LEAVE,
                "the odd ones leave",
                seen=sync.newest,
            )
            until(
                lambda: all(
                    each.keys() == {"offset", "topic_id", "views"} for each in sync.positions().values()
                ),
                "it is done",
                seen=sync.positions,
            )
            sync.feed("k98")
            until(lambda: "k98" in sync.newest(), "it goes on")
    assert [key for key in sync.asked() if key != "k98"] == sorted(KEYS)


def test_a_filter_that_is_removed_lets_all_records_in(sync: Sync) -> None:
    """Also those of which merge has never sent anything."""
    sync.views = even()
    with sync.running():
        sync.feed(*KEYS)
        until(lambda: len(sync.newest()) == len(KEYS) / 2, "half of them are created")
    sync.views = {}
    with sync.running():
        until(lambda: sync.newest() == dict.fromkeys(KEYS, WriteOp.CREATE), "all are", seen=sync.newest)
        until(
            lambda: all(each.keys() == {"offset", "topic_id"} for each in sync.positions().values()),
            "it is done",
        )


def test_a_pass_that_kafka_interrupts_goes_on_where_it_was(sync: Sync) -> None:
    """A step is committed as a whole, with the last key that it has reached, or it has not been made."""
    with sync.running():
        sync.feed(*KEYS)
        until(lambda: len(sync.newest()) == len(KEYS), "all are created")
    sync.views = even()
    us = f"{sync.memory.name}-merge-0"
    sync.memory.broker.fail("commit_transaction", error(KafkaError._TRANSPORT), of=us)
    with sync.running():
        until(lambda: sync.newest() == ODD_LEAVE, "the odd ones leave", seen=sync.newest)
    assert sync.asked() == sorted(KEYS), "each was asked for once"


def test_a_pass_of_a_merge_that_died_goes_on_behind_its_last_key(sync: Sync) -> None:
    """Its position says how far it has come; what came before that is not asked for again."""
    with sync.running():
        sync.feed(*KEYS)
        until(lambda: len(sync.newest()) == len(KEYS), "all are created")
    sync.views = even()
    memory, reached = sync.memory, "k09"
    store = OffsetStore(memory.clients, memory.topics, memory.registry)
    digest = settings.rules_of(SCHEMA, sync.config.objects[OBJECT]).views_digest
    for place, position in sync.positions().items():
        said = {**position, "views": digest, "judged": reached}
        key, value = store.record("merge", place, said)
        memory.produce(memory.topics.offsets, key, value)
    with sync.running():
        until(
            lambda: all("judged" not in each for each in sync.positions().values()),
            "it is done",
            seen=sync.positions,
        )
    assert sync.asked() == [key for key in KEYS if key > reached]


def test_health_says_that_records_are_judged_again(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    """What, since when, and that it goes on by itself; until it is done."""
    with sync.running():
        sync.feed(*KEYS)
        until(lambda: len(sync.newest()) == len(KEYS), "all are created")
    sync.views = even()
    monkeypatch.setattr(process, "BATCH_MAX", 0)  # never: merge does not keep up with the log
    with sync.running():
        until(lambda: sync.health.report().waiting_for, "it is told")
        (waits,) = sync.health.report().waiting_for
        assert "judged by them again" in waits.sentence
