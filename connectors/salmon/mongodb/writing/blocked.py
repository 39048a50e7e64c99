"""
Handles writes that MongoDB refuses because something on the way to a field's path is no document.

    write address.city     {_id: ..., address: "12 Main Street"}

Null on the way counts as missing, and is removed. Anything else belongs to the application and is never overwritten: the fields
within it are refused, until a person has corrected the document. A marker that is no document is for the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo import UpdateOne
from pymongo.collection import Collection

from salmon.model.change import Write
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.keys import id_of, key_of
from salmon.mongodb.mismatches import bson_type
from salmon.mongodb.paths import MARKER, above_of, at, in_the_way
from salmon.mongodb.wire.client import Document, border
from salmon.plugin.contract import Outcome, OutcomeKind

PATH_NOT_VIABLE: Final = 28  # MongoDB's error_codes.yml
CHANGED: Final = Outcome(OutcomeKind.RETRY_LATER, reason="The document changed while it was being written.")


def resolve(
    collection: Collection[Document],
    shape: DocumentShape,
    writes: Mapping[str, Write],
    *,
    odd_marker: Outcome,
) -> dict[str, Outcome]:
    """
    Return the outcomes of writes that met something that is no document: record key -> outcome.

    Args:
        odd_marker: The outcome where the document's marker is in the way.
    """
    if not shape.below:
        return dict.fromkeys(writes, odd_marker)
    outcomes: dict[str, Outcome] = dict.fromkeys(writes, CHANGED)
    nulls: list[UpdateOne] = []
    for key, document in _read(collection, shape, list(writes)).items():
        if not isinstance(document.get(MARKER, {}), Mapping):
            outcomes[key] = odd_marker
        elif (refused := _refused(shape, writes[key], document)) is not None:
            outcomes[key] = refused
        else:
            nulls += nulls_removed(document, [shape.path[name] for name in _set_by(shape, writes[key])])
    if nulls:
        with border(f"writing to {collection.full_name}"):
            collection.bulk_write(nulls, ordered=False)
    return outcomes


def nulls_removed(document: Document, paths: Sequence[str]) -> list[UpdateOne]:
    """Return updates that remove what is null where a sub-document on the way to *paths* belongs, if it still is."""
    nulls = {
        next((above for above in above_of(path) if _is_null(document, above)), None): None for path in paths
    }
    return [
        UpdateOne({"_id": document["_id"], above: {"$type": "null"}}, {"$unset": {above: ""}})
        for above in nulls
        if above is not None
    ]


def _refused(shape: DocumentShape, write: Write, document: Document) -> Outcome | None:
    blockers: dict[str, Any] = {}
    fields: set[str] = set()
    for name in _set_by(shape, write):
        if (found := in_the_way(document, shape.path[name])) is not None:
            blockers[found[0]] = found[1]
            fields.add(name)
    if not fields:
        return None
    are = ", ".join(f"{above} is of type {bson_type(shown)}" for above, shown in sorted(blockers.items()))
    reason = (
        f"{shape.words_for(sorted(shape.path[name] for name in fields))} cannot be stored: {are}, and must be a document. "
        f"Correct the document in MongoDB; then use `salmon retry`."
    )
    return Outcome(OutcomeKind.REFUSED, fields=frozenset(fields), code="PathNotViable", reason=reason)


def _set_by(shape: DocumentShape, write: Write) -> list[str]:
    return [name for name, value in write.fields.items() if value is not None and name in shape.path]


def _read(collection: Collection[Document], shape: DocumentShape, keys: Sequence[str]) -> dict[str, Document]:
    by_id = {key_of(id_of(key)): key for key in keys}
    with border(f"reading documents of {collection.full_name}"):
        found = list(collection.find({"_id": {"$in": [id_of(key) for key in keys]}}, shape.projection))
    return {by_id[key]: document for document in found if (key := key_of(document["_id"])) in by_id}


def _is_null(document: Document, path: str) -> bool:
    *parents, name = path.split(".")
    holder: Any = at(document, ".".join(parents)) if parents else document
    return isinstance(holder, Mapping) and name in holder and holder[name] is None
