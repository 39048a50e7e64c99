"""Reads the conflicts of a sync from its `conflicts` topic."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from salmon.closing import Closing
from salmon.kafka import clients
from salmon.kafka.codecs import serdes
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.foreign import decoded
from salmon.kafka.topics import Topics
from salmon.model.policies import Conflict


class Conflicts(Closing):
    """All conflicts so far; a context manager. Safe for any thread."""

    def __init__(self, kafka: Mapping[str, Any], topics: Topics, registry: Registry) -> None:
        self._serde = serdes.Conflicts(registry, topics.conflicts)
        self._consumer = clients.consumer(kafka, group_id="salmon-demo", client_id="salmon-demo")
        self._consumer.assign([TopicPartition(topics.conflicts, 0, OFFSET_BEGINNING)])
        self._reported: list[Conflict] = []
        self._lock = threading.Lock()

    def all(self, *, wait_s: float = 0.0) -> list[Conflict]:
        """Return those that are reported so far, in order. Waits *wait_s* for more."""
        with self._lock:
            while messages := clients.read(self._consumer, 100, wait_s):
                wait_s = 0.0
                for message in messages:
                    if message.value() is not None and (record := decoded(message, self._serde.decode)):
                        self._reported.append(record.conflict)
            return list(self._reported)

    def of(self, key: str, *, wait_s: float) -> list[Conflict]:
        """Return those of one record. Waits *wait_s* for more."""
        return [each for each in self.all(wait_s=wait_s) if each.contest.key == key]

    def close(self) -> None:
        clients.close(self._consumer)
