"""
The `offsets` table: the positions at which the connectors continue. Only the connector itself interprets its positions.

A position is written in the same transaction as its records. So the connector's producer writes it, and not this module.
"""

from __future__ import annotations

from salmon.kafka import clients, tables
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.codecs.serdes import Offsets
from salmon.kafka.output import Output
from salmon.kafka.topics import Topics
from salmon.plugin.contract import Position


class OffsetStore:
    """The positions of one sync."""

    def __init__(self, kafka: clients.Brokers, topics: Topics, registry: Registry) -> None:
        self._kafka = kafka
        self.topic = topics.offsets
        self.serde = Offsets(registry, self.topic)

    def load(self, connector: str, progress: tables.Progress | None = None) -> dict[str, Position]:
        """
        Read the last committed positions of *connector*: partition -> position. Empty before its first commit.

        Start the connector's producer before: that aborts or completes the open transaction of an older instance.

        Raises:
            Unavailable, SetupError: the brokers or the registry do not answer, or refuse us.
        """
        prefix = f"{connector}/"
        return {
            key.removeprefix(prefix): position
            for key, position in self.entries(progress).items()
            if key.startswith(prefix)
        }

    def entries(self, progress: tables.Progress | None = None) -> dict[str, Position]:
        """Read all that is stored, of all connectors: connector/partition -> position. Raises as load()."""
        return tables.load(self._kafka, self.topic, self.serde.decode, progress=progress)

    def record(self, connector: str, partition: str, position: Position | None) -> tuple[str, bytes | None]:
        """Encode the key and the value of a position's record; None removes the position of the partition."""
        return f"{connector}/{partition}", None if position is None else self.serde.encode(position)

    def output(self, connector: str, partition: str, position: Position | None) -> Output:
        """As record(), with the topic."""
        return Output(self.topic, *self.record(connector, partition, position))
