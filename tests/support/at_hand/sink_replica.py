"""The partitions of one replica of a sink, in the hands of a test: no thread puts anything."""

from __future__ import annotations

from threading import Event

from salmon.errors import Unavailable
from salmon.sink.buffer import SinkBuffer
from salmon.sink.partitions import COMMIT_MAX_S, SinkPartitions
from support.at_hand.memory_sync import retrying
from support.runtime import OBJECT, Sync

CONNECTOR = "mongodb-sink"


class Replica:
    """The partitions of one replica, and what is called as they come and go."""

    def __init__(self, sync: Sync, ordinal: int = 0, *, commands_max: int = 1_000) -> None:
        self.sync, self.topic = sync, sync.topics.writes("mongodb", OBJECT)
        self.buffer = SinkBuffer(commands_max=commands_max)
        self.taken = self.reported = 0
        self.kafka_is_away = False
        self.instance = sync.instance(CONNECTOR, ordinal)
        self.partitions = SinkPartitions(
            self.instance,
            self.buffer,
            [self.topic],
            retrying=retrying(),
            stop=Event(),
            taken=self._taken,
            report=self._report,
            is_command=lambda _: True,
        )

    def read(self) -> list[tuple[str, int]]:
        """Key and offset of what is read next; all of it is put and done."""
        found = []
        for message in self.partitions.read(100, 0):
            key, number, offset = (
                (message.key() or b"").decode(),
                message.partition() or 0,
                message.offset() or 0,
            )
            self.buffer.add((self.topic, number), offset, ("Thing", key), message.value())
            found.append((key, offset))
        return found

    def commit(self, *, within_s: float = COMMIT_MAX_S) -> bool:
        """Commit what is done."""
        return self.partitions.commit(self.buffer.positions(), within_s=within_s)

    def put(self) -> None:
        """Carry out all that waits."""
        while not self.buffer.idle:
            self.buffer.renew(self.buffer.now())
            commands = self.buffer.take(100) or []
            self.buffer.done(commands)

    @property
    def held(self) -> set[int]:
        return {number for _, number in self.buffer.places}

    def _taken(self) -> None:
        self.taken += 1
        if self.kafka_is_away:
            self.kafka_is_away = False
            raise Unavailable("Kafka is away")

    def _report(self) -> None:
        self.reported += 1
