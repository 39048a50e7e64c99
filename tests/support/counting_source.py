"""A process that runs a source worker over the numbers from 0 on, to be killed. Arguments: brokers, sync's name."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from salmon.kafka.topics import Topics
from salmon.model.change import Change, Op
from salmon.model.connector import Position, SourceBatch, SourceRecord
from salmon.runtime.health import Health
from salmon.runtime.instance import Instance
from salmon.runtime.metrics import Metrics
from salmon.runtime.source_worker import SourceWorker
from support.registries import MemoryRegistry
from support.runtime import OBJECT, SCHEMA, Source


class Counting(Source):
    """Tells a few numbers at each poll; its position is the number that comes next."""

    at = 0

    def start(self, positions: Mapping[str, Position], identities: Mapping[str, Mapping[str, str]]) -> None:
        self.at = int(positions.get("stream", {"at": 0})["at"])

    def poll(self, timeout_s: float) -> SourceBatch:
        numbers = range(self.at, self.at + 7)
        self.at = numbers.stop
        records = [
            SourceRecord(OBJECT, f"k{n % 5}", Change("mongodb", Op.UPDATE, fields={"Name": str(n)}))
            for n in numbers
        ]
        return SourceBatch(records, {"stream": {"at": self.at}})


def main() -> None:
    brokers, name = sys.argv[1:]
    kafka = {"bootstrap.servers": brokers}
    connector = "mongodb-source"
    instance = Instance(
        name, connector, "mongodb", kafka, ids_of_the_test(name), Health(), Metrics(connector)
    )
    SourceWorker(instance, Counting(), (OBJECT,)).run()


def ids_of_the_test(name: str) -> MemoryRegistry:
    """A registry in this process's memory that gives the ids which the test's own gives: by the order of asking."""
    from salmon.kafka.offsets import OffsetStore
    from salmon.kafka.serdes import Changes

    registry, topics = MemoryRegistry(), Topics(name)
    Changes(SCHEMA, registry, topics.changes(OBJECT)).register()
    OffsetStore({}, topics, registry).serde.register()
    return registry


if __name__ == "__main__":
    main()
