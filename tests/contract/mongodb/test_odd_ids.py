"""Documents with `_id`s of the rarest types, on a real mongod: each read of a collection gets past them, and ends."""

from __future__ import annotations

from typing import Any

import pytest
from bson.code import Code
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.raw_bson import RawBSONDocument
from bson.son import SON

from salmon.model.change import Op
from salmon.mongodb.reading.source import MongoSourceTask
from salmon.verify.sides import MongoSide
from support.mongo import SCHEMAS, Log, Mongo, read_signal

_PAGES_MAX = 20  # more than any of these collections has


def _document(element: bytes) -> RawBSONDocument:
    """The document whose `_id` is *element*: a type's byte, the name and the value."""
    return RawBSONDocument((4 + len(element) + 1).to_bytes(4, "little") + element + b"\0")


_CODE_NO_UTF8 = _document(b"\x0d_id\0\x03\0\0\0x\xff\0")
_INNER_NO_UTF8 = _document(b"\x03_id\0\x0f\0\0\0\x02a\0\x03\0\0\0x\xff\0\0")
_SAME_NAME_TWICE = _document(b"\x03_id\0\x13\0\0\0\x10a\0\x01\0\0\0\x10a\0\x02\0\0\0\0")

ODD: dict[str, Any] = {
    "code": {"_id": Code("x")},
    "code with a scope": {"_id": Code("x", {"y": 1})},
    "code that is no UTF-8": _CODE_NO_UTF8,
    "a document with text that is no UTF-8": _INNER_NO_UTF8,
    "a document with a name twice": _SAME_NAME_TWICE,
    "a document": {"_id": SON([("b", 1), ("a", {"c": Code("x")})])},
    "the least": {"_id": MinKey()},
    "the greatest": {"_id": MaxKey()},
    "null": {"_id": None},
    "a reference of an earlier version": _document(b"\x0c_id\0\x02\0\0\0x\0" + b"a" * 12),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_a_snapshot_ends_whatever_the_last_id_of_a_chunk_is(
    mongo: Mongo, source: MongoSourceTask, odd: Any
) -> None:
    """It is set aside once, and what comes after it is read."""
    mongo.accounts.insert_one(odd)
    log = Log()
    log.begin(source)
    log.until_read(source)
    assert len(log.dead_letters) == 1
    told = next(told for told in source.progress() if told.object == "Account")
    assert (told.read, told.done) == (1, True)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_verify_ends_whatever_the_last_id_of_a_page_is(mongo: Mongo, odd: Any) -> None:
    """The document without a key is counted once, and the sound ones are all there."""
    mongo.accounts.insert_many([odd, {"_id": "sound"}, {"_id": 1}])
    side = MongoSide(mongo.database, {"Account": ("accounts",)}, SCHEMAS["Account"], {})
    keys: list[str] = []
    keyless = 0
    after = ""
    for _ in range(_PAGES_MAX):  # as an interrupted reading: each page is the first of a new one
        page = next(side.pages(after), None)
        if page is None:
            break
        after = page.after
        keys += [seen.key for seen in page.records]
        keyless += len(page.keyless)
    else:
        pytest.fail("the reading does not end")
    assert (sorted(keys), keyless) == (["$int:1", "sound"], 1)


def test_documents_that_look_like_references_are_read_as_documents(
    mongo: Mongo, source: MongoSourceTask
) -> None:
    """PyMongo decodes what has `$ref` and `$id` to a DBRef: as an event, as an update, and as a row."""
    log = Log()
    log.begin(source)
    log.until_read(source)
    mongo.accounts.insert_one(SON([("_id", "a"), ("$ref", "x"), ("$id", 1), ("Name", "Acme")]))
    mongo.accounts.insert_one({"_id": "b", "Name": "Umbrella"})
    mongo.accounts.update_one({"_id": "b"}, [{"$replaceWith": _with_field("$ref", "x")}])
    both = {"$setField": {"field": {"$literal": "$id"}, "input": _with_field("$ref", "y"), "value": 1}}
    mongo.accounts.update_one({"_id": "b"}, [{"$replaceWith": both}])
    mongo.accounts.insert_one({"_id": "end"})
    log.until(source, lambda log: bool(log.of("end")))
    assert log.of("a")[0].fields["Name"] == "Acme"
    source.request(read_signal(1, "a", "b"))
    log.until(source, lambda log: Op.ROW in log.ops("b"))
    assert [change.fields["Name"] for key in "ab" for change in log.of(key) if change.op is Op.ROW] == [
        "Acme",
        "Umbrella",
    ]


def _with_field(name: str, value: str) -> dict[str, Any]:
    return {"$setField": {"field": {"$literal": name}, "input": "$$ROOT", "value": value}}
