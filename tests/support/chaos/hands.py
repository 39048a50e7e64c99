"""
The hands of an editor: stock clients of both sides, made when they are needed, and a journal that sees every edit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import requests
from bson import ObjectId
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from simple_salesforce.exceptions import SalesforceError

from support.chaos import fields, reading
from support.chaos.fields import SALESFORCE, Type
from support.chaos.journal import CREATE, DELETE, REFUSED, UPDATE, Edit, Journal
from support.chaos.reading import COLLECTIONS, Document
from support.chaos.stage import Stage

SERVER_FAULTS: Final = 500  # HTTP: from here on the server itself does not say what it did


@dataclass(frozen=True, slots=True)
class World:
    """
    What all editors share.

    Args:
        keys: Object -> the records that both sides had at the beginning.
        hasty: Whether applications also touch what Salesforce itself is about to fill in, or to clear: they leave a
            checkbox to it, refer to a contact that they delete, and delete a record that it has not answered yet, or
            that is being read again.
        hole: Set while events may be missing. Nobody answers on a field that goes by turns then: what is edited in a hole
            and overwritten before the org is read again leaves no trace (README, Known limits).
        untold: Set with it, while nobody is told that events are missing. A family that an application founds then is only
            deleted once the application sees all that Salesforce has filled in, even in haste: if the event of the account's
            creation is missing, its Id stands for its key in what Salesforce reports of the others, and looks like an edit
            that the application has not seen (README, Known limits).
    """

    stage: Stage
    journal: Journal
    types: Mapping[str, Mapping[str, Type]]
    keys: Mapping[str, list[str]]
    numbers: Callable[[], int]
    hasty: bool = False
    hole: threading.Event = field(default_factory=threading.Event)
    untold: threading.Event = field(default_factory=threading.Event)


class Hands:
    """The two clients of an editor, made when they are needed; and every edit goes through the journal."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._org: Any = None
        self._documents: MongoClient[Document] | None = None
        self.restarts = 0

    def restart(self) -> None:
        """Close both clients; the next edit makes new ones."""
        self.restarts += 1
        self._org = None
        if self._documents is not None:
            self._documents.close()
            self._documents = None

    def update(
        self, side: str, object_name: str, key: str, values: Mapping[str, Any], race: int | None = None
    ) -> Edit:
        """Set fields of a record."""
        edit = self._world.journal.begin(side, object_name, key, UPDATE, values, race=race)
        if side == SALESFORCE:
            return self._done(edit, lambda: getattr(self.org, object_name).update(key, self._for_org(edit)))
        return self._done(edit, lambda: self._set(edit))

    def create(self, side: str, object_name: str, values: Mapping[str, Any], document_id: Any = None) -> Edit:
        """Create a record; the edit's key is None where nobody knows whether it is there."""
        key = None if side == SALESFORCE else fields.key_of(document_id)
        edit = self._world.journal.begin(side, object_name, key, CREATE, values)
        if side == SALESFORCE:
            return self._done(edit, lambda: getattr(self.org, object_name).create(self._for_org(edit)))
        document = {"_id": document_id, **self._for_document(edit)}
        return self._done(edit, lambda: self._collection(object_name).insert_one(document))

    def delete(self, side: str, object_name: str, key: str, document_id: Any = None) -> Edit:
        """Delete a record."""
        edit = self._world.journal.begin(side, object_name, key, DELETE)
        if side == SALESFORCE:
            return self._done(edit, lambda: getattr(self.org, object_name).delete(key))
        return self._done(edit, lambda: self._collection(object_name).delete_one({"_id": document_id}))

    def seen(self, side: str, object_name: str, key: str, name: str) -> Any:
        """What a side shows of a field now, in plain form; None also where it does not answer."""
        kind = self._world.types[object_name][name]
        try:
            if side == SALESFORCE:
                return fields.from_org(kind, getattr(self.org, object_name).get(key)[name])
            document = self._collection(object_name).find_one({"_id": _document_id(key)}) or {}
        except reading.FAILURES:
            self.restart()
            return None
        return fields.from_document(kind, document.get(name))

    @property
    def org(self) -> Any:
        if self._org is None:
            self._org = reading.person(self._world.stage.org)
        return self._org

    @property
    def database(self) -> Any:
        if self._documents is None:
            self._documents = reading.application(self._world.stage.mongodb_uri)
        return reading.database(self._documents)

    def _collection(self, object_name: str) -> Any:
        return self.database[COLLECTIONS[object_name]]

    def _set(self, edit: Edit) -> None:
        assert edit.key is not None
        document_id = _document_id(edit.key)
        found = self._collection(edit.object_name).update_one(
            {"_id": document_id}, {"$set": self._for_document(edit)}
        )
        if not found.matched_count:
            self._world.journal.refused(edit)

    def _for_org(self, edit: Edit) -> dict[str, Any]:
        kinds = self._world.types[edit.object_name]
        return {name: fields.for_org(kinds[name], plain) for name, plain in edit.values.items()}

    def _for_document(self, edit: Edit) -> dict[str, Any]:
        kinds = self._world.types[edit.object_name]
        return {
            name: _document_id(plain)
            if kinds[name].target and plain
            else fields.for_document(kinds[name], plain)
            for name, plain in edit.values.items()
        }

    def _done(self, edit: Edit, send: Callable[[], Any]) -> Edit:
        """Send an edit, and write down what the server said of it."""
        journal = self._world.journal
        try:
            answer = send()
        except SalesforceError as error:
            if error.status < SERVER_FAULTS:
                journal.refused(edit)
            self.restart()
        except (requests.RequestException, PyMongoError):
            self.restart()
        else:
            named = edit.side == SALESFORCE and edit.kind == CREATE
            if edit.outcome != REFUSED:
                journal.acknowledged(edit, answer["id"] if named else None)
        return edit


def _document_id(key: str) -> Any:
    """The `_id` of a record key that an editor made."""
    return ObjectId(key.removeprefix("$oid:")) if key.startswith("$oid:") else key
