"""Unique indexes against a real mongod: what waits for another document's write, what is swapped, what is final."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from pymongo import ASCENDING

from salmon.model.change import OWNED_BY_MERGE, Op, Write, WriteOp
from salmon.mongodb.writing.sink import MongoSinkTask
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from support.clock import Clock
from support.mongo import OBJECTS, SCHEMAS, Log, Mongo, put, write

CREATE, UPDATE, DELETE = WriteOp.CREATE, WriteOp.UPDATE, WriteOp.DELETE
APPLIED, REFUSED, LATER = OutcomeKind.APPLIED, OutcomeKind.REFUSED, OutcomeKind.RETRY_LATER


@pytest.fixture
def sink(mongo: Mongo, clock: Clock) -> Iterator[MongoSinkTask]:
    with mongo.sink(OBJECTS, SCHEMAS, clock=clock) as task:
        yield task


def _kinds(outcomes: list[Outcome]) -> list[OutcomeKind]:
    return [outcome.kind for outcome in outcomes]


def _there(mongo: Mongo, **phones: str) -> None:
    """Documents of ours with these Phones, which are unique."""
    mongo.accounts.create_index([("Phone", ASCENDING)], unique=True)
    mongo.accounts.insert_many(
        {"_id": key, "Name": key, "Phone": phone, "_salmon": {"seq": 1}} for key, phone in phones.items()
    )


def _held(mongo: Mongo, field: str = "Phone") -> Mapping[str, Any]:
    return {each["_id"]: each.get(field) for each in mongo.accounts.find()}


def _owing(sink: MongoSinkTask, *owed: SinkRecord) -> None:
    """What the worker has read besides, and not put yet."""
    writes: dict[tuple[str, str], Write] = {(each.object, each.key): each.write for each in owed}
    sink.look_up(lambda name, key: writes.get((name, key)))


def test_two_accounts_swap_their_numbers(mongo: Mongo, sink: MongoSinkTask) -> None:
    """Each waits for the other's value: both are carried out, and nothing of the way there is left (case L8)."""
    _there(mongo, a="1", b="2")
    told = put(sink, write("a", UPDATE, 5, 1, Phone="2"), write("b", UPDATE, 6, 1, Phone="1", Name="B"))
    assert _kinds(told) == [APPLIED, APPLIED]
    assert list(mongo.accounts.find(sort=[("_id", 1)])) == [
        {"_id": "a", "Name": "a", "Phone": "2", "_salmon": {"seq": 5}},
        {"_id": "b", "Name": "B", "Phone": "1", "_salmon": {"seq": 6}},
    ]


def test_a_creation_that_swaps_changes_only_what_it_speaks_of(mongo: Mongo, sink: MongoSinkTask) -> None:
    """What an application has edited since our earlier creation, and what our writer did not know, stays (cases L6, L8)."""
    _there(mongo, a="1", b="2")
    mongo.accounts.update_one({"_id": "a"}, {"$set": {"Name": "edited", "Website": "new"}})
    again = write("a", CREATE, 5, 1, Phone="2", Name="a")
    known = frozenset({"Name", "Phone", *OWNED_BY_MERGE})
    again = replace(again, write=replace(again.write, knows=known, differs=known - {"Name"}))
    told = put(sink, again, write("b", UPDATE, 6, 1, Phone="1"))
    assert _kinds(told) == [APPLIED, APPLIED]
    assert _held(mongo) == {"a": "2", "b": "1"}
    assert _held(mongo, "Name")["a"] == "edited"
    assert _held(mongo, "Website")["a"] == "new"


def test_numbers_go_round_in_a_circle_of_three_and_one_more_follows(
    mongo: Mongo, sink: MongoSinkTask
) -> None:
    """a to b to c to a, while d wants what only a gives up: all of them get what they want (case L8)."""
    _there(mongo, a="1", b="2", c="3", d="4")
    wanted = {"a": "2", "b": "3", "c": "1", "d": "5"}
    told = put(sink, *(write(key, UPDATE, 5, 1, Phone=phone) for key, phone in wanted.items()))
    assert set(_kinds(told)) == {APPLIED}
    assert _held(mongo) == wanted


def test_a_chain_is_carried_out_in_whatever_order_it_comes(mongo: Mongo, sink: MongoSinkTask) -> None:
    """Each takes the number that the next gives up, and the last one's is free (case L8)."""
    keys = "abcdefgh"
    _there(mongo, **{key: str(n) for n, key in enumerate(keys)})
    told = put(sink, *(write(key, UPDATE, 5, 1, Phone=str(n + 1)) for n, key in enumerate(keys)))
    assert set(_kinds(told)) == {APPLIED}
    assert _held(mongo) == {key: str(n + 1) for n, key in enumerate(keys)}


def test_a_new_document_takes_the_number_of_one_that_is_deleted(mongo: Mongo, sink: MongoSinkTask) -> None:
    """Whichever of the two comes first (case L8)."""
    _there(mongo, a="1")
    told = put(sink, write("b", CREATE, 6, Phone="1"), write("a", DELETE, 5, 1))
    assert _kinds(told) == [APPLIED, APPLIED]
    assert _held(mongo) == {"b": "1"}


def test_a_number_is_waited_for_while_its_holders_write_is_owed(
    mongo: Mongo, sink: MongoSinkTask, clock: Clock
) -> None:
    """However long that takes; only then is the number somebody else's for good (case L8)."""
    _there(mongo, a="1")
    mine, theirs = write("b", CREATE, 6, Phone="1"), write("a", DELETE, 5, 1)
    _owing(sink, theirs)
    for _ in range(3):
        (told,) = put(sink, mine)
        assert told.kind is LATER
        assert told.again_s is not None
        clock.now_s += 3_600
    put(sink, theirs)
    _owing(sink)
    assert _kinds(put(sink, mine)) == [APPLIED]


def test_a_number_that_another_keeps_is_refused_after_a_while_and_both_are_named(
    mongo: Mongo, sink: MongoSinkTask, clock: Clock
) -> None:
    """Nothing is owed to the holder: a person must correct one of the two, and is told which they are (case L8)."""
    _there(mongo, a="1", b="2")
    mine = write("b", UPDATE, 5, 1, Phone="1", Name="B")
    assert _kinds(put(sink, mine)) == [LATER], "what makes the holder give it up may be about to come"
    clock.now_s += 60
    (told,) = put(sink, mine)
    assert (told.kind, told.code, told.fields) == (REFUSED, "DuplicateKey", frozenset({"Phone"}))
    assert told.reason == (
        "Phone must be unique in MongoDB, and the document a has the same value. Correct Phone of one of the two."
    )


def test_a_write_to_the_holder_that_leaves_the_number_alone_is_none_to_wait_for(
    mongo: Mongo, sink: MongoSinkTask, clock: Clock
) -> None:
    """Another field of it, or the very same number: it keeps it (case L8)."""
    _there(mongo, a="1", b="2")
    for seq, owed in enumerate([write("a", UPDATE, 9, 1, Name="A"), write("a", UPDATE, 9, 1, Phone="1")]):
        _owing(sink, owed)
        mine = write("b", UPDATE, 5 + seq, 1, Phone="1")
        put(sink, mine)
        clock.now_s += 60
        assert _kinds(put(sink, mine)) == [REFUSED]


def test_a_circle_is_closed_by_a_write_that_waits_elsewhere(mongo: Mongo, sink: MongoSinkTask) -> None:
    """The other half has been read and not put yet: it is carried out with ours, and its own try finds it done."""
    _there(mongo, a="1", b="2")
    mine, theirs = write("a", UPDATE, 5, 1, Phone="2"), write("b", UPDATE, 6, 1, Phone="1")
    _owing(sink, theirs)
    assert _kinds(put(sink, mine)) == [APPLIED]
    assert _held(mongo) == {"a": "2", "b": "1"}
    assert _kinds(put(sink, theirs)) == [APPLIED]


def test_a_circle_that_a_user_broke_meanwhile_is_left_alone(mongo: Mongo, sink: MongoSinkTask) -> None:
    """The other half no longer applies, since the document carries a newer marker: nothing of ours is left half-done."""
    _there(mongo, a="1", b="2")
    mongo.accounts.update_one({"_id": "b"}, {"$set": {"_salmon.seq": 99}})
    _owing(sink, write("b", UPDATE, 6, 1, Phone="1"))
    assert _kinds(put(sink, write("a", UPDATE, 5, 1, Phone="2"))) == [LATER]
    assert _held(mongo) == {"a": "1", "b": "2"}
    assert mongo.accounts.count_documents({"_salmon.step": {"$exists": True}}) == 0


@pytest.mark.parametrize(
    "index",
    [
        {"keys": [("Phone", 1)], "sparse": True},
        {"keys": [("Phone", 1)], "partialFilterExpression": {"Phone": {"$type": "string"}}},
        {"keys": [("Phone", 1)], "collation": {"locale": "en", "strength": 2}},
        {"keys": [("country", 1), ("Phone", 1)]},
        {"keys": [("Phone", 1), ("Name", 1)]},
    ],
    ids=["sparse", "partial", "without case", "with a field of the application's", "of two synced fields"],
)
def test_every_kind_of_unique_index_lets_a_swap_through(
    mongo: Mongo, sink: MongoSinkTask, index: dict[str, Any]
) -> None:
    """What the index speaks of besides may be anything; a document without any value stands by (case L8)."""
    mongo.accounts.create_index(index.pop("keys"), unique=True, **index)
    mongo.accounts.insert_many(
        [
            {"_id": "a", "Name": "x", "Phone": "one", "country": 1, "_salmon": {"seq": 1}},
            {"_id": "b", "Name": "x", "Phone": "two", "country": 1},
            {"_id": "c", "Name": "x", "country": 1},
        ]
    )
    told = put(sink, write("a", UPDATE, 5, 1, Phone="two"), write("b", UPDATE, 6, 0, Phone="one"))
    assert _kinds(told) == [APPLIED, APPLIED]
    assert _held(mongo) == {"a": "two", "b": "one", "c": None}


def test_two_unique_fields_are_swapped_at_once(mongo: Mongo, sink: MongoSinkTask) -> None:
    """Each of two indexes keeps both writes away (case L8)."""
    _there(mongo, a="1", b="2")
    mongo.accounts.create_index([("Name", ASCENDING)], unique=True)
    told = put(
        sink, write("a", UPDATE, 5, 1, Phone="2", Name="b"), write("b", UPDATE, 6, 1, Phone="1", Name="a")
    )
    assert _kinds(told) == [APPLIED, APPLIED]
    assert _held(mongo) == {"a": "2", "b": "1"}
    assert _held(mongo, "Name") == {"a": "b", "b": "a"}


def test_an_index_of_the_applications_own_refuses_and_names_the_holder(
    mongo: Mongo, sink: MongoSinkTask, clock: Clock
) -> None:
    """We never write `slug`, so a second document without one cannot be made: the first is named (case L8)."""
    mongo.accounts.create_index([("slug", ASCENDING)], unique=True)
    mongo.accounts.insert_one({"_id": "a"})
    mine = write("b", CREATE, 5, Name="b")
    put(sink, mine)
    clock.now_s += 60
    (told,) = put(sink, mine)
    assert (told.kind, told.fields) == (REFUSED, frozenset())
    assert "slug must be unique in MongoDB, and the document a has the same value" in told.reason


def test_the_validator_of_the_collection_does_not_see_the_way_there(
    mongo: Mongo, sink: MongoSinkTask
) -> None:
    """It demands a number of text: what stands there for a moment is nobody's business, what stands there in the end is."""
    schema = {"required": ["Phone"], "properties": {"Phone": {"bsonType": "string"}}}
    mongo.database.command("collMod", "accounts", validator={"$jsonSchema": schema})
    _there(mongo, a="1", b="2")
    told = put(sink, write("a", UPDATE, 5, 1, Phone="2"), write("b", UPDATE, 6, 1, Phone="1"))
    assert _kinds(told) == [APPLIED, APPLIED]


def test_the_source_tells_a_swap_as_the_echoes_of_its_writes_and_nothing_else(
    mongo: Mongo, sink: MongoSinkTask
) -> None:
    """The steps on the way there are in the change stream, and are no edits: one event of each, with its ack (case L8)."""
    _there(mongo, a="1", b="2")
    mongo.accounts.insert_one({"_id": "end", "Phone": "3"})
    log, source = Log(), mongo.source()
    log.begin(source)
    log.until_read(source)
    log.records.clear()
    put(sink, write("a", UPDATE, 5, 1, Phone="2"), write("b", UPDATE, 6, 1, Phone="1"))
    mongo.accounts.delete_one({"_id": "end"})
    log.until(source, lambda log: Op.DELETE in log.ops("end"))
    source.stop()
    for key, seq, phone in (("a", 5, "2"), ("b", 6, "1")):
        told = [(each.op, each.ack, each.changed, dict(each.fields)) for each in log.of(key)]
        assert told == [(Op.UPDATE, seq, frozenset({"Phone"}), {"Phone": phone})]
