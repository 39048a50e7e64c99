"""Tasks that do as a test says, and a sync of one object on a real broker to run the workers in."""

from __future__ import annotations

import itertools
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from salmon.errors import SalmonError, Unavailable
from salmon.kafka import clients, topics
from salmon.kafka.codecs.serdes import Changes, Identities, Signals, Writes
from salmon.kafka.offsets import OffsetStore
from salmon.model.change import Change, Write, WriteOp
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from salmon.plugin.contract import Identities as IdentitiesProtocol
from salmon.plugin.contract import (
    Outcome,
    OutcomeKind,
    Position,
    Signal,
    SinkRecord,
    SnapshotProgress,
    SourceBatch,
)
from salmon.runtime import schemas
from salmon.runtime.instance import Instance
from support.at_hand.registries import MemoryRegistry
from support.waiting import until

T = TypeVar("T")
OBJECT = "Thing"
SCHEMA = ObjectSchema(
    OBJECT,
    (
        FieldSchema("Name", "string", Kind.STRING),
        FieldSchema("ParentId", "reference", Kind.STRING, reference_to=(OBJECT,)),
    ),
    key_prefix="a00",
)


def patiently(call: Callable[[], T]) -> T:
    """What *call* returns; a topic that was made just now may not be served yet."""
    answers: list[T] = []

    def answered() -> bool:
        try:
            answers.append(call())
        except Unavailable:
            return False
        return True

    until(answered, str(call), within_s=20.0)
    return answers[0]


class Source:
    """A source task that returns what the test offers. An exception among the offers is raised."""

    def __init__(self) -> None:
        self.offers: queue.Queue[SourceBatch | Exception] = queue.Queue()
        self.asked: list[Signal] = []
        self.started_with: tuple[Mapping[str, Position], Mapping[str, Mapping[str, str]]] | None = None
        self.stopped = threading.Event()

    def schemas(self) -> Mapping[str, ObjectSchema]:
        return {OBJECT: SCHEMA}

    def start(self, positions: Mapping[str, Position], identities: Mapping[str, Mapping[str, str]]) -> None:
        self.started_with = (positions, identities)

    def poll(self, timeout_s: float) -> SourceBatch:
        try:
            offer = self.offers.get(timeout=timeout_s)
        except queue.Empty:
            return SourceBatch()
        if isinstance(offer, Exception):
            raise offer
        return offer

    def request(self, signal: Signal) -> None:
        self.asked.append(signal)

    def progress(self) -> Sequence[SnapshotProgress]:
        return ()

    def stop(self) -> None:
        self.stopped.set()


Answer = Callable[[SinkRecord], Outcome]


def applied(_: SinkRecord) -> Outcome:
    return Outcome(OutcomeKind.APPLIED)


class Sink:
    """A sink task that answers as the test says and remembers every put. `gate` holds puts until it is set."""

    def __init__(self, answer: Answer = applied, *, batch_max: int = 100, concurrency: int = 1) -> None:
        self.answer = answer
        self.batch_max, self.concurrency = batch_max, concurrency
        self.gate = threading.Event()
        self.gate.set()
        self.outage: Exception | None = None
        self.puts: list[tuple[SinkRecord, ...]] = []
        self.tries = 0  # puts begun, outages included
        self.clean: bool | None = None
        self.identities: IdentitiesProtocol | None = None
        self.stopped = threading.Event()
        self.caught_up_seen = threading.Event()
        self.doubts = 0

    @property
    def written(self) -> list[SinkRecord]:
        return [record for batch in list(self.puts) for record in batch]

    def seqs(self, key: str) -> list[int]:
        """What was put of *key*, in its order."""
        return [record.write.seq for record in self.written if record.key == key]

    def start(
        self, schemas: Mapping[str, ObjectSchema], identities: IdentitiesProtocol, *, clean: bool
    ) -> None:
        self.clean, self.identities = clean, identities

    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]:
        self.tries += 1
        while not self.gate.wait(0.01) and not self.stopped.is_set():
            pass
        if self.outage is not None:
            raise self.outage
        self.puts.append(tuple(records))
        return [self.answer(record) for record in records]

    def stop(self) -> None:
        self.stopped.set()

    def caught_up(self) -> None:
        self.caught_up_seen.set()

    def doubt(self) -> None:
        self.doubts += 1


@dataclass(slots=True)
class Running:
    """A worker in a thread of its own, and what ended it."""

    worker: Any
    thread: threading.Thread
    error: list[BaseException] = field(default_factory=list)

    def stop(self, within_s: float = 20.0) -> None:
        """Stop it in good order; raises what ended it."""
        self.worker.stop()
        self.join(within_s)
        if self.error:
            raise self.error[0]

    def join(self, within_s: float = 20.0) -> None:
        self.thread.join(within_s)
        assert not self.thread.is_alive(), f"{self.worker.name} still runs"


@contextmanager
def running(*workers: Any) -> Iterator[list[Running]]:
    """Run *workers*; whatever still runs at the end is stopped."""
    found: list[Running] = []
    for worker in workers:
        run = Running(worker, threading.Thread())
        run.thread = threading.Thread(target=_ran, args=(worker, run.error), daemon=True)
        run.thread.start()
        found.append(run)
    try:
        yield found
    finally:
        for run in found:
            run.worker.stop()
        for run in found:
            run.thread.join(5.0)
            if run.thread.is_alive():
                run.worker.cut()
                run.thread.join(10.0)


def _ran(worker: Any, errors: list[BaseException]) -> None:
    try:
        worker.run()
    except BaseException as error:  # noqa: BLE001 - the test looks at it
        errors.append(error)


class Sync:
    """One object's topics on a broker, under a name of their own."""

    def __init__(self, kafka: clients.Brokers, *, partitions: int = 2) -> None:
        self.clients = clients.clients_of(kafka)
        self.kafka = dict(self.clients.properties)
        self.name = f"t{uuid.uuid4().hex[:8]}"
        self.topics = topics.Topics(self.name)
        self.registry = registry_of(self.topics)
        specs = topics.specs(self.topics, [OBJECT], partitions=partitions, replication_factor=1)
        topics.ensure(self.clients.admin(), specs)
        self.changes_codec = Changes(SCHEMA, self.registry, self.topics.changes(OBJECT))
        self._producer: clients.TransactionalProducer | None = None
        self._seq = itertools.count(1)

    def instance(self, connector: str, ordinal: int = 0) -> Instance:
        side = connector.split("-", maxsplit=1)[0]
        return Instance(
            self.name, connector, side, self.clients, self.registry, Health(), Metrics(connector), ordinal
        )

    # As merge, salesforce-source and an operator would.

    def write(self, key: str, seq: int | None, *, side: str = "mongodb", **fields: Any) -> None:
        """Command *side* to set *fields*; *seq* None: a tombstone."""
        topic = self.topics.writes(side, OBJECT)
        codec = Writes(SCHEMA, self.registry, topic)
        value = None if seq is None else codec.encode(Write(seq, WriteOp.UPDATE, fields=fields))
        self.produce(topic, key, value)

    def delete(self, key: str, seq: int, *, side: str = "mongodb", committed_at: int = 0) -> None:
        """Command *side* to delete the record."""
        topic = self.topics.writes(side, OBJECT)
        write = Write(seq, WriteOp.DELETE, committed_at=committed_at)
        self.produce(topic, key, Writes(SCHEMA, self.registry, topic).encode(write))

    def identify(self, native_id: str, key: str) -> None:
        topic = self.topics.identity(OBJECT)
        self.produce(topic, native_id, Identities(self.registry, topic).encode(key))

    def signal(self, connector: str, signal: Signal) -> None:
        topic = self.topics.signals(connector)
        self.produce(topic, signal.object, Signals(self.registry, topic).encode(signal))

    def produce(self, topic: str, key: str | bytes, value: bytes | None) -> None:
        if self._producer is None:
            self._producer = self.clients.producer(transactional_id=f"{self.name}-test", client_id="test")
            self._producer.start()
        with self._producer.transaction() as transaction:
            transaction.produce(topic, key, value)

    # What is there now.

    def records(self, topic: str) -> list[Message]:
        """All committed records of *topic*, as far as they can be read now."""
        consumer = self.clients.consumer(group_id=f"{self.name}.look", client_id="look")
        try:
            count = topics.partition_counts(self.clients.admin())[topic]
            consumer.assign([TopicPartition(topic, number, 0) for number in range(count)])
            ends = sum(patiently(partial(_end, consumer, topic, number)) for number in range(count))
            found: list[Message] = []
            quiet = 0
            while ends and quiet < 2:
                heard = clients.read(consumer, 1000, 0.1)
                quiet = 0 if heard else quiet + 1
                found.extend(heard)
            return found
        finally:
            consumer.close()

    def changes(self) -> list[tuple[str, Change]]:
        """Record key and change, partition by partition."""
        return [
            ((message.key() or b"").decode(), self.changes_codec.decode(message.value() or b""))
            for message in self.records(self.topics.changes(OBJECT))
        ]

    def dead_letters(self, connector: str) -> list[Message]:
        return self.records(self.topics.dlq(connector))

    def entries(self, connector: str) -> dict[str, Position]:
        return patiently(lambda: OffsetStore(self.clients, self.topics, self.registry).load(connector))

    def committed(self, group: str, topic: str) -> list[int]:
        """The group's offset in each partition of *topic*; below 0 where there is none."""
        consumer = self.clients.consumer(group_id=group, client_id="look")
        try:
            count = topics.partition_counts(self.clients.admin())[topic]
            places = [TopicPartition(topic, number) for number in range(count)]
            return [each.offset for each in consumer.committed(places, timeout=10)]
        finally:
            consumer.close()


def registry_of(names: topics.Topics) -> MemoryRegistry:
    """A registry in memory that gives the same ids in every process of a test: by the order of registration."""
    registry = MemoryRegistry()
    Changes(SCHEMA, registry, names.changes(OBJECT)).register()
    Writes(SCHEMA, registry, names.writes("mongodb", OBJECT)).register()
    OffsetStore({}, names, registry).serde.register()
    schemas.register(registry, names, {OBJECT: SCHEMA}, clock=lambda: 1.0)
    return registry


def _end(consumer: Consumer, topic: str, number: int) -> int:
    try:
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
    except KafkaException as error:
        raise clients.translated(error, "looking") from error
    return high


def headers_of(message: Message) -> dict[str, str]:
    """A record's headers as text."""
    headers: Any = message.headers() or []
    return {name: (value or b"").decode() for name, value in headers}


def error_of(run: Running) -> SalmonError:
    """What ended a worker that was expected to end by itself."""
    run.join()
    assert run.error, "it ended in good order"
    assert isinstance(run.error[0], SalmonError), run.error[0]
    return run.error[0]
