"""
An outbox: a collection whose inserts become platform events. A document -> the fields of its event, and the place in the
document where it is noted what became of the event. Pure.

    {_id: ..., ..., _salmon: {event: EventUuid, published_at: Date}}     or     {..., _salmon: {event: EventUuid, error: "..."}}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.json_util import RELAXED_JSON_OPTIONS
from bson.json_util import dumps as to_extended_json
from bson.objectid import ObjectId

from salmon.errors import SchemaMismatch
from salmon.mongodb.paths import MARKER
from salmon.mongodb.wire.client import Document
from salmon.plugin.events import CHANGE, CHANGED_AT, DOCUMENT, KEY

EVENT: Final = "event"
PUBLISHED_AT: Final = "published_at"
ERROR: Final = "error"


@dataclass(frozen=True, slots=True)
class Outbox:
    """A collection and, of the event, field -> what it is filled with: a path in the document, or one of the words of plugin.events."""

    collection: str
    fields: Mapping[str, str]

    @property
    def projection(self) -> dict[str, int]:
        """What has to be read of a document; empty: all of it."""
        sources = self.fields.values()
        if DOCUMENT in sources:
            return {}
        return {source.partition(".")[0]: 1 for source in sources if not source.startswith("$")} | {MARKER: 1}


def has_outcome(document: Mapping[str, Any]) -> bool:
    """Whether the document was told what became of its event."""
    marker = document.get(MARKER)
    return isinstance(marker, Mapping) and (PUBLISHED_AT in marker or ERROR in marker)


def fields_of(outbox: Outbox, document: Document, *, key: str, inserted_at: int) -> dict[str, Any]:
    """
    The fields of the document's event, as REST shows values.

    Args:
        inserted_at: In ms since 1970; 0 if it is not known.

    Raises:
        SchemaMismatch: a value cannot be a value of an event.
    """
    return {
        field: _filled(source, document, key=key, inserted_at=inserted_at)
        for field, source in outbox.fields.items()
    }


def born_at(document: Mapping[str, Any]) -> int:
    """When a document that was read was inserted, in ms since 1970, as far as its ObjectId says; otherwise 0."""
    document_id = document["_id"]
    return round(document_id.generation_time.timestamp() * 1000) if isinstance(document_id, ObjectId) else 0


def _filled(source: str, document: Document, *, key: str, inserted_at: int) -> Any:
    if source == KEY:
        return key
    if source == CHANGE:
        return "create"
    if source == CHANGED_AT:
        return _iso(inserted_at) if inserted_at else None
    if source == DOCUMENT:
        return _text(_json({name: each for name, each in document.items() if name != MARKER}), source)
    return _shown(_at(document, source), source)


def _at(document: Mapping[str, Any], path: str) -> Any:
    found: Any = document
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _shown(value: Any, path: str) -> Any:
    match value:
        case None | bool() | int():
            return value
        case str():
            return _text(value, path)
        case float() if math.isfinite(value):
            return value
        case Decimal128():
            return _number(value, path)
        case datetime():
            return _iso(round(value.timestamp() * 1000))
        case float():
            raise _no_value(path, "a double that is not finite")
        case DatetimeMS():
            raise _no_value(path, "a date before the year 1 or after the year 9999")
        case ObjectId():
            return str(value)
        case _:
            return _text(_json(value), path)


def _number(value: Decimal128, path: str) -> Any:
    """As a number if a double has these digits, and otherwise as text."""
    exact = value.to_decimal()
    if not exact.is_finite():
        raise _no_value(path, "a Decimal128 that is not finite")
    number = float(exact)
    return number if Decimal(repr(number)) == exact else str(exact)


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _no_value(path, "text that is not valid UTF-8") from None
    return value


def _no_value(path: str, held: str) -> SchemaMismatch:
    """Only inserts are published: to correct the document is not enough."""
    return SchemaMismatch(
        f"{path}: the document holds {held}, which no event can hold. Insert it again, corrected, under a new _id."
    )


def _json(value: Any) -> str:
    return to_extended_json(value, json_options=RELAXED_JSON_OPTIONS)


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
