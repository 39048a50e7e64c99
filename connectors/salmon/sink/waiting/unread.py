"""
What is owed to a record by writes that this instance has not read: those in other instances' partitions, and those that
wait unread in its own.

A unique value is refused for good only if no write is owed to the record that holds it. The instances of a sink share the
partitions, and each stops reading while its buffer is full. So the log is asked: from the group's committed offset (in a
partition of our own: from where we read on) to its end. The newest record of a key there is what is owed, or a tombstone.
Where too much is unread, or Kafka does not answer, something may be owed, and nothing is refused.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from salmon.errors import SalmonError, Unavailable
from salmon.kafka import clients
from salmon.kafka.errors import translated
from salmon.kafka.foreign import looks_ours
from salmon.kafka.partitions import partition_of
from salmon.kafka.reader import Reader
from salmon.kafka.topics import partition_counts
from salmon.model.change import Write, WriteOp
from salmon.runtime.instance import Instance
from salmon.sink.commands import Place
from salmon.sink.waiting.refusals import RecordId

log = structlog.get_logger(__name__)

# In place of a write that is not known: like a deletion, it may give any value up, and is never part of a swap.
UNKNOWN: Final = Write(0, WriteOp.DELETE)
FRESH_S: Final = 1.0  # what was read is used for so long
RECORDS_MAX: Final = 20_000
_READ_MAX_S: Final = 3.0
_ANSWER_S: Final = 3.0
_NOTED_MAX: Final = 10_000


@dataclass(slots=True)
class _Read:
    """The newest value of each key in the unread part of a partition. *complete*: all of that part was read."""

    at: float
    end: int = 0
    newest: dict[bytes, bytes | None] = field(default_factory=dict)
    complete: bool = False


class UnreadWrites:
    """
    Any thread may ask; one reads at a time. Whoever asks for nothing new, like the sink's loop, does not wait for it.

    Args:
        next_offsets: Where this instance reads on in each of its partitions.
        decoded: Decodes a value of a topic; None if it cannot be decoded.
        is_command: Whether a record is a command or a tombstone. Others are passed over; it may raise Unavailable.
        records_max: With more unread records in a partition, it is not known what is owed there.
    """

    def __init__(
        self,
        instance: Instance,
        next_offsets: Callable[[], Mapping[Place, int]],
        decoded: Callable[[str, bytes | None], Write | None],
        is_command: Callable[[Message], bool] = looks_ours,
        *,
        records_max: int = RECORDS_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._instance, self._next_offsets, self._decoded = instance, next_offsets, decoded
        self._is_command, self._records_max, self._clock = is_command, records_max, clock
        self._reading = threading.Lock()  # held while Kafka is asked; the loop never takes it
        self._consumer: Consumer | None = None  # for the thread that reads
        self._counts: Mapping[str, int] = {}
        self._lock = threading.Lock()  # guards what follows
        self._read: dict[Place, _Read] = {}
        self._forgotten = 0  # how often forget() was called
        # Record -> the end of its partition as it was first found that nothing is owed to it, and ever since.
        self._quiet_since: OrderedDict[RecordId, int] = OrderedDict()

    def owed(self, name: str, key: str) -> Write | None:
        """The newest write to a record that is not read yet; None if there is none, UNKNOWN if that cannot be said."""
        topic = self._instance.topics.writes(self._instance.side, name)
        try:
            with self._reading:
                read = self._of((name, key))
            write = self._decoded(topic, read.newest.get(key.encode())) if read.complete else UNKNOWN
            self._note((name, key), read.end if write is None else None)
            return write
        except SalmonError as trouble:
            log.info("unread_writes_not_known", topic=topic, reason=str(trouble))
            return UNKNOWN

    def place_of(self, record: RecordId) -> Place:
        """The partition of `writes` that a record is in. Raises Unavailable."""
        topic = self._instance.topics.writes(self._instance.side, record[0])
        if topic not in self._counts:
            self._counts = partition_counts(self._instance.clients.admin(client_id=self._name))
        if topic not in self._counts:
            raise Unavailable(
                f"{topic}: no broker knows this topic. It is asked for again; see that nobody has deleted it."
            )
        return topic, partition_of(record[1], self._counts[topic])

    def quiet_since(self, record: RecordId) -> int | None:
        """From which offset of its partition on nothing has been owed to a record that was asked for; None: not known."""
        with self._lock:
            return self._quiet_since.get(record)

    def forget(self, record: RecordId) -> None:
        """A write to the record was found: what is known of it begins with the next question."""
        with self._lock:
            self._quiet_since.pop(record, None)
            self._read.clear()
            self._forgotten += 1

    def _note(self, record: RecordId, end: int | None) -> None:
        with self._lock:
            if end is None:
                self._quiet_since.pop(record, None)
                return
            self._quiet_since.setdefault(record, end)
            self._quiet_since.move_to_end(record)
            if len(self._quiet_since) > _NOTED_MAX:
                self._quiet_since.popitem(last=False)

    def close(self) -> None:
        """Give up the connection, when nobody asks any more. A thread that still reads keeps it until the process ends."""
        if not self._reading.acquire(blocking=False):
            return
        try:
            if self._consumer is not None:
                clients.close(self._consumer)
                self._consumer = None
        finally:
            self._reading.release()

    def _of(self, record: RecordId) -> _Read:
        place = self.place_of(record)
        with self._lock:
            read, forgotten = self._read.get(place), self._forgotten
        if read is None or self._clock() - read.at >= FRESH_S:
            read = self._read_again(place)
            with self._lock:
                if self._forgotten == forgotten:  # otherwise a write was found that this may not have seen
                    self._read[place] = read
        return read

    def _read_again(self, place: Place) -> _Read:
        read = _Read(self._clock())
        start, end = self._span(place)
        read.end = end
        read.complete = start >= end
        if read.complete or end - start > self._records_max:
            return read
        until = time.monotonic() + _READ_MAX_S

        def take(records: Sequence[Message], _: Mapping[Place, int]) -> None:
            read.newest |= {
                message.key() or b"": message.value() for message in records if self._is_command(message)
            }

        def turned() -> None:
            if time.monotonic() > until:
                raise Unavailable(f"{place[0]}: its unread writes could not be read in time.")

        with Reader(self._instance.clients, {place: start}, name=self._name) as reader:
            reader.read_to_end(take, turned=turned)
        read.complete = True
        return read

    def _span(self, place: Place) -> tuple[int, int]:
        """Where the unread part begins and ends."""
        partition = TopicPartition(*place)
        try:
            if self._consumer is None:
                self._consumer = self._instance.clients.consumer(
                    group_id=self._instance.group,  # It is no member: it only asks where the group is.
                    client_id=self._name,
                )
            low, end = self._consumer.get_watermark_offsets(partition, timeout=_ANSWER_S)
            start = self._next_offsets().get(place)
            if start is None:
                start = self._consumer.committed([partition], timeout=_ANSWER_S)[0].offset
        except KafkaException as error:
            raise translated(error, f"asking what is unread of {place[0]}") from error
        return max(start, low), end  # A group that has never committed is at a negative offset.

    @property
    def _name(self) -> str:
        return f"{self._instance.id}.unread"
