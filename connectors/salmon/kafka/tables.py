"""
Compacted topics read as tables: the newest value of each key, by the end of the topic.

What the bytes mean is for the caller and kafka.serdes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import structlog
from confluent_kafka import (
    IsolationLevel,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType  # type: ignore[attr-defined]

from salmon.errors import SetupError, Unavailable
from salmon.kafka import clients
from salmon.kafka.errors import answered, translated
from salmon.kafka.topics import partition_counts

log = structlog.get_logger(__name__)

Progress = Callable[[int, int], None]  # offsets passed, offsets in all
# Of one partition: key -> newest value (None: removed), and the offset that comes next.
Take = Callable[[int, Mapping[str, bytes | None], int], None]

_NO_ID: Final = "A" * 22  # the zero of Kafka's UUIDs, in its base64
# Fetched ahead. The default of 64 MiB would be most of the memory of a process that keeps nothing, and is no faster.
_QUEUE_KIB: Final = 8 * 1024
# Of each partition at a time, compressed: a reader that decodes what it gets is slower than the broker, and all that has
# come lies in memory unpacked.
_FETCH_BYTES: Final = 1024 * 1024
SLOW_FETCH_BYTES: Final = 128 * 1024
_BATCH: Final = 10_000
_WAIT_S: Final = 0.5
# Shorter than a process may take to stop: who waits for it hears of that only afterwards.
_ANSWER_MAX_S: Final = 8.0
_REFRESH_MAX_S: Final = 2.0
_TELL_AFTER_S: Final = 5.0
_STANDSTILL_S_MAX: Final = 25.0  # a loop that waits for it must turn now and then


def load(
    kafka: Mapping[str, Any],
    topic: str,
    *,
    partitions: Collection[int] | None = None,
    progress: Progress | None = None,
) -> dict[str, bytes]:
    """
    Read a table once: key -> newest value, deleted keys left out. See Table.load.

    Args:
        partitions: Only these; None for all.
    """
    with Table(kafka, topic, partitions=partitions) as table:
        table.load(progress)
        return table.rows


def replay(
    kafka: Mapping[str, Any],
    topic: str,
    starts: Mapping[int, int],
    take: Take,
    *,
    progress: Progress | None = None,
    fetch_bytes: int = _FETCH_BYTES,
) -> dict[int, int]:
    """
    Read partitions of a table from given offsets to their ends, a batch at a time, and keep nothing.

    Args:
        starts: Partition -> the first offset to read; extents() says which there are.
        take: Called with the changes of one partition, in the log's order, and the offset that comes next.
        fetch_bytes: How much is fetched of a partition at a time; SLOW_FETCH_BYTES where *take* is slow.

    Returns:
        Partition -> the offset that comes next.

    Raises:
        SetupError, Unavailable: as Table.load; and whatever *take* raises.
    """
    with _Log(kafka, topic, starts, fetch_bytes=fetch_bytes) as reader:
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
        partitions: Only these; None for all.
        only: Only these keys are kept; None for all.

    Attributes:
        rows: Key -> newest committed value, as far as the table has been read.
        next_offsets: Partition -> the offset that comes next.

    Raises:
        SetupError: there is no such topic.
        Unavailable: no broker answers.
    """

    def __init__(
        self,
        kafka: Mapping[str, Any],
        topic: str,
        *,
        partitions: Collection[int] | None = None,
        only: Container[str] | None = None,
    ) -> None:
        self.topic = topic
        self._only = only
        self.rows: dict[str, bytes] = {}
        admin = clients.admin(kafka)
        count = partition_counts(admin).get(topic)
        if count is None:
            raise SetupError(f"{topic} does not exist. Start the connectors of this sync: they create it.")
        wanted = sorted(range(count) if partitions is None else partitions)
        starts = _offsets(admin, topic, wanted, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        fetch_bytes = _FETCH_BYTES if only is None else SLOW_FETCH_BYTES
        self._log = _Log(kafka, topic, starts, admin, fetch_bytes=fetch_bytes)

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

    def follow(self, timeout_s: float = 0.0) -> dict[str, bytes | None]:
        """
        Take in what came since, waiting up to *timeout_s* for the first of it.

        Returns:
            What changed: key -> new value, None for a key that was removed.

        Raises:
            Unavailable, SetupError: as the brokers answer.
        """
        deadline = time.monotonic() + timeout_s
        changed: dict[str, bytes | None] = {}
        while True:
            for partition, rows in self._log.take(max(0.0, deadline - time.monotonic())).items():
                self._keep(partition, rows, 0)
                changed |= rows
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

    def _keep(self, _partition: int, changed: Mapping[str, bytes | None], _next_offset: int) -> None:
        for name, value in changed.items():
            if value is None:
                self.rows.pop(name, None)
            elif self._only is None or name in self._only:
                self.rows[name] = value


class _Log:
    """Partitions of a table, read on from *starts*."""

    def __init__(
        self,
        kafka: Mapping[str, Any],
        topic: str,
        starts: Mapping[int, int],
        admin: AdminClient | None = None,
        *,
        fetch_bytes: int = _FETCH_BYTES,
    ) -> None:
        self.topic = topic
        self._admin = admin or clients.admin(kafka)
        self._starts = dict(starts)
        self.next_offsets: dict[int, int] = dict(starts)
        # The group is only a name: nothing is committed, and nobody joins it.
        self._consumer = clients.consumer(
            kafka,
            group_id=f"{topic}.table",
            client_id=f"{topic}.table",
            enable_partition_eof=True,
            queued_max_messages_kbytes=_QUEUE_KIB,
            max_partition_fetch_bytes=fetch_bytes,
        )
        # By number: librdkafka takes half a second to find the beginning by itself.
        self._consumer.assign([TopicPartition(topic, p, offset) for p, offset in starts.items()])

    def read_to_end(self, take: Take, progress: Progress | None = None) -> None:
        ends = _offsets(self._admin, self.topic, self._starts, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        total = sum(ends.values()) - sum(self._starts.values())
        moved_at = told_at = time.monotonic()
        while any(self.next_offsets[partition] < ends[partition] for partition in ends):
            before = sum(self.next_offsets.values())
            for partition, changed in self.take(_WAIT_S).items():
                take(partition, changed, self.next_offsets[partition])
            now = time.monotonic()
            if progress:  # also where nothing moves: it may want to stop
                left = sum(max(0, ends[p] - self.next_offsets[p]) for p in ends)
                progress(total - left, total)
            if sum(self.next_offsets.values()) > before:
                moved_at = told_at = now
            elif now - moved_at > _STANDSTILL_S_MAX:
                raise Unavailable(
                    f"{self.topic}: its end cannot be read: a transaction of another process is still open. It ends "
                    f"when that process is started again, or when the broker gives it up."
                )
            elif now - told_at > _TELL_AFTER_S:
                log.warning("table_load_waited", topic=self.topic, waited_s=round(now - moved_at))
                told_at = now
        if progress:
            progress(total, total)

    def take(self, timeout_s: float) -> dict[int, dict[str, bytes | None]]:
        """
        What arrives within *timeout_s*, by partition.

        Raises:
            Unavailable, SetupError: as the broker said, after what came beside the error was returned.
        """
        changed: dict[int, dict[str, bytes | None]] = {}
        for message in clients.hear(self._consumer, _BATCH, timeout_s):
            _, partition, offset = clients.place_of(message)
            if message.error() is None:
                if (key := message.key()) is not None:
                    changed.setdefault(partition, {})[key.decode()] = message.value()
                self.next_offsets[partition] = offset + 1
            else:
                # The end, as committed by now. It also passes what is never delivered: markers, aborted records.
                self.next_offsets[partition] = offset
        return changed

    def close(self) -> None:
        self._consumer.close()

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
