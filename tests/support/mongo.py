"""What MongoDB's tests share: a schema, a database of their own, and a worker's stand-in for a source."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from salmon.devstack.mongod import mongo
from salmon.errors import SetupError
from salmon.model.change import Change, Op, Value, Write, WriteOp
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.mongodb.config import MongoConfig
from salmon.mongodb.reading.source import MongoSourceTask
from salmon.mongodb.wire.client import CODEC, Document
from salmon.mongodb.writing.sink import MongoSinkTask
from salmon.plugin.contract import DeadLetter, Outcome, Position, Signal, SignalKind, SinkRecord, SourceRecord
from salmon.transforms.flow import Flow, Place
from support.waiting import until

Schemas = Mapping[str, ObjectSchema]

_PATIENCE_S = 20.0


def field_of(name: str, type: str, kind: Kind, **more: Any) -> FieldSchema:  # noqa: A002
    return FieldSchema(name=name, type=type, kind=kind, **more)


ACCOUNT = ObjectSchema(
    "Account",
    (
        field_of("Name", "string", Kind.STRING),
        field_of("Phone", "phone", Kind.STRING),
        field_of("Employees", "int", Kind.INT),
        field_of("Revenue", "currency", Kind.DOUBLE),
        field_of("Rate", "percent", Kind.DECIMAL, precision=18, scale=2),
        field_of("Visits", "long", Kind.LONG),
        field_of("Since", "date", Kind.DATE),
        field_of("SeenAt", "datetime", Kind.DATETIME),
        field_of("OpensAt", "time", Kind.TIME),
        field_of("Active", "boolean", Kind.BOOLEAN),
        field_of("Interests", "multipicklist", Kind.STRINGS),
        field_of("ParentId", "reference", Kind.STRING, reference_to=("Account",)),
        field_of("OwnerId", "reference", Kind.STRING, reference_to=("User",)),
    ),
    key_prefix="001",
)
CONTACT = ObjectSchema(
    "Contact",
    (
        field_of("LastName", "string", Kind.STRING),
        field_of("AccountId", "reference", Kind.STRING, reference_to=("Account",)),
    ),
    key_prefix="003",
)
SCHEMAS: Schemas = {"Account": ACCOUNT, "Contact": CONTACT}


NO_TRANSFORMS: Final = Flow()


@dataclass(frozen=True)
class Synced:
    collection: str
    direction: str = "both"
    paths: Mapping[str, str] = field(default_factory=dict)
    transforms: Flow = NO_TRANSFORMS

    @property
    def places(self) -> tuple[str, ...]:
        return tuple(step.collection for _, step in self.transforms.of(Place)) or (self.collection,)

    def flow(self, _name: str) -> Flow:
        return self.transforms


OBJECTS = {"Account": Synced("accounts"), "Contact": Synced("contacts")}


@contextmanager
def running_mongod(folder: Path) -> Iterator[str]:
    """The connection string of a replica set; the test is skipped where there is none to be had."""
    server = mongo(folder / "data", folder / "mongod.log")
    try:
        server.start()
    except SetupError as missing:
        pytest.skip(str(missing))
    try:
        yield server.uri
    finally:
        server.stop()


@dataclass
class Mongo:
    """A database of one test's own."""

    uri: str
    name: str = field(default_factory=lambda: f"test_{uuid4().hex[:12]}")

    def __post_init__(self) -> None:
        self.client: MongoClient[Document] = MongoClient(self.uri)
        self.database: Database[Document] = self.client.get_database(self.name, codec_options=CODEC)
        self.accounts = self.database["accounts"]
        self.contacts = self.database["contacts"]
        self.config = MongoConfig.model_validate({"uri": self.uri, "database": self.name})

    def source(self, objects: Mapping[str, Synced] = OBJECTS, schemas: Schemas = SCHEMAS) -> MongoSourceTask:
        task = MongoSourceTask(self.config, objects, "test")
        task.use(schemas)
        return task

    @contextmanager
    def sink(
        self, objects: Mapping[str, Any] = OBJECTS, schemas: Schemas = SCHEMAS, **how: Any
    ) -> Iterator[MongoSinkTask]:
        """A sink task that has started, until the block ends."""
        task = MongoSinkTask(self.config, objects, "test", **how)
        task.start(schemas, NoIdentities(), clean=True)
        yield task
        task.stop()
        task.close()

    def close(self) -> None:
        self.client.drop_database(self.name)
        self.client.close()


class NoIdentities:
    """MongoDB's sink asks for none."""

    def native_id(self, object: str, key: str) -> str | None:  # noqa: A002
        return None

    def key(self, object: str, native_id: str) -> str | None:  # noqa: A002
        return None


@dataclass
class Log:
    """A worker's stand-in: polls a source and keeps what Kafka would, until it is killed."""

    positions: dict[str, Position] = field(default_factory=dict)
    records: list[SourceRecord] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    answered: set[int] = field(default_factory=set)

    def begin(self, task: MongoSourceTask) -> None:
        task.start(self.positions, {})

    def poll(self, task: MongoSourceTask, timeout_s: float = 0.2) -> None:
        batch = task.poll(timeout_s)
        self.records += batch.records
        self.dead_letters += batch.dead_letters
        self.answered |= batch.answered
        for partition, position in batch.positions.items():
            if position is None:
                self.positions.pop(partition, None)
            else:
                self.positions[partition] = json.loads(json.dumps(position))  # as Kafka keeps it

    def until(self, task: MongoSourceTask, holds: Callable[[Log], bool]) -> None:
        """Poll until *holds*; fail after a bounded wait."""
        until(
            lambda: holds(self),
            within_s=_PATIENCE_S,
            seen=lambda: f"({len(self.records)} records came)",
            between=lambda: self.poll(task),
        )

    def until_read(self, task: MongoSourceTask) -> None:
        """Poll until all snapshots are done."""
        self.until(task, lambda _: all(told.done for told in task.progress()))

    def of(self, key: str) -> list[Change]:
        return [record.change for record in self.records if record.key == key]

    def ops(self, key: str) -> list[Op]:
        return [change.op for change in self.of(key)]


def write(
    key: str,
    op: WriteOp,
    seq: int,
    expected: int = 0,
    own: Mapping[str, Value] | None = None,
    **fields: Value,
) -> SinkRecord:
    """A write of an Account; *own*: those of merge's properties."""
    return SinkRecord(
        "Account", key, Write(seq=seq, op=op, expected=expected, fields=fields | dict(own or {}))
    )


def put(task: MongoSinkTask, *records: SinkRecord) -> list[Outcome]:
    return list(task.put(records))


def read_signal(id: int, *keys: str, object: str = "Account") -> Signal:  # noqa: A002
    return Signal(id, SignalKind.READ, object, keys)
