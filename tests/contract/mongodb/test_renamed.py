"""Fields at paths of their own, both ways, against a real mongod."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salmon.model.change import Op, WriteOp
from salmon.mongodb.reading.source import MongoSourceTask
from salmon.mongodb.writing.sink import MongoSinkTask
from salmon.plugin.contract import OutcomeKind
from support.mongo import SCHEMAS, Log, Mongo, Synced, put, write

PATHS = {"Phone": "contact.phone", "Employees": "contact.size.people", "Name": "title"}
OBJECTS = {"Account": Synced("accounts", paths=PATHS), "Contact": Synced("contacts")}


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def source(mongo: Mongo, log: Log) -> Iterator[MongoSourceTask]:
    """A source that has read all."""
    task = mongo.source(OBJECTS)
    log.begin(task)
    log.until_read(task)
    yield task
    task.stop()
    task.close()


@pytest.fixture
def sink(mongo: Mongo, source: MongoSourceTask) -> Iterator[MongoSinkTask]:
    with mongo.sink(OBJECTS, SCHEMAS, final_after_s=0) as task:
        yield task


def test_both_ways_a_field_is_at_its_path(
    mongo: Mongo, log: Log, source: MongoSourceTask, sink: MongoSinkTask
) -> None:
    """What the sink writes there, the source reads there; what is beside it stays the application's."""
    assert put(sink, write("a", WriteOp.CREATE, 5, Name="Acme", Phone="1"))[0].kind is OutcomeKind.APPLIED
    mongo.accounts.update_one({"_id": "a"}, {"$set": {"contact.fax": "9"}})
    put(sink, write("a", WriteOp.UPDATE, 6, 5, Phone=None, Employees=7))
    document = mongo.accounts.find_one({"_id": "a"})
    assert document is not None
    assert document["contact"] == {"fax": "9", "size": {"people": 7}}
    mongo.accounts.update_one({"_id": "a"}, {"$set": {"contact": {"phone": "2", "size": {"people": 8}}}})
    log.until(source, lambda log: len(log.of("a")) == 3)
    made, ours, whole = log.of("a")
    assert (made.op, made.ack, made.fields["Phone"]) == (Op.CREATE, 5, "1")
    assert (ours.ack, ours.changed, ours.fields) == (6, frozenset({"Phone", "Employees"}), {"Employees": 7})
    assert whole.fields == {"Phone": "2", "Employees": 8}


def test_what_an_application_puts_beside_a_field_is_no_edit_of_it(
    mongo: Mongo, log: Log, source: MongoSourceTask
) -> None:
    """Its own part makes the sub-document, whose event lacks the field: a row shows what is there."""
    mongo.accounts.insert_one({"_id": "a", "title": "Acme", "contact": {"phone": "1"}})
    mongo.accounts.update_one({"_id": "a"}, {"$set": {"contact.size.shoes": 44}})
    mongo.accounts.update_one({"_id": "a"}, {"$unset": {"contact": ""}})
    log.until(source, lambda log: len(log.of("a")) >= 2)
    assert {change.op for change in log.of("a")[1:]} == {Op.ROW}
    assert "Phone" not in log.of("a")[-1].fields


def test_a_missing_or_null_sub_document_is_made(mongo: Mongo, sink: MongoSinkTask) -> None:
    """A null counts as missing, as everywhere."""
    mongo.accounts.insert_many([{"_id": "a"}, {"_id": "b", "contact": {"size": None}}])
    writes = [write(key, WriteOp.UPDATE, 6, Phone="1", Employees=7) for key in "ab"]
    assert [each.kind for each in put(sink, *writes)] == [OutcomeKind.APPLIED, OutcomeKind.RETRY_LATER]
    assert put(sink, writes[1])[0].kind is OutcomeKind.APPLIED
    for document in mongo.accounts.find():
        assert document["contact"] == {"phone": "1", "size": {"people": 7}}


@pytest.mark.parametrize("op", [WriteOp.UPDATE, WriteOp.CREATE])
def test_what_is_in_the_way_is_never_overwritten(mongo: Mongo, sink: MongoSinkTask, op: WriteOp) -> None:
    """The fields within are refused, by name and with what is in their way; other records of the batch are written."""
    put(sink, write("a", WriteOp.CREATE, 5, Name="Acme"))
    mongo.accounts.update_one({"_id": "a"}, {"$set": {"contact": "12 Main Street"}})
    refused, other = put(
        sink, write("a", op, 6, 5, Name="Acme", Phone="1"), write("b", WriteOp.CREATE, 5, Phone="2")
    )
    assert other.kind is OutcomeKind.APPLIED
    assert (refused.kind, refused.fields, refused.code) == (
        OutcomeKind.REFUSED,
        frozenset({"Phone"}),
        "PathNotViable",
    )
    assert refused.reason.startswith(
        "contact.phone (Phone in Salesforce) cannot be stored: contact is of type String"
    )
    assert put(sink, write("a", WriteOp.UPDATE, 7, 5, Name="Acme & Co"))[0].kind is OutcomeKind.APPLIED
    document = mongo.accounts.find_one({"_id": "a"})
    assert document is not None
    assert (document["contact"], document["title"]) == ("12 Main Street", "Acme & Co")


def test_unique_values_within_sub_documents_are_swapped(mongo: Mongo, sink: MongoSinkTask) -> None:
    """A refusal names the field on both sides; a circle is carried out as one."""
    mongo.accounts.create_index("contact.phone", unique=True, sparse=True)
    put(sink, write("a", WriteOp.CREATE, 5, Phone="1"), write("b", WriteOp.CREATE, 5, Phone="2"))
    (refused,) = put(sink, write("a", WriteOp.UPDATE, 6, 5, Phone="2"))
    assert (refused.kind, refused.fields) == (OutcomeKind.REFUSED, frozenset({"Phone"}))
    assert refused.reason.startswith("contact.phone (Phone in Salesforce) must be unique")
    swap = [write("a", WriteOp.UPDATE, 7, 5, Phone="2"), write("b", WriteOp.UPDATE, 7, 5, Phone="1")]
    assert [each.kind for each in put(sink, *swap)] == [OutcomeKind.APPLIED] * 2
    held = {each["_id"]: each["contact"] for each in mongo.accounts.find()}
    assert held == {"a": {"phone": "2"}, "b": {"phone": "1"}}


def test_a_validator_within_a_sub_document_names_the_field(mongo: Mongo, sink: MongoSinkTask) -> None:
    """As the real server describes it: an administrator of the collection allows short numbers alone."""
    rule = {"properties": {"contact": {"properties": {"phone": {"maxLength": 3}}}}}
    mongo.database.command("collMod", "accounts", validator={"$jsonSchema": rule}, validationAction="error")
    (refused,) = put(sink, write("a", WriteOp.CREATE, 5, Name="Acme", Phone="12345"))
    assert (refused.kind, refused.fields) == (OutcomeKind.REFUSED, frozenset({"Phone"}))
    assert "contact.phone (Phone in Salesforce)" in refused.reason


def test_what_stands_in_the_way_is_reported_by_rows_and_events(
    mongo: Mongo, log: Log, source: MongoSourceTask
) -> None:
    """Nothing is taken for cleared, in a row as in an event; each has a dead letter."""
    mongo.accounts.insert_one({"_id": "a", "title": "Acme", "contact": [{"phone": "1"}]})
    log.until(source, lambda log: bool(log.of("a")))
    (made,) = log.of("a")
    assert made.changed is not None
    assert not made.changed & {"Phone", "Employees"}
    assert made.misfits.keys() == {"Phone", "Employees"}
    assert len(log.dead_letters) == 2
    again = Log()
    other = mongo.source(OBJECTS)
    again.begin(other)
    again.until_read(other)
    other.close()
    (row,) = again.of("a")
    assert (row.op, set(row.misfits)) == (Op.ROW, {"Phone", "Employees"})
