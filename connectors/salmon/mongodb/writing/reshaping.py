"""
Brings documents that exist into a new form, after `transforms` has given them constants or fields another type.

It runs once for each change of the configuration, before the sink writes: the collection's validator keeps which form its documents
have. (Where somebody else has made the validator, or the right to change it is missing, it runs at each start, and finds nothing to do.) If it is interrupted, it starts again: what has been done does nothing the second time. A value is only replaced by the same
value in another form, and only while it is what was read, so an application's edit is never overwritten, and no side takes it for an edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import structlog
from pymongo import UpdateMany, UpdateOne
from pymongo.collection import Collection

from salmon.errors import DataError
from salmon.mongodb.documents import SEQ_PATH, DocumentShape
from salmon.mongodb.keys import key_of
from salmon.mongodb.paths import at
from salmon.mongodb.wire.client import Document

log = structlog.get_logger(__name__)

_DOCUMENTS_A_CALL: Final = 1_000


def reshape(collection: Collection[Document], shape: DocumentShape) -> None:
    """Give all documents of Salmon's the constants, and the formed fields of all documents their form."""
    found = collection.find({}, shape.projection, batch_size=_DOCUMENTS_A_CALL)
    changed = 0
    while some := list(islice(found, _DOCUMENTS_A_CALL)):
        records = [document for document in some if _is_record(document)]
        calls: list[UpdateMany | UpdateOne] = [*_constants(records, shape.flow.constants)]
        calls += [call for document in records for call in _formed(document, shape)]
        if calls:
            changed += collection.bulk_write(calls, ordered=False).modified_count
    log.info("documents_reshaped", collection=collection.name, documents=changed)


def _is_record(document: Document) -> bool:
    """Whether its `_id` can be the key of a record."""
    try:
        key_of(document["_id"])
    except DataError:
        return False
    return True


def _constants(some: list[Document], constants: Mapping[str, Any]) -> Iterator[UpdateMany]:
    if constants and some:
        keys = [document["_id"] for document in some]
        lacking = {"_id": {"$in": keys}, SEQ_PATH: {"$exists": True}, "$nor": [dict(constants)]}
        yield UpdateMany(lacking, {"$set": dict(constants)})


def _formed(document: Document, shape: DocumentShape) -> Iterator[UpdateOne]:
    for name in shape.flow.forms:
        path = shape.path[name]
        shown = at(document, path)
        try:
            value = shape.value(name, shown)
            wanted = None if value is None else shape.shown(name, value)
        except DataError:
            continue  # The source reports it, with the record.
        if wanted is not None and (wanted != shown or type(wanted) is not type(shown)):
            yield UpdateOne({"_id": document["_id"], path: shown}, {"$set": {path: wanted}})
