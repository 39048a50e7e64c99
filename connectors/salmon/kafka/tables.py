"""
Compacted topics read as tables: the newest value of each key, by the end of the topic.

What the bytes mean is for the caller and kafka.serdes. What somebody else wrote into the topic is passed over
(kafka.foreign): it is in no table, and the key keeps the value that it had.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import (
    IsolationLevel,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType  # type: ignore[attr-defined]

from salmon.errors import DataError, SetupError, Unavailable
from salmon.kafka import clients
from salmon.kafka.errors import answered, translated
from salmon.kafka.foreign import FOREIGN, key_text
from salmon.kafka.reader import BATCH, FETCH_BYTES, SLOW_FETCH_BYTES, Place, Reader
from salmon.kafka.topics import partition_counts

Progress = Callable[[int, int], None]  # offsets passed, offsets in all
# Of one partition: key -> newest value (None: removed), and the offset that comes next.
Take = Callable[[int, Mapping[str, Any], int], None]
# What is kept of a value. It raises DataError for a foreign one.
Decode = Callable[[bytes], Any]

_NO_ID: Final = "A" * 22  # the zero of Kafka's UUIDs, in its base64
# Shorter than a process may take to stop: who waits for it hears of that only afterwards.
_ANSWER_MAX_S: Final = 8.0
_REFRESH_MAX_S: Final = 2.0
# So many foreign records, if most records are, are no accident: the registry is probably not the writers'.
_FOREIGN_MAX: Final = 1_000


def as_it_is(value: bytes) -> bytes:
    """The value as it stands in the topic."""
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
        decode: Makes of a value what is kept of it.
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
        starts: Partition -> the first offset to read; extents() says which there are.
        take: Called with the changes of one partition, in the log's order, and the offset that comes next.
        decode: Makes of a value what *take* is given.
        fetch_bytes: How much is fetched of a partition at a time; SLOW_FETCH_BYTES where *take* is slow.
        batch: How many records are decoded, and given to *take*, at a time.

    Returns:
        Partition -> the offset that comes next.

    Raises:
        SetupError, Unavailable: as Table.load; and whatever *take* raises.
    """
    with _Log(kafka, topic, starts, decode=decode, fetch_bytes=fetch_bytes, batch=batch) as reader:
        reader.read_to_end(take, progress)
        return reader.next_offsets


@dataclass(frozen=True, slots=True)
class Extent:
    """What a partition holds, uncommitted records among it: offsets from *start*, up to but without *end*."""

    start: int
    end: int


def extents(admin: AdminClient, topic: str, partitions: Collection[int]) -> dict[int, Extent]:
    """
    Ask how far partitions reach now.

    Raises:
        Unavailable, SetupError: as the brokers answer.
    """
    starts = _offsets(admin, topic, partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    ends = _offsets(admin, topic, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    return {partition: Extent(starts[partition], ends[partition]) for partition in partitions}


@dataclass(frozen=True, slots=True)
class Description:
    """Which topic it is, and how long it keeps tombstones. *topic_id* is empty where the broker gives none."""

    cluster_id: str
    topic_id: str
    tombstones_ms: int


def describe(admin: AdminClient, topic: str, *, timeout_s: float = _ANSWER_MAX_S) -> Description:
    """
    Ask what a table is.

    Raises:
        Unavailable, SetupError: as the brokers answer.
    """
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        cluster_id = admin.list_topics(timeout=timeout_s).cluster_id
        asked = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)[topic]
        settings_asked = admin.describe_configs([resource], request_timeout=timeout_s)[resource]
    except KafkaException as error:
        raise translated(error, f"describing {topic}") from error
    told = answered(asked, timeout_s, f"describing {topic}")
    settings = answered(settings_asked, timeout_s, f"describing {topic}")
    topic_id = str(told.topic_id)
    return Description(
        cluster_id or "",
        "" if topic_id == _NO_ID else topic_id,
        int(settings["delete.retention.ms"].value),
    )


class Table:
    """
    A compacted topic as a dict, kept up to date by follow(). One thread uses it.

    Args:
        decode: Makes of a value what is kept of it, and raises DataError for a foreign one.
        partitions: Only these; None for all.
        only: Only these keys are kept; None for all.

    Attributes:
        rows: Key -> newest committed value, as far as the table has been read.
        next_offsets: Partition -> the offset that comes next.

    Raises:
        SetupError: there is no such topic; or so many of its records are foreign that it is no accident.
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
        starts = _offsets(admin, topic, wanted, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        fetch_bytes = FETCH_BYTES if only is None else SLOW_FETCH_BYTES
        self._log = _Log(kafka, topic, starts, admin, decode=decode, only=only, fetch_bytes=fetch_bytes)

    @property
    def next_offsets(self) -> dict[int, int]:
        return self._log.next_offsets

    def load(self, progress: Progress | None = None) -> None:
        """
        Read up to the end of the topic as it is at the call.

        All that was written before the call is in the table afterwards, except for what was aborted: where a
        transaction is still open, this waits until it is settled, since what stands behind it may be committed.

        Raises:
            Unavailable: the brokers do not answer, or a transaction stays open.
        """
        self._log.read_to_end(self._keep, progress)

    def follow(self, timeout_s: float = 0.0) -> dict[str, Any]:
        """
        Take in what came since, waiting up to *timeout_s* for the first of it.

        Returns:
            What changed: key -> new value, None for a key that was removed.

        Raises:
            Unavailable, SetupError: as the brokers answer.
        """
        deadline = time.monotonic() + timeout_s
        changed: dict[str, Any] = {}
        while True:
            changed |= self._log.follow(self._keep, max(0.0, deadline - time.monotonic()))
            # It may have heard of the topic's end only.
            if changed or time.monotonic() >= deadline:
                return changed

    def close(self) -> None:
        """Close the connections. The rows stay."""
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep(self, _partition: int, changed: Mapping[str, Any], _next_offset: int) -> None:
        for name, value in changed.items():
            if value is None:
                self.rows.pop(name, None)
            else:
                self.rows[name] = value


class _Log:
    """Partitions of a table, read on from *starts*."""

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
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        found = _offsets(self._admin, self.topic, self.next_offsets, latest)
        ends = {(self.topic, partition): offset for partition, offset in found.items()}

        def turned() -> None:
            if progress is not None:
                progress(*self._reader.passed(ends))

        self._reader.read_to_end(
            lambda records, after: self._hand_on(records, after, take), ends=ends, settled=True, turned=turned
        )

    def follow(self, take: Take, timeout_s: float) -> dict[str, Any]:
        """
        Take what arrives within *timeout_s*, and return it.

        Raises:
            Unavailable, SetupError: as the broker said, after what came beside the error was returned; or as a value
                could not be read now: the next call tries again.
        """
        changed: dict[str, Any] = {}

        def both(partition: int, rows: Mapping[str, Any], offset: int) -> None:
            take(partition, rows, offset)
            changed.update(rows)

        self._reader.step(lambda records, after: self._hand_on(records, after, both), timeout_s)
        return changed

    def _hand_on(self, records: Sequence[Message], after: Mapping[Place, int], take: Take) -> None:
        """Decode what is new, and give it to *take*, partition by partition."""
        changed: dict[int, dict[str, Any]] = {}
        ours, foreign = self._ours, self._foreign
        # From the newest on: of each key, one value is decoded, and an older one only where that is foreign.
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
                f"the registry that they were written with; if they are somebody else's, choose another sync name."
            )
        self._ours, self._foreign = ours, foreign
        for partition, rows in changed.items():
            take(partition, rows, after[self.topic, partition])

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _offsets(admin: AdminClient, topic: str, partitions: Collection[int], spec: OffsetSpec) -> dict[int, int]:
    asked = {TopicPartition(topic, partition): spec for partition in partitions}
    # Uncommitted: the very end, which may lie behind a transaction that is still open.
    answers = admin.list_offsets(
        asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_ANSWER_MAX_S
    )
    what = f"asking for the ends of {topic}"
    try:
        return {
            place.partition: answered(answer, _ANSWER_MAX_S, what).offset for place, answer in answers.items()
        }
    except Unavailable:
        # After a broker was away, this client may go on asking by a leader's epoch that has passed, for as long as it
        # lives: librdkafka looks for the leaders anew only where it is asked for all topics.
        with suppress(KafkaException):
            admin.list_topics(timeout=_REFRESH_MAX_S)
        raise
