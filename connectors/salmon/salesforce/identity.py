"""
Which record key belongs to which Salesforce Id, and the other way round, for all synced objects.

Only records whose key is not their Id are kept: those that carry a key in the marker field (Salmon_Id__c). Of the others, it is remembered for a
while which have been met, so that nobody has to ask for their keys. Who fills the table, and when it is complete, is for source
(DESIGN: identity first).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from salmon.model.markers import Markers
from salmon.model.references import target_in, typed
from salmon.model.schema import FieldSchema, ObjectSchema
from salmon.salesforce.ids import id18, prefix_of

MET_MAX: Final = 100_000  # Ids, twice; each takes about 120 bytes


class Identity:
    """
    Both ways between Ids (18 characters) and record keys.

    Threads may share it: each step is one operation of a dict or deque, and what two of them learn is the same.
    """

    def __init__(self, schemas: Mapping[str, ObjectSchema]) -> None:
        """*schemas*: every synced object."""
        self._keys: dict[str, dict[str, str]] = {name: {} for name in schemas}
        self._ids: dict[str, dict[str, str]] = {name: {} for name in schemas}
        self._news: deque[tuple[str, str, str]] = deque()
        self._met: set[str] = set()
        self._met_before: set[str] = set()
        self._markers = {name: schema.markers for name, schema in schemas.items()}
        self._of_prefix = {schema.key_prefix: name for name, schema in schemas.items() if schema.key_prefix}

    def __len__(self) -> int:
        return sum(len(keys) for keys in self._keys.values())

    def markers(self, name: str) -> Markers:
        """The names of the object's marker fields."""
        return self._markers[name]

    def load(self, name: str, entries: Mapping[str, str]) -> None:
        """Take over what is published already: Id -> key, in the order in which it was learnt."""
        self._keys[name].update(entries)
        self._ids[name].update((key, native_id) for native_id, key in entries.items())

    def learn(self, name: str, native_id: str, key: str) -> None:
        """
        Take in what was read just now. A key that has had another Id is now this one's: its earlier record was deleted,
        and the key lives again. That may be the record whose Id the key is: it was restored, and carries none.
        """
        self._ids[name][key] = native_id
        if key != native_id:
            self._note(name, native_id, key)

    def learn_from_event(self, name: str, native_id: str, key: str) -> None:
        """Take in what an event says, which may be old: a key that is known to be another record's stays with that one."""
        self._ids[name].setdefault(key, native_id)
        self._note(name, native_id, key)

    def _note(self, name: str, native_id: str, key: str) -> None:
        if self._keys[name].get(native_id) != key:
            self._keys[name][native_id] = key
            self._news.append((name, native_id, key))

    def news(self, limit: int | None = None) -> list[tuple[str, str, str]]:
        """What was learnt and not taken yet, as (object, Id, key): at most *limit*, oldest first."""
        there = len(self._news)
        return [self._news.popleft() for _ in range(there if limit is None else min(limit, there))]

    def known(self, name: str, native_id: str) -> bool:
        """Whether the record's key is other than its Id, as far as is known."""
        return native_id in self._keys[name]

    def meet(self, native_ids: Iterable[str]) -> None:
        """These records, of any object, were read, or their creation was heard: what they carry as keys is known."""
        self._met.update(native_ids)
        if len(self._met) > MET_MAX:
            self._met_before, self._met = self._met, set()

    def has_met(self, native_id: str) -> bool:
        """Whether the record was met, and not forgotten since: if no key is known of it, it carries none."""
        return native_id in self._met or native_id in self._met_before

    def key(self, name: str, native_id: str) -> str:
        """The key of a record: what it carries as one, or its Id."""
        return self._keys[name].get(native_id, native_id)

    def native_id(self, name: str, key: str) -> str | None:
        """The Id of the record that carries *key*; None if none is known to (the key may be an Id itself)."""
        return self._ids[name].get(key)

    def likely_id(self, name: str, key: str) -> str | None:
        """As `native_id`; where none is known, the key itself if it looks like an Id of the object."""
        return self.native_id(name, key) or (key if self.looks_like_id(name, key) else None)

    def looks_like_id(self, name: str, key: str) -> bool:
        """Whether the key may be the Id of a record of the object that carries none."""
        return id18(key) == key and self._of_prefix.get(prefix_of(key)) == name

    def target_of(self, field: FieldSchema, native_id: str) -> str | None:
        """The synced object that a reference's value points at; None if it points elsewhere."""
        name = self._of_prefix.get(prefix_of(native_id))
        return name if name in field.reference_to else None

    def told_by_id(self, field: FieldSchema, value: str) -> tuple[str, str] | None:
        """The object and Id of the record that a reference's value, as `changes` hold it, shows by its Id; None for others."""
        key = target_in(field, value).key
        name = self.target_of(field, key)
        return None if name is None else (name, key)

    def reference_key(self, field: FieldSchema, native_id: str) -> str:
        """A reference's value as `changes` hold it: the key of a record of a synced object, else the Id; see model.references."""
        name = self.target_of(field, native_id)
        key = native_id if name is None else self.key(name, native_id)
        if not field.is_polymorphic:
            return key
        prefix = prefix_of(native_id)
        return typed(name or next((each for each, known in field.prefixes if known == prefix), ""), key)
