"""A source's batch as the records of a transaction, and what is given up where Kafka takes it not."""

from __future__ import annotations

import pytest

from salmon.errors import DataError
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.topics import Topics
from salmon.model.change import Change, Op
from salmon.model.connector import IdentityRecord, SourceBatch, SourceRecord
from salmon.runtime.source_batches import BatchEncoder, Encoded
from support.registries import MemoryRegistry
from support.world.nature import SCHEMA

TOPICS = Topics("crm")
OBJECT = SCHEMA.name
TOO_LARGE = DataError("too large")


def encoder() -> BatchEncoder:
    registry = MemoryRegistry()
    entries = OffsetStore({}, TOPICS, registry)
    return BatchEncoder("a-source", TOPICS, registry, {OBJECT: SCHEMA}, entries, task_class="tests.Source")


def record(key: str, city: str) -> SourceRecord:
    change = Change(origin="salesforce", op=Op.ROW, committed_at=1, as_of=1, fields={"City": city})
    return SourceRecord(OBJECT, key, change)


def test_of_a_batch_that_is_too_large_its_largest_change_is_set_aside() -> None:
    """The position and the identities are larger here, and stay: without them more than that record would be lost."""
    position = {"replay_id": "00" * 1000}
    identity = IdentityRecord(OBJECT, "001A", "k" * 255)
    whole = encoder().encode(
        SourceBatch([record("small", "x"), record("large", "x" * 100)], {"stream": position}, [identity])
    )
    less = encoder().without_largest(whole, TOO_LARGE)
    assert [each.key for each in less.written] == ["small"]
    kept = {output.topic for output in less.outputs}
    assert {TOPICS.offsets, TOPICS.identity(OBJECT), TOPICS.dlq("a-source")} <= kept
    assert [output.key for output in less.outputs if output.topic == TOPICS.dlq("a-source")] == ["large"]
    assert less.dead_letters == 1


def test_where_nothing_is_left_to_set_aside_the_error_is_raised() -> None:
    """It never loops over a batch that has nothing to blame."""
    with pytest.raises(DataError):
        encoder().without_largest(Encoded(), TOO_LARGE)
