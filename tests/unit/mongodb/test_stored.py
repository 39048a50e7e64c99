"""An `_id` in a position is the one that the server sent, byte by byte; and so is each element of a document that is moved."""

from __future__ import annotations

import json
from typing import Any

import bson
import pytest
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from salmon.errors import DataError, Unavailable
from salmon.mongodb.reading.snapshot import Place
from salmon.mongodb.stored import as_document, document_of, elements_of, stored_id

IDS: list[Any] = [
    *(5, 5.5, Int64(5), "x", "", "ä", b"\0", Binary(b"\0" * 16, 4), Binary(b"\1", 2), True, None),
    *(
        DatetimeMS(2**60),
        {"$oid": "none"},
        {},
        [1, [2]],
        ObjectId("65f0c0ffee65f0c0ffee65f0"),
        Timestamp(1, 2),
        Decimal128("0.10"),
    ),
    *(Code("x"), Code("x", {}), Code("x", {"y": Code("z", {"a": 1})}), MinKey(), MaxKey()),
]
# Types that PyMongo cannot write: undefined, symbol, DBPointer, text and code that are no UTF-8, a name that is there twice.
ELEMENTS = [
    b"\x06_id\0",
    b"\x0e_id\0\x02\0\0\0x\0",
    b"\x0c_id\0\x02\0\0\0x\0" + b"a" * 12,
    b"\x02_id\0\x03\0\0\0x\xff\0",
    b"\x0d_id\0\x03\0\0\0x\xff\0",
    b"\x03_id\0\x13\0\0\0\x10a\0\x01\0\0\0\x10a\0\x02\0\0\0\0",
]
_MORE = bson.encode({"Name": "Acme"})[4:-1]


def _document(elements: bytes) -> bytes:
    return (4 + len(elements) + 1).to_bytes(4, "little") + elements + b"\0"


@pytest.mark.parametrize("element", [*(bson.encode({"_id": one})[4:-1] for one in IDS), *ELEMENTS], ids=repr)
def test_an_id_of_any_type_is_taken_from_its_document_as_it_is(element: bytes) -> None:
    """5 and 5.0, or text and code, are different places to continue after; the position is JSON."""
    taken = stored_id(_document(element + _MORE))
    assert taken == stored_id(_document(element)) == _document(element)
    assert as_document(taken).raw == _document(element)
    assert as_document(taken, "$ne").raw == _document(element.replace(b"_id\0", b"$ne\0", 1))
    place = Place(after=taken, read=3, total=9, again=True, signals=(4,), covers=frozenset({"accounts.Name"}))
    assert Place.of(json.loads(json.dumps(place.position()))) == place


@pytest.mark.parametrize("element", [*(bson.encode({"_id": one})[4:-1] for one in IDS), *ELEMENTS], ids=repr)
def test_a_document_is_cut_into_elements_as_it_is_stored(element: bytes) -> None:
    """Of each type, a pattern among them, whatever follows; put together again they are the document."""
    pattern = bson.encode({"like": Regex("a.*", "im")})[4:-1]
    cut = list(elements_of(_document(element + pattern + _MORE)))
    assert cut == [("_id", element), ("like", pattern), ("Name", _MORE)]
    assert document_of(b"".join(each for _, each in cut)) == _document(element + pattern + _MORE)


def test_an_element_of_an_unknown_type_is_not_guessed_at() -> None:
    """Where it ends is not known, so nothing is taken of the document."""
    with pytest.raises(DataError, match="0x7e"):
        list(elements_of(_document(_MORE + b"\x7ex\0")))


def test_a_document_that_does_not_begin_with_its_id_is_an_error() -> None:
    """Nothing is taken from the wrong place."""
    for elements in (b"", _MORE, b"\x7e_id\0"):
        with pytest.raises(Unavailable):
            stored_id(_document(elements))
