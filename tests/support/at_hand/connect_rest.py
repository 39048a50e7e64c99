"""A REST server like that of a process, with a status topic in memory that several of them can share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from salmon.app.connector_plugins import ConnectorPlugins, type_of
from salmon.errors import Unavailable
from salmon.kafka.topics import CONNECTORS
from salmon.ops.connect.access import Access
from salmon.ops.connect.bodies import Offset
from salmon.ops.connect.cluster import fetched
from salmon.ops.connect.described import Described, Served
from salmon.ops.connect.standing import Standing, StatusLog
from salmon.ops.connect.status_topic import Row, Target, decode
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from salmon.ops.rest import RestServer
from salmon.ops.tls import Tls
from support.waiting import until


class MemoryStatusTopic:
    """The records of a status topic, and whether its broker answers."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.records: list[tuple[str, bytes]] = []
        self.away = False

    def open(self) -> MemoryStatusLog:
        return MemoryStatusLog(self)


class MemoryStatusLog:
    """One reader of it."""

    def __init__(self, topic: MemoryStatusTopic) -> None:
        self._topic = topic
        self._next = 0
        self.rows: dict[str, Row] = {}
        self.follow(0)

    def follow(self, timeout_s: float) -> None:
        topic = self._topic
        with topic.changed:
            if topic.away:
                raise Unavailable("reading the status topic: nobody answers")
            # Short, because a test waits for the end of the thread that waits here.
            topic.changed.wait_for(lambda: len(topic.records) > self._next, min(timeout_s, 0.02))
            for key, value in topic.records[self._next :]:
                self.rows[key] = decode(value)
            self._next = len(topic.records)

    def write(self, key: str, value: bytes) -> None:
        with self._topic.changed:
            if self._topic.away:
                raise Unavailable("writing to the status topic: nobody answers")
            self._topic.records.append((key, value))
            self._topic.changed.notify_all()

    def close(self) -> None:
        pass


@dataclass(slots=True)
class MemoryPlaces:
    """Where a connector continues; *altered*: what was asked for."""

    altered: list[Sequence[Offset]] = field(default_factory=list)
    resets: int = 0

    def read(self) -> list[Offset]:
        return [Offset(partition={"kafka_topic": "t", "kafka_partition": 0}, offset={"kafka_offset": 7})]

    def alter(self, wanted: Sequence[Offset]) -> str:
        self.altered.append(wanted)
        return "altered"

    def reset(self) -> str:
        self.resets += 1
        return "reset"


class Worker:
    """One process: its health, its standing, and its REST server on a free port."""

    def __init__(
        self,
        connector: str = "mongodb-sink",
        ordinal: int = 0,
        *,
        topic: MemoryStatusTopic | None = None,
        config: Mapping[str, str] | None = None,
        access: Access | None = None,
        folder: Path = Path(),
        health: Health | None = None,
        metrics: Metrics | None = None,
        tls: Tls | None = None,
    ) -> None:
        self.topic = topic or MemoryStatusTopic()
        self.open_log: Callable[[], StatusLog] = self.topic.open
        self.connector, self.ordinal, self.folder = connector, ordinal, folder
        self.health, self.metrics = health or Health(), metrics or Metrics(connector)
        self.places = MemoryPlaces()
        self.metrics.watch_peers(self.health.calls.silences)
        self._config = {"name": connector, **(config or {})}
        self._access = access or Access()
        self._fetch = partial(fetched, tls=tls)
        self.server = RestServer(host="127.0.0.1", port=0, served=self.served, tls=tls)
        self.url = self.server.url

    def served(self, rest: RestServer) -> Served:
        self.standing = Standing(
            self.connector, self.ordinal, self.health, worker_id=rest.worker_id, url=rest.url
        )
        described = Described(
            self.connector,
            type_of(self.connector),
            self._config,
            worker_id=rest.worker_id,
            sync="crm",
            ordinal=self.ordinal,
            topics=["crm.writes.mongodb.Account"],
            connectors=CONNECTORS,
        )
        self.served_now = Served(
            described,
            self.health,
            self.metrics,
            lambda: "here",
            access=self._access,
            asks=self.standing,
            places=self.places,
            plugins=ConnectorPlugins(self.folder, env={}),
            fetch=self._fetch,
        )
        return self.served_now

    def reported(self) -> None:
        """Wait until it has described itself in the status topic."""
        key = f"status-task-{self.connector}-{self.ordinal}"
        until(lambda: any(each == key for each, _ in self.topic.records), f"{key} is written")

    def wanted_is(self, target: Target) -> None:
        until(lambda: self.standing.target is target, f"{target} is wanted")


@contextmanager
def running(*workers: Worker) -> Iterator[None]:
    """Let them serve, and follow the status topic, for the length of the block."""
    threads = []
    for each in workers:
        each.standing.begin(each.open_log)
        for part in (each.server, each.standing):
            threads.append(threading.Thread(target=part.run, daemon=True))
            threads[-1].start()
    try:
        yield
    finally:
        for each in workers:
            each.standing.stop()
            each.server.stop()
        for thread in threads:
            thread.join(5)
        assert not [thread for thread in threads if thread.is_alive()], "they stop when told"


def rows(topic: MemoryStatusTopic) -> dict[str, Any]:
    """The newest value of each key."""
    return {key: decode(value) for key, value in topic.records}
