"""Records as the API shows them: the fields in Salesforce's names and as JSON, the key, the ETag, and where the sync is with each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
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


Waits = Mapping[tuple[str, str], str]


def shown(selection: Selection, document: Document, waits: Waits) -> dict[str, Any]:
    """
    One record.

    Args:
        waits: (object, key) -> the state of those records that are known not to be in step.
    """
    return all_shown(selection, [document], waits)[0]


def all_shown(selection: Selection, documents: Iterable[Document], waits: Waits) -> list[dict[str, Any]]:
    """The same for several. A page has thousands of values: this and _fields() are most of what it costs."""
    of, shape = selection.of, selection.of.shape
    columns = [(name, shape.path[name], shape.plain.get(name)) for name in selection.names]
    found: list[dict[str, Any]] = []
    for document in documents:
        key, marker = key_shown(document["_id"]), owned_of(document.get(MARKER))
        record: dict[str, Any] = {RECORD_KEY: key}
        if (native_id := _native_id(document, marker)) is not None:
            record[RECORD_ID] = native_id
        unfit = _fields(shape, columns, shape.settled(document), record)
        state = waits.get((of.name, key), IN_STEP)
        record[SYNC] = _sync_of(of, document, native_id, marker[ERROR], state)
        if unfit:
            record[SYNC]["unfit"] = sorted(unfit)
        for each in selection.embedded:
            below = all_shown(each.wanted, document.get(each.slot, ()), waits)
            record[each.name] = below if each.many else (below[0] if below else None)
        found.append(record)
    return found


def _fields(
    shape: DocumentShape,
    columns: Sequence[tuple[str, str, type | None]],
    document: Mapping[str, Any],
    record: dict[str, Any],
) -> list[str]:
    """Put the fields of a document into a record. Returns those whose values do not fit."""
    unfit: list[str] = []
    for name, path, kind in columns:
        if kind is not None:
            held = document.get(path)
            if held is None or as_it_is(held, kind):
                record[name] = held
                continue
        try:
            record[name] = _value(shape, document, name)
        except DataError:
            record[name] = None
            unfit.append(name)
    return unfit


def _value(shape: DocumentShape, document: Mapping[str, Any], name: str) -> Any:
    path = shape.path[name]
    held = at(document, path) if "." in path else document.get(path)
    field = shape.schema.by_name[name]
    # Two short cuts for what most documents have. The result is the same.
    if type(held) is datetime and name not in shape.flow.forms:
        if field.kind is Kind.DATETIME:
            return held.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"  # BSON's are UTC
        if field.kind is Kind.DATE:
            return held.date().isoformat()
    elif type(held) is str and held and name in shape.links and not field.is_polymorphic:
        return key_of(held)
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
