"""A sync of one object on a broker in memory, for unit tests of the workers and their parts."""

from __future__ import annotations

import random
from threading import Event
from typing import Any

from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from salmon.plugin.contract import SourceBatch
from salmon.runtime.instance import Instance
from salmon.runtime.retry import Retrying
from support.at_hand.memory_broker import MemoryBroker
from support.runtime import OBJECT, Source, Sync


class Impatient(random.Random):
    """Draws no wait: what failed is tried again at once."""

    def uniform(self, a: float, b: float) -> float:
        return a


class MemorySync(Sync):
    """See Sync; `broker` is in memory."""

    def __init__(self, *, partitions: int = 2) -> None:
        self.broker = MemoryBroker()
        super().__init__(self.broker.clients(), partitions=partitions)

    def instance(self, connector: str, ordinal: int = 0) -> Instance:
        side, _, _ = connector.partition("-")
        return Instance(
            self.name,
            connector,
            side,
            self.clients,
            self.registry,
            Health(),
            Metrics(connector),
            ordinal,
            rng=Impatient(),
        )

    def writes(self, side: str = "mongodb") -> str:
        return self.topics.writes(side, OBJECT)

    def values(self, topic: str) -> list[bytes | None]:
        """The committed values of *topic*, partition by partition."""
        return [
            entry.value
            for partition in self.broker.topics[topic]
            for entry in partition.entries
            if entry.transaction.state == "committed" and not entry.is_marker
        ]


class PromptSource(Source):
    """A source task whose poll ends as soon as it is told to stop."""

    def poll(self, timeout_s: float) -> SourceBatch:
        return super().poll(0.0 if self.stopped.is_set() else timeout_s)

    def stop(self) -> None:
        super().stop()
        self.offers.put(SourceBatch())


def retrying() -> Retrying:
    """Tries again at once, and tells nobody."""
    return Retrying(Event(), Health(), rng=Impatient())


def reading(metric: Any) -> float:
    """What a counter or gauge shows now."""
    return float(next(iter(metric.collect())).samples[0].value)
