"""An outbox against a real mongod: each insert is given once, wherever it is killed; documents are told the outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId

from salmon.backoff import Backoff
from salmon.config.models import SyncConfig
from salmon.doctor.checks import examine
from salmon.doctor.servers import MongoChecks
from salmon.model.change import Value, Write, WriteOp
from salmon.mongodb.outbox import Outbox
from salmon.mongodb.reading import reads
from salmon.mongodb.reading.outbox import OutboxReader
from salmon.mongodb.writing.outbox import OutcomeWriter
from salmon.plugin.contract import DeadLetter, EventRecord, Outcome, OutcomeKind, Position, SinkRecord
from support.mongo import Mongo, NoIdentities
from support.sync_config import sync_config
from support.waiting import until

EVENT = "Invoice_Sent__e"
OUTBOX = Outbox("outbox", {"Number__c": "number"})
PUBLISHED = {"_salmon": {"event": "u", "published_at": 1}}


@dataclass
class Log:
    """A worker's stand-in: what was committed."""

    events: list[EventRecord] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)

    def commit(self, reader: OutboxReader) -> bool:
        """Commit the next batch, if there is one."""
        if (batch := reader.take()) is None:
            return False
        self.events += batch.events
        self.dead_letters += batch.dead_letters
        self.positions |= {name: each for name, each in batch.positions.items() if each is not None}
        return True

    def until(self, reader: OutboxReader, holds: Callable[[], object]) -> None:
        def is_so() -> object:
            while self.commit(reader):
                pass
            return holds()

        until(is_so)

    @property
    def keys(self) -> list[str]:
        return [each.key for each in self.events]


@pytest.fixture
def log() -> Log:
    return Log()


@contextmanager
def reading(mongo: Mongo, log: Log, outbox: Outbox = OUTBOX) -> Iterator[OutboxReader]:
    """A reader that begins where the log ends."""
    reader = OutboxReader(mongo.config, "test", EVENT, outbox, backoff=Backoff(0.01, 0.05))
    reader.start(log.positions)
    try:
        yield reader
    finally:
        reader.close()


def read_whole(reader: OutboxReader) -> bool:
    return all(each.done for each in reader.progress())


def test_what_is_there_without_an_outcome_comes_first_and_then_each_insert_once(
    mongo: Mongo, log: Log
) -> None:
    """_ids of all types; updates, replacements and deletions are nothing; what was told its outcome is never given."""
    box, oid = mongo.database["outbox"], ObjectId()
    ids: list[Any] = [*range(1200), "a", oid]
    box.insert_many([{"_id": each, "number": str(each)} for each in ids])
    box.insert_one({"_id": "old", **PUBLISHED})
    with reading(mongo, log) as reader:
        box.insert_one({"_id": "b", "number": 5})
        log.until(reader, lambda: read_whole(reader) and "b" in log.keys)
        box.update_one({"_id": "a"}, {"$set": {"number": "x"}})
        box.replace_one({"_id": "b"}, {"number": "y"})
        box.delete_one({"_id": 1})
        box.insert_one({"_id": "restored", **PUBLISHED})
        box.insert_one({"_id": "c", "number": "z"})
        log.until(reader, lambda: "c" in log.keys)
    assert sorted(log.keys) == sorted([*(f"$int:{n}" for n in range(1200)), "a", f"$oid:{oid}", "b", "c"])
    by_key = {each.key: each for each in log.events}
    assert by_key["$int:7"].fields == {"Number__c": "7"}
    assert by_key["$int:7"].published_at == 0, "nobody knows when it was inserted"
    assert by_key[f"$oid:{oid}"].published_at == oid.generation_time.timestamp() * 1000
    assert by_key["c"].published_at > 0


def test_a_reading_that_is_killed_goes_on_and_misses_nothing(mongo: Mongo, log: Log) -> None:
    """After each batch another reader begins at the committed position; what is inserted and deleted meanwhile is given."""
    box = mongo.database["outbox"]
    box.insert_many([{"_id": f"d{n:04}"} for n in range(1300)])
    for n in range(8):
        with reading(mongo, log) as reader:
            until(lambda reader=reader: log.commit(reader))  # type: ignore[misc]
        box.insert_one({"_id": f"new{n}"})
        box.delete_one({"_id": f"new{n}"})
    with reading(mongo, log) as reader:
        log.until(reader, lambda: read_whole(reader) and "new7" in log.keys)
    expected = {*(f"d{n:04}" for n in range(1300)), *(f"new{n}" for n in range(8))}
    assert set(log.keys) == expected
    assert len(log.keys) == len(expected), "nothing was given twice either: each batch had been committed"


def test_what_is_inserted_while_the_collection_is_read_is_given_once(
    mongo: Mongo, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both the reading and the stream show it. What is dropped and inserted again is given again, by the stream alone."""
    box = mongo.database["outbox"]
    box.insert_one({"_id": "before"})
    real = reads.read_chunk

    def inserted_meanwhile(*args: Any, **more: Any) -> reads.Seen:
        if box.count_documents({}) == 1:
            box.insert_one({"_id": "during"})
        return real(*args, **more)

    monkeypatch.setattr("salmon.mongodb.reading.outbox.read_chunk", inserted_meanwhile)
    with reading(mongo, log) as reader:
        log.until(reader, lambda: read_whole(reader))
        assert sorted(log.keys) == ["before", "during"]
        box.drop()
        box.insert_many([{"_id": "x"}, {"_id": "y"}])
        log.until(reader, lambda: "y" in log.keys and read_whole(reader))
        box.insert_one({"_id": "z"})
        log.until(reader, lambda: "z" in log.keys)
    assert sorted(log.keys) == ["before", "during", "x", "y", "z"]


def test_a_document_that_cannot_be_an_event_is_set_aside_and_the_others_are_given(
    mongo: Mongo, log: Log
) -> None:
    """A number that is not finite, a date that no calendar has, an _id that is no key: in the reading and in the stream."""
    box = mongo.database["outbox"]
    box.insert_many([{"_id": 1, "number": float("nan")}, {"_id": {"a": 1}}, {"_id": "good"}])
    with reading(mongo, log) as reader:
        log.until(reader, lambda: read_whole(reader))
        box.insert_many([{"_id": 2, "number": DatetimeMS(10**15)}, {"_id": "good too"}])
        log.until(reader, lambda: "good too" in log.keys)
    assert log.keys == ["good", "good too"]
    assert [each.key for each in log.dead_letters] == ["$int:1", '{"a": {"$numberInt": "1"}}', "$int:2"]
    assert all("NaN" not in str(each.error) for each in log.dead_letters)
    assert b"NaN" in log.dead_letters[0].original


def test_a_lost_position_has_the_collection_read_again_but_for_what_was_published(
    mongo: Mongo, log: Log
) -> None:
    """The document itself says whether it was: nothing is lost, and only what was not told yet is repeated."""
    box = mongo.database["outbox"]
    box.insert_many([{"_id": "told"}, {"_id": "untold"}])
    with reading(mongo, log) as reader:
        log.until(reader, lambda: read_whole(reader))
    box.update_one({"_id": "told"}, {"$set": PUBLISHED})
    box.insert_one({"_id": "missed"})
    ((name, position),) = log.positions.items()
    again = Log(positions={name: {**position, "token": {"_data": "82" + "00" * 8}, "seen": None}})
    with reading(mongo, again) as reader:
        again.until(reader, lambda: "missed" in again.keys)
        assert "read again" in reader.note()
    assert sorted(again.keys) == ["missed", "untold"]


def test_another_collection_of_the_name_is_read_and_so_is_one_that_is_configured_instead(
    mongo: Mongo, log: Log
) -> None:
    """Renamed into its place, its documents never were inserts of this collection."""
    mongo.database["outbox"].insert_one({"_id": "a"})
    with reading(mongo, log) as reader:
        log.until(reader, lambda: read_whole(reader))
        mongo.database["other"].insert_one({"_id": "b"})
        mongo.database["other"].rename("outbox", dropTarget=True)
        log.until(reader, lambda: "b" in log.keys)
        mongo.client.drop_database(mongo.name)
        mongo.database["outbox"].insert_one({"_id": "c"})
        log.until(reader, lambda: "c" in log.keys)
    mongo.database["third"].insert_one({"_id": "d"})
    with reading(mongo, log, Outbox("third", OUTBOX.fields)) as reader:
        log.until(reader, lambda: "d" in log.keys)
    assert log.keys == ["a", "b", "c", "d"]


def test_a_collection_that_cannot_be_read_waits_with_the_reason(
    mongo: Mongo, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view has its name: it is told with the mend, and read once that is done."""
    monkeypatch.setattr("salmon.mongodb.reading.outbox._SHOWN_AFTER_S", 0.0)
    mongo.database["real"].insert_one({"_id": "a"})
    mongo.database.create_collection("outbox", viewOn="real", pipeline=[])
    with reading(mongo, log) as reader:
        until(reader.waiting)
        assert "a view" in reader.waiting()[0].sentence
        mongo.database["outbox"].drop()
        mongo.database["outbox"].insert_one({"_id": "b"})
        log.until(reader, lambda: "b" in log.keys)
        until(lambda: not reader.waiting())


def test_the_doctor_says_whether_the_collection_can_be_an_outbox(mongo: Mongo) -> None:
    """One that is not there yet can; a time series cannot."""
    fields = {"direction": "to_salesforce", "fields": {"A__c": "a"}}
    config = SyncConfig.model_validate(
        sync_config(
            mongodb={"uri": mongo.uri, "database": mongo.name},
            events={"A__e": {**fields, "collection": "a"}, "B__e": {**fields, "collection": "b"}},
        )
    )
    mongo.database.create_collection("b", timeseries={"timeField": "at"})
    lines = {line.name: line for line in examine(MongoChecks(config).checks())}
    assert lines["events.A__e.collection"].outcome.value == "ok"
    assert lines["events.B__e.collection"].outcome.value == "fail"
    assert "a timeseries" in lines["events.B__e.collection"].says


# The outcome.


@pytest.fixture
def writer(mongo: Mongo) -> Iterator[OutcomeWriter]:
    writer = OutcomeWriter(mongo.config, "test", "outbox")
    writer.start({}, NoIdentities(), clean=False)
    yield writer
    writer.close()


def outcome(key: str, error: str = "") -> SinkRecord:
    fields: dict[str, Value] = {"event": "u", "at": 1_795_946_400_000, "error": error}
    return SinkRecord(EVENT, key, Write(1, WriteOp.CREATE, fields=fields))


def kinds(outcomes: list[Outcome]) -> list[OutcomeKind]:
    return [each.kind for each in outcomes]


def test_a_document_is_told_its_outcome_and_that_is_no_insert(
    mongo: Mongo, log: Log, writer: OutcomeWriter
) -> None:
    """The newest counts; one that is gone needs nothing; what the server refuses for one is refused for that one."""
    box = mongo.database["outbox"]
    box.insert_many([{"_id": 7, "n": 1}, {"_id": "odd", "_salmon": "text"}])
    with reading(mongo, log) as reader:
        log.until(reader, lambda: len(log.events) == 2)
        told = list(
            writer.put([outcome("$int:7", "refused"), outcome("odd"), outcome("gone"), outcome("$x")])
        )
        applied, refused = OutcomeKind.APPLIED, OutcomeKind.REFUSED
        assert kinds(told) == [applied, refused, applied, refused]
        assert "_salmon is not a sub-document" in told[1].reason
        assert box.find_one({"_id": 7}) == {"_id": 7, "n": 1, "_salmon": {"event": "u", "error": "refused"}}
        assert kinds(list(writer.put([outcome("$int:7")]))) == [applied]
        document = box.find_one({"_id": 7})
        assert document is not None
        assert document["_salmon"].keys() == {"event", "published_at"}
        assert document["_salmon"]["published_at"].isoformat() == "2026-11-29T10:00:00+00:00"
        box.insert_one({"_id": "last"})
        log.until(reader, lambda: "last" in log.keys)
    assert len(log.events) == 3


def test_a_validator_that_does_not_know_the_outcome_refuses_it_with_the_mend(
    mongo: Mongo, writer: OutcomeWriter
) -> None:
    """No document is changed, and the sentence says what to set."""
    schema = {"bsonType": "object", "properties": {"_id": {}}, "additionalProperties": False}
    mongo.database.create_collection("outbox", validator={"$jsonSchema": schema})
    mongo.database["outbox"].insert_one({"_id": "a"})
    (refused,) = writer.put([outcome("a")])
    assert refused.kind is OutcomeKind.REFUSED
    assert "outcomes: false" in refused.reason
