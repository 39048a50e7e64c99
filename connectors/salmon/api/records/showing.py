"""Records as the API shows them: the fields in Salesforce's names and as JSON, the key, the ETag, and where the sync is with each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import bson
from bson.errors import BSONError

from salmon.api.handle import ApiObject
from salmon.api.records.matching import RECORD_ID, RECORD_KEY
from salmon.api.records.selecting import Selection
from salmon.api.settling import IN_STEP, ON_ITS_WAY, REFUSED
from salmon.errors import BadRecordKey, DataError
from salmon.model.change import ERROR, SALESFORCE_ID
from salmon.model.convert import to_json
from salmon.model.schema import Kind
from salmon.mongodb.documents import DocumentShape, marker_of, owned_of
from salmon.mongodb.keys import key_of, shown_id
from salmon.mongodb.paths import MARKER, at
from salmon.mongodb.plain import as_it_is
from salmon.mongodb.wire.client import CODEC, Document
from salmon.salesforce.ids import id18

SYNC: Final = "_sync"


def shown(selection: Selection, document: Document, waits: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """
    One record.

    Args:
        waits: (object, key) -> the state of those records that are known not to be in step.
    """
    of, shape = selection.of, selection.of.shape
    key, marker = key_shown(document["_id"]), owned_of(document.get(MARKER))
    native_id = _native_id(document, marker)
    record: dict[str, Any] = {RECORD_KEY: key}
    if native_id is not None:
        record[RECORD_ID] = native_id
    settled = shape.settled(document)
    unfit: list[str] = []
    path, plain = shape.path, shape.plain
    for name in selection.names:
        # Most fields are plain, and a page has thousands: these lines are most of what a page costs.
        kind = plain.get(name)
        if kind is not None:
            held = settled.get(path[name])
            if held is None or as_it_is(held, kind):
                record[name] = held
                continue
        try:
            record[name] = _value(shape, settled, name)
        except DataError:
            record[name] = None
            unfit.append(name)
    state = waits.get((of.name, key), IN_STEP)
    record[SYNC] = _sync_of(of, document, native_id, marker[ERROR], state)
    if unfit:
        record[SYNC]["unfit"] = sorted(unfit)
    for each in selection.embedded:
        found = [shown(each.wanted, below, waits) for below in document.get(each.slot, ())]
        record[each.name] = found if each.many else (found[0] if found else None)
    return record


def _value(shape: DocumentShape, document: Mapping[str, Any], name: str) -> Any:
    path = shape.path[name]
    held = at(document, path) if "." in path else document.get(path)
    field = shape.schema.by_name[name]
    if type(held) is datetime and field.kind is Kind.DATETIME and name not in shape.flow.forms:
        # BSON's are UTC. The same as by way of the value, in a tenth of the time.
        return held.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    value = shape.value_in(document, name, held)
    return None if value is None else to_json(field, value)


def _sync_of(
    of: ApiObject, document: Document, native_id: str | None, error: Any, state: str
) -> dict[str, Any]:
    """Where the sync is with a record. *state*: as far as is known of it beside the document."""
    found: dict[str, Any] = {"state": state}
    if error is not None:
        if found["state"] == IN_STEP:
            found["state"] = REFUSED
        found["reason"] = error
    elif found["state"] == IN_STEP and of.is_writable and native_id is None:
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


def _native_id(document: Mapping[str, Any], marker: Mapping[str, Any]) -> str | None:
    """The record's Id in Salesforce, if it is known."""
    held = marker[SALESFORCE_ID]
    if isinstance(held, str):
        return held
    document_id = document["_id"]
    born_there = isinstance(document_id, str) and marker_of(document) is not None
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
