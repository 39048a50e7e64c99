"""
Reads compacted topics as tables: the newest value of each key.

The caller and kafka.codecs decode the values. A foreign record (kafka.foreign) is skipped: it is not in the table, and
the key keeps its former value.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import (
    KafkaException,
    Message,
    TopicCollection,
)
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from salmon.closing import Closing
from salmon.errors import DataError, SetupError
from salmon.kafka import clients
from salmon.kafka.errors import answered, translated
from salmon.kafka.extents import ANSWER_MAX_S, end_offsets, first_offsets
from salmon.kafka.foreign import FOREIGN, key_text
from salmon.kafka.reader import BATCH, FETCH_BYTES, SLOW_FETCH_BYTES, Place, Reader
from salmon.kafka.topics import partition_counts

Progress = Callable[[int, int], None]  # offsets passed, offsets in all
# Called with a partition, its changes (key -> newest value, None: removed), and the next offset.
Take = Callable[[int, Mapping[str, Any], int], None]
# Makes the part of a value that is kept. Raises DataError for a foreign one.
Decode = Callable[[bytes], Any]

_NO_ID: Final = "A" * 22  # the zero of Kafka's UUIDs, in its base64
# If there are so many foreign records, and most records are foreign, the configured registry is probably the wrong one.
_FOREIGN_MAX: Final = 1_000


def as_it_is(value: bytes) -> bytes:
    """Return the value unchanged."""
    return value


def load(
    kafka: clients.Brokers,
    topic: str,
    decode: Decode = as_it_is,
    *,
    partitions: Collection[int] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """
    Read a table once: key -> newest value, deleted keys left out. See Table.load.

    Args:
        decode: Makes the part of a value that is kept.
        partitions: Only these; None for all.
    """
    with Table(kafka, topic, decode, partitions=partitions) as table:
        table.load(progress)
        return table.rows


def replay(
    kafka: clients.Brokers,
    topic: str,
    starts: Mapping[int, int],
    take: Take,
    *,
    decode: Decode = as_it_is,
    progress: Progress | None = None,
    fetch_bytes: int = FETCH_BYTES,
    batch: int = BATCH,
) -> dict[int, int]:
    """
    Read partitions of a table from given offsets to their ends, a batch at a time, and keep nothing.

    Args:
        starts: Partition -> the first offset to read; see kafka.extents.
        take: Called with a partition, its changes in the log's order, and the next offset.
        decode: Makes of a value what *take* gets.
        fetch_bytes: Bytes to fetch of a partition at a time; SLOW_FETCH_BYTES if *take* is slow.
        batch: Number of records that are decoded, and given to *take*, at a time.

    Returns:
        Partition -> the next offset.

    Raises:
        SetupError, Unavailable: see Table.load(); and any error that *take* raises.
    """
    with _Log(kafka, topic, starts, decode=decode, fetch_bytes=fetch_bytes, batch=batch) as reader:
        reader.read_to_end(take, progress)
        return reader.next_offsets


@dataclass(frozen=True, slots=True)
class Description:
    """The identity of a topic, and how long it keeps tombstones. *topic_id* is empty if the broker gives none."""

    cluster_id: str
    topic_id: str
    tombstones_ms: int


def describe(admin: AdminClient, topic: str, *, timeout_s: float = ANSWER_MAX_S) -> Description:
    """
    Ask the brokers to describe a topic.

    Raises:
        Unavailable, SetupError: the brokers' answer.
    """
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        cluster_id = admin.list_topics(timeout=timeout_s).cluster_id
        asked = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)[topic]
        settings_asked = admin.describe_configs([resource], request_timeout=timeout_s)[resource]
    except KafkaException as error:
        raise translated(error, f"describing {topic}") from error
    description = answered(asked, timeout_s, f"describing {topic}")
    settings = answered(settings_asked, timeout_s, f"describing {topic}")
    topic_id = str(description.topic_id)
    return Description(
        cluster_id or "",
        "" if topic_id == _NO_ID else topic_id,
        int(settings["delete.retention.ms"].value),
    )


class Table(Closing):
    """
    A compacted topic as a dict, kept up to date by follow(). For one thread only.

    Args:
        decode: Makes the part of a value that is kept. Raises DataError for a foreign one.
        partitions: Only these; None for all.
        only: Only these keys are kept; None for all.

    Attributes:
        rows: Key -> newest committed value, as far as the table has been read.
        next_offsets: Partition -> the next offset to read.

    Raises:
        SetupError: the topic does not exist; or most of its records are foreign.
        Unavailable: no broker answers.
    """

    def __init__(
        self,
        kafka: clients.Brokers,
        topic: str,
        decode: Decode = as_it_is,
        *,
        partitions: Collection[int] | None = None,
        only: Container[str] | None = None,
    ) -> None:
        self.topic = topic
        self.rows: dict[str, Any] = {}
        admin = clients.admin(kafka)
        count = partition_counts(admin).get(topic)
        if count is None:
            raise SetupError(f"{topic} does not exist. Start the connectors of this sync: they create it.")
        wanted = sorted(range(count) if partitions is None else partitions)
        fetch_bytes = FETCH_BYTES if only is None else SLOW_FETCH_BYTES
        self._log = _Log(
            kafka,
            topic,
            first_offsets(admin, topic, wanted),
            admin,
            decode=decode,
            only=only,
            fetch_bytes=fetch_bytes,
        )

    @property
    def next_offsets(self) -> dict[int, int]:
        return self._log.next_offsets

    def load(self, progress: Progress | None = None) -> None:
        """
        Read up to the end of the topic at the time of the call.

        Afterwards the table has everything that was written before the call, except for aborted records. If a
        transaction is still open, this waits for its end, because the records after it may be committed.

        Raises:
            Unavailable: the brokers do not answer, or a transaction stays open.
        """
        self._log.read_to_end(self._keep, progress)

    def follow(self, timeout_s: float = 0.0) -> dict[str, Any]:
        """
        Read new records, and wait up to *timeout_s* for the first one.

        Returns:
            The changes: key -> new value, None for a key that was removed.

        Raises:
            Unavailable, SetupError: the brokers' answer.
        """
        deadline = time.monotonic() + timeout_s
        changed: dict[str, Any] = {}
        while True:
            changed |= self._log.follow(self._keep, max(0.0, deadline - time.monotonic()))
            # A step may also bring only the end of a partition.
            if changed or time.monotonic() >= deadline:
                return changed

    def close(self) -> None:
        """Close the connections. The rows stay."""
        self._log.close()

    def _keep(self, _partition: int, changed: Mapping[str, Any], _next_offset: int) -> None:
        for name, value in changed.items():
            if value is None:
                self.rows.pop(name, None)
            else:
                self.rows[name] = value


class _Log(Closing):
    """Reads partitions of a table from *starts* on, and decodes the records."""

    def __init__(
        self,
        kafka: clients.Brokers,
        topic: str,
        starts: Mapping[int, int],
        admin: AdminClient | None = None,
        *,
        decode: Decode,
        only: Container[str] | None = None,
        fetch_bytes: int = FETCH_BYTES,
        batch: int = BATCH,
    ) -> None:
        self.topic = topic
        self._decode, self._only = decode, only
        self._ours = self._foreign = 0  # records so far
        self._admin = admin or clients.admin(kafka)
        self._reader = Reader(
            kafka,
            {(topic, partition): offset for partition, offset in starts.items()},
            name=f"{topic}.table",
            fetch_bytes=fetch_bytes,
            batch=batch,
        )

    @property
    def next_offsets(self) -> dict[int, int]:
        return {partition: offset for (_, partition), offset in self._reader.next_offsets.items()}

    def read_to_end(self, take: Take, progress: Progress | None = None) -> None:
        ends = end_offsets(self._admin, self.topic, self.next_offsets)

        def turned() -> None:
            if progress is not None:
                progress(*self._reader.passed(ends))

        self._reader.read_to_end(
            lambda records, after: self._hand_on(records, after, take), ends=ends, settled=True, turned=turned
        )

    def follow(self, take: Take, timeout_s: float) -> dict[str, Any]:
        """
        Hand on the changes that arrive within *timeout_s*, and return them.

        Raises:
            Unavailable, SetupError: the brokers' answer, after the records that arrived with it were returned; or a value
                could not be decoded now, and the next call tries again.
        """
        changed: dict[str, Any] = {}

        def both(partition: int, rows: Mapping[str, Any], offset: int) -> None:
            take(partition, rows, offset)
            changed.update(rows)

        self._reader.step(lambda records, after: self._hand_on(records, after, both), timeout_s)
        return changed

    def _hand_on(self, records: Sequence[Message], after: Mapping[Place, int], take: Take) -> None:
        """Decode new records, and give the changes to *take*, partition by partition."""
        changed: dict[int, dict[str, Any]] = {}
        ours, foreign = self._ours, self._foreign
        # Start with the newest. Of each key one value is decoded, and an older one only if that one is foreign.
        for message in reversed(records):
            topic, partition, offset = clients.place_of(message)
            raw_key, raw = message.key(), message.value()
            if raw_key is None:
                continue
            rows = changed.setdefault(partition, {})
            try:
                key = key_text(topic, raw_key)
                if key not in rows and (self._only is None or key in self._only):
                    rows[key] = None if raw is None else self._decode(raw)
                ours += 1
            except DataError as error:
                foreign += 1
                FOREIGN.pass_over(topic, partition, offset, raw_key, str(error))
        if foreign > _FOREIGN_MAX and foreign > ours:
            raise SetupError(
                f"{self.topic}: {foreign:,} of {foreign + ours:,} records cannot be read. Point schema_registry.url at "
                f"the registry that they were written with. If another program wrote them, choose another sync name."
            )
        self._ours, self._foreign = ours, foreign
        for partition, rows in changed.items():
            take(partition, rows, after[self.topic, partition])

    def close(self) -> None:
        self._reader.close()
