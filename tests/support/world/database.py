"""A MongoDB database as far as the World needs one: an object's documents, the writes of the sink, change events."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from bson.timestamp import Timestamp
from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from salmon.model.change import MONGODB
from salmon.mongodb.paths import MARKER
from salmon.mongodb.wire.client import DUPLICATE_KEY
from support.world.nature import Nature
from support.world.views import COLLECTIONS, OWN

Document = dict[str, Any]
Backup = tuple[dict[str, Document], dict[str, str], dict[str, Document]]
_SECOND = 1_700_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Database:
    """
    One object's documents and their change stream; *skew_ms* is how far its clock is off.

    Where the object has several collections, a document is in one of them. Somebody may have put another one with its `_id`
    into the other collection: its twin.
    """

    nature: Nature
    skew_ms: int
    documents: dict[str, Document] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)  # key -> the collection of its document
    twins: dict[str, Document] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)  # key -> what the application has put into its document
    backups: list[Document] = field(default_factory=list)  # documents as they were, markers included
    log: list[Document] = field(default_factory=list)
    side: str = MONGODB
    lost: int = 0  # events up to this one are no longer in the oplog
    behind: int = 0  # how far the cluster's time is behind the World's
    _at_once: int | None = None  # in a transaction: its cluster time

    # Users.

    def insert(self, document: Document, place: str = COLLECTIONS[0]) -> None:
        key = document["_id"]
        if key in self.documents:
            self.twins[key] = document
        else:
            self.documents[key], self.places[key] = document, place
        self._event("insert", key, place, fullDocument=copy.deepcopy(document))

    def set(self, key: str, fields: Mapping[str, Any]) -> None:
        """Set fields by their paths; None removes one."""
        self._update(
            key,
            {n: v for n, v in fields.items() if v is not None},
            [n for n, v in fields.items() if v is None],
        )

    def replace(self, document: Document) -> None:
        key = document["_id"]
        self.documents[key] = document
        self._event("replace", key, self.places[key], fullDocument=copy.deepcopy(document))

    def delete(self, key: str) -> None:
        """The document's end; its twin takes its place."""
        gone, place = self.documents.pop(key), self.places.pop(key)
        self.backups.append(gone)
        if (twin := self.twins.pop(key, None)) is not None:
            self.documents[key], self.places[key] = twin, self.other_than(place)
        self._event("delete", key, place)

    def delete_twin(self, key: str) -> None:
        del self.twins[key]
        self._event("delete", key, self.other_than(self.places[key]))

    def move(self, key: str) -> None:
        """An application moves the document into the other collection, in one transaction."""
        document = copy.deepcopy(self.documents[key])
        with self.transaction():
            self.insert(document, self.other_than(self.places[key]))
            self.delete(key)
        self.backups.pop()

    def owns(self, key: str, value: Any) -> None:
        """An application sets a property that is its own."""
        self.set(key, {OWN: value})
        self.own[key] = value

    def leave(self, keys: Iterable[str]) -> None:
        """The object has another collection from now on: a copy of the former one, without these documents."""
        for key in keys:
            self.twins.pop(key, None)
            self.own.pop(key, None)
            del self.documents[key], self.places[key]
        for key, document in sorted(self.documents.items()):
            if key not in self.twins and self.nature.chance(0.3):  # the copy was made a moment ago
                self._event("insert", key, self.places[key], fullDocument=copy.deepcopy(document))

    @staticmethod
    def other_than(place: str) -> str:
        return COLLECTIONS[place == COLLECTIONS[0]]

    def at(self, place: str, key: str) -> Document | None:
        """The document with the key in one collection."""
        here = self.places.get(key) == place
        return self.documents[key] if here else self.twins.get(key) if key in self.documents else None

    def all_of(self, key: str) -> dict[str, Document]:
        """Collection -> the document with the key there."""
        found = {place: self.at(place, key) for place in COLLECTIONS}
        return {place: document for place, document in found.items() if document is not None}

    def _there(self, key: str) -> dict[str, Document]:
        return copy.deepcopy(self.all_of(key)) if self.nature.knobs.places else {}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it has one cluster time; if it fails, nothing has happened."""
        before = copy.deepcopy((self.documents, self.places, self.twins)), len(self.log), len(self.backups)
        self._at_once = self.nature.time.next()
        begin = len(self.log)
        try:
            yield
            for event in self.log[begin:]:
                event["there"] = self._there(event["documentKey"]["_id"])
        except BaseException:
            (self.documents, self.places, self.twins), logged, backed_up = before
            del self.log[logged:], self.backups[backed_up:]
            raise
        finally:
            self._at_once = None

    # The sink, through PyMongo's operations: see Collection.

    def bulk_write(self, place: str, operations: Sequence[Any], *, ordered: bool) -> Any:
        """What PyMongo's Collection does with the operations that the sink makes."""
        assert not ordered
        matched = deleted = 0
        errors = []
        for index, operation in enumerate(operations):
            match operation:
                case InsertOne():
                    document = operation._doc
                    if self.at(place, document["_id"]) is not None:
                        errors.append({"index": index, "code": DUPLICATE_KEY, "keyPattern": {"_id": 1}})
                    else:
                        self.insert(copy.deepcopy(document), place)
                        self._insist(document["_id"])
                case UpdateOne() if self.matches(place, operation._filter):
                    matched += 1
                    key = operation._filter["_id"]
                    update: Any = operation._doc
                    self._update(key, update["$set"], update.get("$unset", ()))
                    self._insist(key)
                case DeleteOne() if self.matches(place, operation._filter):
                    deleted += 1
                    self.delete(operation._filter["_id"])
                    self.own.pop(operation._filter["_id"], None)
        if errors:
            raise BulkWriteError(
                {"writeErrors": errors, "writeConcernErrors": [], "nMatched": matched, "nRemoved": deleted}
            )
        return SimpleNamespace(matched_count=matched, deleted_count=deleted)

    def _insist(self, key: str) -> None:
        phone = self.documents[key].get("Phone")
        if self.nature.knobs.insists and isinstance(phone, str) and phone != phone.lower():
            self.nature.history.touched.add((self.side, key))
            self.set(key, {"Phone": phone.lower()})

    def find(self, place: str, wanted: Mapping[str, Any]) -> Iterable[Document]:
        found = [self.at(place, key) for key in wanted["_id"]["$in"]]
        return [copy.deepcopy(document) for document in found if document is not None]

    def matches(self, place: str, wanted: Mapping[str, Any]) -> bool:
        document = self.at(place, wanted["_id"])
        return document is not None and all(
            _holds(_at(document, path), asked) for path, asked in wanted.items() if path != "_id"
        )

    def _update(self, key: str, values: Mapping[str, Any], removed: Iterable[str]) -> None:
        """The stream tells what changed, and nothing of an update that changed nothing."""
        document = self.documents[key]
        had_marker = MARKER in document
        updated: Document = {}
        for path, value in values.items():
            if _at(document, path) != value:
                _put(document, path, value)
                updated[path] = value
        gone = [path for path in removed if _remove(document, path)]
        if not had_marker and MARKER in document:
            updated = {n: v for n, v in updated.items() if not n.startswith(f"{MARKER}.")}
            updated[MARKER] = copy.deepcopy(document[MARKER])
        if updated or gone:
            description = {"updatedFields": updated, "removedFields": gone}
            self._event("update", key, self.places[key], updateDescription=description)

    def _event(self, operation: str, key: str, place: str, **told: Any) -> None:
        at_once = self._at_once
        count = (self.nature.time.next() if at_once is None else at_once) - self.behind
        token = f"{count:016x}" if at_once is None else f"{count:016x}{len(self.log):08x}"
        self.log.append(
            {
                "operationType": operation,
                "_id": {"_data": token},
                "ns": {"coll": place},
                "documentKey": {"_id": key},
                "there": self._there(key),  # collection -> its document, right after the event
                "clusterTime": Timestamp(_SECOND, count),
                "wallTime": _EPOCH + timedelta(milliseconds=self.nature.time.ms + self.skew_ms),
                **told,
            }
        )

    @property
    def cluster_time(self) -> int:
        """The cluster's time now: everything that is committed is not after it, what comes will be."""
        return _SECOND << 32 | self.nature.time.next() - self.behind

    # Restored from a backup.

    def backup(self) -> Backup:
        return copy.deepcopy((self.documents, self.places, self.twins))

    def go_back(self, backup: Backup) -> None:
        """What has happened since is lost, and the cluster's time begins anew, or goes on."""
        self.documents, self.places, self.twins = backup
        self.own = {key: each[OWN] for key, each in self.documents.items() if OWN in each}
        self.lost = len(self.log)
        if self.nature.chance(0.5):
            self.behind = self.nature.time.count


@dataclass
class Collection:
    """One collection, as far as the sink needs PyMongo's."""

    held: Database
    name: str
    write_concern: None = None

    @property
    def full_name(self) -> str:
        return f"world.{self.name}"

    @property
    def database(self) -> Any:
        return SimpleNamespace(client=SimpleNamespace(start_session=self._session))

    def with_options(self, **_: Any) -> Collection:
        return self

    def bulk_write(self, operations: Sequence[Any], *, ordered: bool) -> Any:
        return self.held.bulk_write(self.name, operations, ordered=ordered)

    def find(self, wanted: Mapping[str, Any], _projection: Any, session: Any = None) -> Iterable[Document]:
        return self.held.find(self.name, wanted)

    def find_one(self, wanted: Mapping[str, Any], *, session: Any) -> Document | None:
        found = self.held.at(self.name, wanted["_id"])
        return copy.deepcopy(found) if self.held.matches(self.name, wanted) else None

    def insert_one(self, document: Document, *, session: Any) -> None:
        assert self.held.at(self.name, document["_id"]) is None, "the sink has looked"
        self.held.insert(document, self.name)

    def delete_one(self, wanted: Mapping[str, Any], *, session: Any) -> Any:
        """The first half of a move has made the document there; the sink deletes nothing else in this way."""
        matches = self.held.matches(self.name, wanted)
        if matches:
            assert self.held.places[wanted["_id"]] == self.name
            self.held.delete(wanted["_id"])
            self.held.backups.pop()
        return SimpleNamespace(deleted_count=int(matches))

    @contextmanager
    def _session(self, *, snapshot: bool = False) -> Iterator[Any]:
        yield SimpleNamespace(start_transaction=lambda *_: self.held.transaction())


def _at(document: Mapping[str, Any], path: str) -> Any:
    above, _, below = path.partition(".")
    return document.get(above, {}).get(below) if below else document.get(above)


def _put(document: Document, path: str, value: Any) -> None:
    above, _, below = path.partition(".")
    if below:
        document.setdefault(above, {})[below] = value
    else:
        document[above] = value


def _remove(document: Document, path: str) -> bool:
    above, _, below = path.partition(".")
    holder = document.get(above, {}) if below else document
    return holder.pop(below or above, None) is not None


def _holds(value: Any, asked: Mapping[str, Any]) -> bool:
    for operator, bound in asked.items():
        match operator:
            case "$not":
                if _holds(value, bound):
                    return False
            case "$lt":
                if value is None or not value < bound:
                    return False
            case "$eq":
                if value != bound:
                    return False
            case "$gte":
                if value is None or not value >= bound:
                    return False
            case _:
                raise AssertionError(f"the sink asks {operator}")
    return True
