"""MongoDB's source task against a real mongod: snapshots, the stream, holes and requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument

from salmon.errors import BadRecordKey, SchemaMismatch
from salmon.model.change import ERROR, SALESFORCE_ID, Op, WriteOp
from salmon.mongodb.keys import key_of
from salmon.mongodb.reading.source import MongoSourceTask
from salmon.mongodb.writing.sink import MongoSinkTask
from salmon.plugin.contract import Signal, SignalKind
from support.mongo import (
    OBJECTS,
    SCHEMAS,
    Log,
    Mongo,
    Synced,
    put,
    read_signal,
    write,
)


@pytest.fixture
def sink(mongo: Mongo) -> Iterator[MongoSinkTask]:
    with mongo.sink(OBJECTS, SCHEMAS) as task:
        yield task


# The first start.


def test_the_first_start_reads_what_is_there_whatever_types_its_ids_are(
    mongo: Mongo, source: MongoSourceTask
) -> None:
    """_ids of all types are read in MongoDB's order, each once, in chunks that do not stop at a type's end."""
    oid = ObjectId()
    ids: list[Any] = [*range(1500), Int64(2**40), 1.5, "001A", *(f"s{n:04}" for n in range(1200)), oid, True]
    mongo.accounts.insert_many([{"_id": i, "Name": f"Account {i}"} for i in ids])
    log = Log()
    log.begin(source)
    log.until_read(source)
    rows = [record for record in log.records if record.object == "Account"]
    assert len(rows) == len({record.key for record in rows}) == len(ids)
    assert {record.change.op for record in rows} == {Op.ROW}
    assert [record.key for record in rows][-2:] == [f"$oid:{oid}", "$bool:true"]
    assert all(record.change.as_of for record in rows)
    told = next(told for told in source.progress() if told.object == "Account")
    assert (told.read, told.total, told.done) == (len(ids), len(ids), True)


def test_a_snapshot_gets_past_an_id_that_is_no_text(mongo: Mongo, source: MongoSourceTask) -> None:
    """Such a document has no key and is set aside; to go on behind it, its `_id` must be named to the server."""
    raw = bson.encode({"_id": "xx", "Name": "Spoilt"}).replace(b"xx\0", b"x\xff\0")
    mongo.accounts.insert_many([RawBSONDocument(raw), {"_id": ObjectId(), "Name": "Sound"}])
    log = Log()
    log.begin(source)
    log.until_read(source)
    assert [record.change.fields["Name"] for record in log.records] == ["Sound"]
    assert [type(letter.error) for letter in log.dead_letters] == [BadRecordKey]


def test_edits_during_a_snapshot_are_told_after_or_within_the_rows(
    mongo: Mongo, source: MongoSourceTask
) -> None:
    """Rows and events together leave every record as MongoDB holds it: folded by time, nothing is missing."""
    mongo.accounts.insert_many([{"_id": n, "Name": "old"} for n in range(5000)])
    log = Log()
    log.begin(source)
    for n in range(0, 5000, 100):
        mongo.accounts.update_one({"_id": n}, {"$set": {"Name": f"new {n}"}})
        mongo.accounts.delete_one({"_id": n + 1})
        log.poll(source, 0.0)
    mongo.accounts.insert_one({"_id": "last"})
    log.until_read(source)
    log.until(source, lambda log: Op.CREATE in log.ops("last"))
    names: dict[str, Any] = {}
    times: dict[str, int] = {}
    for record in log.records:
        change = record.change
        at = change.commit_time or change.as_of or 0
        if at <= times.get(record.key, 0):
            continue
        times[record.key] = at
        names[record.key] = None if change.op is Op.DELETE else change.fields.get("Name")
    assert {key: name for key, name in names.items() if key != "last" and name is not None} == {
        f"$int:{document['_id']}": document["Name"]
        for document in mongo.accounts.find({"_id": {"$ne": "last"}})
    }


def test_a_snapshot_goes_on_where_it_stopped(mongo: Mongo, source: MongoSourceTask) -> None:
    """Killed in the middle, the source begins behind the last chunk that was committed."""
    mongo.accounts.insert_many([{"_id": n} for n in range(3500)])
    log = Log()
    log.begin(source)
    log.until(source, lambda log: len(log.records) >= 1000)
    before = len(log.records)
    source.stop()
    again = mongo.source()
    log.begin(again)
    log.until_read(again)
    again.close()
    assert before < 3500
    assert len(log.records) == 3500
    assert log.positions["snapshot/Account"]["read"] == 3500


def test_an_object_that_is_only_written_to_is_not_told(mongo: Mongo) -> None:
    """direction: to_mongodb; nobody listens to what an application does there."""
    task = mongo.source({"Account": Synced("accounts"), "Contact": Synced("contacts", "to_mongodb")})
    mongo.contacts.insert_one({"_id": "c1"})
    log = Log()
    log.begin(task)
    log.until_read(task)
    mongo.contacts.insert_one({"_id": "c2"})
    mongo.accounts.insert_one({"_id": "a"})
    log.until(task, lambda log: bool(log.of("a")))
    task.close()
    assert {record.object for record in log.records} == {"Account"}


# The stream.


def test_what_an_application_does_is_told_in_its_order(
    mongo: Mongo, source: MongoSourceTask, streaming: Log
) -> None:
    """Insert, update, replace, delete: one change each, with clocks and orders that rise."""
    mongo.accounts.insert_one({"_id": "a", "Name": "Acme", "basket": 1})
    mongo.accounts.update_one({"_id": "a"}, {"$set": {"Phone": "555", "basket": 2}, "$unset": {"Name": 1}})
    mongo.accounts.update_one({"_id": "a"}, {"$set": {"basket": 3}})
    mongo.accounts.replace_one({"_id": "a"}, {"Name": "Umbrella"})
    mongo.accounts.delete_one({"_id": "a"})
    streaming.until(source, lambda log: Op.DELETE in log.ops("a"))
    told = streaming.of("a")
    assert [change.op for change in told] == [Op.CREATE, Op.UPDATE, Op.UPDATE, Op.DELETE]
    assert told[1].changed == frozenset({"Name", "Phone"})
    assert told[1].fields == {"Phone": "555"}
    assert told[2].fields["Name"] == "Umbrella"
    assert told == sorted(told, key=lambda change: (change.commit_time, change.order))
    assert all(change.committed_at > 1_600_000_000_000 for change in told)


def test_a_source_that_was_away_goes_on_behind_its_position(
    mongo: Mongo, source: MongoSourceTask, streaming: Log
) -> None:
    """Everything from then on, and nothing twice; what was polled but not committed comes again."""
    mongo.accounts.insert_one({"_id": "before"})
    streaming.until(source, lambda log: bool(log.of("before")))
    mongo.accounts.insert_one({"_id": "uncommitted"})
    killed = Log(dict(streaming.positions))
    killed.until(source, lambda log: bool(log.of("uncommitted")))
    source.stop()
    mongo.accounts.insert_one({"_id": "away"})
    again = mongo.source()
    streaming.begin(again)
    streaming.until(again, lambda log: bool(log.of("away")))
    again.close()
    assert [record.key for record in streaming.records] == ["before", "uncommitted", "away"]


@pytest.mark.parametrize("odd", [Int64(7), 2.5, -0.0, Decimal128("7.50"), DatetimeMS(2**60)], ids=repr)
def test_a_source_goes_on_behind_a_record_of_any_id(
    mongo: Mongo, source: MongoSourceTask, streaming: Log, odd: Any
) -> None:
    """The position behind a number that is no plain int holds binary, which the position's JSON must carry."""
    mongo.accounts.insert_one({"_id": odd})
    streaming.until(source, lambda log: len(log.records) == 1)
    source.stop()
    mongo.accounts.insert_one({"_id": "away"})
    again = mongo.source()
    streaming.begin(again)
    streaming.until(again, lambda log: bool(log.of("away")))
    again.close()
    assert [record.key for record in streaming.records] == [key_of(odd), "away"]


def test_a_position_moves_while_nothing_of_ours_happens(mongo: Mongo) -> None:
    """Or it would stand still on a rare collection until the oplog no longer has it."""
    now_s = 0.0
    task = MongoSourceTask(mongo.config, OBJECTS, "test", clock=lambda: now_s)
    task.use(SCHEMAS)
    log = Log()
    log.begin(task)
    log.until_read(task)
    before = log.positions["stream"]
    mongo.database["others"].insert_one({})
    now_s = 60.0
    log.until(task, lambda log: log.positions["stream"] != before)
    task.close()
    assert log.records == []


def test_an_element_of_an_array_is_told_by_a_row_behind_its_event(
    mongo: Mongo, source: MongoSourceTask, streaming: Log
) -> None:
    """$push tells one element: the event tells the other fields, and the record is read for this one."""
    mongo.accounts.insert_one({"_id": "a", "Name": "Acme", "Interests": ["x"]})
    mongo.accounts.update_one({"_id": "a"}, {"$push": {"Interests": "y"}, "$set": {"Name": "Umbrella"}})
    mongo.accounts.update_one({"_id": "a"}, {"$set": {"Phone": "555"}})
    streaming.until(source, lambda log: Op.ROW in log.ops("a"))
    create, *_, row = streaming.of("a")
    partial = streaming.of("a")[1]
    assert create.fields["Interests"] == ("x",)
    assert (partial.changed, partial.fields) == (frozenset({"Name"}), {"Name": "Umbrella"})
    assert row.fields["Interests"] == ("x", "y")
    assert row.as_of is not None
    assert row.as_of >= partial.commit_time
    later = [change for change in streaming.of("a")[:-1] if change.commit_time > row.as_of]
    assert later == [], "no event is told before a row that is older"


def test_a_record_that_is_still_to_be_read_is_read_after_a_crash(
    mongo: Mongo, source: MongoSourceTask, streaming: Log
) -> None:
    """The event that asked for it is behind the position: the position remembers the key."""
    mongo.accounts.insert_one({"_id": "a", "Interests": ["x", "y"]})
    streaming.until(source, lambda log: bool(log.of("a")))
    source.stop()
    streaming.positions["stream"] = dict(streaming.positions["stream"]) | {"reads": {"Account": ["a"]}}
    again = mongo.source()
    streaming.begin(again)
    streaming.until(again, lambda log: Op.ROW in log.ops("a"))
    assert streaming.positions["stream"]["reads"] == {}
    again.close()


def test_a_change_of_very_many_documents_keeps_the_position_small_and_shows_each_value(
    mongo: Mongo, source: MongoSourceTask, streaming: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their events do not give the field whole. Too many are due to be read one by one, so the collection is read as a whole."""
    monkeypatch.setattr("salmon.mongodb.reading.requests.DUE_MAX", 100)
    keys = [f"a{n:04}" for n in range(300)]
    mongo.accounts.insert_many([{"_id": key, "Interests": ["x"]} for key in keys])
    streaming.until(source, lambda log: len(log.records) == len(keys))
    mongo.accounts.update_many({}, {"$push": {"Interests": "y"}})

    def all_shown(log: Log) -> bool:
        due = log.positions["stream"]["reads"]
        assert sum(len(some or ()) for some in due.values()) <= 100
        last = {each.key: each.change.fields.get("Interests") for each in log.records}
        return not due and all(last[key] == ("x", "y") for key in keys)

    streaming.until(source, all_shown)


def test_a_value_that_does_not_fit_is_set_aside_and_the_stream_goes_on(
    mongo: Mongo, source: MongoSourceTask, streaming: Log
) -> None:
    """The field goes to the dead letter queue with its event; the record's other fields are told."""
    mongo.accounts.insert_one({"_id": "a", "Name": "Acme", "Employees": "many"})
    mongo.accounts.insert_one({"_id": {"no": "key"}})
    mongo.accounts.insert_one({"_id": "b"})
    streaming.until(source, lambda log: bool(log.of("b")))
    assert streaming.of("a")[0].fields["Name"] == "Acme"
    assert "Employees" not in (streaming.of("a")[0].changed or {"Employees"})
    misfit, keyless = streaming.dead_letters
    assert isinstance(misfit.error, SchemaMismatch)
    assert isinstance(keyless.error, BadRecordKey)
    assert (misfit.object, misfit.key) == ("Account", "a")
    assert b"many" in misfit.original
    assert "many" not in str(misfit.error)


# Echoes.


def test_a_write_of_ours_comes_back_with_its_number(
    mongo: Mongo, source: MongoSourceTask, sink: MongoSinkTask, streaming: Log
) -> None:
    """A creation, an update, an update of a document that had no marker: each echo answers its write."""
    mongo.accounts.insert_one({"_id": "b", "Name": "Born here"})
    put(sink, write("001A", WriteOp.CREATE, 5, Name="Acme"))
    put(
        sink,
        write("001A", WriteOp.UPDATE, 6, own={ERROR: "no"}, Phone="555"),
        write("b", WriteOp.UPDATE, 7, own={SALESFORCE_ID: "001B"}),
    )
    mongo.accounts.update_one({"_id": "001A"}, {"$set": {"Name": "Edited"}})
    streaming.until(source, lambda log: len(log.of("001A")) == 3 and len(log.of("b")) == 2)
    create, echo, edit = streaming.of("001A")
    assert [change.ack for change in (create, echo, edit)] == [5, 6, None]
    assert echo.fields == {"Phone": "555", ERROR: "no"}
    assert echo.changed == frozenset({"Phone", ERROR})
    assert streaming.of("b")[1].ack == 7
    assert streaming.of("b")[1].fields == {SALESFORCE_ID: "001B"}


def test_an_application_that_saves_whole_documents_makes_an_edit(
    mongo: Mongo, source: MongoSourceTask, sink: MongoSinkTask, streaming: Log
) -> None:
    """It copies our marker back unchanged, by replacing the document or by setting every property."""
    put(sink, write("a", WriteOp.CREATE, 5, Name="Acme"))
    document = mongo.accounts.find_one({"_id": "a"})
    assert document is not None
    mongo.accounts.replace_one({"_id": "a"}, document | {"Name": "Replaced"})
    mongo.accounts.update_one({"_id": "a"}, {"$set": document | {"Name": "Saved"}})
    streaming.until(source, lambda log: len(log.of("a")) == 3)
    assert [change.ack for change in streaming.of("a")] == [5, None, None]


# Requests.


def test_a_request_is_answered_by_rows_and_absences(
    mongo: Mongo, source: MongoSourceTask, streaming: Log
) -> None:
    """Each key gets its answer, behind the events that the read has seen; a key that no _id has is absent."""
    mongo.accounts.insert_one({"_id": "a", "Name": "Acme"})
    source.request(read_signal(41, "a", "gone", "$int:5", "$nope"))
    streaming.until(source, lambda log: 41 in log.answered)
    assert streaming.ops("a") == [Op.CREATE, Op.ROW]
    assert [streaming.ops(key) for key in ("gone", "$int:5", "$nope")] == [[Op.ABSENT]] * 3


def test_a_long_request_is_answered_when_its_last_key_is(
    mongo: Mongo, source: MongoSourceTask, streaming: Log
) -> None:
    """It is read in pieces; an unknown object needs no answer, but must not be asked for for ever."""
    mongo.accounts.insert_many([{"_id": f"a{n}"} for n in range(1200)])
    source.request(read_signal(1, *(f"a{n}" for n in range(1200))))
    source.request(read_signal(2, "x", object="Nothing"))
    streaming.until(source, lambda log: log.answered == {1, 2})
    rows = [record for record in streaming.records if record.change.op is Op.ROW]
    assert len({record.key for record in rows}) == 1200


def test_an_object_is_read_anew_while_it_streams(
    mongo: Mongo, source: MongoSourceTask, streaming: Log
) -> None:
    """A request for a snapshot: until it is done, a record's first event is preceded by its row."""
    mongo.accounts.insert_many([{"_id": n, "Name": "x"} for n in range(2500)])
    streaming.until(source, lambda log: len(log.records) == 2500)
    source.request(Signal(9, SignalKind.SNAPSHOT, "Account"))
    mongo.accounts.update_one({"_id": 2400}, {"$set": {"Name": "y"}})
    streaming.until(source, lambda log: 9 in log.answered)
    assert len([record for record in streaming.records if record.change.op is Op.ROW]) >= 2500
    edited = streaming.ops("$int:2400")
    assert edited[:3] == [Op.CREATE, Op.ROW, Op.UPDATE]


# Holes.


@pytest.mark.parametrize(
    "token",
    [
        {"_data": "820000000100000001" + "2B022C0100296E04"},  # older than the oplog
        {"_data": "827FFFFFFF00000001" + "2B0229296E04"},  # ahead of the cluster: it was set up anew
        {"_data": "nonsense"},
        {},
    ],
    ids=["too old", "ahead", "corrupted", "empty"],
)
def test_a_lost_position_is_a_hole_and_everything_is_read_anew(
    mongo: Mongo, source: MongoSourceTask, streaming: Log, token: dict[str, Any]
) -> None:
    """Never the present alone: a new position first, then all rows, and each key's row before its first event."""
    mongo.accounts.insert_many([{"_id": n, "Name": "x"} for n in range(1500)])
    streaming.until(source, lambda log: len(log.records) == 1500)
    source.stop()
    mongo.accounts.update_one({"_id": 7}, {"$set": {"Name": "while events were lost"}})
    lost = Log(dict(streaming.positions) | {"stream": {"token": token, "reads": {}}})
    again = mongo.source()
    lost.begin(again)
    mongo.accounts.update_one({"_id": 1400}, {"$set": {"Name": "after"}})
    lost.until_read(again)
    lost.until(again, lambda log: Op.UPDATE in log.ops("$int:1400"))
    again.close()
    assert {record.key for record in lost.records} == {f"$int:{n}" for n in range(1500)}
    assert lost.of("$int:7")[0].fields["Name"] == "while events were lost"
    assert lost.ops("$int:1400")[0] is Op.ROW
    assert lost.positions["stream"]["token"] != token


def test_a_dropped_collection_and_a_dropped_database_do_not_end_the_stream(
    mongo: Mongo, source: MongoSourceTask, streaming: Log
) -> None:
    """What is there afterwards is read, and events go on."""
    mongo.accounts.insert_one({"_id": "a"})
    mongo.accounts.drop()
    mongo.accounts.insert_one({"_id": "b"})
    streaming.until(source, lambda log: Op.CREATE in log.ops("b"))
    mongo.client.drop_database(mongo.name)
    mongo.accounts.insert_one({"_id": "c"})
    streaming.until(source, lambda log: Op.CREATE in log.ops("c"))
    assert streaming.ops("b")[0] is Op.ROW
    assert Op.ROW in streaming.ops("c")
    streaming.until_read(source)


def test_a_collection_that_takes_the_place_of_ours_is_read(
    mongo: Mongo, source: MongoSourceTask, streaming: Log
) -> None:
    """A restore or $out renames a new collection onto the old one: no event tells its documents."""
    mongo.accounts.insert_one({"_id": "a", "Name": "old"})
    mongo.database["restored"].insert_one({"_id": "a", "Name": "restored"})
    mongo.database["restored"].rename("accounts", dropTarget=True)
    streaming.until(source, lambda log: Op.ROW in log.ops("a"))
    assert streaming.of("a")[-1].fields["Name"] == "restored"


def test_a_source_stops_at_once(source: MongoSourceTask, streaming: Log) -> None:
    """From any thread, in the middle of a poll or not; a poll after it brings nothing."""
    source.stop()
    source.stop()
    batch = source.poll(60.0)
    assert (list(batch.records), dict(batch.positions)) == ([], {})
