"""The form of each object's documents, by its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from salmon.errors import ConfigError
from salmon.model.schema import ObjectSchema
from salmon.mongodb.config import SyncedObject
from salmon.mongodb.documents import DocumentShape


def shape_of(objects: Mapping[str, SyncedObject], name: str, schema: ObjectSchema) -> DocumentShape:
    """
    Return the form of one object's documents.

    Args:
        objects: The settings of all objects of the sync.
        name: Of the object.

    Raises:
        ConfigError: its transforms do not fit the schema, or two things would have the same place in a document.
    """
    settings = objects[name]
    flow = settings.flow(name).bound(schema)
    shape = DocumentShape(
        schema, frozenset(objects), settings.paths, flow, placed=bool(flow.places)
    ).require_distinct()
    if taken := sorted(shape.tops & flow.constants.keys()):
        raise ConfigError(
            f"objects.{name}.transforms: the constant {', '.join(taken)} is where `fields.rename` puts a field. Choose another name."
        )
    return shape


def shapes_of(
    objects: Mapping[str, SyncedObject], schemas: Mapping[str, ObjectSchema]
) -> dict[str, DocumentShape]:
    """The same for all objects of the sync that have a schema."""
    return {name: shape_of(objects, name, schema) for name, schema in schemas.items() if name in objects}


def require_schemas(names: Iterable[str], shapes: Mapping[str, DocumentShape]) -> None:
    """Raise ConfigError if an object has no shape, because the registry has no schema of it."""
    if missing := sorted(set(names) - shapes.keys()):
        raise ConfigError(
            f"objects: {', '.join(missing)} has no schema in the registry. Start salesforce-source, which registers it, or run "
            f"`salmon schemas register`."
        )
