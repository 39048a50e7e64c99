"""One running instance of a connector: its names in Kafka, and what all its parts share."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from salmon.errors import ConfigError
from salmon.kafka.clients import Clients
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.topics import Topics
from salmon.kafka.transactions import Listener, TransactionalProducer
from salmon.model.sides import OWN_ROSTER, Roster
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from salmon.runtime.error_limit import Tolerance
from salmon.runtime.membership import Seat

ORDINAL_VARIABLE: Final = "SALMON_ORDINAL"


@dataclass(frozen=True, slots=True)
class Instance:
    """
    Everything that a worker has to know about itself.

    The group instance id and the transactional id depend on *ordinal*. So an instance that is started again takes the
    place of the one before at once, and fences it if it still runs. Instances with other ordinals share the
    work (sinks) or stand by (sources). The leader of a source uses a transactional id that all its instances share: a new leader
    fences the former one, which may have been suspended and not know yet that it was replaced.
    """

    sync: str
    connector: str  # e.g. "mongodb-sink"
    side: str  # e.g. "mongodb"
    clients: Clients  # opens every Kafka client of this instance
    registry: Registry
    health: Health
    metrics: Metrics
    ordinal: int = 0
    rng: random.Random = field(default_factory=random.Random)
    tolerance: Tolerance = field(default_factory=Tolerance)
    roster: Roster = OWN_ROSTER

    @property
    def topics(self) -> Topics:
        return Topics(self.sync)

    @property
    def group(self) -> str:
        """The consumer group. All instances of a connector share it."""
        return f"{self.sync}-{self.connector}"

    @property
    def id(self) -> str:
        """Group instance id and client id; also the transactional id, except for a leader's producer."""
        return f"{self.group}-{self.ordinal}"

    def seat(self, topics: Collection[str], **properties: Any) -> Seat:
        """Return this instance's place in its group, which reads *topics*."""
        return Seat(self.clients, self.group, self.id, topics, properties)

    def producer(self, listener: Listener | None = None) -> TransactionalProducer:
        """Make this instance's producer. *listener*: is called when a transaction waits for Kafka."""
        return self.clients.producer(transactional_id=self.id, client_id=self.id, listener=listener)

    def leaders_producer(self, listener: Listener | None = None) -> TransactionalProducer:
        """Make the producer of a source's leader. Only an instance that takes the lead may start it."""
        return self.clients.producer(transactional_id=self.group, client_id=self.id, listener=listener)


class FailureReporter:
    """Shows in health and metrics what is tried again."""

    def __init__(self, instance: Instance) -> None:
        self._health, self._metrics = instance.health, instance.metrics

    def failing(self, doing: str, error: Exception) -> None:
        self._health.failing(doing, error)
        self._metrics.retries.inc()
        self._metrics.error_met()

    def recovered(self) -> None:
        self._health.recovered()


def ordinal_of(environment: Mapping[str, str], host: str) -> int:
    """
    Return the number of this replica; the first one is 0.

    Raises:
        ConfigError: $SALMON_ORDINAL is not a whole number.
    """
    said = environment.get(ORDINAL_VARIABLE)
    if said is None:
        # Kubernetes, StatefulSets, Ordinal index: pods are named <set>-<ordinal>. Elsewhere a number at the end
        # of a host's name means nothing, so it is used only inside a cluster.
        found = re.search(r"-(\d+)$", host) if "KUBERNETES_SERVICE_HOST" in environment else None
        return int(found[1]) if found else 0
    if not said.isdigit():
        raise ConfigError(f"{ORDINAL_VARIABLE}: must be a whole number, 0 for the first replica.")
    return int(said)
