"""
Puts platform events into the processes: what listens in the source, what carries them in the sinks.

They run beside the connector's worker, in the same process: a pod stays a connector, and each kind of event has a thread, a
consumer group and a health of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread
from typing import Final

from salmon.config.events import EventConfig, events_read, outboxes_in
from salmon.config.models import SyncConfig
from salmon.kafka import topics
from salmon.kafka.codecs.events import Events
from salmon.kafka.codecs.outbox import Documents, Outcomes
from salmon.kafka.codecs.registry import object_schema
from salmon.kafka.codecs.serdes import Changes
from salmon.kafka.topics import TopicSpec
from salmon.model.change import MONGODB, SALESFORCE
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import Closes, ReportsEvents, SinkTask, SourceTask
from salmon.plugin.events import EventSource
from salmon.runtime import discovery
from salmon.runtime.instance import Instance
from salmon.runtime.lifecycle import Part
from salmon.sink.platform_events.event_records import (
    change_decoder,
    cleared,
    document_decoder,
    event_decoder,
    outcome_decoder,
    outcome_teller,
)
from salmon.sink.platform_events.events import UNTOLD, Carrier, EventSink, NoIdentities
from salmon.transforms.flow import Flow

_JOIN_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class _Collected:
    """What a sink task asks of an object's settings."""

    collection: str
    direction: str = "to_mongodb"
    paths: Mapping[str, str] = field(default_factory=dict)

    @property
    def places(self) -> tuple[str, ...]:
        """The names of its collections."""
        return (self.collection,)

    def flow(self, _name: str) -> Flow:
        return Flow()


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
        outboxes=outboxes_in(config.events),
        carried=[name for name, event in config.events.items() if event.collection or event.object],
        roster=config.roster,
    )


def listening(source: SourceTask, config: SyncConfig) -> SourceTask:
    """Have *source* report the configured events, if it reports any. Returns it."""
    if isinstance(source, ReportsEvents):
        source.listen(events_read(config.events))
    return source


def reading_outboxes(config: SyncConfig, instance: Instance) -> Sequence[EventSource]:
    """What reads the outboxes, beside the worker of the source of the side that has them; nothing for another source."""
    read = _READS_OUTBOXES.get(instance.side)
    return [] if read is None else read(config, instance)


def _from_mongodb(config: SyncConfig, instance: Instance) -> Sequence[EventSource]:
    from salmon.mongodb.outbox import Outbox
    from salmon.mongodb.reading.outbox import OutboxReader

    return [
        OutboxReader(
            config.mongodb,
            f"salmon-{config.name}-outbox-{name}",
            name,
            Outbox(event.outbox, event.fields),
            tells=event.outcomes,
            calls=instance.health.calls,
        )
        for name, event in outboxes_in(config.events).items()
        if event.outbox is not None
    ]


_READS_OUTBOXES: Final[Mapping[str, Callable[[SyncConfig, Instance], Sequence[EventSource]]]] = {
    MONGODB: _from_mongodb
}


@dataclass(frozen=True, slots=True)
class Carried:
    """A kind of event that a sink carries. *make*: what carries it; None while a schema is missing. *topics*: where it is read."""

    name: str
    topics: tuple[str, ...]
    make: Callable[[Instance], Carrier | None]
    is_published: bool = False


def carried(config: SyncConfig, side: str) -> Sequence[Carried]:
    """What the sink of *side* carries beside its writes."""
    carry = _CARRIES.get(side)
    found = [] if carry is None else [carry(config, name, event) for name, event in config.events.items()]
    return [each for each in found if each is not None]


def _to_salesforce(config: SyncConfig, name: str, event: EventConfig) -> Carried | None:
    names = config.topic_names
    if event.outbox is not None:
        topics_ = (names.outbox(name), names.replays(name))
        make = partial(publishing_documents, config, name=name, event=event)
        return Carried(name, topics_, make, is_published=True)
    if event.object is not None:
        topics_ = (names.changes(event.object), names.replays(name))
        return Carried(name, topics_, partial(publishing, config, name=name, event=event), is_published=True)
    return None


def _to_mongodb(config: SyncConfig, name: str, event: EventConfig) -> Carried | None:
    names = config.topic_names
    if event.outbox is not None:
        told = partial(telling, config, name=name, collection=event.outbox)
        return Carried(name, (names.outcomes(name),), told) if event.outcomes else None
    if event.collection is not None:
        collect = partial(collecting, config, event=name, collection=event.collection)
        return Carried(name, (names.events(name), names.replays(name)), collect)
    return None


# Side -> what its sink carries of one configured event. A side that is not here carries none.
_CARRIES: Final[Mapping[str, Callable[[SyncConfig, str, EventConfig], Carried | None]]] = {
    SALESFORCE: _to_salesforce,
    MONGODB: _to_mongodb,
}


def with_events(worker: Part, config: SyncConfig, instance: Instance) -> Part:
    """Return *worker*, the worker of a sink, with what carries events to its side."""
    beside = [
        EventSink(
            instance,
            each.name,
            each.topics[0],
            partial(each.make, instance),
            replays=each.topics[1] if len(each.topics) > 1 else None,
        )
        for each in carried(config, instance.side)
    ]
    return Together(worker, beside) if beside else worker


def collecting(config: SyncConfig, instance: Instance, event: str, collection: str) -> Carrier | None:
    """What inserts events into *collection*; None while the event has no schema."""
    topic = instance.topics.events(event)
    schema = object_schema(instance.registry, topic)
    if schema is None:
        return None
    make = discovery.sink_factory(instance.side)
    task = make(config.settings_of(instance.side), {event: _Collected(collection)}, config.name)
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
    return Carrier(_publisher(config, name, event, schema), decode, "published")


def publishing_documents(config: SyncConfig, instance: Instance, name: str, event: EventConfig) -> Carrier:
    """What publishes the documents of an outbox as events."""
    topic, outcomes = instance.topics.outbox(name), instance.topics.outcomes(name)
    decode = document_decoder(name, Documents(instance.registry, topic))
    tell = outcome_teller(topic, Outcomes(instance.registry, outcomes))
    task = _publisher(config, name, event, ObjectSchema(name, ()))
    return Carrier(task, decode, "published", tell if event.outcomes else cleared(topic))


def _publisher(config: SyncConfig, name: str, event: EventConfig, schema: ObjectSchema) -> SinkTask:
    from salmon.salesforce.writing.publishing import EventPublisher

    task = EventPublisher(config.salesforce, name, event.fields)
    started(task, schema)
    return task


def telling(config: SyncConfig, instance: Instance, name: str, collection: str) -> Carrier:
    """What tells the documents of an outbox what became of their events."""
    from salmon.mongodb.writing.outbox import OutcomeWriter

    task = OutcomeWriter(config.mongodb, f"salmon-{config.name}-outcomes-{name}", collection)
    task.watch(instance.health.calls)
    started(task, ObjectSchema(name, ()))
    topic = instance.topics.outcomes(name)
    decode = outcome_decoder(name, Outcomes(instance.registry, topic))
    return Carrier(task, decode, "told", cleared(topic), UNTOLD)


def started(task: SinkTask, schema: ObjectSchema) -> None:
    """Start *task* with the schema of its one object. If that fails, its connections are given up."""
    try:
        task.start({schema.name: schema}, NoIdentities(), clean=False)
    except BaseException:
        if isinstance(task, Closes):
            task.close()
        raise
