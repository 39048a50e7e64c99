"""
Reads partitions from given offsets to their ends, batch by batch. Everything in Salmon that does this uses it: tables, scans,
the takeover of a sink's partitions, and the counts of `salmon status`.

The callers decide what the records mean and what is kept of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from confluent_kafka import Message, TopicPartition

from salmon.closing import Closing
from salmon.errors import Unavailable
from salmon.kafka import clients

log = structlog.get_logger(__name__)

Place = tuple[str, int]  # topic, partition
# The records of one poll, each partition's in the log's order, and the offset that comes next in each partition that moved.
Take = Callable[[Sequence[Message], Mapping[Place, int]], None]

# Of each partition at a time, compressed: a reader that decodes what it gets is slower than the broker, and all that has
# come lies in memory unpacked.
FETCH_BYTES: Final = 1024 * 1024
SLOW_FETCH_BYTES: Final = 128 * 1024
BATCH: Final = 10_000
# Fetched ahead. The default of 64 MiB would be most of the memory of a process that keeps nothing, and is no faster.
_QUEUE_KIB: Final = 8 * 1024
_WAIT_S: Final = 0.5
_REPORT_EVERY_S: Final = 5.0
# A loop that waits for it must turn now and then.
_STANDSTILL_S_MAX: Final = 25.0


class Reader(Closing):
    """
    One reading of some partitions. It commits nothing and joins no group. A context manager, for one thread only.

    Args:
        starts: The first offset to read in each partition. Always a number, because librdkafka takes half a second to look
            up a beginning.
        name: Name of the client, and of the group that librdkafka requires.
        fetch_bytes: Bytes to fetch of a partition at a time; SLOW_FETCH_BYTES if the caller handles records slowly.
        batch: Number of records to hand on at a time.

    Attributes:
        next_offsets: The next offset to read, in each partition.
    """

    def __init__(
        self,
        kafka: clients.Brokers,
        starts: Mapping[Place, int],
        *,
        name: str,
        fetch_bytes: int = FETCH_BYTES,
        batch: int = BATCH,
    ) -> None:
        self._starts, self._batch = dict(starts), batch
        self.next_offsets: dict[Place, int] = dict(starts)
        self._ended: set[Place] = set()  # partitions whose committed end was reached
        self._unread: Sequence[Message] = ()  # read from the broker, and not handed on yet
        self._consumer = clients.consumer(
            kafka,
            group_id=name,
            client_id=name,
            enable_partition_eof=True,
            queued_max_messages_kbytes=_QUEUE_KIB,
            max_partition_fetch_bytes=fetch_bytes,
        )
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in starts.items()])

    def step(self, take: Take, timeout_s: float) -> bool:
        """
        Hand on the records that arrive within *timeout_s*. If *take* raises, the next step hands them on again.

        Returns:
            Whether a record, or the end of a partition, arrived.

        Raises:
            Unavailable, SetupError, PositionLost: the brokers' answer. Records that arrived with it are handed on first.
        """
        messages = self._unread = self._unread or clients.read_with_ends(
            self._consumer, self._batch, timeout_s
        )
        records: list[Message] = []
        after: dict[Place, int] = {}
        ended: list[Place] = []
        for message in messages:
            topic, partition, offset = clients.place_of(message)
            place = topic, partition
            if message.error() is None:
                records.append(message)
                after[place] = offset + 1
            else:
                # The end, as committed by now, also passes what is never delivered: markers, aborted records.
                after[place] = offset
                ended.append(place)
        take(records, after)
        self._unread = ()
        moved = any(self.next_offsets[place] != offset for place, offset in after.items())
        moved = moved or not self._ended.issuperset(ended)
        self.next_offsets |= after
        self._ended.update(ended)
        return moved

    def read_to_end(
        self,
        take: Take,
        *,
        ends: Mapping[Place, int] | None = None,
        settled: bool = False,
        turned: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Read each partition to its end.

        Args:
            ends: The ends of the partitions; later records are not waited for. None: the ends that the brokers report.
            settled: Whether to wait for a transaction that is still open before *ends*, because the records after it may be
                committed. Otherwise a partition is read once up to that transaction.
            turned: Called at each poll. An error that it raises stops the reading; the next call continues at that point.

        Raises:
            Unavailable, SetupError, PositionLost: see step(); Unavailable also if nothing arrives for too long.
        """
        assert ends is not None or not settled
        moved_at = reported_at = time.monotonic()
        while left := self._left(ends, settled=settled):
            turned()
            if self.step(take, _WAIT_S):
                moved_at = reported_at = time.monotonic()
                continue
            topic, stands_s = min(left)[0], time.monotonic() - moved_at
            if stands_s > _STANDSTILL_S_MAX:
                raise Unavailable(
                    f"{topic}: its end cannot be read: nothing has arrived for {stands_s:.0f} s. Check the brokers. If they "
                    f"are well, a transaction of another process is still open: it ends when that process is started "
                    f"again, or when the broker aborts it."
                )
            if moved_at + stands_s - reported_at > _REPORT_EVERY_S:
                log.warning("reading_waits", topic=topic, waited_s=round(stands_s))
                reported_at = moved_at + stands_s
        turned()

    def passed(self, ends: Mapping[Place, int]) -> tuple[int, int]:
        """Return the number of offsets read so far, and their number up to *ends*."""
        total = sum(max(0, end - self._starts[place]) for place, end in ends.items())
        left = sum(max(0, end - self.next_offsets[place]) for place, end in ends.items())
        return total - left, total

    def close(self) -> None:
        clients.close(self._consumer)

    def _left(self, ends: Mapping[Place, int] | None, *, settled: bool) -> set[Place]:
        left = {place for place, offset in self.next_offsets.items() if ends is None or offset < ends[place]}
        return left if settled else left - self._ended
