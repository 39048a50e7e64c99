"""
Converts between an `_id` and a record key.

A string is its own key. Every other type gets a tag, so that no two `_id`s have the same key. A string that begins with
`$` gets a second `$`.

    "001A"               001A                 ObjectId       $oid:65f0...
    "$x"                 $$x                  UUID           $uuid:6f9619ff-8b86-...
    5                    $int:5               other binary   $bin:SUBTYPE:BASE64
    5,000,000,000        $long:5000000000     Date           $date:MS SINCE 1970
    5.5                  $double:5.5          Timestamp      $ts:SECONDS:ORDINAL
    0.1 (decimal)        $dec:0.1             true           $bool:true

A number's key depends only on its value, not on its type: for MongoDB, Int32 7, Int64 7, 7.0 and Decimal128 7.00 are the
same `_id`, so they are one record. The tag is the smallest type that holds the value exactly, in the order int, long,
double, decimal. A key is converted back to a number of that type. (Decimal128 0.1 is not the same as the double 0.1,
for MongoDB too.)

Null, documents, regular expressions and rarer types have no tag. Such a document has no record key and is not synced.
"""

from __future__ import annotations

import contextlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any, Final
from uuid import UUID

from bson.binary import UUID_SUBTYPE, Binary
from bson.codec_options import DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.errors import BSONError
from bson.int64 import Int64
from bson.json_util import CANONICAL_JSON_OPTIONS
from bson.json_util import dumps as to_extended_json
from bson.json_util import loads as from_extended_json
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from salmon.errors import BadRecordKey
from salmon.mongodb.mismatches import bson_type

KEY_BYTES_MAX: Final = 255  # the key's place in Salesforce, Salmon_Id__c, is text(255)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INT32_MIN, _INT32_MAX = -(2**31), 2**31 - 1
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_AS_STORED: Final = CANONICAL_JSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_NOT_JSON: Final = (ValueError, TypeError, RecursionError, BSONError)
_DIGITS: Final = Context(prec=34)  # of a Decimal128


def key_of(document_id: Any) -> str:
    """
    Return the record key of an `_id`, as PyMongo decodes it.

    Raises:
        BadRecordKey: it is empty or too long, begins or ends with a blank, is not valid Unicode, or its type has no tag.
    """
    if type(document_id) is str:  # JavaScript code is a str, too, but another _id than text
        key = f"${document_id}" if document_id.startswith("$") else document_id
    else:
        key = _tagged(document_id)
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise BadRecordKey(
            "an _id is text that is not valid UTF-8. Store the document under another _id."
        ) from None
    if size == 0 or size > KEY_BYTES_MAX or key.strip() != key:
        raise BadRecordKey(
            f"an _id of {size} bytes cannot be a record key: it must have 1 to {KEY_BYTES_MAX} bytes of UTF-8 and "
            f"neither begin nor end with a blank. Store the document under another _id."
        )
    return key


def id_of(key: str) -> Any:
    """
    Return the `_id` of a record key. The inverse of key_of, except that a number gets the smallest type that holds it.

    Earlier versions gave each type of number a tag of its own ($long:7). Such a key still finds its document.

    Raises:
        BadRecordKey: no `_id` has this key.
    """
    document_id = _parsed(key)
    if key not in (key_of(document_id), _tagged_by_type(document_id)):  # "$int:05" would be another key of 5
        raise BadRecordKey("a record key is not in the form that its _id gives. No document has it.")
    return document_id


def ids_of(keys: Iterable[str]) -> list[Any]:
    """Return the `_id`s of those keys that a document can have."""
    found = []
    for key in keys:
        with contextlib.suppress(BadRecordKey):
            found.append(id_of(key))
    return found


def shown_id(document_id: Any) -> str:
    """Return an `_id` of any type for people, logs and dead letters, as Extended JSON of at most 255 characters."""
    return to_extended_json(document_id, json_options=CANONICAL_JSON_OPTIONS)[:KEY_BYTES_MAX]


def keys_of_untyped(text: str) -> list[str]:
    """Return the keys of the `_id`s that *text* may stand for, because it does not say which type is meant."""
    meant = [f"{tag}{text}" for tag in ("$oid:", "$uuid:", "$int:", "$long:")]
    with contextlib.suppress(ValueError, ArithmeticError):
        meant += [key_of(Decimal128(text)), key_of(float(text))]
    if text[:1] == "{":
        with contextlib.suppress(*_NOT_JSON, BadRecordKey):
            meant.append(key_of(from_extended_json(text, json_options=_AS_STORED)))
    return [*meant, f"${text}"]


def why_no_key(text: str) -> tuple[str, str] | None:
    """
    Return why the `_id` that *text* stands for cannot be a record key: the `_id` as `shown_id` shows it, and the reason.
    None if it can be one. Text in Extended JSON is decoded: '{"a": 1}' is a document.
    """
    meant: Any = text
    if text.startswith("$"):
        meant = text[1:] or text  # a key already, as it is stored
    elif text[:1] in ("{", "[", '"'):
        with contextlib.suppress(*_NOT_JSON):
            meant = from_extended_json(text, json_options=_AS_STORED)
    try:
        key_of(meant)
    except BadRecordKey as error:
        return shown_id(meant), str(error)
    return None


def _tagged(document_id: Any) -> str:  # one case per type
    match document_id:
        case ObjectId():
            return f"$oid:{document_id}"
        case bool():  # before int, which it is too
            return f"$bool:{'true' if document_id else 'false'}"
        case float() | Decimal128():
            return _tagged_number(document_id)
        case int() if _INT64_MIN <= document_id <= _INT64_MAX:
            return _tagged_number(document_id)
        case datetime():
            moment = document_id if document_id.tzinfo else document_id.replace(tzinfo=UTC)
            return f"$date:{(moment - _EPOCH) // timedelta(milliseconds=1)}"
        case DatetimeMS():
            return f"$date:{int(document_id)}"
        case Timestamp():
            return f"$ts:{document_id.time}:{document_id.inc}"
        case UUID():
            return f"$uuid:{document_id}"
        case bytes():  # Binary is bytes too
            return _tagged_binary(document_id, getattr(document_id, "subtype", 0))
        case _:
            raise BadRecordKey(
                f"an _id of type {bson_type(document_id)} cannot be a record key. Use text, an ObjectId, a number, "
                f"a date or a UUID."
            )


def _tagged_number(number: float | Decimal128) -> str:
    """Return the key of a number, which depends only on its value."""
    value = number.to_decimal() if isinstance(number, Decimal128) else Decimal(number)
    if value.is_nan():
        return "$double:nan"  # whatever its sign
    if value.is_finite() and value == (whole := int(value)) and _INT64_MIN <= whole <= _INT64_MAX:
        return f"${'int' if _INT32_MIN <= whole <= _INT32_MAX else 'long'}:{whole}"
    if value == (nearest := float(value)):
        return f"$double:{nearest!r}"
    return f"$dec:{Decimal128(value.normalize(_DIGITS))}"


def _tagged_by_type(document_id: Any) -> str | None:
    """Return the key that earlier versions gave to a number; None if the `_id` is not a number."""
    match document_id:
        case Int64():
            return f"$long:{int(document_id)}"
        case float():
            return f"$double:{document_id!r}"
        case Decimal128():
            return f"$dec:{document_id}"
        case _:
            return None


def _tagged_binary(binary: bytes, subtype: int) -> str:
    if subtype == UUID_SUBTYPE and len(binary) == 16:
        return f"$uuid:{UUID(bytes=bytes(binary))}"
    return f"$bin:{subtype}:{b64encode(binary).decode()}"


def _parsed(key: str) -> Any:
    if not key.startswith("$"):
        return key
    if key.startswith("$$"):
        return key[1:]
    tag, _, text = key[1:].partition(":")
    parse = _PARSERS.get(tag)
    if parse is None:
        raise BadRecordKey("a record key has an unknown tag. No document has it.")
    try:
        return parse(text)
    except (ValueError, OverflowError, ArithmeticError, BSONError, KeyError, TypeError):
        raise BadRecordKey(f"a record key is not a valid ${tag}. No document has it.") from None


def _date(text: str) -> datetime | DatetimeMS:
    ms = int(text)
    try:
        return _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return DatetimeMS(ms)


def _binary(text: str) -> bytes:
    subtype, _, encoded = text.partition(":")
    raw = b64decode(encoded, validate=True)
    return raw if subtype == "0" else Binary(raw, int(subtype))


def _timestamp(text: str) -> Timestamp:
    seconds, _, ordinal = text.partition(":")
    return Timestamp(int(seconds), int(ordinal))


_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "oid": ObjectId,
    "bool": {"true": True, "false": False}.__getitem__,
    "int": int,
    "long": lambda text: Int64(int(text)),
    "double": float,
    "dec": Decimal128,
    "date": _date,
    "ts": _timestamp,
    "uuid": lambda text: Binary(UUID(text).bytes, UUID_SUBTYPE),
    "bin": _binary,
}
