"""MongoDB's two tasks against a real mongod, where an object has two collections: moves, deletions, and the same `_id` twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bson
import pytest
from bson.int64 import Int64
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from salmon.errors import ConfigError
from salmon.model.change import PLACE, TWICE, Op, WriteOp
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.form_store import COLLECTION
from salmon.mongodb.forms import Move, Record
from salmon.mongodb.moving import cluster_time
from salmon.mongodb.reading.collections import Spellings
from salmon.mongodb.reading.misfits import Misfits
from salmon.mongodb.reading.rows import RowReader
from salmon.mongodb.reading.source import MongoSourceTask
from salmon.mongodb.stored import document_of
from salmon.mongodb.writing.sink import MongoSinkTask
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.sink.waiting.refusals import Refused
from salmon.transforms.flow import Flow, Place, Transform
from salmon.verify.sides import MongoSide
from support.clock import Clock
from support.mongo import SCHEMAS, Log, Mongo, NoIdentities, Synced, put, read_signal, write
from support.waiting import until

PLACES = Flow(
    (
        Transform("of", Place("customers", "Phone == 'customer'")),
        Transform("of", Place("partners")),
    )
)
OBJECTS = {"Account": Synced("", transforms=PLACES)}
_SNAPSHOT_TOO_OLD = 239
DOCUMENT = {"_id": "a", "Name": "Acme", "own": {"of": ["the", "application"]}, "_salmon": {"seq": 7}}


@pytest.fixture
def sink(mongo: Mongo, clock: Clock) -> Iterator[MongoSinkTask]:
    with mongo.sink(OBJECTS, SCHEMAS, clock=clock) as task:
        yield task


@pytest.fixture
def source(mongo: Mongo) -> Iterator[MongoSourceTask]:
    task = mongo.source(OBJECTS)
    yield task
    task.close()


def there(mongo: Mongo) -> dict[str, Any]:
    """Collection -> its document `a`."""
    found = {name: mongo.database[name].find_one({"_id": "a"}) for name in ("customers", "partners")}
    return {name: document for name, document in found.items() if document is not None}


def move(seq: int = 9, expected: int = 7) -> SinkRecord:
    return write("a", WriteOp.UPDATE, seq, expected, {PLACE: "partners"}, Name="Globex")


def carried_out(sink: MongoSinkTask) -> Outcome:
    [outcome] = put(sink, move())
    return outcome


@pytest.mark.parametrize(
    "form", [Record({"Phone": "contact.phone"}), Record({}, (Move({}, {"Phone": "p"}, since=1),))]
)
def test_a_collection_whose_fields_were_renamed_is_not_one_of_several(mongo: Mongo, form: Record) -> None:
    """Read under their own names, they would be taken for cleared. The mend is two steps, and the message says them."""
    mongo.database[COLLECTION].insert_one({"_id": "customers", **form.document()})
    for task in (mongo.source(OBJECTS), MongoSinkTask(mongo.config, OBJECTS, "test")):
        with pytest.raises(ConfigError, match="Set `collection: customers` without"):
            task.start(SCHEMAS, NoIdentities(), clean=True) if isinstance(
                task, MongoSinkTask
            ) else task.start({}, {})
        task.close()


def test_another_order_of_the_collections_is_read_anew(mongo: Mongo) -> None:
    """A reading counts how many collections it has read: in another order, it would leave out the rest of one."""
    source = mongo.source(OBJECTS)
    covers = source._covers("Account")
    turned = Flow(tuple(reversed(PLACES.transforms)))
    other = mongo.source({"Account": Synced("", transforms=turned)})
    assert other._covers("Account") != covers
    for task in (source, other):
        task.close()


def test_a_move_is_one_document_with_all_that_is_in_it(mongo: Mongo, sink: MongoSinkTask) -> None:
    """It is in its new collection, with the application's own property, and nowhere else."""
    mongo.database.customers.insert_one(dict(DOCUMENT))
    assert carried_out(sink).kind is OutcomeKind.APPLIED
    assert there(mongo) == {"partners": {**DOCUMENT, "Name": "Globex", "_salmon": {"seq": 9}}}
    assert carried_out(sink).kind is OutcomeKind.APPLIED
    assert there(mongo).keys() == {"partners"}


def test_a_move_alters_nothing_that_is_the_applications_own(mongo: Mongo, sink: MongoSinkTask) -> None:
    """Not even what PyMongo cannot write: types that BSON has given up, text that is not UTF-8, a name that is there twice."""
    nested = (2).to_bytes(4, "little")
    odd = (
        b"\x06u\0"
        + (b"\x0es\0" + nested + b"x\0")
        + (b"\x0cp\0" + nested + b"x\0" + b"a" * 12)
        + (b"\x02t\0" + nested + b"\xff\0")
        + (b"\x0br\0(?i)a\0m\0" + b"\x10d\0\x01\0\0\0" + b"\x10d\0\x02\0\0\0")
    )
    odd += b"\x03sub\0" + document_of(odd)
    raw = mongo.database.with_options(codec_options=DEFAULT_RAW_BSON_OPTIONS)
    raw.customers.insert_one(RawBSONDocument(document_of(bson.encode(DOCUMENT)[4:-1] + odd)))
    assert carried_out(sink).kind is OutcomeKind.APPLIED
    after = {**DOCUMENT, "Name": "Globex", "_salmon": {"seq": Int64(9)}}
    moved = raw.partners.find_one({"_id": "a"})
    assert moved is not None
    assert moved.raw == document_of(bson.encode(after)[4:-1] + odd)
    assert raw.customers.find_one({"_id": "a"}) is None


def test_a_sink_that_is_killed_in_a_move_has_done_nothing(
    mongo: Mongo, sink: MongoSinkTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the insert and the deletion: the next instance finds the document as it was, and moves it."""
    mongo.database.customers.insert_one(dict(DOCUMENT))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Collection, "delete_one", killed)
        with pytest.raises(KeyboardInterrupt):
            carried_out(sink)
    assert there(mongo) == {"customers": DOCUMENT}
    assert carried_out(sink).kind is OutcomeKind.APPLIED
    assert there(mongo).keys() == {"partners"}


def test_a_move_waits_for_who_is_writing_the_document(mongo: Mongo, sink: MongoSinkTask) -> None:
    """The application's transaction goes first; then the move takes along what it wrote."""
    mongo.database.customers.insert_one(dict(DOCUMENT))
    with mongo.client.start_session() as session, session.start_transaction():
        mongo.database.customers.update_one({"_id": "a"}, {"$set": {"own": 2}}, session=session)
        assert carried_out(sink).kind is OutcomeKind.RETRY_LATER
    assert carried_out(sink).kind is OutcomeKind.APPLIED
    assert there(mongo)["partners"]["own"] == 2


def test_a_document_that_its_new_collection_refuses_stays_where_it_is(
    mongo: Mongo, sink: MongoSinkTask
) -> None:
    """A unique value that another document has there, as for any write."""
    mongo.database.partners.create_index("Name", unique=True)
    mongo.database.partners.insert_one({"_id": "b", "Name": "Globex"})
    mongo.database.customers.insert_one(dict(DOCUMENT))
    outcome = carried_out(sink)
    assert outcome.kind in (OutcomeKind.RETRY_LATER, OutcomeKind.REFUSED)
    assert there(mongo) == {"customers": DOCUMENT}


def test_a_move_comes_as_an_insert_that_answers_the_write_and_as_no_deletion(
    mongo: Mongo, sink: MongoSinkTask, source: MongoSourceTask, streaming: Log
) -> None:
    """The insert says where the document is; its end in the other collection is answered by a row."""
    mongo.database.customers.insert_one(dict(DOCUMENT))
    streaming.until(source, lambda log: bool(log.of("a")))
    assert carried_out(sink).kind is OutcomeKind.APPLIED
    streaming.until(source, lambda log: Op.ROW in log.ops("a"))
    told = [(change.op, change.ack, change.fields.get(PLACE)) for change in streaming.of("a")]
    assert told == [(Op.CREATE, 7, "customers"), (Op.CREATE, 9, "partners"), (Op.ROW, 9, "partners")]


def test_a_document_that_is_deleted_is_deleted(mongo: Mongo, source: MongoSourceTask, streaming: Log) -> None:
    """The look finds it in no collection: the event comes as it is."""
    mongo.database.partners.insert_one(dict(DOCUMENT))
    mongo.database.partners.delete_one({"_id": "a"})
    streaming.until(source, lambda log: Op.DELETE in log.ops("a"))
    last = streaming.of("a")[-1]
    assert (last.op, last.fields) == (Op.DELETE, {PLACE: "partners"})


def a_copy_and_two_ends(mongo: Mongo) -> None:
    """A document gets a copy, is deleted, and then the copy is."""
    mongo.database.customers.insert_one(dict(DOCUMENT))
    mongo.database.partners.insert_one(dict(DOCUMENT))
    mongo.database.customers.delete_one({"_id": "a"})
    mongo.database.partners.delete_one({"_id": "a"})


def test_the_end_of_a_document_whose_copy_is_deleted_too_by_now_is_told_once(
    mongo: Mongo, source: MongoSourceTask, streaming: Log
) -> None:
    """What was there at the time of each event counts, though all four are read in one batch, or in several."""
    a_copy_and_two_ends(mongo)
    streaming.until(source, lambda log: Op.DELETE in log.ops("a"))
    streaming.until(source, lambda log: log.ops("a")[-1] is Op.ABSENT)
    ends = [change.fields for change in streaming.of("a") if change.op is Op.DELETE]
    assert ends == [{PLACE: "partners"}]


def test_a_source_that_is_minutes_behind_looks_at_what_is_there_now(
    mongo: Mongo, source: MongoSourceTask, streaming: Log
) -> None:
    """MongoDB keeps earlier states for a while only. Then a document that is nowhere has ended with its event."""
    admin, setting = mongo.database.client.admin, "minSnapshotHistoryWindowInSeconds"
    kept = admin.command({"getParameter": 1, setting: 1})[setting]
    admin.command({"setParameter": 1, setting: 0})
    try:
        mongo.database.partners.insert_one(dict(DOCUMENT))
        mongo.database.partners.delete_one({"_id": "a"})
        written = mongo.database.client.admin.command("hello")["operationTime"]

        def is_forgotten() -> bool:
            """Only with further writes does the server forget."""
            mongo.database.others.insert_one({})
            concern = {"level": "snapshot", "atClusterTime": written}
            try:
                mongo.database.command({"find": "partners", "readConcern": concern})
            except OperationFailure as error:
                return error.code == _SNAPSHOT_TOO_OLD
            return False

        until(is_forgotten, "the server has forgotten")
        streaming.until(source, lambda log: Op.DELETE in log.ops("a"))
    finally:
        admin.command({"setParameter": 1, setting: kept})


def test_a_row_that_stands_before_an_event_is_of_its_time_if_there_are_two_by_now(mongo: Mongo) -> None:
    """After a hole: beside a row that says nothing, what the event tells would be old, and lost."""
    placed = {"Account": DocumentShape(SCHEMAS["Account"], frozenset(SCHEMAS), placed=True)}
    spellings = Spellings(mongo.database, {"Account": ("customers", "partners")}, placed)
    rows = RowReader(mongo.database, {"Account": ("customers", "partners")}, placed, Misfits(), spellings)
    mongo.database.partners.insert_one(
        {"_id": "other"}
    )  # of a collection that is younger, that time knows nothing
    mongo.database.customers.insert_one(dict(DOCUMENT))
    edited = cluster_time(mongo.database)
    mongo.database.partners.insert_one(dict(DOCUMENT))
    assert rows.by_keys("Account", ["a"])[0].rows[0][1].misfits[PLACE].code == TWICE
    row = rows.before_events("Account", {"a": edited})["a"]
    assert (row.as_of, row.fields[PLACE], row.fields["Name"]) == (edited, "customers", "Acme")


def test_the_same_id_twice_is_reported_and_over_when_one_is_left(
    mongo: Mongo, sink: MongoSinkTask, source: MongoSourceTask, streaming: Log
) -> None:
    """A row names the misfit and nothing else, a dead letter says which collections; the sink writes to neither."""
    mongo.database.customers.insert_one(dict(DOCUMENT))
    streaming.until(source, lambda log: bool(log.of("a")))
    mongo.database.partners.insert_one(dict(DOCUMENT))
    streaming.until(source, lambda log: Op.ROW in log.ops("a"))
    row = streaming.of("a")[-1]
    assert (row.misfits[PLACE].code, row.changed) == (TWICE, frozenset())
    assert "customers and partners" in str(streaming.dead_letters[-1].error)
    outcome = carried_out(sink)
    assert (outcome.kind, outcome.code) == (OutcomeKind.EXISTS, TWICE)
    mongo.database.customers.delete_one({"_id": "a"})
    streaming.until(source, lambda log: PLACE in log.of("a")[-1].fields)
    assert streaming.of("a")[-1].fields[PLACE] == "partners"
    assert Op.DELETE not in streaming.ops("a")


def test_a_snapshot_reads_every_collection_and_sees_what_is_there_twice(
    mongo: Mongo, source: MongoSourceTask
) -> None:
    """One after the other, in more than one chunk; of two documents, each look says so."""
    mongo.database.customers.insert_many([{"_id": f"c{n:04}", "Name": "C"} for n in range(1_200)])
    mongo.database.partners.insert_many([{"_id": f"p{n}", "Name": "P"} for n in range(3)])
    mongo.database.partners.insert_one({"_id": "c0000", "Name": "copy"})
    log = Log()
    log.begin(source)
    log.until_read(source)
    places = {record.key: record.change.fields.get(PLACE) for record in log.records}
    assert len(places) == 1_203
    assert (places["c1199"], places["p2"], places["c0000"]) == ("customers", "partners", None)
    told = next(told for told in source.progress() if told.object == "Account")
    assert (told.total, told.done) == (1_204, True)


def test_a_record_that_is_asked_for_is_looked_for_in_all_collections(
    mongo: Mongo, source: MongoSourceTask, streaming: Log
) -> None:
    """It is a row with its place, or absent."""
    mongo.database.partners.insert_one(dict(DOCUMENT))
    streaming.until(source, lambda log: bool(log.of("a")))
    source.request(read_signal(1, "a", "nobody"))
    streaming.until(source, lambda log: 1 in log.answered)
    assert streaming.of("a")[-1].fields[PLACE] == "partners"
    assert streaming.ops("nobody") == [Op.ABSENT]


def test_verify_reads_all_collections(mongo: Mongo) -> None:
    """Each record once, with its place; of two documents, that there are two."""
    mongo.database.customers.insert_many([{"_id": "a", "Name": "A"}, {"_id": "b", "Name": "B"}])
    mongo.database.partners.insert_many([{"_id": "b", "Name": "B"}, {"_id": "c", "Name": "C"}])
    bound = PLACES.bound(SCHEMAS["Account"])
    side = MongoSide(mongo.database, {"Account": ("customers", "partners")}, SCHEMAS["Account"], {}, bound)
    pages = list(side.pages())
    seen = {each.key: each for page in pages for each in page.records}
    assert sum(len(page.records) for page in pages) == 3
    assert {key: each.fields.get(PLACE) for key, each in seen.items()} == {
        "a": "customers",
        "b": None,
        "c": "partners",
    }
    assert seen["b"].unreadable == {PLACE}
    assert side.read(["a", "b", "x"]) == {key: seen[key] for key in ("a", "b")}
    [rest] = [page for page in side.pages(pages[0].after) if page.records]
    assert [each.key for each in rest.records] == ["c"]


# Unique values, which each collection has for itself.


def unique_names(mongo: Mongo, **there: tuple[str, str]) -> None:
    """Documents of ours, each with its collection and its Name, which is unique there."""
    for name in ("customers", "partners"):
        mongo.database[name].create_index("Name", unique=True)
    for key, (place, name) in there.items():
        mongo.database[place].insert_one({"_id": key, "Name": name, "_salmon": {"seq": 1}})


def named(mongo: Mongo) -> dict[str, tuple[str, str]]:
    """As unique_names() has them."""
    return {
        each["_id"]: (place, each["Name"])
        for place in ("customers", "partners")
        for each in mongo.database[place].find()
    }


def owing(sink: MongoSinkTask, *owed: SinkRecord) -> None:
    """What the worker has read besides, and not put yet."""
    writes = {(each.object, each.key): each.write for each in owed}
    sink.look_up(lambda name, key: writes.get((name, key)))


def test_a_document_that_moves_takes_a_value_that_another_one_gives_up(
    mongo: Mongo, sink: MongoSinkTask
) -> None:
    """By an edit where it is, or because it leaves; whichever write comes first (case L8)."""
    for frees in ({"Name": "free"}, {PLACE: "customers"}):
        mongo.database.drop_collection("customers")
        mongo.database.drop_collection("partners")
        unique_names(mongo, a=("customers", "A"), b=("partners", "B"))
        takes = write("a", WriteOp.UPDATE, 5, 1, {PLACE: "partners"}, Name="B")
        told = put(sink, takes, write("b", WriteOp.UPDATE, 6, 1, frees))
        assert {each.kind for each in told} == {OutcomeKind.APPLIED}
        after = (frees.get(PLACE, "partners"), frees.get("Name", "B"))
        assert named(mongo) == {"a": ("partners", "B"), "b": after}


@pytest.mark.parametrize("frees", [{"Name": "free"}, {PLACE: "customers"}])
def test_a_move_waits_for_a_value_that_another_document_will_give_up(
    mongo: Mongo, sink: MongoSinkTask, clock: Clock, frees: dict[str, str]
) -> None:
    """Its write is owed, and is not refused for the other's value (case L8)."""
    unique_names(mongo, a=("customers", "B"), b=("partners", "B"), c=("customers", "C"))
    takes = write("a", WriteOp.UPDATE, 5, 1, {PLACE: "partners"})
    if PLACE in frees:
        frees = {PLACE: "customers", "Name": "C"}  # where it waits for c itself
    owing(sink, write("b", WriteOp.UPDATE, 6, 1, frees))
    for _ in range(3):
        [outcome] = put(sink, takes)
        assert (outcome.kind, outcome.code) == (OutcomeKind.RETRY_LATER, "DuplicateKey")
        clock.now_s += 3_600


def test_a_value_that_another_document_keeps_refuses_a_move_and_both_are_named(
    mongo: Mongo, sink: MongoSinkTask, clock: Clock
) -> None:
    """The write that changes or moves that one ends the refusal (case L8)."""
    unique_names(mongo, a=("customers", "A"), b=("partners", "B"))
    takes = write("a", WriteOp.UPDATE, 5, 1, {PLACE: "partners"}, Name="B")
    put(sink, takes)
    clock.now_s += 60
    [outcome] = put(sink, takes)
    assert (outcome.kind, outcome.fields) == (OutcomeKind.REFUSED, frozenset({"Name"}))
    assert (outcome.waits_for, "document b" in outcome.reason) == ((("Account", "b"),), True)
    refused = Refused("Account", "a", 5, frozenset({"Name"}), ("Account", "b"), 0)
    for frees, ends in (({PLACE: "customers"}, True), ({"Name": "x"}, True), ({"Phone": "1"}, False)):
        assert refused.may_end_with(write("b", WriteOp.UPDATE, 6, 1, frees).write) is ends
    assert named(mongo) == {"a": ("customers", "A"), "b": ("partners", "B")}


def test_documents_that_change_places_and_values_are_moved_at_once(mongo: Mongo, sink: MongoSinkTask) -> None:
    """Each waits for what the other one has in its collection: none could go first (case L8)."""
    unique_names(mongo, a=("customers", "A"), b=("partners", "B"))
    there = write("b", WriteOp.UPDATE, 6, 1, {PLACE: "customers"}, Name="A")
    owing(sink, there)
    told = put(sink, write("a", WriteOp.UPDATE, 5, 1, {PLACE: "partners"}, Name="B"))
    assert [each.kind for each in told] == [OutcomeKind.APPLIED]
    assert named(mongo) == {"a": ("partners", "B"), "b": ("customers", "A")}
    [again] = put(sink, there)
    assert again.kind is OutcomeKind.APPLIED, "it was carried out with the other's"


def test_the_source_tells_an_exchange_as_the_echoes_of_its_writes(
    mongo: Mongo, sink: MongoSinkTask, source: MongoSourceTask, streaming: Log
) -> None:
    """Nobody has deleted anything, and nobody has edited anything."""
    unique_names(mongo, a=("customers", "A"), b=("partners", "B"))
    streaming.until(source, lambda log: bool(log.of("a") and log.of("b")))
    before = {key: len(streaming.of(key)) for key in "ab"}
    told = put(
        sink,
        write("a", WriteOp.UPDATE, 5, 1, {PLACE: "partners"}, Name="B"),
        write("b", WriteOp.UPDATE, 6, 1, {PLACE: "customers"}, Name="A"),
    )
    assert {each.kind for each in told} == {OutcomeKind.APPLIED}
    mongo.database.partners.insert_one({"_id": "z", "Name": "last"})
    streaming.until(source, lambda log: bool(log.of("z")))
    streaming.until(source, lambda log: all(Op.CREATE in log.ops(key)[before[key] :] for key in "ab"))
    for key, seq, place in (("a", 5, "partners"), ("b", 6, "customers")):
        news = streaming.of(key)[before[key] :]
        assert {(change.ack, change.fields.get(PLACE)) for change in news} == {(seq, place)}
