"""
What the benchmarks share: servers, a sync on them, a process that is watched from outside, and the form of results.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import yaml
from confluent_kafka import KafkaException, TopicPartition

from salmon.config.models import SyncConfig, load
from salmon.devstack import jvm
from salmon.devstack.broker import EmbeddedBroker, Kafka
from salmon.devstack.registry_process import Registry, RegistryProcess
from salmon.kafka import clients, topics
from salmon.kafka.codecs.registry import SchemaRegistry
from salmon.model.change import MONGODB, SALESFORCE, Change, Op, Value
from salmon.model.schema import Kind, ObjectSchema
from salmon.runtime import schemas

RESULTS: Final = Path(__file__).parent / "results"
OBJECT: Final = "Account"
_REPOSITORY: Final = Path(__file__).resolve().parents[1]
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def object_of(fields: int) -> ObjectSchema:
    """The demo's Account, cut to its first *fields* fields."""
    avro = json.loads((_REPOSITORY / "schemas-avro" / "objects" / f"{OBJECT}.avsc").read_text())
    whole = ObjectSchema.from_avro(avro)
    return ObjectSchema(whole.name, whole.fields[:fields], whole.key_prefix)


def row_of(schema: ObjectSchema, number: int) -> dict[str, Value]:
    """A record in which three of four fields are set, as far as anybody can tell one from another."""
    return {
        field.name: _value(field.name, field.kind, number)
        for place, field in enumerate(schema.fields)
        if place % 4 != 3
    }


def _value(name: str, kind: Kind, number: int) -> Value:
    match kind:
        case Kind.STRING:
            return f"{name[:8]} {number}"
        case Kind.DOUBLE:
            return number * 1.25
        case Kind.BOOLEAN:
            return number % 2 == 0
        case Kind.INT | Kind.DATE:
            return number % 20_000
        case _:
            return 1_700_000_000_000 + number


def key_of(number: int) -> str:
    return f"001{number:015}"


def first_row(schema: ObjectSchema, number: int) -> Change:
    """What a first load tells of a record."""
    return Change(
        SALESFORCE,
        Op.ROW,
        committed_at=1_700_000_000_000,
        as_of=1_700_000_000_000,
        native_id=key_of(number),
        fields=row_of(schema, number),
        source={"correlation": f"load-{number}"},
    )


@dataclass(frozen=True)
class Sync:
    """A sync of one object on running servers."""

    config: SyncConfig
    path: Path
    folder: Path
    schema: ObjectSchema
    registry: SchemaRegistry

    @property
    def topics(self) -> topics.Topics:
        return self.config.topic_names

    @property
    def kafka(self) -> dict[str, Any]:
        return self.config.kafka_properties()

    def producer(self, name: str) -> clients.TransactionalProducer:
        made = clients.producer(self.kafka, transactional_id=name, client_id=name)
        made.start()
        return made


@contextmanager
def sync_on(
    stack: str, folder: Path, *, fields: int, partitions: int = 1, more: Mapping[str, Any] | None = None
) -> Iterator[Sync]:
    """A sync with empty topics and registered schemas, on servers that end with the block. *more*: settings in place of ours."""
    # As Ctrl-C: the servers end with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    broker: Kafka
    registry: Registry
    if stack == "jvm":
        broker = jvm.ApacheKafka(folder / "kafka", folder / "kafka.log")
        registry = jvm.Apicurio(folder / "registry", folder / "registry.log")
    else:
        broker = EmbeddedBroker(folder / "kafka", folder / "kafka.log")
        registry = RegistryProcess(folder / "registry", folder / "registry.log")
    with ExitStack() as started:
        for server in (broker, registry):
            started.callback(server.stop)
            server.start()
        settings = {
            "name": "bench",
            "kafka": {"bootstrap.servers": broker.bootstrap_servers},
            "schema_registry": {"url": registry.url},
            "topics": {"partitions": partitions, "replication_factor": 1},
            "salesforce": {"auth": {"flow": "client_credentials", "client_id": "x", "client_secret": "y"}},
            "mongodb": {"uri": "mongodb://localhost", "database": "bench"},
            "objects": {OBJECT: {"collection": "accounts"}},
            "merge": {"state_dir": str(folder / "state")},
            "rest": {"port": 0},
            **(more or {}),
        }
        path = folder / "sync.yaml"
        path.write_text(yaml.safe_dump(settings))
        config = load(path)
        schema = object_of(fields)
        sync = Sync(config, path, folder, schema, SchemaRegistry(registry.url))
        schemas.register(sync.registry, config.topic_names, {OBJECT: schema})
        specs = topics.specs(config.topic_names, [OBJECT], partitions=partitions, replication_factor=1)
        topics.ensure(clients.connect(sync.kafka), specs)
        yield sync


def until(condition: Callable[[], bool], within_s: float, *, every_s: float = 0.02) -> None:
    """Wait for it. Raises TimeoutError: it was not so within *within_s*."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"what was waited for did not come within {within_s:.0f} s")
        time.sleep(every_s)


@dataclass(frozen=True, slots=True)
class Usage:
    """A process, looked at once."""

    at_s: float
    cpu_s: float
    rss_mib: float
    rss_max_mib: float


class Watched:
    """A process of ours, measured from outside: all its threads, those of its C libraries among them."""

    def __init__(self, command: list[str], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                cwd=_REPOSITORY,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )

    def usage(self) -> Usage:
        folder = Path(f"/proc/{self._process.pid}")
        told = (folder / "stat").read_text().rpartition(")")[2].split()
        lines = (folder / "status").read_text().splitlines()
        sizes = {
            name: int(rest.split()[0]) for name, _, rest in (s.partition(":") for s in lines) if "kB" in rest
        }
        return Usage(
            time.monotonic(),
            (int(told[11]) + int(told[12])) / _TICKS,
            sizes["VmRSS"] / 1024,
            sizes["VmHWM"] / 1024,
        )

    def until(self, condition: Callable[[], bool], within_s: float = 3600) -> None:
        def reached() -> bool:
            if not (answer := condition()) and self._process.poll() is not None:
                raise RuntimeError(f"it ended with {self._process.returncode}; see its log")
            return answer

        until(reached, within_s)

    def stop(self, *, kill: bool = False) -> None:
        self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        self._process.wait(60)


@contextmanager
def merging(sync: Sync) -> Iterator[Watched]:
    """The real process: `salmon run merge`."""
    with watched([sys.executable, "-m", "salmon", "run", "merge", "-c", str(sync.path)], sync) as merge:
        yield merge


@contextmanager
def watched(command: list[str], sync: Sync) -> Iterator[Watched]:
    with watched_in(command, sync.folder / "process.log") as process:
        yield process


@contextmanager
def watched_in(command: list[str], log: Path) -> Iterator[Watched]:
    """A process that ends with the block; *log* takes what it says."""
    process = Watched(command, log)
    try:
        yield process
    finally:
        process.stop()


class Place:
    """
    How far a consumer group has come in a topic: one committed offset after the other.

    Asked for by a consumer that joins nothing: librdkafka's admin client dies of a group that is not there yet
    (librdkafka issue 5040).
    """

    def __init__(self, sync: Sync, group: str, topic: str) -> None:
        count = topics.partition_counts(clients.admin(sync.kafka))[topic]
        self._asked = [TopicPartition(topic, p) for p in range(count)]
        self._consumer = clients.consumer(sync.kafka, group_id=group, client_id="bench-place")
        self._last = 0

    def __call__(self) -> int:
        # A group that begins has no coordinator yet: it is asked for again at the next call.
        with suppress(KafkaException):
            places = self._consumer.committed(self._asked, timeout=30)
            self._last = sum(max(0, place.offset) for place in places)
        return self._last


def machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}


def versions(*names: str) -> dict[str, str]:
    return {name: version(name) for name in names}


def save(name: str, told: Mapping[str, Any]) -> None:
    """Keep results; the lesson that a person wrote to an earlier run stays."""
    path = RESULTS / f"{name}.json"
    lesson = json.loads(path.read_text()).get("lesson", "") if path.exists() else ""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**told, "lesson": told.get("lesson") or lesson}, indent=2) + "\n")
    print(json.dumps(told, indent=2))


__all__ = ["MONGODB", "OBJECT", "SALESFORCE", "Place", "Sync", "Usage", "Watched", "merging", "sync_on"]
