"""Reads and writes the forms of collections, in a collection of Salmon's own: see salmon.mongodb.forms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from pymongo.database import Database
from pymongo.errors import OperationFailure

from salmon.errors import ConfigError, SetupError
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.forms import Record
from salmon.mongodb.paths import MARKER
from salmon.mongodb.wire.client import UNAUTHORIZED, Document, border

COLLECTION: Final = MARKER


def read_forms(
    database: Database[Document], collections: Collection[str], *, needed: bool
) -> dict[str, Record]:
    """
    Collection -> its form, of those whose fields have ever had paths of their own.

    Args:
        needed: Whether one has them now. Otherwise the user may have no right to look: then nobody has ever written a form.

    Raises:
        SetupError: the user has no right to it. RetriableError: the server cannot be read.
    """
    with border("reading the form of the documents"):
        try:
            found = list(database[COLLECTION].find({"_id": {"$in": sorted(collections)}}))
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
            if needed:
                raise SetupError(
                    f"mongodb.uri: the user may not use the collection {COLLECTION}, in which Salmon keeps where documents have "
                    f"their fields (fields.rename). Grant readWrite on it."
                ) from error
            return {}
    return {each["_id"]: Record.of(each) for each in found}


def require_plain(database: Database[Document], places: Mapping[str, Sequence[str]]) -> None:
    """
    See that the documents of objects with several collections have their fields under their own names: read there, a field that is still
    at the path of a former rename would be taken for one that the application has cleared.

    Args:
        places: Object -> its collections.

    Raises:
        ConfigError: they have not.
    """
    names = {each: name for name, some in places.items() for each in some}
    forms = read_forms(database, names.keys(), needed=False) if names else {}
    for place, record in forms.items():
        if record.paths or record.is_moving:
            raise ConfigError(
                f"objects.{names[place]}.collections: documents in {place} still have fields at the paths of a former fields.rename. "
                f"Set `collection: {place}` without fields.rename first, and wait until mongodb-source has moved them."
            )


def in_form(shape: DocumentShape, record: Record | None) -> DocumentShape:
    """Return the shape of a collection's documents as they are, whatever the configuration says. *record*: its form."""
    if record is None:
        return shape
    last = record.moves[-1] if record.moves else None
    former = {} if last is None else last.former
    return replace(
        shape,
        renamed=record.paths,
        former={field: path for field, path in former.items() if field in shape.path},
        moving=last is not None and last.until is None and last.whole,
    )


def write_form(database: Database[Document], collection: str, record: Record) -> None:
    """Store the form of a collection. Raises as read_forms does."""
    with border("storing the form of the documents"):
        database[COLLECTION].replace_one({"_id": collection}, record.document(), upsert=True)
