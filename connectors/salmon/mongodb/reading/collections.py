"""
What the server knows of collections besides their documents: their UUIDs, and which texts they take for the same `_id`.

In a collection with a collation, texts may be equal that are not the same: `abc` and `ABC`, or two Unicode forms of one
letter. A reference means the document that MongoDB would find by it. So a reference to such a collection gets the spelling
of that document's `_id`; the document that holds the reference is left as it is.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pymongo.database import Database

from salmon.model.change import Op, Value
from salmon.model.references import respelled, target_in
from salmon.model.schema import FieldSchema
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.keys import id_of, key_of
from salmon.mongodb.wire.client import CODEC, Document, border
from salmon.plugin.contract import SourceRecord

_IDS_A_QUERY: Final = 1_000
_OTHERS_A_QUERY: Final = 50  # the server compares each of them with each document that it finds
_WAITING_MAX: Final = 50_000

# For a person, if the side went back.
WENT_BACK: Final = (
    "MongoDB shows an earlier time, as after a restore from a backup. All collections are read again. The values agreed before are "
    "kept and written back into the documents. `salmon verify` finds documents that the restore lost, and `salmon verify --repair` "
    "creates them again."
)

RecordId = tuple[str, str]  # object, record key


def uuids_of(database: Database[Document], names: Sequence[str]) -> dict[str, str]:
    """Collection -> its UUID, of those among *names* that are there."""
    ids = {each["name"]: each["info"].get("uuid") for each in _listed(database, names)}
    return {name: bytes(uuid).hex() for name, uuid in sorted(ids.items()) if uuid is not None}


def all_differ(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether all collections that were there, and are, have other UUIDs: nobody replaces all of them at once."""
    both = before.keys() & now.keys()
    return bool(both) and all(before[name] != now[name] for name in both)


class Spellings:
    """
    Gives references the spelling of the `_id` that they mean. Threads may share it.

    Args:
        collections: Object -> its collections.
        shapes: Object -> how its documents look.
    """

    def __init__(
        self,
        database: Database[Document],
        collections: Mapping[str, tuple[str, ...]],
        shapes: Mapping[str, DocumentShape],
    ) -> None:
        self._database, self._collections, self._shapes = database, collections, shapes
        self._lock = threading.Lock()
        self._has_collation: dict[str, bool] = {}  # of objects whose collection was there
        # References that no document has, each with who holds it. A restart forgets them.
        self._waiting: OrderedDict[tuple[RecordId, RecordId], None] = OrderedDict()

    def forget(self) -> None:
        """A collection was dropped, or another one took its name: the next one may have another collation."""
        with self._lock:
            self._has_collation.clear()

    def records(self, records: Sequence[SourceRecord]) -> list[SourceRecord]:
        """
        The same records, each reference spelled as the document that it means. Who refers to none is remembered.

        Raises:
            RetriableError, FatalError: as the server says.
        """
        meant = self._meant((record.object, record.change.fields) for record in records)
        if meant is None:
            return list(records)
        spelled: list[SourceRecord] = []
        for record in records:
            fields = self._spelled(record.object, record.change.fields, meant)
            for target, key in self._references(record.object, record.change.fields):
                if (target, key) in meant and meant[target, key] is None:
                    self._wait((target, key), (record.object, record.key))
            spelled.append(replace(record, change=replace(record.change, fields=fields)))
        return spelled

    def fields(self, name: str, rows: Sequence[Mapping[str, Value]]) -> Sequence[Mapping[str, Value]]:
        """The same for the fields of records of the object *name*. Raises as records()."""
        meant = self._meant((name, fields) for fields in rows)
        return rows if meant is None else [self._spelled(name, fields, meant) for fields in rows]

    def of_events(
        self, records: Sequence[SourceRecord], read_again: Callable[[str, Sequence[str]], None]
    ) -> list[SourceRecord]:
        """
        The same for what events brought. *read_again* is called with an object and keys for the records that referred to a
        document which was inserted only now. Raises as records().
        """
        spelled = self.records(records)
        waiting = self._waiting_for({each.object for each in records if each.change.op is Op.CREATE})
        children: dict[str, set[str]] = {}
        for reference, key in self._looked_up(list(waiting)).items():
            if key is not None:
                self._forget_waiting(reference, waiting[reference])
            if key not in (None, reference[1]):
                for name, child in waiting[reference]:
                    children.setdefault(name, set()).add(child)
        for name, keys in children.items():
            read_again(name, sorted(keys))
        return spelled

    def _waiting_for(self, created: Collection[str]) -> dict[RecordId, list[RecordId]]:
        """
        The references that may have a document now that some of the objects *created* were inserted, with who holds them.
        Where no collation has a say, they are forgotten: only the very same text is meant.
        """
        if not self._waiting or not created:
            return {}
        with_collation = self._with_collation(created)
        waiting: dict[RecordId, list[RecordId]] = {}
        with self._lock:
            for reference, child in self._waiting:
                if reference[0] in created:
                    waiting.setdefault(reference, []).append(child)
        for reference in [each for each in waiting if each[0] not in with_collation]:
            self._forget_waiting(reference, waiting.pop(reference))
        return waiting

    def _forget_waiting(self, reference: RecordId, children: Iterable[RecordId]) -> None:
        with self._lock:
            for child in children:
                self._waiting.pop((reference, child), None)

    def _references(self, name: str, fields: Mapping[str, Value]) -> Iterator[RecordId]:
        """What the fields refer to by text, wherever it may be."""
        shape = self._shapes[name]
        for link in shape.links & fields.keys():
            for target, key in _meant_by(shape.schema.by_name[link], fields[link]):
                if target in self._collections and isinstance(id_of(key), str):
                    yield target, key

    def _meant(
        self, records: Iterable[tuple[str, Mapping[str, Value]]]
    ) -> Mapping[RecordId, str | None] | None:
        """Reference -> key of the document that it means. None: no collation has a say in any of them."""
        asked = {reference: None for name, fields in records for reference in self._references(name, fields)}
        targets = {target for target, _ in asked}
        with_collation = self._with_collation(targets)
        with self._lock:
            not_there = targets - self._has_collation.keys()
        found = self._looked_up([each for each in asked if each[0] in with_collation])
        found |= dict.fromkeys(each for each in asked if each[0] in not_there)
        return found or None

    def _spelled(
        self, name: str, fields: Mapping[str, Value], meant: Mapping[RecordId, str | None]
    ) -> Mapping[str, Value]:
        shape, spelled = self._shapes[name], dict(fields)
        for link in shape.links & fields.keys():
            field = shape.schema.by_name[link]
            for each in _meant_by(field, fields[link]):
                if found := meant.get(each):
                    spelled[link] = respelled(field, fields[link], found)
                    break
        return spelled

    def _with_collation(self, objects: Collection[str]) -> frozenset[str]:
        with self._lock:
            known = dict(self._has_collation)
        if unknown := {place: n for n in objects if n not in known for place in self._collections[n]}:
            fresh: dict[str, bool] = {}
            for each in _listed(self._database, list(unknown)):
                has = bool(each.get("options", {}).get("collation"))
                fresh[unknown[each["name"]]] = has or fresh.get(unknown[each["name"]], False)
            known |= fresh
            with self._lock:
                self._has_collation |= fresh
        return frozenset(name for name in objects if known.get(name))

    def _looked_up(self, references: Sequence[RecordId]) -> dict[RecordId, str | None]:
        """Reference -> key of the document that the server finds by it, if there is one."""
        found: dict[RecordId, str | None] = dict.fromkeys(references)
        by_target: dict[str, dict[str, str]] = {}  # object -> `_id` as the reference spells it -> key
        for target, key in references:
            by_target.setdefault(target, {})[id_of(key)] = key
        for target, ids in by_target.items():
            for some in _pieces(list(ids), _IDS_A_QUERY):
                there = {each["_id"] for each in self._find(target, some)}
                exact = there.intersection(some)
                found |= {(target, ids[each]): ids[each] for each in exact}
                others = [each for each in some if each not in exact] if there else []
                for few in _pieces(others, _OTHERS_A_QUERY):
                    for document in self._find_meant(target, few):
                        key = key_of(document["_id"])
                        found |= {(target, ids[each]): key for each in document["means"]}
        return found

    def _find(self, target: str, ids: Sequence[str]) -> list[Document]:
        found: list[Document] = []
        for collection in self._collections[target]:
            with border(f"looking up references to {collection}"):
                coll = self._database.get_collection(collection, codec_options=CODEC)
                found += coll.find({"_id": {"$in": ids}}, {"_id": 1})
        return found

    def _find_meant(self, target: str, ids: Sequence[str]) -> list[Document]:
        """The documents that the server finds by *ids*, each with those of them that mean it."""
        same = {"$filter": {"input": {"$literal": list(ids)}, "cond": {"$eq": ["$$this", "$_id"]}}}
        steps: list[dict[str, Any]] = [{"$match": {"_id": {"$in": ids}}}, {"$project": {"means": same}}]
        found: list[Document] = []
        for collection in self._collections[target]:
            with border(f"looking up references to {collection}"):
                found += self._database.get_collection(collection, codec_options=CODEC).aggregate(steps)
        return found

    def _wait(self, reference: RecordId, child: RecordId) -> None:
        with self._lock:
            self._waiting[reference, child] = None
            if len(self._waiting) > _WAITING_MAX:
                self._waiting.popitem(last=False)


def _meant_by(field: FieldSchema, value: Value) -> list[RecordId]:
    """The records that a reference may mean."""
    if not isinstance(value, str):
        return []
    target = target_in(field, value)
    return [(name, target.key) for name in ((target.type,) if target.type else field.reference_to)]


def _listed(database: Database[Document], names: Sequence[str]) -> list[Mapping[str, Any]]:
    with border("looking at the collections"):
        return list(database.list_collections(filter={"name": {"$in": list(names)}}))


def _pieces(items: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    for first in range(0, len(items), most):
        yield items[first : first + most]
