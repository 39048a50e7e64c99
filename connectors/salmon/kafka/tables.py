"""
Compacted topics read as tables: the newest value of each key, by the end of the topic.

What the bytes mean is for the caller and kafka.serdes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any, Final, Self

import structlog
from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from salmon.errors import SetupError, Unavailable
from salmon.kafka import clients
from salmon.kafka.errors import translated
from salmon.kafka.topics import partition_counts

log = structlog.get_logger(__name__)

Progress = Callable[[int, int], None]  # offsets passed, offsets in all

_BATCH: Final = 10_000
_WAIT_S: Final = 0.5
_TELL_AFTER_S: Final = 5.0
_STANDSTILL_S_MAX: Final = 90.0


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


class Table:
    """
    A compacted topic as a dict, kept up to date by follow(). One thread uses it.

    Attributes:
        rows: Key -> newest committed value, as far as the table has been read.
        next_offsets: Partition -> the offset that comes next.

    Raises:
        SetupError: there is no such topic.
        Unavailable: no broker answers.
    """

    def __init__(
        self, kafka: Mapping[str, Any], topic: str, *, partitions: Collection[int] | None = None
    ) -> None:
        self.topic = topic
        self.rows: dict[str, bytes] = {}
        self._admin: AdminClient = clients.admin(kafka)
        count = partition_counts(self._admin).get(topic)
        if count is None:
            raise SetupError(f"{topic} does not exist. Start the connectors of this sync: they create it.")
        self._partitions = sorted(range(count) if partitions is None else partitions)
        self._starts = self._offsets(OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        self.next_offsets: dict[int, int] = dict(self._starts)
        # The group is only a name: nothing is committed, and nobody joins it.
        self._consumer = clients.consumer(
            kafka, group_id=f"{topic}.table", client_id=f"{topic}.table", enable_partition_eof=True
        )
        # By number: librdkafka takes half a second to find the beginning by itself.
        self._consumer.assign(
            [TopicPartition(topic, partition, offset) for partition, offset in self._starts.items()]
        )

    def load(self, progress: Progress | None = None) -> None:
        """
        Read up to the end of the topic as it is at the call.

        All that was written before the call is in the table afterwards, except for what was aborted: where a
        transaction is still open, this waits until it is settled, since what stands behind it may be committed.

        Raises:
            Unavailable: the brokers do not answer, or a transaction stays open.
        """
        ends = self._offsets(OffsetSpec.latest())  # type: ignore[no-untyped-call]
        total = sum(ends.values()) - sum(self._starts.values())
        moved_at = told_at = time.monotonic()
        while any(self.next_offsets[partition] < ends[partition] for partition in self._partitions):
            before = sum(self.next_offsets.values())
            self._take(_WAIT_S)
            now = time.monotonic()
            if sum(self.next_offsets.values()) > before:
                moved_at = told_at = now
                if progress:
                    left = sum(max(0, ends[p] - self.next_offsets[p]) for p in self._partitions)
                    progress(total - left, total)
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

    def follow(self, timeout_s: float = 0.0) -> dict[str, bytes | None]:
        """
        Take in what came since, waiting up to *timeout_s* for the first of it.

        Returns:
            What changed: key -> new value, None for a key that was removed.

        Raises:
            Unavailable, SetupError: as the brokers answer.
        """
        deadline = time.monotonic() + timeout_s
        while not (changed := self._take(max(0.0, deadline - time.monotonic()))):
            # It may have heard of the topic's end only.
            if time.monotonic() >= deadline:
                break
        return changed

    def close(self) -> None:
        """Close the connections. The rows stay."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, timeout_s: float) -> dict[str, bytes | None]:
        try:
            # consume() would wait for a whole batch; the first record must not wait for a second.
            first = self._consumer.poll(timeout_s)
            heard = [] if first is None else [first, *self._consumer.consume(_BATCH, 0)]
        except KafkaException as error:
            raise translated(error, f"reading {self.topic}") from error
        changed: dict[str, bytes | None] = {}
        for message in heard:
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            if (trouble := message.error()) is None:
                if (key := message.key()) is not None:
                    changed[key.decode()] = message.value()
                self.next_offsets[partition] = offset + 1
            elif trouble.code() == KafkaError._PARTITION_EOF:
                # The end, as committed by now. It also passes what is never delivered: markers, aborted records.
                self.next_offsets[partition] = offset
            else:
                raise translated(trouble, f"reading {self.topic}")
        for name, value in changed.items():
            if value is None:
                self.rows.pop(name, None)
            else:
                self.rows[name] = value
        return changed

    def _offsets(self, spec: OffsetSpec) -> dict[int, int]:
        asked = {TopicPartition(self.topic, partition): spec for partition in self._partitions}
        # Uncommitted: the very end, which may lie behind a transaction that is still open.
        answers = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        try:
            return {place.partition: answer.result(30.0).offset for place, answer in answers.items()}
        except KafkaException as error:
            raise translated(error, f"asking for the end of {self.topic}") from error
