"""What MongoDB's stream has passed by, while it was not synced, is read anew once it is: against a real mongod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from salmon.model.change import SINCE, Op
from support.mongo import OBJECTS, SCHEMAS, Log, Mongo, Schemas, Synced, read_signal

CONTACTS = {"Contact": OBJECTS["Contact"]}


def synced(
    mongo: Mongo, log: Log, objects: Mapping[str, Synced] = OBJECTS, schemas: Schemas = SCHEMAS
) -> list[tuple[str, Op]]:
    """What a source that is configured so tells, until all is read and its place is stored."""
    log.records.clear()
    task = mongo.source(objects, schemas)
    log.begin(task)
    log.poll(task)
    log.until_read(task)
    task.stop()
    task.close()
    return [(record.key, record.change.op) for record in log.records]


def without(field: str) -> Schemas:
    """The schemas, with a field of Account left out of the sync."""
    account = SCHEMAS["Account"]
    fields = tuple(each for each in account.fields if each.name != field)
    return {**SCHEMAS, "Account": replace(account, fields=fields)}


def test_a_field_that_is_added_has_its_collection_read_anew(mongo: Mongo) -> None:
    """Once: and what is taken out needs no reading."""
    mongo.accounts.insert_one({"_id": "a", "Phone": "1"})
    mongo.contacts.insert_one({"_id": "c"})
    log = Log()
    assert synced(mongo, log) == [("a", Op.ROW), ("c", Op.ROW)]
    assert synced(mongo, log, schemas=without("Phone")) == []
    assert synced(mongo, log) == [("a", Op.ROW)]
    assert synced(mongo, log) == []


def test_an_object_that_is_put_back_is_read_anew(mongo: Mongo) -> None:
    """Its events have passed by for nobody knows how long."""
    log = Log()
    synced(mongo, log)
    synced(mongo, log, CONTACTS)
    mongo.accounts.insert_one({"_id": "a"})
    mongo.contacts.insert_one({"_id": "c"})
    task = mongo.source(CONTACTS)
    log.begin(task)
    log.until(task, lambda log: bool(log.of("c")))
    task.close()
    assert synced(mongo, log) == [("a", Op.ROW)]


def test_an_object_that_gets_another_collection_is_read_from_there(mongo: Mongo) -> None:
    """What was told was of other documents."""
    mongo.accounts.insert_one({"_id": "a"})
    mongo.database["firms"].insert_one({"_id": "f"})
    log = Log()
    assert synced(mongo, log) == [("a", Op.ROW)]
    assert synced(mongo, log, {**OBJECTS, "Account": Synced("firms")}) == [("f", Op.ROW)]


def test_a_document_that_another_collection_lacks_is_not_told_as_deleted(mongo: Mongo) -> None:
    """
    The look that does not find it says since when the object has the collection, and what was copied, changed and deleted there
    before that is read, and not told as news.
    """
    mongo.accounts.insert_many([{"_id": "a"}, {"_id": "b"}, {"_id": "gone"}])
    log = Log()
    synced(mongo, log)
    firms = mongo.database["firms"]
    firms.insert_many([{"_id": "a", "Name": "copied"}, {"_id": "gone"}])
    firms.delete_one({"_id": "gone"})
    log.records.clear()
    task = mongo.source({**OBJECTS, "Account": Synced("firms")})
    log.begin(task)
    task.request(read_signal(1, "b", "gone"))
    log.until_read(task)
    log.until(task, lambda log: 1 in log.answered and bool(log.of("a")))
    assert set(log.ops("a")) == {Op.ROW}
    for key in ("b", "gone"):
        assert set(log.ops(key)) == {Op.ABSENT}
        assert all(change.source[SINCE].split("\0")[1:] == ["firms"] for change in log.of(key))
    firms.delete_one({"_id": "a"})
    log.until(task, lambda log: log.ops("a")[-1] is Op.DELETE)
    task.close()


def test_who_deletes_a_document_of_the_new_collection_deletes_it(mongo: Mongo) -> None:
    """Before it was read there, too: the event proves that it was there."""
    mongo.accounts.insert_one({"_id": "a"})
    log = Log()
    synced(mongo, log)
    firms = mongo.database["firms"]
    firms.insert_one({"_id": "a"})
    log.records.clear()
    task = mongo.source({**OBJECTS, "Account": Synced("firms")})
    log.begin(task)
    firms.delete_one({"_id": "a"})
    log.until(task, lambda log: Op.DELETE in log.ops("a"))
    assert [SINCE in change.source for change in log.of("a") if change.op is Op.ABSENT] in ([], [False])
    task.close()


@pytest.mark.parametrize("how", ["renamed", "dropped"])
def test_a_document_of_a_collection_that_went_away_is_not_told_as_deleted(mongo: Mongo, how: str) -> None:
    """Another collection is there as ever, so no backup was restored."""
    mongo.accounts.insert_many([{"_id": "a"}, {"_id": "b"}])
    mongo.contacts.insert_one({"_id": "c"})
    log = Log()
    synced(mongo, log)
    if how == "renamed":
        mongo.accounts.rename("firms")
    else:
        mongo.accounts.drop()
    mongo.accounts.insert_one({"_id": "a"})
    log.records.clear()
    task = mongo.source()
    log.begin(task)
    log.until(task, lambda log: Op.CREATE in log.ops("a"))
    task.request(read_signal(1, "b"))
    log.until(task, lambda log: 1 in log.answered)
    [absent] = log.of("b")
    assert absent.op is Op.ABSENT
    [created] = [change for change in log.of("a") if change.op is Op.CREATE]
    assert int(absent.source[SINCE].split("\0")[0]) < created.commit_time
    task.close()


def test_an_object_that_is_held_back_is_read_when_it_is_no_more(mongo: Mongo) -> None:
    """Meanwhile neither its documents nor its events are reported, and the other object is."""
    mongo.accounts.insert_one({"_id": "a"})
    log = Log()
    task = mongo.source()
    task.hold({"Account"})
    log.begin(task)
    log.until_read(task)
    mongo.accounts.insert_one({"_id": "b"})
    mongo.contacts.insert_one({"_id": "c"})
    log.until(task, lambda log: bool(log.of("c")))
    task.stop()
    task.close()
    assert {record.key for record in log.records} == {"c"}
    assert sorted(synced(mongo, log)) == [("a", Op.ROW), ("b", Op.ROW)]
