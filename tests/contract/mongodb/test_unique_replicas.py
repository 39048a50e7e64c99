"""Unique values where the records' partitions are shared by two replicas of the sink, against a real mongod."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pytest
from pymongo import ASCENDING

from salmon.kafka.partitions import partition_of
from salmon.model.change import Op
from salmon.mongodb.writing.sink import MongoSinkTask
from salmon.sink.worker import SinkWorker
from support.at_hand.memory_sync import MemorySync, reading
from support.mongo import Mongo, Synced
from support.runtime import OBJECT, SCHEMA, running
from support.waiting import until

CONNECTOR: Final = "mongodb-sink"
A, B = (next(key for key in "abcdefgh" if partition_of(key, 2) == number) for number in (0, 1))
FINAL_AFTER_S: Final = 1.0


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salmon.sink.worker.IDLE_POLL_S", 0.01)
    monkeypatch.setattr("salmon.sink.worker.POLL_S", 0.01)
    monkeypatch.setattr("salmon.sink.worker.HOLDERS_EVERY_S", 0.01)
    monkeypatch.setattr("salmon.sink.waiting.unread.FRESH_S", 0.05)


class Replicas:
    """Two instances of the sink with a partition each; in one of them is A, in the other B."""

    def __init__(self, mongo: Mongo) -> None:
        self.sync, self.things = MemorySync(), mongo.database["things"]
        self.things.create_index([("Name", ASCENDING)], unique=True)
        self.things.insert_many({"_id": key, "Name": key.upper(), "_salmon": {"seq": 1}} for key in (A, B))
        objects = {OBJECT: Synced("things")}
        self.tasks = [
            MongoSinkTask(mongo.config, objects, "test", final_after_s=FINAL_AFTER_S) for _ in range(2)
        ]
        self.workers = [
            SinkWorker(self.sync.instance(CONNECTOR, number), task, {OBJECT: SCHEMA}, [OBJECT])
            for number, task in enumerate(self.tasks)
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        with running(*self.workers) as runs:
            until(lambda: all(len(each.buffer.places) == 1 for each in self.workers))
            yield
            for run in runs:
                run.stop()

    @property
    def names(self) -> Mapping[str, Any]:
        return {each["_id"]: each.get("Name") for each in self.things.find()}

    @property
    def refused(self) -> list[str]:
        return [key for key, change in self.sync.changes() if change.op is Op.REFUSED]


def test_records_of_two_replicas_swap_their_values(mongo: Mongo) -> None:
    """Each replica sees what is owed to the other's record: the circle is carried out whole, and nothing is refused (case L8)."""
    it = Replicas(mongo)
    with it.running():
        it.sync.write(A, 5, Name=B.upper())
        it.sync.write(B, 6, Name=A.upper())
        until(lambda: it.names == {A: B.upper(), B: A.upper()})
        until(lambda: all(worker.buffer.idle for worker in it.workers))
    assert it.refused == []


def test_a_value_is_waited_for_while_the_holders_replica_is_late(
    mongo: Mongo,
) -> None:
    """However late: only what nobody is about to give up is refused (case L8)."""
    it = Replicas(mongo)
    with it.running():
        late = next(worker for worker in it.workers if (it.sync.writes(), 1) in worker.buffer.places)
        late.buffer.block(60.0)  # its side is away
        it.sync.write(B, 6, Name="free")
        it.sync.write(A, 5, Name=B.upper())
        other = it.workers[1 - it.workers.index(late)]
        tries = other._instance.metrics.record_failures
        until(lambda: reading(tries) > 5, "well past the time for a refusal")
        assert it.refused == []
        late.buffer.unblock()
        until(lambda: it.names == {A: B.upper(), B: "free"})


def test_a_value_that_the_other_replicas_record_keeps_is_refused_until_it_gives_it_up(mongo: Mongo) -> None:
    """Nothing is owed to it, in no partition: after a while a person is told. When that is corrected there, it is sent again (case L8)."""
    it = Replicas(mongo)
    with it.running():
        it.sync.write(A, 5, Name=B.upper())
        until(lambda: it.refused == [A])
        it.sync.write(B, 6, Name="free")
        until(lambda: [key for key, change in it.sync.changes() if change.op is Op.RETRY] == [A])
        it.sync.write(A, 7, Name=B.upper())
        until(lambda: it.names == {A: B.upper(), B: "free"})
