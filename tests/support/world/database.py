"""A MongoDB collection as far as the World needs one: documents, the bulk writes of the sink, change events."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
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

Document = dict[str, Any]
_SECOND = 1_700_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Database:
    """One collection and its change stream; *skew_ms* is how far its clock is off."""

    nature: Nature
    skew_ms: int
    documents: dict[str, Document] = field(default_factory=dict)
    backups: list[Document] = field(default_factory=list)  # documents as they were, markers included
    log: list[Document] = field(default_factory=list)
    side: str = MONGODB
    lost: int = 0  # events up to this one are no longer in the oplog
    behind: int = 0  # how far the cluster's time is behind the World's
    full_name = "world.accounts"

    # Users.

    def insert(self, document: Document) -> None:
        self.documents[document["_id"]] = document
        self._event("insert", document["_id"], fullDocument=copy.deepcopy(document))

    def set(self, key: str, fields: Mapping[str, Any]) -> None:
        """Set fields by their paths; None removes one."""
        self._update(
            key,
            {n: v for n, v in fields.items() if v is not None},
            [n for n, v in fields.items() if v is None],
        )

    def replace(self, document: Document) -> None:
        self.documents[document["_id"]] = document
        self._event("replace", document["_id"], fullDocument=copy.deepcopy(document))

    def delete(self, key: str) -> None:
        self.backups.append(self.documents.pop(key))
        self._event("delete", key)

    # The sink, through PyMongo's operations.

    def bulk_write(self, operations: Sequence[Any], *, ordered: bool) -> Any:
        """What PyMongo's Collection does with the operations that the sink makes."""
        assert not ordered
        matched = deleted = 0
        errors = []
        for index, operation in enumerate(operations):
            match operation:
                case InsertOne():
                    document = operation._doc
                    if document["_id"] in self.documents:
                        errors.append({"index": index, "code": DUPLICATE_KEY, "keyPattern": {"_id": 1}})
                    else:
                        self.insert(copy.deepcopy(document))
                        self._insist(document["_id"])
                case UpdateOne() if self._matches(operation._filter):
                    matched += 1
                    key = operation._filter["_id"]
                    update: Any = operation._doc
                    self._update(key, update["$set"], update.get("$unset", ()))
                    self._insist(key)
                case DeleteOne() if self._matches(operation._filter):
                    deleted += 1
                    self.delete(operation._filter["_id"])
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

    def find(self, wanted: Mapping[str, Any], _projection: Any) -> Iterable[Document]:
        return [copy.deepcopy(self.documents[i]) for i in wanted["_id"]["$in"] if i in self.documents]

    def _matches(self, wanted: Mapping[str, Any]) -> bool:
        document = self.documents.get(wanted["_id"])
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
            self._event("update", key, updateDescription=description)

    def _event(self, operation: str, key: str, **told: Any) -> None:
        count = self.nature.time.next() - self.behind
        self.log.append(
            {
                "operationType": operation,
                "_id": {"_data": f"{count:016x}"},
                "documentKey": {"_id": key},
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

    def backup(self) -> dict[str, Document]:
        return copy.deepcopy(self.documents)

    def go_back(self, backup: dict[str, Document]) -> None:
        """What has happened since is lost, and the cluster's time begins anew, or goes on."""
        self.documents = backup
        self.lost = len(self.log)
        if self.nature.chance(0.5):
            self.behind = self.nature.time.count


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
            case "$gte":
                if value is None or not value >= bound:
                    return False
            case _:
                raise AssertionError(f"the sink asks {operator}")
    return True
