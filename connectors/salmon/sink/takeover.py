"""
What a sink owes in a partition that it takes over: the newest record of each key, found before anything is written.

A command that a newer one supersedes must not be carried out any more: the newer one says everything that is still
owed, and perhaps that nothing is. A foreign record supersedes nothing: it is no command. Only keys and offsets are kept;
the values are read again when their turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Final

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from salmon.kafka import clients
from salmon.kafka.clients import translated
from salmon.runtime.retry import Stopping
from salmon.sink.commands import Place

_BATCH: Final = 10_000
_WAIT_S: Final = 0.5


@dataclass(slots=True)
class Owed:
    """The newest record of each key in one partition, from where we go on to its end as it was."""

    newest: dict[bytes, int] = field(default_factory=dict)  # key -> offset
    end: int = 0  # the offset after the last record seen; 0 where there was none

    def superseded(self, key: bytes | None, offset: int) -> bool:
        """Whether a newer record of *key* is known to come."""
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
        turned: Called while it is read: that may take minutes, and is no hanging loop.
        is_command: Whether a record is a command, or takes one back; others supersede nothing.

    Raises:
        Stopping: told to stop meanwhile.
        Unavailable, SetupError, PositionLost: as the brokers answer.
    """
    found = {place: Owed() for place in starts}
    unread = set(starts)
    # The group is only a name: nothing is committed, and nobody joins it.
    consumer = clients.consumer(
        kafka, group_id=f"{client_id}.scan", client_id=f"{client_id}.scan", enable_partition_eof=True
    )
    try:
        consumer.assign([TopicPartition(topic, partition, at) for (topic, partition), at in starts.items()])
        while unread:
            if stop.is_set():
                raise Stopping
            turned()
            _take(consumer, found, unread, is_command)
    finally:
        consumer.close()
    return found


def _take(
    consumer: Consumer,
    found: Mapping[Place, Owed],
    unread: set[Place],
    is_command: Callable[[Message], bool],
) -> None:
    for message in clients.arrived(consumer, _BATCH, _WAIT_S):
        error = message.error()
        place = (message.topic() or "", message.partition() or 0)
        if error is None:
            *_, offset = clients.place_of(message)
            found[place].end = offset + 1
            if (key := message.key()) is not None and is_command(message):
                found[place].newest[key] = offset
        elif error.code() == KafkaError._PARTITION_EOF:
            unread.discard(place)
        else:
            raise translated(error, f"reading what is owed in {place[0]}")
