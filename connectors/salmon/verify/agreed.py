"""
What was agreed on one object, and what merge knows of a record: the topics `records` and `state`, decoded on demand.

`records` is streamed as a whole; of both, only the records that are being looked at are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

from salmon.errors import SetupError
from salmon.kafka import clients, tables
from salmon.kafka.registry import Registry
from salmon.kafka.serdes import Identities, Records
from salmon.kafka.tables import Table
from salmon.kafka.topics import Topics, partition_counts
from salmon.merge.states import States
from salmon.model.change import Value
from salmon.model.rules import Rules
from salmon.model.state import State

# Rows in the topic's order (None: removed), the partition, and the offset there that comes next.
TakeRows = Callable[[Mapping[str, Mapping[str, Value] | None], int, int], None]
_PIECE: Final = 1_000  # rows that are decoded at once


class Agreed:
    """The two topics of one object; a context manager."""

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
        """Which topic `records` is: one that was deleted and created again is another."""
        told = tables.describe(self._admin, self._records.topic)
        return {"cluster": told.cluster_id, "topic": self._records.topic, "topic_id": told.topic_id}

    def read(
        self, offsets: Mapping[str, int], take: TakeRows, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """
        Read `records` up to its end.

        Args:
            offsets: Partition -> where to go on; those not named, and those that begin later by now, at their beginning.

        Raises:
            SetupError: there is no such topic.
            SchemaMismatch: a row that is none.
        """
        topic = self._records.topic
        count = partition_counts(self._admin).get(topic)
        if count is None:
            raise SetupError(f"{topic} does not exist. Start the connectors of this sync: they create it.")
        starts = {
            partition: max(extent.start, offsets.get(str(partition), 0))
            for partition, extent in tables.extents(self._admin, topic, range(count)).items()
        }
        before = dict(starts)

        def decoded(partition: int, rows: Mapping[str, bytes | None], following: int) -> None:
            names = list(rows)
            for start in range(0, len(names), _PIECE):
                piece = {name: self._row_of(rows[name]) for name in names[start : start + _PIECE]}
                # All of them were passed only with the last piece; before, the place is still that of the batch.
                last = start + _PIECE >= len(names)
                take(piece, partition, following if last else before[partition])
            if not names:
                take({}, partition, following)
            before[partition] = following

        tables.replay(
            self._kafka, topic, starts, decoded, progress=progress, fetch_bytes=tables.SLOW_FETCH_BYTES
        )

    def watch(self, keys: Collection[str]) -> None:
        """Keep these keys, and no others, from both topics; `follow` brings them up to date."""
        self._closing.close()
        some = frozenset(keys)
        rows = self._closing.enter_context(Table(self._kafka, self._records.topic, only=some))
        self._watched = (
            rows,
            self._closing.enter_context(Table(self._kafka, self._states.topic, only=some)),
        )

    def row(self, key: str) -> Mapping[str, Value] | None:
        """The agreed record, or None; of a key that is watched."""
        data = None if self._watched is None else self._watched[0].rows.get(key)
        return self._row_of(data)

    def state(self, key: str) -> State | None:
        """What merge knows of a record as of the last `follow`; None if it knows nothing, or nobody watches."""
        data = None if self._watched is None else self._watched[1].rows.get(key)
        return None if data is None else self._states.decode(data)

    def follow(self) -> bool:
        """Bring both up to date; whether anything was new, of any key."""
        assert self._watched is not None, "watch() comes first"
        before = [dict(table.next_offsets) for table in self._watched]
        for table in self._watched:
            table.load()
        return before != [table.next_offsets for table in self._watched]

    def keys_of(self, ids: Collection[str]) -> Mapping[str, str]:
        """Salesforce Id -> record key, of those among *ids* whose record has another key than its Id."""
        with Table(self._kafka, self._identities.topic, only=frozenset(ids)) as table:
            table.load()
            return {native_id: self._identities.decode(data) for native_id, data in table.rows.items()}

    def _row_of(self, data: bytes | None) -> Mapping[str, Value] | None:
        return None if data is None else self._records.decode(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()
