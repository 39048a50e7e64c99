"""Merge after an upgrade, and after a downgrade: states of an earlier version go on, and what a newer one wrote is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from salmon.config.models import SyncConfig
from salmon.errors import SchemaOutdated
from salmon.kafka import topics
from salmon.kafka.codecs import schemas
from salmon.kafka.codecs.avro import format_of, writer_of
from salmon.kafka.codecs.serdes import Changes
from salmon.merge.states import States
from salmon.model.change import SALESFORCE
from support import runtime
from support.at_hand.memory_sync import MemorySync
from support.at_hand.merging import merging
from support.at_hand.stories import SCHEMA, Story, rules
from support.former import STORIES, Former
from support.next_version import next_version
from support.sync_config import sync_config
from support.waiting import until

OBJECT = "Account"
STORY = "in_flight"  # an application's edit was on its way to Salesforce as the earlier version stopped


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop waits for the poll that is under way."""
    monkeypatch.setattr("salmon.merge.process._POLL_S", 0.01)


@pytest.fixture
def sync() -> MemorySync:
    sync = MemorySync(partitions=1)
    for spec in topics.specs(sync.topics, [OBJECT], partitions=1, replication_factor=1):
        if spec.name not in sync.broker.topics:
            sync.broker.create(spec.name, spec.partitions)
    return sync


@pytest.fixture
def config(sync: MemorySync, tmp_path: Path) -> SyncConfig:
    return SyncConfig.model_validate(
        sync_config(
            name=sync.name,
            topics={"partitions": 1, "replication_factor": 1},
            objects={OBJECT: {"collection": "accounts"}},
            merge={"state_dir": str(tmp_path / "state")},
        )
    )


@contextmanager
def running(sync: MemorySync, config: SyncConfig) -> Iterator[runtime.Running]:
    with runtime.running(merging(sync, config, {OBJECT: SCHEMA})) as (run,):
        yield run


def told(sync: MemorySync, story: Story) -> None:
    """The last change of a story comes, as our own version's source writes it."""
    codec = Changes(SCHEMA, sync.registry, sync.topics.changes(OBJECT))
    sync.produce(codec.topic, story.key, codec.encode(story.changes[-1]))


def states(sync: MemorySync) -> States:
    return States(rules(), sync.registry, sync.topics.state(OBJECT))


def answer_of_salesforce(story: Story) -> None:
    story.salesforce.acks(story.writes[SALESFORCE])


def newest(sync: MemorySync) -> Any:
    """The newest state of the one record."""
    return states(sync).decode(sync.values(sync.topics.state(OBJECT))[-1] or b"")


@pytest.mark.parametrize("only_the_copy", [False, True], ids=["from the topic", "from the copy on disk"])
def test_a_state_of_an_earlier_version_goes_on(
    sync: MemorySync, config: SyncConfig, only_the_copy: bool
) -> None:
    """
    The echo of the write that it had sent is no edit of anybody's, and the next edit is a causal one. The state is
    then written in the format of this version.
    """
    former, topic = Former.of(0), sync.topics.state(OBJECT)
    data = former.state(STORY, sync.registry)
    sync.produce(topic, former.key(STORY), data)
    if only_the_copy:
        another = Story(rules(), key="0015g00000Abc34AAA")
        another.salesforce.row(Name="Another")
        told(sync, another)
        with running(sync, config) as run:
            until(
                lambda: len(sync.values(topic)) == 2,
                "the topic was copied, and the other record's row was folded",
            )
            run.stop(30.0)
        # The topic begins after the record and its marker: what merge knows of it now, its copy holds.
        sync.broker.delete_before(topic, 0, 2)
    story = STORIES[STORY]()
    with running(sync, config) as run:
        answer_of_salesforce(story)
        told(sync, story)
        story.salesforce.edits(Phone="555 0404")
        told(sync, story)
        until(lambda: newest(sync).canonical.get("Phone") == "555 0404", "the edits are agreed")
        run.stop(30.0)
    state = newest(sync)
    written_by = sync.registry.schema_by_id(writer_of(sync.values(topic)[-1] or b""))
    assert format_of(written_by) == format_of(schemas.fixed("state"))
    assert state.canonical["City"] == "Rome", "what nobody edited is still known"
    assert state.sides[SALESFORCE].sent == {}
    assert state.seq > 0
    assert sync.records(sync.topics.conflicts) == []
    assert sync.records(sync.topics.dlq("merge")) == []


@pytest.mark.parametrize("what", ["change", "state"])
def test_what_a_newer_version_wrote_is_left_for_a_newer_merge(
    sync: MemorySync, config: SyncConfig, what: str
) -> None:
    """After a downgrade, or in the middle of a rolling upgrade: the older one folds nothing of it and sets nothing aside."""
    story = STORIES[STORY]()
    with next_version():
        if what == "change":
            told(sync, story)
        else:
            codec = states(sync)
            sync.produce(codec.topic, story.key, codec.encode(story.state))
    if what == "state":
        answer_of_salesforce(story)
        told(sync, story)
    before = sync.values(sync.topics.state(OBJECT))
    with running(sync, config) as run:
        until(lambda: run.error, "the older one gives up")
    (error,) = run.error
    assert isinstance(error, SchemaOutdated)
    assert "newer version of Salmon" in str(error)
    assert sync.values(sync.topics.state(OBJECT)) == before
    assert sync.records(sync.topics.dlq("merge")) == []
    with next_version():
        with running(sync, config) as run:
            until(lambda: len(sync.values(sync.topics.state(OBJECT))) > len(before), "the newer one goes on")
            run.stop(30.0)
        assert newest(sync).canonical["Phone"] == "555 0202"
