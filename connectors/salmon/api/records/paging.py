"""
The order of a list, and where a page begins: after the last record of the page before (keyset paging), however the records change meanwhile.

A cursor holds the values by which the last record was sorted. It is opaque to clients, and taken for what anybody may have made up: it has
plain values only, and those of the very order that is asked for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import bson
from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.errors import BSONError
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from salmon.api.handle import ApiObject
from salmon.api.problems import Problem, at_fault
from salmon.api.records.matching import RECORD_ID, RECORD_KEY, field_of
from salmon.model.schema import Kind
from salmon.mongodb.paths import at
from salmon.mongodb.wire.client import CODEC

ORDERS_MAX: Final = 5
CURSOR_MAX: Final = 8_000
_WORDS: Final = ("asc", "desc")
_PLAIN: Final = (str, int, float, bool, datetime, ObjectId, Decimal128, Int64, bytes, Binary, Timestamp)
# How MongoDB sorts types (MongoDB Manual, Comparison/Sort Order); a comparison finds values of the same one alone.
_CLASSES: Final[Sequence[tuple[str, ...]]] = (
    ("double", "int", "long", "decimal"),
    ("string", "symbol"),
    ("object",),
    ("binData",),
    ("objectId",),
    ("bool",),
    ("date",),
    ("timestamp",),
    ("regex",),
)


@dataclass(frozen=True, slots=True)
class Sorted:
    """One key of the order: a path, and whether the greatest comes first."""

    path: str
    descending: bool = False

    @property
    def direction(self) -> int:
        return -1 if self.descending else 1


Order = tuple[Sorted, ...]


def order_of(text: str | None, of: ApiObject) -> Order:
    """
    Read `order=CloseDate.desc,Name`. The key comes last, so that no two records are at the same place.

    Raises:
        Problem: 400.
    """
    found: list[Sorted] = []
    for part in [] if not text else text.split(","):
        name, _, word = part.strip().partition(".")
        if word and word not in _WORDS:
            raise at_fault("order", "unknown-word", "a field is followed by .asc or .desc, or nothing")
        path = "_id"
        if name not in {RECORD_ID, RECORD_KEY}:
            field = field_of(name, of)
            if field.kind is Kind.STRINGS or field.is_polymorphic:
                raise at_fault("order", "not-sortable", f"{field.name} has no order")
            path = of.shape.path[field.name]
        if path not in {each.path for each in found}:
            found.append(Sorted(path, word == "desc"))
        if len(found) > ORDERS_MAX:
            raise at_fault("order", "too-many", f"has more than {ORDERS_MAX} fields")
    if "_id" not in {each.path for each in found}:
        found.append(Sorted("_id"))
    return tuple(found)


def sort_of(order: Order) -> dict[str, int]:
    """For MongoDB."""
    return {each.path: each.direction for each in order}


def cursor_of(order: Order, document: Mapping[str, Any]) -> str | None:
    """The cursor of a page that ends with this document; None: it holds values that cannot be in one."""
    values = [at(document, each.path) for each in order]
    if not all(value is None or isinstance(value, _PLAIN) for value in values):
        return None
    try:
        written = bson.encode({"o": _print(order), "v": values}, codec_options=CODEC)
    except (BSONError, UnicodeEncodeError, OverflowError):
        return None
    return base64.urlsafe_b64encode(written).decode().rstrip("=")


def after(order: Order, cursor: str) -> dict[str, Any]:
    """
    The query for what comes after a cursor.

    Raises:
        Problem: 400: it is not one of this order.
    """
    values = _values(order, cursor)
    branches: list[dict[str, Any]] = []
    for number, each in enumerate(order):
        beyond = _beyond(each, values[number])
        before = [_same(other.path, values[n]) for n, other in enumerate(order[:number])]
        if beyond:
            branches.append({"$and": [*before, {"$or": beyond}]})
    return {"$or": branches} if branches else {"$nor": [{}]}


def _beyond(key: Sorted, value: Any) -> list[dict[str, Any]]:
    rank = _rank(value)
    later = _CLASSES[: max(rank, 0)] if key.descending else _CLASSES[rank + 1 :]
    found: list[dict[str, Any]] = []
    if value is not None:
        found.append({key.path: {"$lt" if key.descending else "$gt": value}})
    if types := [name for types in later for name in types]:
        found.append({key.path: {"$type": types}})
    if key.descending and value is not None:
        found.append({key.path: None})  # what is empty comes last
    return found


def _rank(value: Any) -> int:
    """The place of a value's type in _CLASSES; -1 for no value."""
    match value:
        case None:
            return -1
        case bool():
            return 5
        case int() | float() | Decimal128():
            return 0
        case str():
            return 1
        case ObjectId():
            return 4
        case bytes():
            return 3
        case datetime():
            return 6
        case _:
            return 7


def _same(path: str, value: Any) -> dict[str, Any]:
    return {path: {"$eq": value}}  # null also finds what is missing


def _values(order: Order, cursor: str) -> list[Any]:
    try:
        if len(cursor) > CURSOR_MAX:
            raise ValueError
        padded = cursor + "=" * (-len(cursor) % 4)
        read = bson.decode(base64.b64decode(padded, altchars=b"-_", validate=True), codec_options=CODEC)
        values = read["v"]
        if read["o"] != _print(order) or not isinstance(values, list) or len(values) != len(order):
            raise ValueError
    except (BSONError, binascii.Error, ValueError, KeyError, TypeError, UnicodeError, OverflowError):
        raise _not_ours() from None
    if not all(value is None or isinstance(value, _PLAIN) for value in values):
        raise _not_ours()
    return values


def _print(order: Order) -> str:
    text = ",".join(f"{each.path}:{each.direction}" for each in order)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _not_ours() -> Problem:
    return at_fault(
        "cursor",
        "not-a-cursor",
        "is not one that this order has given; follow the Link headers, or begin without",
    )
