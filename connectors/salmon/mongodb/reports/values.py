"""
What a document holds for a field, as an expression of MongoDB's. It is null for what Salmon takes for null or for a misfit: a
value of another type, an empty text, what is no finite number, and a date that no calendar has. Pure.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from salmon.model.schema import FieldSchema, Kind
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.targets import ID, TYPE
from salmon.transforms.forms import BSON_TYPES

Expr = Any
# Of an `_id` that has a record key (salmon.mongodb.keys).
_KEYS: Final = (
    "string", "objectId", "int", "long", "double", "decimal", "binData", "date", "timestamp", "bool",
)  # fmt: skip
_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


def held(shape: DocumentShape, field: FieldSchema, *, margin: timedelta = timedelta()) -> Expr:
    """The value of a field. *margin*: so close to the ends of the calendar a moment counts as none."""
    path = f"${shape.path[field.name]}"
    types: Sequence[str]
    if field.is_polymorphic:
        types = ("object", *_KEYS)
    elif field.name in shape.links:
        types = _KEYS
    else:
        types = BSON_TYPES[field.kind]
    fits: list[Expr] = [{"$in": [{"$type": path}, list(types)]}]
    if "string" in types:
        fits.append({"$ne": [path, ""]})
    if field.is_polymorphic:
        fits.append(_is_target(path))
    match field.kind:
        case Kind.DOUBLE | Kind.DECIMAL:
            # NaN is less than every number.
            fits += [{"$gte": [path, -sys.float_info.max]}, {"$lte": [path, sys.float_info.max]}]
        case Kind.DATE | Kind.DATETIME:
            fits += [{"$gte": [path, _FIRST + margin]}, {"$lte": [path, _LAST - margin]}]
        case Kind.STRINGS:
            texts = {"$map": {"input": path, "in": {"$eq": [{"$type": "$$this"}, "string"]}}}
            all_texts = {"$cond": [{"$isArray": path}, {"$allElementsTrue": [texts]}, False]}
            fits += [{"$ne": [path, []]}, all_texts]
    return {"$cond": [{"$and": fits}, _as_kind(field, path), None]}


def _is_target(path: str) -> Expr:
    """Whether it is no document, or one of a type and an id."""
    return {
        "$or": [
            {"$ne": [{"$type": path}, "object"]},
            {"$and": [{"$eq": [{"$type": f"{path}.{TYPE}"}, "string"]}, {"$ne": [{"$type": f"{path}.{ID}"}, "missing"]}]},
        ]
    }  # fmt: skip


def _as_kind(field: FieldSchema, path: str) -> Expr:
    if field.kind is Kind.DATE:  # an application may have stored a time of day
        return {"$dateTrunc": {"date": path, "unit": "day"}}
    return {"$toDecimal": path} if field.kind is Kind.DECIMAL else path
