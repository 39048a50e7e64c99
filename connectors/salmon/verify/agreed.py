"""
Reads what was agreed for one object, and what merge knows of a record: the topics `records` and `state`.

`records` is read as a stream. Only the records that are being looked at are decoded and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from typing import Any, Final

from salmon.closing import Closing
from salmon.errors import SetupError
from salmon.kafka import clients, tables
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.codecs.serdes import Identities, Records
from salmon.kafka.extents import extents
from salmon.kafka.reader import SLOW_FETCH_BYTES
from salmon.kafka.tables import Table
from salmon.kafka.topics import Topics, partition_counts
from salmon.merge.states import States
from salmon.model.change import Value
from salmon.model.rules import Rules
from salmon.model.state import State

# Rows in the topic's order (None: removed), their partition, and the next offset to read there.
TakeRows = Callable[[Mapping[str, Mapping[str, Value] | None], int, int], None]
_BATCH: Final = 1_000  # rows that are decoded at once


class Agreed(Closing):
    """The topics `records` and `state` of one object; a context manager."""

    def __init__(self, kafka: Mapping[str, Any], topics: Topics, rules: Rules, registry: Registry) -> None:
        name = rules.schema.name
        self._kafka, self._topics = kafka, topics
        self._admin = clients.admin(kafka)
        self._records = Records(rules.schema, registry, topics.records(name))
        self._states = States(rules, registry, topics.state(name))
        self._identities = Identities(registry, topics.identity(name))
        self._watched: tuple[Table, Table] | None = None  # `records` and `state`, of some keys
        self._closing = ExitStack()

    def origin(self) -> Mapping[str, str]:
        """Return what identifies the topic `records`: after it is deleted and created again, it is a different topic."""
        found = tables.describe(self._admin, self._records.topic)
        return {"cluster": found.cluster_id, "topic": self._records.topic, "topic_id": found.topic_id}

    def read(
        self, offsets: Mapping[str, int], take: TakeRows, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """
        Read `records` up to its end.

        Args:
            offsets: Partition -> the offset to continue at. A partition that is not named, or that begins later now, is
                read from its beginning.

        Raises:
            SetupError: the topic does not exist.
        """
        topic = self._records.topic
        count = partition_counts(self._admin).get(topic)
        if count is None:
            raise SetupError(f"{topic} does not exist. Start the connectors of this sync: they create it.")
        starts = {
            partition: max(extent.start, offsets.get(str(partition), 0))
            for partition, extent in extents(self._admin, topic, range(count)).items()
        }
        tables.replay(
            self._kafka,
            topic,
            starts,
            lambda partition, rows, following: take(rows, partition, following),
            decode=self._records.decode,
            progress=progress,
            fetch_bytes=SLOW_FETCH_BYTES,
            batch=_BATCH,
        )

    def watch(self, keys: Collection[str]) -> None:
        """Keep only these keys from both topics; `follow` brings them up to date."""
        self._closing.close()
        some = frozenset(keys)
        rows = Table(self._kafka, self._records.topic, self._records.decode, only=some)
        self._closing.enter_context(rows)
        states = Table(self._kafka, self._states.topic, self._states.decode, only=some)
        self._watched = rows, self._closing.enter_context(states)

    def row(self, key: str) -> Mapping[str, Value] | None:
        """Return the agreed record of a watched key, or None."""
        return None if self._watched is None else self._watched[0].rows.get(key)

    def state(self, key: str) -> State | None:
        """Return merge's state of a watched key as of the last `follow`; None if there is none."""
        return None if self._watched is None else self._watched[1].rows.get(key)

    def follow(self) -> bool:
        """Bring both tables up to date. Returns whether anything was new, of any key."""
        assert self._watched is not None, "watch() comes first"
        before = [dict(table.next_offsets) for table in self._watched]
        for table in self._watched:
            table.load()
        return before != [table.next_offsets for table in self._watched]

    def keys_of(self, ids: Collection[str]) -> Mapping[str, str]:
        """Return Salesforce Id -> record key, for those of *ids* whose record has another key than its Id."""
        topic, decode = self._identities.topic, self._identities.decode
        with Table(self._kafka, topic, decode, only=frozenset(ids)) as table:
            table.load()
            return table.rows

    def close(self) -> None:
        self._closing.close()
