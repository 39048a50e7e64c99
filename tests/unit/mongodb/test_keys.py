"""Keys: every `_id` has a key of its own, and comes back from it; a number by its value."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import bson
import pytest
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from salmon.errors import BadRecordKey
from salmon.mongodb.keys import id_of, key_of, keys_of_untyped, why_no_key
from salmon.mongodb.wire.client import CODEC

_UUID = UUID("6f9619ff-8b86-d011-b42d-00cf4fc964ff")

_KEYS = [
    ("001000000000001AAA", "001000000000001AAA"),
    ("$x", "$$x"),
    ("$$x", "$$$x"),
    ("$oid:65f000000000000000000001", "$$oid:65f000000000000000000001"),
    (ObjectId("65f000000000000000000001"), "$oid:65f000000000000000000001"),
    (5, "$int:5"),
    (-5, "$int:-5"),
    (2**40, f"$long:{2**40}"),
    (5.5, "$double:5.5"),
    (0.1, "$double:0.1"),
    (float("inf"), "$double:inf"),
    (Decimal128("0.1"), "$dec:0.1"),
    (True, "$bool:true"),
    (datetime(2026, 1, 2, tzinfo=UTC), "$date:1767312000000"),
    (DatetimeMS(2**50), f"$date:{2**50}"),
    (Timestamp(7, 3), "$ts:7:3"),
    (Binary(_UUID.bytes, 4), f"$uuid:{_UUID}"),
    (Binary(_UUID.bytes, 3), "$bin:3:b5YZ/4uG0BG0LQDPT8lk/w=="),
    (b"\x00\xff", "$bin:0:AP8="),
]


def _as_stored(value: Any) -> bytes:
    """The type and value that BSON keeps: 5, Int64(5) and 5.0 differ here, though not for Python."""
    return bson.encode({"_id": value})


@pytest.mark.parametrize(("document_id", "key"), _KEYS, ids=[key for _, key in _KEYS])
def test_an_id_has_its_key_and_comes_back_in_its_own_type(document_id: Any, key: str) -> None:
    """The key is what the page of the module says, and the way back loses nothing."""
    assert key_of(document_id) == key
    assert _as_stored(id_of(key)) == _as_stored(document_id)


@pytest.mark.parametrize(
    "alike",
    [
        (7, Int64(7), 7.0, Decimal128("7"), Decimal128("7.00"), Decimal128("70E-1")),
        (0, Int64(0), -0.0, Decimal128("-0")),
        (Decimal128("10"), Decimal128("10.0"), 10),
        (2**40, Int64(2**40), float(2**40), Decimal128(str(2**40))),
        (1e20, Decimal128("1E20")),
        (5.5, Decimal128("5.50")),
        (float("nan"), Decimal128("NaN"), Decimal128("-NaN")),
        (float("-inf"), Decimal128("-Infinity")),
        (Decimal128("0.1"), Decimal128("0.10")),
    ],
    ids=str,
)
def test_numbers_that_mongodb_calls_equal_have_one_key(alike: tuple[Any, ...]) -> None:
    """An account of `_id: 7` and a contact that refers to Int64(7) or 7.0 are linked (case V2)."""
    assert len({key_of(number) for number in alike}) == 1


@pytest.mark.parametrize(
    "unlike",
    [
        (0.1, Decimal128("0.1")),
        (2**53 + 1, float(2**53)),
        (1, True),
        (7, "7"),
        (Int64(2**62), 2.0**62 + 1024),
    ],
    ids=str,
)
def test_numbers_that_mongodb_tells_apart_have_two_keys(unlike: tuple[Any, Any]) -> None:
    """The double 0.1 is a little more than a tenth, and 2^53 + 1 is no double at all: both may be in one collection."""
    assert key_of(unlike[0]) != key_of(unlike[1])


@pytest.mark.parametrize(
    ("key", "document_id"),
    [("$long:7", Int64(7)), ("$double:7.0", 7.0), ("$dec:7.00", Decimal128("7.00"))],
)
def test_a_key_that_an_earlier_version_wrote_still_finds_its_document(key: str, document_id: Any) -> None:
    """Keys are stored in Kafka and in the org: what asks for one of them must not be told that the record is gone."""
    assert _as_stored(id_of(key)) == _as_stored(document_id)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("7", "$int:7"),
        ("7.0", "$int:7"),
        ("5000000000", "$long:5000000000"),
        ("0.1", "$dec:0.1"),
        ("0.1", "$double:0.1"),
        ("65f000000000000000000001", "$oid:65f000000000000000000001"),
        ('{"$oid": "65f000000000000000000001"}', "$oid:65f000000000000000000001"),
        ('{"$numberDecimal": "7.0"}', "$int:7"),
        ('{"$date": {"$numberLong": "99999999999999999"}}', "$date:99999999999999999"),
        ('{"$binary": {"base64": "aGk=", "subType": "03"}}', "$bin:3:aGk="),
        ('{"$timestamp": {"t": 1, "i": 2}}', "$ts:1:2"),
        ('{"a": ' * 5_000, '${"a": ' + '{"a": ' * 4_999),
    ],
)
def test_a_person_need_not_know_the_tag_of_a_key(text: str, key: str) -> None:
    """An `_id` as a shell shows it is found whatever the type of its number (case V2)."""
    assert key in keys_of_untyped(text)


_numbers = st.one_of(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(allow_nan=False),
    st.decimals(allow_nan=False, places=3, min_value=-(10**12), max_value=10**12).map(Decimal128),
)


@given(first=_numbers, second=_numbers)
def test_two_numbers_share_a_key_exactly_if_they_are_equal(first: Any, second: Any) -> None:
    """Equal to the last digit, as MongoDB compares them; and what comes back from the key is that number."""
    keys = [key_of(number) for number in (first, second)]
    assert (keys[0] == keys[1]) == (_exactly(first) == _exactly(second))
    assert [_exactly(id_of(key)) for key in keys] == [_exactly(first), _exactly(second)]
    assert [key_of(id_of(key)) for key in keys] == keys


def _exactly(number: Any) -> Decimal:
    return number.to_decimal() if isinstance(number, Decimal128) else Decimal(number)


_ids = st.one_of(
    st.text(min_size=1, max_size=60),
    st.integers(-(2**31), 2**31 - 1),
    st.booleans(),
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda raw: Binary(raw, 128)),
    st.uuids().map(lambda uuid: Binary(uuid.bytes, 4)),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.integers(-(2**50), 2**50).map(DatetimeMS),
)


@given(first=_ids, second=_ids)
def test_no_two_ids_share_a_key_and_each_comes_back(first: Any, second: Any) -> None:
    """For any two `_id`s as they are stored: other bytes, other keys; and the same bytes again from the key."""
    stored = [bson.decode(_as_stored(value), CODEC)["_id"] for value in (first, second)]
    try:
        keys = [key_of(value) for value in stored]
    except BadRecordKey:
        assert any(isinstance(value, str) for value in (first, second)), "only text can be a bad key here"
        return
    assert (keys[0] == keys[1]) == (_as_stored(first) == _as_stored(second))
    assert [_as_stored(id_of(key)) for key in keys] == [_as_stored(first), _as_stored(second)]


@pytest.mark.parametrize(
    "document_id",
    [
        "",
        " a",
        "a ",
        "a\n",
        "x" * 256,
        "ü" * 128,
        "\udcff",
        None,
        {"a": 1},
        [1],
        Regex("a"),
        Code("a"),
        MaxKey(),
    ],
    ids=repr,
)
def test_what_cannot_be_a_key_is_a_data_error(document_id: Any) -> None:
    """Too long in bytes, empty, blank at an end, no Unicode, or without a tag: the record is set aside."""
    with pytest.raises(BadRecordKey):
        key_of(document_id)


@pytest.mark.parametrize(
    ("text", "shown", "why"),
    [
        ("x" * 300, '"' + "x" * 254, "an _id of 300 bytes"),
        ("", '""', "an _id of 0 bytes"),
        (" a", '" a"', "begin nor end with a blank"),
        ('{"a": 1}', '{"a": {"$numberInt": "1"}}', "an _id of type Object"),
        ("a\x1b[2J\n", '"a\\u001b[2J\\n"', "begin nor end with a blank"),
        ("\udcff", '"\\udcff"', "not valid UTF-8"),
        ('{"$minKey": 1}', '{"$minKey": 1}', "an _id of type MinKey"),
        ('{"$undefined": true}', "null", "an _id of type Null"),
        ('[{"$numberInt": "1"}]', '[{"$numberInt": "1"}]', "an _id of type Array"),
    ],
    ids=["long", "empty", "blank", "document", "controls", "bytes", "MinKey", "null", "array"],
)
def test_a_person_is_told_why_an_id_is_no_key(text: str, shown: str, why: str) -> None:
    """`why` and `verify` name the document in a form that drives no terminal, and say what is wrong (case V8)."""
    refused = why_no_key(text)
    assert refused is not None
    assert refused[0] == shown
    assert why in refused[1]


@pytest.mark.parametrize(
    "text",
    [
        "001A",
        "$oid:65f000000000000000000001",
        '{"$oid": "65f000000000000000000001"}',
        "$",
        "{",
        "$" + "x" * 254,
    ],
)
def test_what_can_be_a_key_is_looked_up(text: str) -> None:
    """Keys as they are stored, and `_id`s as people write them."""
    assert why_no_key(text) is None


@pytest.mark.parametrize(
    "key",
    [
        "$int:05",
        "$int:x",
        "$long:99999999999999999999",
        "$oid:1",
        "$nope:1",
        "$",
        "$uuid:1",
        "$bin:0:!",
        "$bool:yes",
    ],
)
def test_a_key_that_no_id_has_is_refused(key: str) -> None:
    """A second spelling would be a second key of one document."""
    with pytest.raises(BadRecordKey):
        id_of(key)
