"""References into a collection whose collation takes several spellings for one `_id` (case V2), on a real mongod."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.model.change import Op
from salmon.verify.sides import MongoSide
from support.mongo import CONTACT, OBJECTS, Log, Mongo

ANY_CASE = {"locale": "en", "strength": 2}
COLLECTIONS = {name: each.places for name, each in OBJECTS.items()}


def reference(log: Log, key: str) -> Any:
    """What a contact was last reported to refer to."""
    told = log.of(key)
    return told[-1].fields.get("AccountId") if told else None


@pytest.mark.parametrize("strength", [1, 2])
def test_a_reference_has_the_spelling_of_the_document_that_it_means(mongo: Mongo, strength: int) -> None:
    """In rows and in events; where the spelling is the same, and where no document is meant, it stays as it is (case V2)."""
    mongo.database.create_collection("accounts", collation={"locale": "en", "strength": strength})
    mongo.accounts.insert_many([{"_id": "abc"}, {"_id": "Straße"}, {"_id": "$x"}])
    wanted = {
        "same": ("abc", "abc"),
        "upper": ("ABC", "abc"),
        "mixed": ("aBc", "abc"),
        "money": ("$X", "$$x"),
        "nobody": ("abd", "abd"),
        "number": (7, "$int:7"),
    }
    mongo.contacts.insert_many(
        [{"_id": f"row-{name}", "AccountId": ref} for name, (ref, _) in wanted.items()]
    )
    log, task = Log(), mongo.source()
    log.begin(task)
    log.until_read(task)
    assert {name: reference(log, f"row-{name}") for name in wanted} == {
        n: key for n, (_, key) in wanted.items()
    }
    mongo.contacts.insert_many(
        [{"_id": f"new-{name}", "AccountId": ref} for name, (ref, _) in wanted.items()]
    )
    mongo.contacts.update_one({"_id": "row-nobody"}, {"$set": {"AccountId": "ABC"}})
    log.until(task, lambda log: reference(log, "row-nobody") == "abc")
    assert {name: reference(log, f"new-{name}") for name in wanted} == {
        n: key for n, (_, key) in wanted.items()
    }
    task.close()


def test_verify_sees_the_same_reference_as_the_source(mongo: Mongo) -> None:
    """So that the document, which keeps its own spelling, is no difference (case V2)."""
    mongo.database.create_collection("accounts", collation=ANY_CASE)
    mongo.accounts.insert_one({"_id": "abc"})
    mongo.contacts.insert_one({"_id": "c", "AccountId": "ABC"})
    side = MongoSide(mongo.database, COLLECTIONS, CONTACT, {})
    assert side.read(["c"])["c"].fields["AccountId"] == "abc"
    assert [seen.fields["AccountId"] for page in side.pages() for seen in page.records] == ["abc"]


def test_a_child_that_came_first_is_read_again_when_its_parent_comes(mongo: Mongo) -> None:
    """And is then reported with the parent's own spelling, by which it is no longer waiting (case V2)."""
    mongo.database.create_collection("accounts", collation=ANY_CASE)
    log, task = Log(), mongo.source()
    log.begin(task)
    log.until_read(task)
    mongo.contacts.insert_one({"_id": "c", "AccountId": "ABC"})
    log.until(task, lambda log: reference(log, "c") == "ABC")
    mongo.accounts.insert_one({"_id": "abc"})
    log.until(task, lambda log: reference(log, "c") == "abc")
    assert log.ops("c") == [Op.CREATE, Op.ROW]
    task.close()


def test_a_collection_that_is_created_again_has_another_collation(mongo: Mongo) -> None:
    """Asked anew after the old one was dropped, and not before there is a new one (case V2)."""
    mongo.accounts.insert_one({"_id": "abc"})
    log, task = Log(), mongo.source()
    log.begin(task)
    log.until_read(task)
    mongo.contacts.insert_one({"_id": "before", "AccountId": "ABC"})
    log.until(task, lambda log: reference(log, "before") == "ABC")
    mongo.accounts.drop()
    mongo.contacts.insert_one({"_id": "between", "AccountId": "ABC"})
    log.until(task, lambda log: reference(log, "between") == "ABC")
    mongo.database.create_collection("accounts", collation=ANY_CASE)
    mongo.accounts.insert_one({"_id": "abc"})
    mongo.contacts.insert_one({"_id": "after", "AccountId": "ABC"})
    log.until(task, lambda log: {reference(log, key) for key in ("between", "after")} == {"abc"})
    task.close()


def test_without_a_collation_spellings_are_different_documents(mongo: Mongo) -> None:
    """And nothing is looked up."""
    mongo.accounts.insert_many([{"_id": "abc"}, {"_id": "ABC"}])
    mongo.contacts.insert_one({"_id": "c", "AccountId": "ABC"})
    log, task = Log(), mongo.source()
    log.begin(task)
    log.until_read(task)
    assert reference(log, "c") == "ABC"
    task.close()
