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

import structlog
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
from salmon.kafka.topics import partition_counts

log = structlog.get_logger(__name__)

Progress = Callable[[int, int], None]  # offsets passed, offsets in all
# Of one partition: key -> newest value (None: removed), and the offset that comes next.
Take = Callable[[int, Mapping[str, Any], int], None]
# What is kept of a value. It raises DataError for a foreign one.
Decode = Callable[[bytes], Any]

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
    fetch_bytes: int = _FETCH_BYTES,
    batch: int = _BATCH,
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
        fetch_bytes = _FETCH_BYTES if only is None else SLOW_FETCH_BYTES
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
        fetch_bytes: int = _FETCH_BYTES,
        batch: int = _BATCH,
    ) -> None:
        self.topic = topic
        self._decode, self._only, self._batch = decode, only, batch
        self._heard: Sequence[Message] = ()  # taken from the consumer, and not looked at yet
        self._ours = self._foreign = 0  # records so far
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

    def take(self, timeout_s: float) -> dict[int, dict[str, Any]]:
        """
        What arrives within *timeout_s*, by partition.

        Raises:
            Unavailable, SetupError: as the broker said, after what came beside the error was returned; or as a value
                could not be read now: the next call tries again.
        """
        heard = self._heard = self._heard or clients.hear(self._consumer, self._batch, timeout_s)
        changed: dict[int, dict[str, Any]] = {}
        ours, foreign = self._ours, self._foreign
        # From the newest on: of each key, one value is decoded, and an older one only where that is foreign.
        for message in reversed(heard):
            topic, partition, offset = clients.place_of(message)
            raw_key, raw = message.key(), message.value()
            if message.error() is not None or raw_key is None:
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
        self._heard, self._ours, self._foreign = (), ours, foreign
        for message in heard:
            _, partition, offset = clients.place_of(message)
            # The end, as committed by now, also passes what is never delivered: markers, aborted records.
            self.next_offsets[partition] = offset + 1 if message.error() is None else offset
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
