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

from salmon.config.collections import faults_of_collections
from salmon.config.events import EventConfig, event_faults
from salmon.config.reports import report_faults
from salmon.config.transforming import faults_of_flows, mapping, sides_of
from salmon.salesforce.config import missing_for

# Object Reference for the Salesforce Platform, API names: letters, digits, underscores.
SOBJECT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
KeyPath = tuple[str, ...]


def faults_together(raw: Mapping[Any, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Each fault as the path of its key and a sentence. *raw*: as written, with its references replaced."""
    objects = mapping(raw.get("objects"))
    collections: dict[str, list[str]] = {}
    for name, each in objects.items():
        if str(name).isprintable() and not SOBJECT.fullmatch(str(name)):  # otherwise see texts
            yield ("objects", str(name)), "must be the API name of an sObject, e.g. Account or Invoice__c."
        if isinstance(each, Mapping):
            yield from ((("objects", str(name), *key), said) for key, said in faults_of_collections(each))
        own: list[str] = []
        for key, collection in _collections_in(mapping(each)):
            first = next((other for other, its in collections.items() if collection in its), None)
            if first is None:
                own.append(collection)
                continue
            yield (
                ("objects", str(name), *key),
                f"is the collection of {first}, too: an `_id` would not say of which object a document is. Give each object its own.",
            )
        if own:
            collections[str(name)] = own
    events = dict(_events(mapping(raw.get("events"))))
    synced = {str(name): collections.get(str(name), []) for name in objects}
    sides = {str(name): sides_of(mapping(each), raw) for name, each in objects.items()}
    yield from ((("events", *key), sentence) for key, sentence in event_faults(events, synced, sides))
    for key, sentence in report_faults(mapping(raw.get("reports")), objects):
        yield ("reports", *key), sentence
    yield from faults_of_flows(raw)
    auth = mapping(mapping(raw.get("salesforce")).get("auth"))
    if missing := missing_for(auth):
        yield ("salesforce", "auth"), f"flow {auth['flow']} needs {' and '.join(missing)}."


def _collections_in(settings: Mapping[Any, Any]) -> Iterator[tuple[KeyPath, str]]:
    """An object's collections, each with the path of its key, from the object on."""
    if isinstance(one := settings.get("collection"), str):
        yield ("collection",), one
    several = settings.get("collections")
    for number, each in enumerate(several if isinstance(several, list) else ()):
        if isinstance(name := mapping(each).get("collection"), str):
            yield ("collections", str(number), "collection"), name


def _events(raw: Mapping[Any, Any]) -> Iterator[tuple[str, EventConfig]]:
    """Those that are right by themselves."""
    for name, each in raw.items():
        known = {key: value for key, value in mapping(each).items() if key in EventConfig.model_fields}
        try:
            yield str(name), EventConfig.model_validate(known)
        except ValidationError:
            continue  # its own faults are reported by its model
