"""
Partitions read on from given offsets, batch by batch, to their ends: the one loop of the house that does so.

What the records mean, and what is kept of them, is for its callers: tables, scans, what a sink takes over, what status counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import structlog
from confluent_kafka import Message, TopicPartition

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
_TELL_AFTER_S: Final = 5.0
# A loop that waits for it must turn now and then.
_STANDSTILL_S_MAX: Final = 25.0


class Reader:
    """
    One reading of some partitions. It commits nothing and joins no group. One thread uses it. A context manager.

    Args:
        starts: The first offset to read in each partition, a number: librdkafka takes half a second to find a beginning.
        name: Of the client, and of the group that it says it belongs to.
        fetch_bytes: How much is fetched of a partition at a time; SLOW_FETCH_BYTES where who takes it is slow.
        batch: How many records are handed out at a time.

    Attributes:
        next_offsets: The offset that comes next, in each partition.
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
        self._ended: set[Place] = set()  # those whose end, as committed, was heard of
        self._heard: Sequence[Message] = ()  # come from the broker, and not taken yet
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
        Hand on what arrives within *timeout_s*; where *take* raises, the next step hands it on again.

        Returns:
            Whether anything moved, the word that a partition ends among it.

        Raises:
            Unavailable, SetupError, PositionLost: as the broker said. What came beside the error is handed on first.
        """
        heard = self._heard = self._heard or clients.hear(self._consumer, self._batch, timeout_s)
        records: list[Message] = []
        after: dict[Place, int] = {}
        ended: list[Place] = []
        for message in heard:
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
        self._heard = ()
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
            ends: The ends as they were at the call: what came later is not waited for. None: to wherever they are found.
            settled: Whether to wait for a transaction that is still open before *ends*, as what stands behind it may be
                committed. Otherwise a partition ends before it, and is read to its end once.
            turned: Called at each poll; what it raises ends the reading, which goes on from there with the next call.

        Raises:
            Unavailable, SetupError, PositionLost: as step(); or nothing has come for too long.
        """
        assert ends is not None or not settled
        moved_at = told_at = time.monotonic()
        while left := self._left(ends, settled=settled):
            turned()
            if self.step(take, _WAIT_S):
                moved_at = told_at = time.monotonic()
                continue
            topic, stands_s = min(left)[0], time.monotonic() - moved_at
            if stands_s > _STANDSTILL_S_MAX:
                raise Unavailable(
                    f"{topic}: its end cannot be read: nothing has come for {stands_s:.0f} s. Check the brokers. If they "
                    f"are well, a transaction of another process is still open: it ends when that process is started "
                    f"again, or when the broker gives it up."
                )
            if moved_at + stands_s - told_at > _TELL_AFTER_S:
                log.warning("reading_waits", topic=topic, waited_s=round(stands_s))
                told_at = moved_at + stands_s
        turned()

    def passed(self, ends: Mapping[Place, int]) -> tuple[int, int]:
        """How many offsets of how many have been passed on the way to *ends*."""
        total = sum(max(0, end - self._starts[place]) for place, end in ends.items())
        left = sum(max(0, end - self.next_offsets[place]) for place, end in ends.items())
        return total - left, total

    def close(self) -> None:
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _left(self, ends: Mapping[Place, int] | None, *, settled: bool) -> set[Place]:
        left = {place for place, offset in self.next_offsets.items() if ends is None or offset < ends[place]}
        return left if settled else left - self._ended
