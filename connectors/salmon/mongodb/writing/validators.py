"""
Prepares a collection before the sink writes: the collection itself, a validator, and indexes.

The validator says which types the fields have. It only warns in MongoDB's log and never refuses a document; the source
reports wrong values, with the record. A validator or an index that somebody else made is not changed. Preparing a
collection again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import structlog
from pymongo import ASCENDING, IndexModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, OperationFailure

from salmon.model.schema import FieldSchema, Kind
from salmon.mongodb.documents import OWNED, PATHS, DocumentShape
from salmon.mongodb.paths import MARKER
from salmon.mongodb.targets import ID, TYPE
from salmon.mongodb.wire.client import NAMESPACE_EXISTS, OPTIONS_CONFLICT, UNAUTHORIZED, Document, border
from salmon.mongodb.writing.reshaping import reshape
from salmon.transforms.forms import BSON_TYPES

log = structlog.get_logger(__name__)

_TITLE: Final = "Salmon: "  # the title of every validator of Salmon begins with this
_INDEX_PREFIX: Final = "salmon_"


def prepare(database: Database[Document], name: str, shape: DocumentShape) -> None:
    """
    Prepare the collection *name* for documents of the shape.

    Raises:
        RetriableError, FatalError: the server cannot do it. A missing permission to make validators or indexes is only
            logged, because writing works without them.
    """
    with border(f"preparing {database.name}.{name}"):
        found = next(iter(database.list_collections(filter={"name": name})), None)
        with _going_on_without_rights(name, "validator"):
            if found is None:
                _create(database, name, shape)
            else:
                if shape.flow.document_form and shape.flow.document_form != _form_in(found):
                    reshape(database[name], shape)
                _set_validator(database, name, shape, found["options"].get("validator"))
        with _going_on_without_rights(name, "indexes"):
            _create_indexes(database[name], shape)


def validator_of(shape: DocumentShape) -> Document:
    """Return the `$jsonSchema` of an object's documents. Fields that it does not name may have any value."""
    described: dict[str, Document] = {
        shape.path[field.name]: found
        for field in shape.schema.fields
        if (found := _property(field, shape)) is not None
    }
    below: dict[str, Document] = {"seq": {"bsonType": ["int", "long"]}}
    below |= {under: {"bsonType": ["string", "null"]} for under in OWNED.values()}
    if shape.mark:
        below[PATHS] = {"bsonType": "string"}
    form: Document = {"description": shape.flow.document_form} if shape.flow.document_form else {}
    return {
        "$jsonSchema": {
            "title": f"{_TITLE}{shape.schema.name}",
            **form,
            "bsonType": "object",
            "properties": {**_nested(described), MARKER: {"bsonType": "object", "properties": below}},
        }
    }


def indexes_of(shape: DocumentShape) -> Iterator[IndexModel]:
    """Return an index for each reference that $lookup may follow, and one to find a record by its Salesforce Id."""
    for field in shape.schema.fields:
        if field.name in shape.links:
            path = shape.path[field.name]
            path = f"{path}.{ID}" if field.is_polymorphic else path
            yield IndexModel([(path, ASCENDING)], name=f"{_INDEX_PREFIX}{path}")
    path = f"{MARKER}.salesforce_id"
    yield IndexModel([(path, ASCENDING)], name=f"{_INDEX_PREFIX}salesforce_id", sparse=True)


def _form_in(found: Mapping[str, Any]) -> str | None:
    """Which form the documents of a collection have, by its validator."""
    validator = found["options"].get("validator")
    schema = validator.get("$jsonSchema") if isinstance(validator, dict) else None
    return schema.get("description") if isinstance(schema, dict) else None


def _nested(described: Mapping[str, Document]) -> Document:
    """The `properties` of a document: path -> what is there, with the sub-documents on the way."""
    properties: Document = {}
    for path, found in described.items():
        above, _, name = path.rpartition(".")
        level = properties
        for part in above.split(".") if above else ():
            level = level.setdefault(part, {"bsonType": ["object", "null"], "properties": {}})["properties"]
        level[name] = found
    return properties


def _property(field: FieldSchema, shape: DocumentShape) -> Document | None:
    if field.is_polymorphic:
        target = {"required": [TYPE, ID], "properties": {TYPE: {"enum": list(field.reference_to)}}}
        plain = (
            {"not": {"bsonType": "object"}} if field.name in shape.links else {"bsonType": ["string", "null"]}
        )
        return {"anyOf": [{"bsonType": "object", **target}, plain]}
    if field.name in shape.links:
        return None  # any type that an `_id` can have
    if (form := shape.flow.forms.get(field.name)) is not None:
        return {"bsonType": [*form.bson, "null"]}
    if field.kind is Kind.STRINGS:
        return {"bsonType": ["array", "null"], "items": {"bsonType": "string"}}
    return {"bsonType": [*BSON_TYPES[field.kind], "null"]}


def _create(database: Database[Document], name: str, shape: DocumentShape) -> None:
    try:
        database.create_collection(
            name, validator=validator_of(shape), validationLevel="moderate", validationAction="warn"
        )
    except (CollectionInvalid, OperationFailure) as error:
        if isinstance(error, OperationFailure) and error.code != NAMESPACE_EXISTS:
            raise
        log.debug("collection_created_by_another", collection=name)
    else:
        log.info("collection_created", collection=name)


def _set_validator(
    database: Database[Document], name: str, shape: DocumentShape, current: Document | None
) -> None:
    wanted = validator_of(shape)
    if current == wanted:
        return
    if not current:
        database.command(
            "collMod", name, validator=wanted, validationLevel="moderate", validationAction="warn"
        )
    elif str(current.get("$jsonSchema", {}).get("title", "")).startswith(_TITLE):
        # Level and action are kept, because an operator may have changed them.
        database.command("collMod", name, validator=wanted)
    else:
        log.info("validator_left_alone", collection=name)


def _create_indexes(collection: Collection[Document], shape: DocumentShape) -> None:
    """Create those indexes whose field is not the first field of an existing one."""
    covered = {next(iter(index["key"])) for index in collection.list_indexes()}
    missing = [index for index in indexes_of(shape) if next(iter(index.document["key"])) not in covered]
    if not missing:
        return
    try:
        collection.create_indexes(missing)
    except OperationFailure as error:
        if error.code not in OPTIONS_CONFLICT:
            raise
        log.info("indexes_left_alone", collection=collection.name)


@contextmanager
def _going_on_without_rights(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        log.warning("not_permitted", collection=name, what=what, mend="grant dbAdmin on the database")
