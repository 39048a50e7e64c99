"""
A process that runs one worker, to be killed or suspended by a test.

Arguments: source or sink, brokers, the sync's name, the ordinal, a file. The source tells the numbers from 0 on; the
sink notes each write in the file, as "<ordinal> <key> <seq>".
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from salmon.kafka.clients import Clients
from salmon.kafka.topics import Topics
from salmon.model.change import Change, Op
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from salmon.plugin.contract import Outcome, Position, SinkRecord, SourceBatch, SourceRecord
from salmon.runtime.instance import Instance
from salmon.sink.worker import SinkWorker
from salmon.source.worker import SourceWorker
from support.runtime import OBJECT, SCHEMA, Sink, Source, registry_of


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


class Noting(Sink):
    """Notes what it writes."""

    def __init__(self, ordinal: int, file: Path) -> None:
        super().__init__()
        self._ordinal, self._file = ordinal, file

    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]:
        with self._file.open("a", encoding="utf-8") as file:
            file.writelines(f"{self._ordinal} {each.key} {each.write.seq}\n" for each in records)
        return super().put(records)


def main() -> None:
    kind, brokers, name, ordinal, file = sys.argv[1:]
    connector = f"mongodb-{kind}"
    instance = Instance(
        name,
        connector,
        "mongodb",
        Clients({"bootstrap.servers": brokers}),
        registry_of(Topics(name)),
        Health(),
        Metrics(connector),
        int(ordinal),
    )
    if kind == "source":
        SourceWorker(instance, Counting(), (OBJECT,)).run()
    else:
        SinkWorker(instance, Noting(int(ordinal), Path(file)), {OBJECT: SCHEMA}, [OBJECT]).run()


if __name__ == "__main__":
    main()
