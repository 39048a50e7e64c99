"""
Reads of one sync, for commands that look up a record.

Of each topic only the partitions that hold the asked keys are read, and only those keys are decoded.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import TypeVar

from confluent_kafka import Message

from salmon.app.sync import Sync
from salmon.config.models import SyncConfig
from salmon.errors import ConfigError, SetupError
from salmon.kafka import scans
from salmon.kafka.codecs.serdes import Identities
from salmon.kafka.foreign import decoded
from salmon.kafka.partitions import partition_of
from salmon.kafka.reader import Place
from salmon.kafka.tables import Progress
from salmon.kafka.topics import partition_counts
from salmon.model.state import State
from salmon.mongodb.keys import keys_of_untyped
from salmon.salesforce.ids import id18

T = TypeVar("T")


class Lookup(Sync):
    """A sync whose records are looked up by their keys."""

    def __init__(self, config: SyncConfig) -> None:
        super().__init__(config, client_id="salmon-lookup")

    @cached_property
    def _partitions(self) -> Mapping[str, int]:
        return partition_counts(self.admin)

    def check_field(self, name: str, field: str) -> None:
        """Raise ConfigError if a field is not synced. The message suggests similar names."""
        known = self.schema(name).by_name
        if field not in known:
            near = difflib.get_close_matches(field, known, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise ConfigError(f"{field}: this field of {name} does not exist or is not synced.{hint}")

    # Records by key.

    def place(self, topic: str, key: str) -> Place:
        """
        Return the topic's partition that has the key.

        Raises:
            SetupError: the topic does not exist.
        """
        count = self._partitions.get(topic)
        if count is None:
            raise SetupError(f"{topic} does not exist. Start the connectors of this sync: they create it.")
        return topic, partition_of(key, count)

    def newest(
        self,
        topic: str,
        keys: Collection[str],
        decode: Callable[[bytes], T],
        *,
        since_ms: int | None = None,
        progress: Progress | None = None,
    ) -> dict[str, T]:
        """Return the newest value of each of *keys* in a compacted topic, without those that have none."""
        found: dict[str, T | None] = {}

        def take(message: Message) -> None:
            key = (message.key() or b"").decode()  # one of *keys*
            if message.value() is None:
                found[key] = None
            elif (value := decoded(message, decode)) is not None:
                found[key] = value

        places = {self.place(topic, key) for key in keys}
        scans.scan(self.kafka, self.admin, places, take, keys=keys, since_ms=since_ms, progress=progress)
        return {key: value for key, value in found.items() if value is not None}

    def states(
        self,
        name: str,
        keys: Collection[str],
        *,
        since_ms: int | None = None,
        progress: Progress | None = None,
    ) -> dict[str, State]:
        """Return merge's states of *keys*, without those that it does not know."""
        codec = self.state_codec(name)
        return self.newest(codec.topic, keys, codec.decode, since_ms=since_ms, progress=progress)

    def keys_meant(self, name: str, text: str) -> list[str]:
        """
        Return the record keys that *text* may stand for, the most likely one first.

        A Salesforce Id of 15 or 18 characters stands for its record. A MongoDB `_id` may be given without the tag of its type.
        """
        meant = [text]
        if (native_id := id18(text)) is not None:
            codec = Identities(self.registry, self.topics.identity(name))
            keys = self.newest(codec.topic, [native_id], codec.decode)
            meant = [*keys.values(), native_id, text]
        elif not text.startswith("$"):
            meant += keys_of_untyped(text)
        return list(dict.fromkeys(meant))

    def keys_like(self, name: str | None, text: str) -> frozenset[str]:
        """Return the record keys that *text* may stand for, in one object or in any (see keys_meant), and *text* itself."""
        names = [each for each in self.config.objects if name in (None, each)]
        return frozenset([text]).union(*(self.keys_meant(each, text) for each in names))

    def key_and_state(
        self, name: str, text: str, *, progress: Progress | None = None
    ) -> tuple[str, State | None]:
        """Return the record key that *text* stands for, and merge's state of it; if it has none, the most likely key."""
        self.rules(name)
        meant = self.keys_meant(name, text)
        states = self.states(name, meant, progress=progress)
        key = next((each for each in meant if each in states), meant[0])
        return key, states.get(key)
