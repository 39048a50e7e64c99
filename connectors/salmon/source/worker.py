"""
The worker of a source: it writes the task's changes to Kafka, in one transaction with the positions that follow them.

Only the leader works; the other instances stand by. No transaction is open while the task is polled, and a batch that could not
be committed is written again unchanged. So no change is lost, and none is written twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain, islice
from threading import Event
from typing import Final

import structlog
from confluent_kafka import Message

from salmon.errors import DataError, RetriableError, SetupError, Stopping, TooManyErrors, Unavailable
from salmon.kafka import tables
from salmon.kafka.codecs.serdes import Identities, Signals
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.output import Output
from salmon.kafka.transactions import Transaction
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import (
    Closes,
    ComparesRecords,
    Connects,
    DescribesObjects,
    HoldsObjects,
    KeepsSchemas,
    Notes,
    Position,
    ReportsEvents,
    ReportsWaiting,
    Signal,
    SignalKind,
    SourceBatch,
    SourceTask,
    UsesSchemas,
)
from salmon.plugin.dates import DatesPositions
from salmon.plugin.events import EventSource
from salmon.runtime import schemas as subjects
from salmon.runtime.error_limit import ENTRY, Counts, ErrorLimit
from salmon.runtime.every import Every
from salmon.runtime.fellows import Fellows
from salmon.runtime.instance import FailureReporter, Instance
from salmon.runtime.retry import Retrying, Streak
from salmon.source.batches import BatchEncoder, Encoded
from salmon.source.describing import Describing, describing
from salmon.source.first_loads import FirstLoads
from salmon.source.leadership import SIGNALS_MAX, Leadership
from salmon.source.reach import Reach
from salmon.source.reporting import report_batch
from salmon.source.schema_watch import SchemaWatch, register_or_keep
from salmon.source.standby import Standby

log = structlog.get_logger(__name__)

POLL_S: Final = 0.2  # A change ends the wait at once. A signal waits at most this long.
MEASURE_EVERY_S: Final = 1.0
EVENT_BATCHES_MAX: Final = 4  # of each source of events, in one turn
FIRST_CONTACT_MAX_S: Final = 30.0  # a server that was never reached is a mistake in the config, not an outage


class SourceWorker:
    """
    One instance of a source connector; a part (see lifecycle).

    Args:
        objects: The names of all synced objects.
        beside: What reports events beside the task.
        match: Those whose records must be matched before they are loaded.
        first_contact_max_s: How long a server may be away that was never reached before.
    """

    def __init__(
        self,
        instance: Instance,
        task: SourceTask,
        objects: tuple[str, ...],
        beside: Sequence[EventSource] = (),
        *,
        match: Collection[str] = (),
        first_contact_max_s: float = FIRST_CONTACT_MAX_S,
    ) -> None:
        self.name = instance.connector
        self._instance, self._task, self._objects, self._beside = instance, task, objects, beside
        self._health, self._metrics = instance.health, instance.metrics
        self._first_contact_max_s = first_contact_max_s
        self._stop = Event()
        self._retrying = Retrying(self._stop, FailureReporter(instance), rng=instance.rng)
        self._entries = OffsetStore(instance.clients, instance.topics, instance.registry)
        self._fellows = Fellows.of(instance, self._entries, task)
        self._signal_codec = Signals(instance.registry, instance.topics.signals(instance.connector))
        self._encoder: BatchEncoder | None = None
        # Signals: ids that are not answered yet, the next offset to read, and the committed offset.
        self._unanswered: dict[int, None] = {}
        self._signals_next: int | None = None
        self._signals_committed: int | None = None
        self._unreadable_signals: list[Output] = []  # as dead letters
        self._polls = Streak(self._retrying)
        self._measure_time = Every(MEASURE_EVERY_S)
        self._reach = Reach(task.dates if isinstance(task, DatesPositions) else None)
        self._metrics.watch_positions(self._reach.ages)
        self._schema_watch: SchemaWatch | None = None  # if another process registers the schemas
        self._describing: Describing | None = None
        self._limit = ErrorLimit(instance.tolerance)
        self._first_loads = FirstLoads(instance.clients, instance.topics, instance.registry, match)
        self._producer = instance.leaders_producer(self._retrying.listener)
        self._standby = Standby(instance, self._retrying, elected=self._producer.start, deposed=task.stop)

    # The part's view.

    def run(self) -> None:
        """
        Work until asked to stop.

        Raises:
            FatalError: a person has to change something.
            StartAgain: the process has to restart, e.g. because this instance has lost the lead.
        """
        try:
            self._standby.await_lead()
            self._health.starting("reading positions")
            self._begin()
            while not self._stop.is_set():
                self._turn()
            log.info("source_drained")
        except Stopping:
            pass
        finally:
            self._close()

    def stop(self) -> None:
        """Poll the task no more, commit what it has returned, and end."""
        self._stop.set()
        self._task.stop()
        for source in self._beside:
            source.stop()

    def cut(self) -> None:
        """Abandon what is not committed; it is read again after the next start."""
        self._producer.close()

    @property
    def _leadership(self) -> Leadership:
        return self._standby.leadership

    # Starting.

    def _begin(self) -> None:
        """This instance leads, and the former leader is fenced: continue at its positions."""
        instance = self._instance
        positions: Mapping[str, Position] = self._retrying.until_it_works(
            "loading positions", lambda: self._entries.load(instance.connector)
        )
        self._limit.restore(positions.get(ENTRY))
        positions = {place: position for place, position in positions.items() if place != ENTRY}
        self._reach.stored(positions)  # they grow older while the side is away
        if positions:
            self._first_contact_max_s = math.inf  # the positions came from our side, so it was reached before
        schemas = self._schemas(worked_before=bool(positions))
        events = self._event_schemas()
        self._hold_back(schemas)
        if isinstance(self._task, ComparesRecords):
            self._task.use_records(self._agreed_keys)
        identities = self._retrying.until_it_works("loading identities", self._load_identities)
        self._encoder = BatchEncoder(
            instance.connector,
            instance.topics,
            instance.registry,
            schemas,
            self._entries,
            task_class=f"{type(self._task).__module__}.{type(self._task).__qualname__}",
            events=events,
            outboxes={each.event: each.tells for each in self._beside},
        )
        self._first_contact("starting the task", lambda: self._task.start(positions, identities))
        for source in self._beside:
            source.start(positions)
        self._fellows.begin()
        self._health.running()
        self._metrics.leads.set(1)
        log.info("source_worker_started", positions=sorted(positions), objects=sorted(self._objects))

    def _schemas(self, *, worked_before: bool) -> Mapping[str, ObjectSchema]:
        """Register the schemas if the task describes the objects; otherwise wait until the other source has done so."""
        instance, task = self._instance, self._task
        keeps = task if isinstance(task, KeepsSchemas) else None
        if keeps is not None and worked_before:
            keeps.use_registered(
                self._retrying.until_it_works(
                    "reading the registered schemas",
                    lambda: subjects.registered(instance.registry, instance.topics, self._objects),
                )
            )
        if isinstance(task, Connects):
            self._health.starting(f"connecting to {instance.side}")
            self._first_contact("connecting", task.connect)
        if isinstance(task, DescribesObjects):
            schemas = task.schemas()
            self._describing = describing(instance.registry, instance.topics, self._objects, task)
            registered, kept = self._retrying.until_it_works(
                "registering schemas", lambda: register_or_keep(instance, schemas, keeps)
            )
            if kept:  # it may be registered by somebody else later
                self._schema_watch = SchemaWatch(instance.registry, instance.topics, kept)
            return registered
        found = self._retrying.until_it_works(
            "waiting for schemas",
            lambda: subjects.await_schemas(
                instance.registry, instance.topics, self._objects, stop=self._stop, health=self._health
            ),
        )
        if isinstance(task, UsesSchemas):
            task.use(found)
        self._schema_watch = SchemaWatch(instance.registry, instance.topics, found)
        return found

    def _hold_back(self, schemas: Mapping[str, ObjectSchema]) -> None:
        """Leave alone what must be matched first."""
        held = self._retrying.until_it_works(
            "looking for what waits to be matched", lambda: self._first_loads.find(schemas)
        )
        if held and isinstance(self._task, HoldsObjects):
            self._task.hold(held)
        elif held:
            raise SetupError(
                f"objects.{min(held)}.match: {self._instance.connector} cannot leave single objects alone. Run `salmon match` before "
                f"the connectors are started."
            )

    def _event_schemas(self) -> Mapping[str, ObjectSchema]:
        """Register the schemas of the events that the task reports."""
        task, instance = self._task, self._instance
        if not isinstance(task, ReportsEvents):
            return {}
        schemas = task.event_schemas()
        found, refused = self._retrying.until_it_works(
            "registering the schemas of events",
            lambda: subjects.register_events(instance.registry, instance.topics, schemas),
        )
        task.use_event_schemas(found, refused)
        return found

    def _first_contact(self, doing: str, call: Callable[[], object]) -> None:
        self._retrying.first_contact(doing, call, max_s=self._first_contact_max_s)

    def _load_identities(self) -> dict[str, dict[str, str]]:
        instance = self._instance
        found: dict[str, dict[str, str]] = {}
        for name in self._objects:
            topic = instance.topics.identity(name)
            codec = Identities(instance.registry, topic)
            found[name] = tables.load(instance.clients, topic, codec.decode)
        return found

    def _agreed_keys(self, name: str) -> Collection[str]:
        instance = self._instance
        return tables.load(instance.clients, instance.topics.records(name), bool).keys()

    # The loop.

    def _turn(self) -> None:
        self._health.turned()
        self._leadership.check()
        if self._schema_watch is not None:
            self._schema_watch.check()
        self._first_loads.check()
        self._take_signals()
        if (batch := self._poll()) is not None:
            self._commit(batch)
        for source in self._beside:
            for events in islice(iter(source.take, None), EVENT_BATCHES_MAX):
                self._commit(events)
        if self._measure_time.due():
            self._metrics.snapshots(chain(self._task.progress(), *(each.progress() for each in self._beside)))
            notes = [self._task.note()] if isinstance(self._task, Notes) else []
            self._health.note(" ".join(filter(None, [*notes, *(each.note() for each in self._beside)])))
            waiting = self._task.waiting() if isinstance(self._task, ReportsWaiting) else ()
            beside = chain(*(each.waiting() for each in self._beside))
            waiting = [*waiting, *self._first_loads.waiting(), *self._reach.waiting(), *beside]
            self._health.objects_wait(waiting)

    def _take_signals(self) -> None:
        if self._leadership.signals_lost:
            # It is not known what they asked for. To read everything again answers all of them.
            self._leadership.signals_lost = False
            log.error("objects_read_again", objects=sorted(self._objects), why="signals were lost")
            for number, name in enumerate(
                sorted(set(self._objects) - self._first_loads.held.keys()), start=1
            ):
                # No offset is negative, so this answers no signal of the topic.
                self._task.request(Signal(-number, SignalKind.SNAPSHOT, name, reason="signals were lost"))
        # The topic keeps the others.
        for message in self._leadership.signals(SIGNALS_MAX - len(self._unanswered)):
            offset = message.offset()
            assert offset is not None
            self._signals_next = offset + 1
            try:
                signal = self._signal_codec.decode(message.value() or b"", offset=offset)
                if signal.object not in self._objects:
                    raise DataError(
                        f"a signal for {signal.object}, which is not synced. Name a synced object."
                    )
            except DataError as error:
                self._unreadable_signals.append(self._dead_signal(message, error))
                continue
            log.info("signal_taken", kind=signal.kind, object=signal.object, keys=len(signal.keys), id=offset)
            if signal.object in self._first_loads.held:
                continue  # the first load reads all of its records
            self._unanswered[offset] = None
            self._task.request(signal)

    def _dead_signal(self, message: Message, error: DataError) -> Output:
        assert self._encoder is not None
        return self._encoder.signal_set_aside(message, error)

    def _poll(self) -> SourceBatch | None:
        began = time.monotonic()
        try:
            batch = self._task.poll(POLL_S)
        except RetriableError as error:
            self._metrics.outage.set(1)
            self._polls.failed(f"reading from {self._instance.side}", error)
            return None
        if self._polls.worked():
            log.info("side_available")
            self._metrics.outage.set(0)
        if count := len(batch.records) + len(batch.events):
            self._metrics.batch_polled(count, time.monotonic() - began)
        return batch

    # One batch, one transaction.

    def _commit(self, batch: SourceBatch) -> None:
        """Write *batch* in one transaction, and repeat it until it is committed."""
        for answered in batch.answered:
            self._unanswered.pop(answered, None)
        signals_up_to = next(iter(self._unanswered), self._signals_next)
        if (
            not _says_anything(batch)
            and not self._unreadable_signals
            and signals_up_to == self._signals_committed
        ):
            return
        assert self._encoder is not None
        encoder = self._encoder
        self._metrics.records_polled.inc(len(batch.records) + len(batch.events))
        self._metrics.records_polled_active.set(len(batch.records))
        encoded = self._retrying.until_it_works("encoding a batch", lambda: encoder.encode(batch))
        counted = self._counted(encoded)
        encoded.outputs.extend(self._unreadable_signals)
        encoded.dead_letters += len(self._unreadable_signals)
        writing = Streak(self._retrying)
        while True:
            self._leadership.check()
            try:
                self._write(encoded, signals_up_to)
                break
            except Unavailable as trouble:
                writing.failed("writing to Kafka", trouble)
            except DataError as error:
                encoded = self._without_refused(encoded, error)
        writing.worked()
        if counted is not None:
            self._limit.saved(counted)
        self._signals_committed, self._unreadable_signals = signals_up_to, []
        self._reach.stored(batch.positions)
        report_batch(self._metrics, encoded)

    def _counted(self, encoded: Encoded) -> Counts | None:
        """
        Count the failures of a batch, and store the count with it.

        Raises:
            TooManyErrors: so many records fail that none may be set aside. The process reads them again.
        """
        if not self._limit.allows(len(encoded.written) + len(encoded.events), encoded.failures):
            raise TooManyErrors(self._limit.why)
        if (counted := self._limit.unsaved()) is not None:
            encoded.outputs.append(self._entries.output(self._instance.connector, ENTRY, counted.position()))
        return counted

    def _without_refused(self, encoded: Encoded, error: DataError) -> Encoded:
        """Find the record because of which Kafka refuses the batch, and leave out the part that causes it."""
        assert self._encoder is not None
        encoder = self._encoder

        def is_taken(outputs: Sequence[Output]) -> bool:
            self._health.turned()
            # Each trial is a call of its own: after a refusal, librdkafka numbers its records again, which costs a transaction.
            return self._retrying.until_it_works(
                "finding what Kafka refuses",
                lambda: self._producer.takes(lambda transaction: _produce(transaction, outputs)),
            )

        log.warning("record_refused_by_kafka", error=type(error).__name__)
        return encoder.without_refused(encoded, error, is_taken)

    def _write(self, encoded: Encoded, signals_up_to: int | None) -> None:
        committing = self._metrics.committing(dead_letters=encoded.dead_letters)
        with committing, self._producer.transaction() as transaction:
            _produce(transaction, encoded.outputs)
            if signals_up_to is not None and signals_up_to != self._signals_committed:
                transaction.send_offsets(*self._leadership.offsets(signals_up_to))

    def _close(self) -> None:
        self._stop.set()
        self._task.stop()
        self._standby.close()
        for beside in (self._schema_watch, self._describing):
            if beside is not None:
                beside.close()
        self._first_loads.close()
        self._fellows.close()
        self._producer.close()
        for source in self._beside:
            source.close()
        if isinstance(self._task, Closes):
            self._task.close()
        self._metrics.leads.set(0)


def _produce(transaction: Transaction, outputs: Sequence[Output]) -> None:
    for output in outputs:
        transaction.produce(output.topic, output.key, output.value, headers=output.headers)


def _says_anything(batch: SourceBatch) -> bool:
    return bool(batch.records or batch.positions or batch.identities or batch.dead_letters or batch.events)
