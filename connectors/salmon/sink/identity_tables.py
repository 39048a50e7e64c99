"""The identity tables of all synced objects, by Salesforce Id and by record key. The sink's loop keeps them up to date."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from salmon.kafka.clients import Brokers
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.codecs.serdes import Identities
from salmon.kafka.tables import Table
from salmon.kafka.topics import Topics
from salmon.runtime.instance import Instance


class IdentityTables:
    """
    See salmon.plugin.contract.Identities. One thread calls load() and follow(); any thread may ask.

    Raises:
        SetupError: a topic is missing.
        Unavailable: no broker answers.
    """

    def __init__(self, kafka: Brokers, topics: Topics, registry: Registry, objects: Iterable[str]) -> None:
        self._tables: dict[str, Table] = {}
        self._keys: dict[str, dict[str, str]] = {}  # object -> Salesforce Id -> record key
        self._ids: dict[str, dict[str, str]] = {}  # object -> record key -> Salesforce Id
        self._news: set[tuple[str, str]] = set()
        for name in objects:
            codec = Identities(registry, topics.identity(name))
            self._tables[name] = Table(kafka, codec.topic, codec.decode)
            self._keys[name], self._ids[name] = {}, {}

    @classmethod
    def loaded(cls, instance: Instance, objects: Iterable[str]) -> Self:
        """Make the tables of an instance, and read them to their ends."""
        tables = cls(instance.clients, instance.topics, instance.registry, objects)
        try:
            tables.load()
        except BaseException:
            tables.close()
            raise
        return tables

    def load(self) -> None:
        """Read all tables to their ends."""
        for name, table in self._tables.items():
            table.load()
            for native_id, key in table.rows.items():
                self._take(name, native_id, key)

    def follow(self) -> set[tuple[str, str]]:
        """
        Read new entries. Returns (object, record key) of the records whose Ids became known. If one table cannot be
        read, the next call also returns what the other tables had.
        """
        for name, table in self._tables.items():
            for native_id, key in table.follow().items():
                self._take(name, native_id, key)
                if key is not None:
                    self._news.add((name, key))
        news, self._news = self._news, set()
        return news

    def close(self) -> None:
        for table in self._tables.values():
            table.close()

    def native_id(self, object: str, key: str) -> str | None:  # noqa: A002
        """Return the Salesforce Id of a record whose key is not its Id; None if there is no entry."""
        return self._ids.get(object, {}).get(key)

    def key(self, object: str, native_id: str) -> str | None:  # noqa: A002
        """Return the record key of a Salesforce Id; None if there is no entry (the key may be the Id itself)."""
        return self._keys.get(object, {}).get(native_id)

    def _take(self, name: str, native_id: str, key: str | None) -> None:
        former = self._keys[name].pop(native_id, None)
        if former is not None and self._ids[name].get(former) == native_id:
            del self._ids[name][former]
        if key is not None:
            self._keys[name][native_id] = key
            self._ids[name][key] = native_id
