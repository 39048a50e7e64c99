"""The form of each object's documents, by its settings."""

from __future__ import annotations

from collections.abc import Mapping

from salmon.model.schema import ObjectSchema
from salmon.mongodb.config import SyncedObject
from salmon.mongodb.documents import DocumentShape


def shape_of(objects: Mapping[str, SyncedObject], schema: ObjectSchema) -> DocumentShape:
    """
    Return the form of one object's documents.

    Args:
        objects: The settings of all objects of the sync.

    Raises:
        ConfigError: its transforms do not fit the schema.
    """
    flow = objects[schema.name].flow(schema.name).bound(schema)
    return DocumentShape(schema, frozenset(objects), flow=flow)


def shapes_of(
    objects: Mapping[str, SyncedObject], schemas: Mapping[str, ObjectSchema]
) -> dict[str, DocumentShape]:
    """The same for several objects."""
    return {name: shape_of(objects, schema) for name, schema in schemas.items()}
