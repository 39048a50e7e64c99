"""
Puts platform events into the processes: what listens in the source, what carries them in the sinks.

They run beside the connector's worker, in the same process: a pod stays a connector, and each kind of event has a thread, a
consumer group and a health of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event, Thread
from typing import Final

from salmon.config.events import EventConfig, events_read
from salmon.config.models import SyncConfig
from salmon.kafka import topics
from salmon.kafka.codecs.events import Events
from salmon.kafka.codecs.registry import object_schema
from salmon.kafka.codecs.serdes import Changes
from salmon.kafka.topics import TopicSpec
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import Closes, ReportsEvents, SinkTask, SourceTask
from salmon.runtime import discovery
from salmon.runtime.instance import Instance
from salmon.runtime.lifecycle import Part
from salmon.salesforce.writing.publishing import EventPublisher
from salmon.sink.event_records import change_decoder, event_decoder
from salmon.sink.events import Carrier, EventSink, NoIdentities

_JOIN_S: Final = 0.2


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
        self._cut = Event()

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
                while thread.is_alive() and not self._cut.is_set():
                    thread.join(_JOIN_S)
        if self._errors:
            raise self._errors[0]

    def stop(self) -> None:
        for part in (*self._beside, self._worker):
            part.stop()

    def cut(self) -> None:
        self._cut.set()
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
        carried=[name for name, event in config.events.items() if event.collection or event.object],
    )


def listening(source: SourceTask, config: SyncConfig) -> SourceTask:
    """Have *source* report the configured events, if it reports any. Returns it."""
    if isinstance(source, ReportsEvents):
        source.listen(events_read(config.events))
    return source


def with_events(worker: Part, config: SyncConfig, instance: Instance) -> Part:
    """Return *worker*, the worker of a sink, with what carries events to its side."""
    topics_, beside = instance.topics, []
    for name, event in config.events.items():
        if instance.side == "mongodb" and event.collection is not None:
            carrier = partial(collecting, config, instance, name, event.collection)
            topic, replays = topics_.events(name), topics_.replays(name)
            beside.append(EventSink(instance, name, topic, carrier, replays=replays))
        elif instance.side == "salesforce" and event.object is not None:
            carrier = partial(publishing, config, instance, name, event)
            topic, replays = topics_.changes(event.object), topics_.replays(name)
            beside.append(EventSink(instance, name, topic, carrier, replays=replays))
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


def publishing(config: SyncConfig, instance: Instance, name: str, event: EventConfig) -> Carrier | None:
    """What publishes changes of an object as events; None while the object has no schema."""
    assert event.object is not None
    schema = object_schema(instance.registry, instance.topics.records(event.object))
    if schema is None:
        return None
    codec = Changes(schema, instance.registry, instance.topics.changes(event.object))
    decode = change_decoder(name, event, schema, codec)
    task = EventPublisher(config.salesforce, name, event.fields)
    started(task, schema)
    return Carrier(task, decode, "published")


def started(task: SinkTask, schema: ObjectSchema) -> None:
    """Start *task* with the schema of its one object. If that fails, its connections are given up."""
    try:
        task.start({schema.name: schema}, NoIdentities(), clean=False)
    except BaseException:
        if isinstance(task, Closes):
            task.close()
        raise
