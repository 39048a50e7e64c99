"""One running instance of a connector: its names, and what all its parts share."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from salmon.kafka.clients import Clients
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.topics import Topics
from salmon.kafka.transactions import Observer, TransactionalProducer
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Instance:
    """
    What a worker is told of itself.

    Its group membership and its transactional id are stable by *ordinal*: an instance that is started again takes
    the place of the one before at once, and fences it should it still run. Instances with other ordinals share the
    work (sinks) or stand by (sources). The producer of a source's leader has one transactional id for all of them: who
    takes over fences whoever led before, which may only have been suspended and not know it yet.
    """

    sync: str
    connector: str  # e.g. "mongodb-sink"
    side: str  # e.g. "mongodb"
    clients: Clients  # opens all that this instance opens to Kafka
    registry: Registry
    health: Health
    metrics: Metrics
    ordinal: int = 0
    rng: random.Random = field(default_factory=random.Random)

    @property
    def topics(self) -> Topics:
        return Topics(self.sync)

    @property
    def group(self) -> str:
        """The consumer group, which the instances of a connector share."""
        return f"{self.sync}-{self.connector}"

    @property
    def id(self) -> str:
        """Group instance id and client id; the transactional id, but of a leader's producer."""
        return f"{self.group}-{self.ordinal}"

    def producer(self, observer: Observer | None = None) -> TransactionalProducer:
        """*observer* is told when a transaction waits for Kafka."""
        return self.clients.producer(transactional_id=self.id, client_id=self.id, observer=observer)

    def leaders_producer(self, observer: Observer | None = None) -> TransactionalProducer:
        """To be started by whoever takes the lead, and by nobody else."""
        return self.clients.producer(transactional_id=self.group, client_id=self.id, observer=observer)


class FailuresTold:
    """An Observer (see retry): what is tried again shows in health and metrics."""

    def __init__(self, instance: Instance) -> None:
        self._health, self._metrics = instance.health, instance.metrics

    def failing(self, doing: str, error: Exception) -> None:
        self._health.failing(doing, error)
        self._metrics.retries.inc()
        self._metrics.error_met()

    def recovered(self) -> None:
        self._health.recovered()
