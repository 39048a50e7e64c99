"""Records as the API shows them: the fields in Salesforce's names and as JSON, the key, the ETag, and where the sync is with each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import bson
from bson.errors import BSONError

from salmon.api.handle import ApiObject
from salmon.api.records.matching import RECORD_ID, RECORD_KEY
from salmon.api.records.selecting import Selection
from salmon.api.settling import IN_STEP, ON_ITS_WAY, REFUSED
from salmon.errors import BadRecordKey
from salmon.model.change import ERROR, SALESFORCE_ID
from salmon.model.convert import to_json
from salmon.model.schema import Kind
from salmon.mongodb.documents import marker_of, owned_of
from salmon.mongodb.keys import key_of, shown_id
from salmon.mongodb.paths import MARKER
from salmon.mongodb.wire.client import CODEC, Document
from salmon.salesforce.ids import id18

SYNC: Final = "_sync"
# Kinds whose values JSON shows as they are. Most fields are of them, and a page has thousands.
_AS_IT_IS: Final = frozenset({Kind.STRING, Kind.BOOLEAN, Kind.INT, Kind.LONG, Kind.DOUBLE})


def shown(selection: Selection, document: Document, waits: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """
    One record.

    Args:
        waits: (object, key) -> the state of those records that are known not to be in step.
    """
    of, shape = selection.of, selection.of.shape
    reading = shape.reading(document)
    key = key_shown(document["_id"])
    record: dict[str, Any] = {RECORD_KEY: key}
    if (native_id := native_id_of(document)) is not None:
        record[RECORD_ID] = native_id
    by_name, fields = shape.schema.by_name, reading.fields
    for name in selection.names:
        value = fields.get(name)
        record[name] = (
            value if value is None or by_name[name].kind in _AS_IT_IS else to_json(by_name[name], value)
        )
    record[SYNC] = sync_of(of, document, key, waits)
    if reading.misfits:
        record[SYNC]["unfit"] = sorted(reading.misfits.keys() & set(selection.names))
    for each in selection.embedded:
        found = [shown(each.wanted, below, waits) for below in document.get(each.slot, ())]
        record[each.name] = found if each.many else (found[0] if found else None)
    return record


def sync_of(
    of: ApiObject, document: Document, key: str, waits: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    """Where the sync is with a record."""
    owned = owned_of(document.get(MARKER))
    found: dict[str, Any] = {"state": waits.get((of.name, key), IN_STEP)}
    if (error := owned[ERROR]) is not None:
        if found["state"] == IN_STEP:
            found["state"] = REFUSED
        found["reason"] = error
    elif found["state"] == IN_STEP and of.is_writable and native_id_of(document) is None:
        found["state"] = ON_ITS_WAY  # it was created here, and Salesforce has not confirmed it
    if (seq := marker_of(document)) is not None:
        found["seq"] = seq
    return found


def key_shown(document_id: Any) -> str:
    """The record's key; of an `_id` that can be none, the `_id`."""
    try:
        return key_of(document_id)
    except BadRecordKey:
        return shown_id(document_id)


def native_id_of(document: Mapping[str, Any]) -> str | None:
    """The record's Id in Salesforce, if it is known."""
    held = owned_of(document.get(MARKER))[SALESFORCE_ID]
    if isinstance(held, str):
        return held
    document_id = document["_id"]
    born_there = marker_of(document) is not None and isinstance(document_id, str)
    return document_id if born_there and id18(document_id) == document_id else None


def etag_of(of: ApiObject, document: Document) -> str:
    """
    The ETag: the seq of Salmon's last write, and a print of the synced fields, because an application's edit has no seq.

    Two documents with the same ETag hold the same.
    """
    parts = {top: document[top] for top in sorted(of.shape.tops) if top in document}
    try:
        content = bson.encode(parts, codec_options=CODEC)
    except (BSONError, UnicodeEncodeError, OverflowError, ValueError):
        content = repr(parts).encode(errors="backslashreplace")
    return f'"{marker_of(document) or 0}-{hashlib.sha256(content).hexdigest()[:24]}"'
