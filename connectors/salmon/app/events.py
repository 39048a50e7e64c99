"""
Puts platform events into the processes: what listens in the source, what carries them in the sinks.

They run beside the connector's worker, in the same process: a pod stays a connector, and each kind of event has a thread, a
consumer group and a health of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import Final

from confluent_kafka import Message

from salmon.config.events import events_read
from salmon.config.models import SyncConfig
from salmon.errors import SchemaMismatch
from salmon.kafka import topics
from salmon.kafka.codecs.events import Events
from salmon.kafka.codecs.registry import object_schema
from salmon.kafka.topics import TopicSpec
from salmon.model.change import Write, WriteOp
from salmon.model.event_schema import CREATED
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import Closes, ReportsEvents, SinkRecord, SinkTask, SourceTask
from salmon.runtime import discovery
from salmon.runtime.instance import Instance
from salmon.runtime.lifecycle import Part
from salmon.sink.events import Carrier, EventSink, NoIdentities

# An event is inserted once and never changed: each has the marker of a first write.
_SEQ: Final = 1


@dataclass(frozen=True, slots=True)
class _Collected:
    """What a sink task asks of an object's settings."""

    collection: str
    direction: str = "to_mongodb"


class Together:
    """A worker and what runs beside it, as one part. All end if one of them fails."""

    def __init__(self, worker: Part, beside: Sequence[Part]) -> None:
        self.name = worker.name
        self._worker, self._beside = worker, beside
        self._errors: list[BaseException] = []

    def run(self) -> None:
        """Run all of them. Raises what ended the first that failed."""
        threads = [
            Thread(target=self._run, args=(part,), name=part.name, daemon=True) for part in self._beside
        ]
        for thread in threads:
            thread.start()
        try:
            self._worker.run()
        finally:
            for part in self._beside:
                part.stop()
            for thread in threads:
                thread.join()
        if self._errors:
            raise self._errors[0]

    def stop(self) -> None:
        for part in (*self._beside, self._worker):
            part.stop()

    def cut(self) -> None:
        for part in (*self._beside, self._worker):
            part.cut()

    def _run(self, part: Part) -> None:
        try:
            part.run()
        except BaseException as error:  # noqa: BLE001 - raised again by run()
            self._errors.append(error)
            self._worker.stop()


def specs_of(config: SyncConfig) -> tuple[TopicSpec, ...]:
    """Every topic that the configured sync needs."""
    return topics.specs(
        config.topic_names,
        config.objects,
        partitions=config.topics.partitions,
        replication_factor=config.topics.replication_factor,
        events=events_read(config.events),
    )


def listening(source: SourceTask, config: SyncConfig) -> SourceTask:
    """Have *source* report the configured events, if it reports any. Returns it."""
    if isinstance(source, ReportsEvents):
        source.listen(events_read(config.events))
    return source


def with_events(worker: Part, config: SyncConfig, instance: Instance) -> Part:
    """Return *worker*, the worker of a sink, with what carries events to its side."""
    beside = [
        EventSink(
            instance,
            name,
            instance.topics.events(name),
            partial(collecting, config, instance, name, event.collection),
        )
        for name, event in config.events.items()
        if instance.side == "mongodb" and event.collection is not None
    ]
    return Together(worker, beside) if beside else worker


def collecting(config: SyncConfig, instance: Instance, event: str, collection: str) -> Carrier | None:
    """What inserts events into *collection*; None while the event has no schema."""
    topic = instance.topics.events(event)
    schema = object_schema(instance.registry, topic)
    if schema is None:
        return None
    make = discovery.sink_factory(instance.side)
    task = make(getattr(config, instance.side), {event: _Collected(collection)}, config.name)
    started(task, schema)
    return Carrier(task, event_decoder(event, Events(schema, instance.registry, topic)), "inserted")


def started(task: SinkTask, schema: ObjectSchema) -> None:
    """Start *task* with the schema of its one object. If that fails, its connections are given up."""
    try:
        task.start({schema.name: schema}, NoIdentities(), clean=False)
    except BaseException:
        if isinstance(task, Closes):
            task.close()
        raise


def event_decoder(event: str, codec: Events) -> Callable[[Message], SinkRecord]:
    """What makes a creation of a record of the events' topic: its key is the EventUuid."""

    def decode(message: Message) -> SinkRecord:
        key, value = message.key(), message.value()
        if not key or value is None:
            raise SchemaMismatch(f"{codec.topic}: a record has no key or no value. Find out who wrote it.")
        try:
            uuid = key.decode() if isinstance(key, bytes) else key
        except UnicodeDecodeError:
            raise SchemaMismatch(f"{codec.topic}: a key is not UTF-8. Find out who wrote it.") from None
        fields = {name: shown for name, shown in codec.decode(value).items() if shown is not None}
        created = fields.get(CREATED)
        # As all record keys: a text that begins with $ gets a second one.
        record_key = f"${uuid}" if uuid.startswith("$") else uuid
        write = Write(
            _SEQ, WriteOp.CREATE, fields=fields, committed_at=created if isinstance(created, int) else 0
        )
        return SinkRecord(event, record_key, write)

    return decode
