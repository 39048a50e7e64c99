"""
Lookups that can point to several objects, in a document: the target's object beside its `_id`.

    {_id: ..., WhoId: {type: "Contact", id: ObjectId("65f0...")}, OwnerId: {type: "User", id: "0055g..."}}

So `$lookup` works with WhoId.id, and an edit cannot set the one without the other. A document may also hold an Id of Salesforce, or
the `_id` of a document, as it would in any other lookup. Then the object is known where the Id's first characters say
it, or where only one of the objects is synced. Otherwise Salesforce reports it, once it has the record.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from salmon.errors import SchemaMismatch
from salmon.model.references import target_in, typed
from salmon.model.schema import FieldSchema
from salmon.mongodb.keys import id_of, key_of

TYPE: Final = "type"
ID: Final = "id"
_ID_CHARS: Final = 18
_NAMED_MAX: Final = 5  # objects that a message lists


def target_shown(field: FieldSchema, shown: Any, *, synced: Collection[str]) -> str:
    """
    The value of what a document shows for such a lookup.

    Raises:
        SchemaMismatch: it is not a type and an id, or an object that the lookup cannot point to.
        BadRecordKey: the id cannot be the key of any record.
    """
    if not isinstance(shown, Mapping):
        if not isinstance(shown, str) and not set(field.reference_to) & set(synced):
            raise SchemaMismatch(
                f"{field.name}: it must be an Id of Salesforce, as text or as {{{TYPE}, {ID}}}. Correct it in MongoDB."
            )
        key = key_of(shown)
        return typed(_type_of(field, key, synced), key)
    if set(shown) != {TYPE, ID} or shown[ID] in (None, ""):
        raise SchemaMismatch(
            f"{field.name}: it must be a document with the two fields {TYPE} and {ID}. Correct it in MongoDB."
        )
    if shown[TYPE] not in field.reference_to:
        names = ", ".join(field.reference_to[:_NAMED_MAX])
        more = len(field.reference_to) - _NAMED_MAX
        raise SchemaMismatch(
            f"{field.name}.{TYPE}: it must name an object that {field.name} can point to: {names}"
            + (f" or one of {more} others" if more > 0 else "")
            + ". Correct it in MongoDB."
        )
    return typed(shown[TYPE], key_of(shown[ID]))


def shown_target(field: FieldSchema, value: str) -> Any:
    """What a document shows for a value of such a lookup. Raises BadRecordKey: its key is not a record key."""
    target = target_in(field, value)
    shown_id = id_of(target.key)
    return {TYPE: target.type, ID: shown_id} if target.type else shown_id


def _type_of(field: FieldSchema, key: str, synced: Collection[str]) -> str:
    if len(key) == _ID_CHARS and key.isascii() and key.isalnum():
        for name, prefix in field.prefixes:
            if key.startswith(prefix):
                return name
    there = [name for name in field.reference_to if name in synced]
    return there[0] if len(there) == 1 else ""
