"""
The `offsets` table: where each connector goes on. What a position says is the connector's own.

A position is written in the transaction of the records it stands for; so its producer writes it, not this module.
"""

from __future__ import annotations

from salmon.kafka import clients, tables
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.codecs.serdes import Offsets
from salmon.kafka.topics import Topics
from salmon.plugin.contract import Position


class OffsetStore:
    """Positions of one sync."""

    def __init__(self, kafka: clients.Brokers, topics: Topics, registry: Registry) -> None:
        self._kafka = kafka
        self.topic = topics.offsets
        self.serde = Offsets(registry, self.topic)

    def load(self, connector: str, progress: tables.Progress | None = None) -> dict[str, Position]:
        """
        The last committed positions of *connector*: partition -> position. Empty before its very first commit.

        Its producer is started first: that settles what an older instance left open.

        Raises:
            Unavailable, SetupError: as the brokers and the registry answer.
        """
        prefix = f"{connector}/"
        return {
            key.removeprefix(prefix): position
            for key, position in tables.load(
                self._kafka, self.topic, self.serde.decode, progress=progress
            ).items()
            if key.startswith(prefix)
        }

    def record(self, connector: str, partition: str, position: Position | None) -> tuple[str, bytes | None]:
        """Key and value of the record that says *position*; None forgets the partition."""
        return f"{connector}/{partition}", None if position is None else self.serde.encode(position)
