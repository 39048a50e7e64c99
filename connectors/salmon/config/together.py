"""
What must fit between several settings, said at the key that is to be corrected.

The models check the same, but each only if nothing else in it is wrong, and then for a group as a whole. This looks at the
configuration as it was written, so that all faults are reported at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from salmon.config.events import EventConfig, event_faults
from salmon.config.transforming import faults_of_flows, mapping
from salmon.salesforce.config import missing_for

# Object Reference for the Salesforce Platform, API names: letters, digits, underscores.
SOBJECT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
KeyPath = tuple[str, ...]
_ONE_COLLECTION: Final = (
    "is not possible: an object has one collection, since a document that is moved to another one could not be told from one that "
    "is deleted. Set `collection`; for a part of the records, add a filter to `transforms`, or make views in MongoDB."
)


def faults_together(raw: Mapping[Any, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Each fault as the path of its key and a sentence. *raw*: as written, with its references replaced."""
    objects = mapping(raw.get("objects"))
    collections: dict[str, str] = {}
    for name, each in objects.items():
        if str(name).isprintable() and not SOBJECT.fullmatch(str(name)):  # otherwise see texts
            yield ("objects", str(name)), "must be the API name of an sObject, e.g. Account or Invoice__c."
        if "collections" in mapping(each):
            yield ("objects", str(name), "collections"), _ONE_COLLECTION
        collection = mapping(each).get("collection")
        if not isinstance(collection, str):
            continue
        if (first := next((other for other, its in collections.items() if its == collection), None)) is None:
            collections[str(name)] = collection
        else:
            yield (
                ("objects", str(name), "collection"),
                f"is the collection of {first}, too: an `_id` would not say of which object a document is. Give each object its own.",
            )
    events = dict(_events(mapping(raw.get("events"))))
    synced = {str(name): collections.get(str(name), "") for name in objects}
    yield from ((("events", *key), sentence) for key, sentence in event_faults(events, synced))
    yield from faults_of_flows(raw)
    auth = mapping(mapping(raw.get("salesforce")).get("auth"))
    if missing := missing_for(auth):
        yield ("salesforce", "auth"), f"flow {auth['flow']} needs {' and '.join(missing)}."


def _events(raw: Mapping[Any, Any]) -> Iterator[tuple[str, EventConfig]]:
    """Those that are right by themselves."""
    for name, each in raw.items():
        known = {key: value for key, value in mapping(each).items() if key in EventConfig.model_fields}
        try:
            yield str(name), EventConfig.model_validate(known)
        except ValidationError:
            continue  # its own faults are reported by its model
