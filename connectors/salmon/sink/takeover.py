"""
Finds what a sink still has to write in a partition that it takes over: the newest record of each key.

A command that a newer one supersedes must not be carried out any more: the newer one contains everything that is still
to be written, or says that nothing is. A foreign record is not a command and supersedes nothing. Only keys and offsets are
kept; the values are read again later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event

from confluent_kafka import Message

from salmon.errors import Stopping
from salmon.kafka import clients
from salmon.kafka.reader import Reader
from salmon.sink.commands import Place


@dataclass(slots=True)
class Owed:
    """The newest record of each key in one partition, from the committed offset to the partition's end at that time."""

    newest: dict[bytes, int] = field(default_factory=dict)  # key -> offset
    end: int = 0  # the offset after the last record; 0 if there was none

    def superseded(self, key: bytes | None, offset: int) -> bool:
        """Whether a newer record of *key* follows."""
        return offset < self.end and key is not None and self.newest.get(key, offset) > offset


def scan(
    kafka: clients.Brokers,
    client_id: str,
    starts: Mapping[Place, int],
    stop: Event,
    *,
    turned: Callable[[], None] = lambda: None,
    is_command: Callable[[Message], bool] = lambda _: True,
) -> dict[Place, Owed]:
    """
    Read the keys of each partition from its start to its end.

    Args:
        turned: Called now and then, because reading may take minutes and the watchdog must see that the loop works.
        is_command: Whether a record is a command or a tombstone. Other records supersede nothing.

    Returns:
        What is left to write, by partition.

    Raises:
        Stopping: the process was asked to stop meanwhile.
        Unavailable, SetupError, PositionLost: the brokers' answer.
    """
    found = {place: Owed() for place in starts}

    def take(records: Sequence[Message], _: Mapping[Place, int]) -> None:
        for message in records:
            topic, partition, offset = clients.place_of(message)
            owed = found[topic, partition]
            owed.end = offset + 1
            if (key := message.key()) is not None and is_command(message):
                owed.newest[key] = offset

    def goes_on() -> None:
        if stop.is_set():
            raise Stopping
        turned()

    with Reader(kafka, starts, name=f"{client_id}.scan") as reader:
        reader.read_to_end(take, turned=goes_on)
    return found
