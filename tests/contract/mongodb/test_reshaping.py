"""A change of `transforms` on a collection that has documents, on a real mongod."""

from __future__ import annotations

from typing import Any

from bson.decimal128 import Decimal128

from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.writing.validators import prepare
from salmon.transforms.flow import Cast, Constant, Flow, Transform
from support.mongo import ACCOUNT, Mongo

_PLAIN = DocumentShape(ACCOUNT, frozenset({"Account"}))


def shape(*steps: Any) -> DocumentShape:
    flow = Flow(tuple(Transform("a", step) for step in steps)).bound(ACCOUNT)
    return DocumentShape(ACCOUNT, frozenset({"Account"}), flow=flow)


def test_documents_that_exist_get_constants_and_types_once(mongo: Mongo) -> None:
    """Those of an application's own get no constants; what is of no type is left alone; nothing is done a second time."""
    prepare(mongo.database, "accounts", _PLAIN)
    numbers: list[dict[str, Any]] = [
        {"_id": "a", "Employees": 5, "_salmon": {"seq": 1}},
        {"_id": "b", "Employees": Decimal128("6")},
        {"_id": "c", "Employees": "many", "_salmon": {"seq": 1}},
        {"_id": {"odd": 1}, "Employees": 7},
    ]
    mongo.accounts.insert_many(numbers)
    wanted = shape(Cast({"Employees": "string"}), Constant("source", "crm"))
    prepare(mongo.database, "accounts", wanted)
    found = {str(each["_id"]): each for each in mongo.accounts.find()}
    assert [found[key]["Employees"] for key in "abc"] == ["5", "6", "many"]
    assert [found[key].get("source") for key in "abc"] == ["crm", None, "crm"]
    mongo.accounts.update_one({"_id": "a"}, {"$set": {"Employees": 8}})
    prepare(mongo.database, "accounts", wanted)
    left = mongo.accounts.find_one({"_id": "a"})
    assert left is not None
    assert left["Employees"] == 8, "done once for each change of the configuration"


def test_an_interrupted_change_is_done_at_the_next_start(mongo: Mongo) -> None:
    """Which form the documents have is kept last: before that, nothing counts as done."""
    prepare(mongo.database, "accounts", _PLAIN)
    mongo.accounts.insert_one({"_id": "a", "_salmon": {"seq": 1}})
    for source in ("crm", "erp"):
        prepare(mongo.database, "accounts", shape(Constant("source", source)))
        (found,) = mongo.accounts.find()
        assert found["source"] == source
