"""MongoDB's sink task against a real mongod: what each write does to each document, and what the sink prepares."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo import ASCENDING
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from salmon.errors import ConfigError, SetupError, Unavailable
from salmon.model.change import OWNED_BY_MERGE, SALESFORCE_ID, WriteOp
from salmon.mongodb.config import MongoConfig
from salmon.mongodb.wire.client import connect
from salmon.mongodb.writing.sink import MongoSinkTask
from salmon.plugin.contract import OutcomeKind, SinkRecord
from salmon.sink.dividing import FAILING_MIN_S, TRIES_MIN, Dividing
from support.clock import Clock
from support.mongo import OBJECTS, SCHEMAS, Mongo, NoIdentities, put, write

CREATE, UPDATE, DELETE = WriteOp.CREATE, WriteOp.UPDATE, WriteOp.DELETE
APPLIED, SKIPPED, GONE = OutcomeKind.APPLIED, OutcomeKind.SKIPPED, OutcomeKind.GONE
EXISTS, REFUSED = OutcomeKind.EXISTS, OutcomeKind.REFUSED


@pytest.fixture
def sink(mongo: Mongo) -> Iterator[MongoSinkTask]:
    with mongo.sink(OBJECTS, SCHEMAS, final_after_s=0) as task:
        yield task


def _marked(seq: int, **fields: Any) -> dict[str, Any]:
    return {"_id": "a", **fields, "_salmon": {"seq": seq}}


_UNMARKED = {"_id": "a", "Name": "theirs"}

# What is there; the write; its outcome; the document's Name afterwards (None: there is none), and its marker.
_STORIES: list[tuple[str, dict[str, Any] | None, SinkRecord, OutcomeKind, str | None, int | None]] = [
    ("create anew", None, write("a", CREATE, 5, Name="ours"), APPLIED, "ours", 5),
    ("create again", _marked(5, Name="ours"), write("a", CREATE, 5, Name="ours"), APPLIED, "ours", 5),
    ("create late", _marked(6, Name="newer"), write("a", CREATE, 5, Name="ours"), SKIPPED, "newer", 6),
    ("create over ours", _marked(4, Name="old", Phone="1"), write("a", CREATE, 5, Name="x"), APPLIED, "x", 5),
    ("create over theirs", _UNMARKED, write("a", CREATE, 5, Name="ours"), EXISTS, "theirs", None),
    ("update", _marked(4, Name="old"), write("a", UPDATE, 5, 4, Name="ours"), APPLIED, "ours", 5),
    ("update again", _marked(5, Name="ours"), write("a", UPDATE, 5, 4, Name="ours"), APPLIED, "ours", 5),
    ("update late", _marked(6, Name="newer"), write("a", UPDATE, 5, 4, Name="ours"), SKIPPED, "newer", 6),
    ("update theirs, known", _UNMARKED, write("a", UPDATE, 5, 0, Name="ours"), APPLIED, "ours", 5),
    ("update another life", _UNMARKED, write("a", UPDATE, 5, 4, Name="ours"), EXISTS, "theirs", None),
    ("update ours, untold", _marked(4, Name="old"), write("a", UPDATE, 5, 0, Name="x"), APPLIED, "x", 5),
    ("update nothing", None, write("a", UPDATE, 5, 4, Name="ours"), GONE, None, None),
    ("delete", _marked(4, Name="old"), write("a", DELETE, 5, 4), APPLIED, None, None),
    ("delete newer than known", _marked(4, Name="old"), write("a", DELETE, 5, 3), APPLIED, None, None),
    ("delete theirs, known", _UNMARKED, write("a", DELETE, 5, 0), APPLIED, None, None),
    ("delete another life", _UNMARKED, write("a", DELETE, 5, 4), EXISTS, "theirs", None),
    ("delete a restored copy", _marked(2, Name="old"), write("a", DELETE, 5, 4), EXISTS, "old", 2),
    ("delete late", _marked(6, Name="newer"), write("a", DELETE, 5, 4), SKIPPED, "newer", 6),
    ("delete nothing", None, write("a", DELETE, 5, 4), GONE, None, None),
]


@pytest.mark.parametrize(
    ("there", "record", "outcome", "name", "marker"),
    [story[1:] for story in _STORIES],
    ids=[story[0] for story in _STORIES],
)
def test_the_guard(
    mongo: Mongo,
    sink: MongoSinkTask,
    there: dict[str, Any] | None,
    record: SinkRecord,
    outcome: OutcomeKind,
    name: str | None,
    marker: int | None,
) -> None:
    """Nothing is created, overwritten or deleted that nobody of ours has read, and nothing older goes over newer."""
    if there is not None:
        mongo.accounts.insert_one(there)
    assert put(sink, record)[0].kind is outcome
    document = mongo.accounts.find_one({"_id": "a"}) or {}
    assert (document.get("Name"), document.get("_salmon", {}).get("seq")) == (name, marker)


@pytest.mark.parametrize(
    "odd", ["text", 5, None, [], [{"seq": 9}], {"seq": 1e12}, {"seq": [9]}, {"seq": Int64(2**62)}], ids=str
)
def test_a_marker_that_somebody_broke_does_not_keep_our_writes_away(
    mongo: Mongo, sink: MongoSinkTask, odd: Any
) -> None:
    """It is taken away, and the write, put again as its outcome says, applies; what else the document has, stays."""
    mongo.accounts.insert_many([{"_id": i, "Phone": "1", "_salmon": odd} for i in "ab"])
    records = [write("a", UPDATE, 5, 0, Name="ours"), write("b", DELETE, 5, 0)]
    again = [
        record
        for record, outcome in zip(records, put(sink, *records), strict=True)
        if outcome.kind is not APPLIED
    ]
    assert records[0] in again, "the guard cannot judge such a marker"
    assert {outcome.kind for outcome in put(sink, *again)} == {APPLIED}
    assert list(mongo.accounts.find()) == [{"_id": "a", "Name": "ours", "Phone": "1", "_salmon": {"seq": 5}}]


def test_a_create_onto_a_document_of_ours_clears_what_it_does_not_say(
    mongo: Mongo, sink: MongoSinkTask
) -> None:
    """It is the whole record; an application's own fields stay."""
    mongo.accounts.insert_one(_marked(4, Phone="1", basket=[1]))
    put(sink, write("a", CREATE, 5, own={SALESFORCE_ID: "001"}, Name="ours"))
    assert mongo.accounts.find_one() == {
        "_id": "a",
        "Name": "ours",
        "basket": [1],
        "_salmon": {"seq": 5, "salesforce_id": "001"},
    }


@pytest.mark.parametrize(("made_by", "phone"), [(4, "a user's"), (3, None)], ids=["on its way", "older"])
def test_a_create_onto_what_an_earlier_one_has_made_leaves_a_users_edit(
    mongo: Mongo, sink: MongoSinkTask, made_by: int, phone: str | None
) -> None:
    """It changes only the fields in which the two differ; a document that none of them has made, it sets as a whole."""
    mongo.accounts.insert_one(_marked(made_by, Name="old", Phone="a user's"))
    creation = write("a", CREATE, 5, 4, own={SALESFORCE_ID: "001"}, Name="new")
    differs = frozenset({"Name", *OWNED_BY_MERGE})
    put(sink, replace(creation, write=replace(creation.write, differs=differs)))
    document = mongo.accounts.find_one() or {}
    assert (document["Name"], document.get("Phone")) == ("new", phone)
    assert document["_salmon"] == {"seq": 5, "salesforce_id": "001"}


def test_outcomes_are_told_one_by_one_however_a_batch_turns_out(mongo: Mongo, sink: MongoSinkTask) -> None:
    """Of one unordered bulk write some apply, some do not: each write hears its own outcome, in order."""
    mongo.accounts.create_index([("Phone", ASCENDING)], unique=True, sparse=True)
    there: list[dict[str, Any]] = [{"_id": "theirs"}, {"_id": "newer", "_salmon": {"seq": 9}}]
    there += [{"_id": "kept", "Phone": "1"}]
    there += [{"_id": f"{kind}{n}", "_salmon": {"seq": 1}} for kind in ("u", "d") for n in range(3)]
    mongo.accounts.insert_many(there)
    records = [
        write("new", CREATE, 5, Name="x"),
        write("theirs", CREATE, 5, Name="x"),
        write("newer", CREATE, 5, Name="x"),
        write("taken", CREATE, 5, Phone="1", Name="x"),
        write("u0", UPDATE, 5, 1, Name="x"),
        write("missing", UPDATE, 5, 1, Name="x"),
        write("u1", UPDATE, 5, 1, Phone="1", Name="x"),
        write("d0", DELETE, 5, 1),
        write("d1", DELETE, 5, 2),
        write("$nope", UPDATE, 5, 1, Name="x"),
    ]
    outcomes = put(sink, *records)
    assert [told.kind for told in outcomes] == [
        APPLIED,
        EXISTS,
        SKIPPED,
        REFUSED,
        APPLIED,
        GONE,
        REFUSED,
        APPLIED,
        EXISTS,
        REFUSED,
    ]
    for told in (outcomes[3], outcomes[6]):
        assert (told.code, told.fields) == ("DuplicateKey", frozenset({"Phone"}))
        assert '"1"' not in told.reason
    assert outcomes[9].code == "BadRecordKey"
    assert [told.kind for told in put(sink, *records[:9])] == [
        APPLIED,
        EXISTS,
        SKIPPED,
        REFUSED,
        APPLIED,
        GONE,
        REFUSED,
        GONE,
        EXISTS,
    ], "put again, as after a crash: only the delete that is done now is not there"


def test_a_validator_of_the_applications_own_refuses_and_names_the_field(
    mongo: Mongo, sink: MongoSinkTask
) -> None:
    """validationAction error, set by somebody else: that write is refused for good, the others go on."""
    schema = {"properties": {"Name": {"bsonType": "string", "maxLength": 3}}}
    mongo.database.command(
        "collMod",
        "accounts",
        validator={"$jsonSchema": schema},
        validationLevel="strict",
        validationAction="error",
    )
    refused, applied = put(sink, write("a", CREATE, 5, Name="too long"), write("b", CREATE, 5, Name="ok"))
    assert (refused.kind, refused.code, refused.fields) == (
        REFUSED,
        "DocumentValidationFailure",
        frozenset({"Name"}),
    )
    assert applied.kind is APPLIED


@pytest.mark.parametrize(
    ("validator", "named"),
    [
        ({"Phone": {"$in": ["1", "2"]}}, ("Phone",)),
        ({"Phone": {"$regex": "^[0-9]+$"}, "Employees": {"$lt": 5}}, ("Phone", "Employees")),
        ({"$or": [{"Phone": "1"}, {"Employees": {"$exists": False}}]}, ("Phone", "Employees")),
        ({"$nor": [{"Employees": 7}]}, ("Employees",)),
        ({"Employees": {"$not": {"$gt": 5}}}, ("Employees",)),
        ({"$expr": {"$lt": ["$Employees", 5]}}, ("Employees",)),
        ({"$jsonSchema": {"allOf": [{"properties": {"Phone": {"enum": ["1"]}}}]}}, ("Phone",)),
        ({"$jsonSchema": {"anyOf": [{"properties": {"Phone": {"enum": ["1"]}}}]}}, ("Phone",)),
        (
            {"$and": [{"$jsonSchema": {"properties": {"Phone": {"maxLength": 1}}}}, {"Name": "ok"}]},
            ("Phone",),
        ),
        ({"$jsonSchema": {"patternProperties": {"^Ph": {"maxLength": 1}}}}, ("Phone",)),
        ({"$jsonSchema": {"dependencies": {"Phone": ["Fax"]}}}, ("Phone",)),
        (
            {
                "$jsonSchema": {
                    "properties": {n: {} for n in ("_id", "_salmon", "Name", "Phone")},
                    "additionalProperties": False,
                }
            },
            ("Employees",),
        ),
    ],
    ids=str,
)
def test_whatever_a_validator_is_made_of_the_properties_that_it_does_not_accept_are_named(
    mongo: Mongo, sink: MongoSinkTask, validator: dict[str, Any], named: tuple[str, ...]
) -> None:
    """So the rest of the record goes on without them; the reason names them and says who does not accept them."""
    mongo.database.command("collMod", "accounts", validator=validator, validationAction="error")
    (refused,) = put(sink, write("a", CREATE, 5, Name="ok", Phone="x ray", Employees=7))
    assert (refused.kind, set(refused.fields)) == (REFUSED, set(named))
    assert refused.reason.startswith("A validator of the collection does not accept ")
    assert all(name in refused.reason for name in named)
    assert "x ray" not in refused.reason


def test_a_property_that_a_validator_requires_is_named_though_the_write_does_not_have_it(
    mongo: Mongo, sink: MongoSinkTask
) -> None:
    """The whole record waits, and the reason says for what."""
    mongo.database.command(
        "collMod", "accounts", validator={"$jsonSchema": {"required": ["Site"]}}, validationAction="error"
    )
    (refused,) = put(sink, write("a", CREATE, 5, Name="ok"))
    assert (refused.fields, refused.reason) == (
        frozenset(),
        "A validator of the collection does not accept Site.",
    )


def test_a_document_beyond_16_mb_is_refused_and_the_others_of_its_batch_are_written(
    mongo: Mongo, sink: MongoSinkTask
) -> None:
    """PyMongo or the server refuses it; neither says so of one write alone."""
    mongo.accounts.insert_one(_marked(1, attachment="x" * (16 * 1024 * 1024 - 1000)))
    outcomes = put(
        sink,
        write("b", CREATE, 5, Name="ok"),
        write("huge", CREATE, 5, Name="x" * (17 * 1024 * 1024)),
        write("a", UPDATE, 5, 1, Name="x" * 2000),
    )
    assert [told.kind for told in outcomes] == [APPLIED, REFUSED, REFUSED]
    assert outcomes[2].code == "BSONObjectTooLarge"


def test_references_and_keys_keep_the_type_of_the_ids(mongo: Mongo, sink: MongoSinkTask) -> None:
    """A parent that was born in MongoDB has an ObjectId: $lookup finds it."""
    oid = ObjectId()
    mongo.accounts.insert_one({"_id": oid, "Name": "parent"})
    child = write(f"$oid:{ObjectId()}", CREATE, 5, ParentId=f"$oid:{oid}")
    assert put(sink, child)[0].kind is APPLIED
    lookup = {"from": "accounts", "localField": "ParentId", "foreignField": "_id", "as": "parent"}
    found = list(mongo.accounts.aggregate([{"$match": {"ParentId": oid}}, {"$lookup": lookup}]))
    assert found[0]["parent"][0]["Name"] == "parent"


def test_two_threads_may_put_at_once(mongo: Mongo, sink: MongoSinkTask) -> None:
    """Different keys; every write applies once."""
    batches = [[write(f"{t}-{n}", CREATE, n + 1, Name="x") for n in range(500)] for t in range(2)]
    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(lambda batch: put(sink, *batch), batches))
    assert {told.kind for some in outcomes for told in some} == {APPLIED}
    assert mongo.accounts.count_documents({}) == 1000


# What is prepared.


def test_the_sink_makes_collections_with_validators_and_indexes_once(
    mongo: Mongo, sink: MongoSinkTask
) -> None:
    """A second start changes nothing; a document that does not fit is warned of and never blocked."""

    def prepared() -> list[Any]:
        infos = sorted(mongo.database.list_collections(), key=lambda info: str(info["name"]))
        return [
            (info["name"], info["options"], mongo.database[info["name"]].index_information())
            for info in infos
        ]

    before = prepared()
    sink.start(SCHEMAS, NoIdentities(), clean=False)
    assert prepared() == before
    (accounts, options, indexes), (contacts, _, of_contacts) = before
    assert (accounts, contacts) == ("accounts", "contacts")
    assert (options["validationAction"], options["validationLevel"]) == ("warn", "moderate")
    assert indexes.keys() == {"_id_", "salmon_ParentId", "salmon_salesforce_id"}
    assert of_contacts.keys() == {"_id_", "salmon_AccountId", "salmon_salesforce_id"}
    mongo.accounts.insert_one({"_id": 1, "Name": 5})
    fitting = {"_id": 2, "Name": "x", "ParentId": ObjectId(), "Interests": ["a"], "_salmon": {"seq": 1}}
    mongo.accounts.insert_one(fitting)
    assert [document["_id"] for document in mongo.accounts.find(options["validator"])] == [2]


def test_a_validator_and_an_index_of_the_applications_own_are_left_alone(mongo: Mongo) -> None:
    """They know what they want of their documents."""
    mongo.database.create_collection("accounts", validator={"Name": {"$exists": True}})
    mongo.accounts.create_index([("ParentId", ASCENDING)], name="theirs")
    task = MongoSinkTask(mongo.config, OBJECTS, "test")
    task.start(SCHEMAS, NoIdentities(), clean=True)
    task.close()
    options = next(iter(mongo.database.list_collections(filter={"name": "accounts"})))["options"]
    assert options["validator"] == {"Name": {"$exists": True}}
    assert mongo.accounts.index_information().keys() == {"_id_", "theirs", "salmon_salesforce_id"}


# What cannot work.


def test_a_sink_that_was_stopped_takes_nothing(sink: MongoSinkTask) -> None:
    """Nothing is known of such writes, so they are put again, elsewhere."""
    sink.stop()
    sink.stop()
    with pytest.raises(Unavailable):
        put(sink, write("a", CREATE, 5))


def test_a_server_that_does_not_answer_is_told_with_the_key_and_the_mend() -> None:
    """It may be an outage, so it may be tried again; whoever gives up has a sentence to show."""
    config = MongoConfig.model_validate(
        {"uri": "mongodb://user:secret@127.0.0.1:9/?serverSelectionTimeoutMS=200", "database": "crm"}
    )
    with pytest.raises(Unavailable, match=r"mongodb\.uri: none of 127\.0\.0\.1:9 answered") as told:
        connect(config, app="test")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://",
        "mongodb://user:se/cret@host",
        "mongodb://host:port",
        "mongodb://host/?tlsCAFile=/nowhere.pem",
    ],
)
def test_a_connection_string_that_cannot_be_read_is_told_without_its_password(uri: str) -> None:
    """PyMongo's own message would quote parts of it."""
    config = MongoConfig.model_validate({"uri": uri, "database": "crm"})
    with pytest.raises(ConfigError, match=r"mongodb\.uri") as told:
        connect(config, app="test")
    assert "cret" not in str(told.value)


def test_a_collection_that_mongodb_refuses_keeps_no_other_waiting(mongo: Mongo) -> None:
    """A view has its name, so it cannot be written; when it is a collection again, the same write goes through (case V10)."""
    mongo.database.create_collection("accounts", viewOn="elsewhere", pipeline=[])
    task = MongoSinkTask(mongo.config, OBJECTS, "test")
    task.start(SCHEMAS, NoIdentities(), clean=True)
    records = [write("a", CREATE, 5, Name="A"), SinkRecord("Contact", "c", write("c", CREATE, 5).write)]
    assert [each.kind for each in task.put(records)] == [OutcomeKind.RETRY_LATER, APPLIED]
    (waits,) = task.waiting()
    assert waits.object == "Account"
    assert "objects.Account: " in waits.sentence
    mongo.database.drop_collection("accounts")
    assert [each.kind for each in task.put(records[:1])] == [APPLIED]
    assert task.waiting() == []
    task.close()


def test_where_mongodb_refuses_every_collection_a_person_has_to_act(mongo: Mongo) -> None:
    """Nothing goes on that could be kept going (case V10)."""
    for name in ("accounts", "contacts"):
        mongo.database.create_collection(name, viewOn="elsewhere", pipeline=[])
    task = MongoSinkTask(mongo.config, OBJECTS, "test")
    with pytest.raises(SetupError):
        task.start(SCHEMAS, NoIdentities(), clean=True)
    task.close()


def test_a_document_that_makes_each_bulk_write_fail_with_an_unknown_code_holds_up_no_other(
    mongo: Mongo, sink: MongoSinkTask, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """The whole call fails with a code that nobody knows: the others are written, and that one waits by itself."""
    really = Collection.bulk_write

    def bulk_write(self: Any, requests: Any, **options: Any) -> Any:
        if any("poison" in str(request) for request in requests):
            raise OperationFailure("something of the server's own", code=99_999)
        return really(self, requests, **options)

    monkeypatch.setattr(Collection, "bulk_write", bulk_write)
    records = [write(f"k{i:02}", CREATE, 5, Name="poison" if i == 17 else "fine") for i in range(40)]
    dividing = Dividing(sink, rng=random.Random(2), clock=clock)
    for _ in range(TRIES_MIN - 1):
        with pytest.raises(Unavailable):
            dividing.put(records)
        clock.now_s += FAILING_MIN_S
    kinds = [outcome.kind for outcome in dividing.put(records)]
    assert [i for i, kind in enumerate(kinds) if kind is not APPLIED] == [17]
    assert kinds[17] is OutcomeKind.RETRY_LATER
    assert mongo.accounts.count_documents({}) == 39
    assert [dividing.put([records[17]])[0].kind for _ in range(2)][-1] is OutcomeKind.DEFERRED
    monkeypatch.undo()
    assert dividing.put([records[17]])[0].kind is APPLIED
