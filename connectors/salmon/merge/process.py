"""
The merge process: it reads changes, folds them and writes the results, each batch in one transaction.

Its position in `changes` is stored in `offsets`, in the same transaction. The group's offset is only a copy of it, for
tools. All decisions about records are made in salmon.model.fold. Several instances can share the partitions.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from threading import Event
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from salmon.config.models import SyncConfig
from salmon.errors import (
    CacheDamaged,
    DataError,
    FatalError,
    PositionLost,
    RetriableError,
    SalmonError,
    StartAgain,
    Stopping,
    Unavailable,
)
from salmon.kafka import clients, tables
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.codecs.serdes import Conflicts, Signals
from salmon.kafka.extents import extents, lag
from salmon.kafka.offsets import OffsetStore
from salmon.merge.batch import Batch, reductions
from salmon.merge.folders import StateFolder
from salmon.merge.judging import Judging
from salmon.merge.reporting import report_batch
from salmon.merge.restoring import OpenCache, Restorer
from salmon.merge.rewinding import rewind
from salmon.merge.set_aside import CONNECTOR, Refused, SetAside
from salmon.merge.settings import codecs_of
from salmon.merge.starting import Start, start_of
from salmon.merge.store import Place, Stores
from salmon.model.schema import ObjectSchema
from salmon.model.sides import DESCRIBING
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from salmon.plugin.contract import Position, Signal, SignalKind
from salmon.runtime.error_limit import Tolerance
from salmon.runtime.membership import Seat
from salmon.runtime.retry import Retrying, Streak

log = structlog.get_logger(__name__)

# One batch is one transaction: large enough to spread its cost (10 to 20 ms on Apache Kafka), and far from its timeout.
BATCH_MAX: Final = 2_000
_POLL_S: Final = 0.5
_ASK_S: Final = 10.0
# States may have to be read from their topic when partitions are assigned, which is within a poll.
_POLL_MAX_MS: Final = 3_600_000
_QUEUE_KIB: Final = 16 * 1024  # fetched ahead: many batches, and a bound for memory


class MergeProcess:
    """
    One instance of merge. It runs in a thread of its own until it is asked to stop.

    Args:
        schemas: Object -> its schema, from the registry.
        ordinal: Number of this replica. Its transactional id and its group instance id depend on it.
        open_cache: Opens the working copy of a partition's states; None: one in the configured folder.
        opens: Opens all clients to Kafka; None: to the configured brokers.
        tolerance: What is tolerated of changes that fail, if it may change meanwhile; None: as configured.
    """

    name = CONNECTOR

    def __init__(
        self,
        config: SyncConfig,
        schemas: Mapping[str, ObjectSchema],
        registry: Registry,
        *,
        health: Health,
        metrics: Metrics,
        ordinal: int = 0,
        rng: random.Random | None = None,
        open_cache: OpenCache | None = None,
        opens: clients.Clients | None = None,
        tolerance: Tolerance | None = None,
    ) -> None:
        self._topics, self._roster = config.topic_names, config.roster
        opens = opens or clients.Clients(config.kafka_properties())
        self._health, self._metrics = health, metrics
        self._stop = Event()
        self._retrying = Retrying(self._stop, health, rng=rng or random.Random())
        self._reading, self._committing = Streak(self._retrying), Streak(self._retrying)
        self._conflicts = Conflicts(registry, self._topics.conflicts)
        self._signals = Signals(registry, self._topics.signals(DESCRIBING.source))
        self._codecs = {name: codecs_of(config, name, schema, registry) for name, schema in schemas.items()}
        self._objects = {self._topics.changes(name): name for name in schemas}
        self._places = OffsetStore(opens, self._topics, registry)
        tolerated = tolerance or config.errors.tolerated()
        self._set_aside = SetAside(self._topics, self._objects, self._places, tolerated, ordinal=ordinal)
        self._folder: StateFolder | None = None
        if open_cache is None:
            self._folder = StateFolder(config.merge.state_dir, config.name, ordinal)
            open_cache = self._folder.open_cache
        self._stores, self._judging = Stores(Restorer(opens, open_cache)), Judging(health)
        self._topic_ids: dict[str, str] = {}  # of the `changes` topics; empty if the broker gives none
        self._next: dict[Place, int] = {}  # where each partition goes on after the last commit
        # All that was committed is in the copies. Not so after a transaction of which we do not know what became.
        self._settled = True
        self._troubled: SalmonError | Stopping | None = None  # met in a rebalance, raised by the loop
        group, us = f"{config.name}-{CONNECTOR}", f"{config.name}-{CONNECTOR}-{ordinal}"
        self._admin = opens.admin(client_id=us)
        more = {"max_poll_interval_ms": _POLL_MAX_MS, "queued_max_messages_kbytes": _QUEUE_KIB}
        self._seat = Seat(opens, group, us, self._objects, more)
        self._producer = opens.producer(transactional_id=us, client_id=us, listener=self._retrying.listener)
        self._consumer = self._seat.consumer()

    # The process's view: run in a thread, stop and cut from any.

    def run(self) -> None:
        """Work until asked to stop. Raises FatalError if a person has to change something, StartAgain to restart the process."""
        try:
            self._retrying.until_it_works("starting transactions", self._producer.start)
            self._join()
            self._health.running()
            with self._seat.watched(self._health, self._metrics, self._retrying.rng) as membership:
                while not self._stop.is_set():
                    self._turn()
                    if membership.must_join_again() and not len(self._stores):
                        clients.close(self._consumer)
                        self._consumer = self._seat.consumer(again=True)
                        self._join()
        except Stopping:
            pass
        finally:
            clients.close(self._consumer)
            self._stores.close()
            if self._folder is not None:
                self._folder.close()

    def stop(self) -> None:
        """Finish the present batch, and end."""
        self._stop.set()

    def cut(self) -> None:
        """Abandon the present batch; it is folded again after the next start."""
        self._producer.close()

    def _join(self) -> None:
        self._consumer.subscribe(
            sorted(self._objects), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    def _turn(self) -> None:
        self._health.turned()
        self._health.holds(len(self._stores))
        try:
            messages = clients.read(self._consumer, BATCH_MAX, _POLL_S)
        except PositionLost as lost:
            self._reopen(lost)
            return
        except Unavailable as trouble:
            self._reading.failed("reading changes", trouble)
            return
        self._reading.worked()
        if self._troubled is not None:
            trouble_met, self._troubled = self._troubled, None
            raise trouble_met
        try:
            if messages:
                self._fold(messages)
            if self._settled and self._judging.is_under_way and len(messages) < BATCH_MAX:
                self._judge_again()
            if self._settled and self._stores.marks_are_due():
                self._mark(idle=not messages)
        except CacheDamaged as damaged:
            self._reopen(damaged)
        self._metrics.record_lag_max.set(lag(self._consumer, self._next))

    # One batch.

    def _fold(self, messages: Sequence[Message]) -> bool:
        """Fold messages and commit. Returns whether that was done; if not, they are read again."""
        batch = self._batch()
        refused: list[Refused] = []
        following: dict[Place, int] = {}
        folded = 0
        try:
            for message in messages:
                topic, partition, offset = clients.place_of(message)
                if offset < self._next.get((topic, partition), offset + 1):
                    continue  # of an earlier assignment, or taken away since it was fetched
                following[topic, partition] = offset + 1
                if (error := self._add(batch, message)) is not None:
                    refused.append(Refused(message, error))
                else:
                    folded += 1
            if not following:
                return True
            self._set_aside.check(folded, len(refused))
            self._commit(batch, refused, following)
        except Unavailable as trouble:
            return self._go_back(trouble)
        except DataError as error:
            return self._fold_one_by_one(messages, error)
        self._committing.worked()
        self._committed(batch, following)
        report_batch(self._metrics, batch, len(messages), len(refused))
        return True

    def _add(self, batch: Batch, message: Message, *, instead: bytes | None = None) -> Exception | None:
        """
        Fold one message, or the change *instead* in its place. Returns the error because of which it has to be set
        aside; None if it was folded. Raises Unavailable.
        """
        topic, partition, offset = clients.place_of(message)
        codecs, store = self._codecs[self._objects[topic]], self._stores[topic, partition]
        raw_key, value = message.key(), instead or message.value()
        try:
            if raw_key is None or value is None:
                raise DataError(
                    f"{topic}: a record without a key or a value is not a change. Find out who wrote it."
                )
            batch.add(
                codecs,
                store,
                key=raw_key.decode(),
                value=value,
                partition=partition,
                offset=offset,
                at=max(0, message.timestamp()[1]),
            )
        except (RetriableError, StartAgain, FatalError):
            raise  # the record is not the cause
        except Exception as error:  # noqa: BLE001 - one bad record must not stop the others
            log.warning(
                "change_set_aside",
                topic=topic,
                partition=partition,
                offset=offset,
                error=type(error).__name__,
            )
            return error
        return None

    def _fold_one_by_one(self, messages: Sequence[Message], error: DataError) -> bool:
        """Kafka refused a batch because of one record: commit the changes one by one, and set that record aside."""
        if len(messages) > 1:
            return all(self._fold([message]) for message in messages)
        try:
            if not self._fold_less(messages[0], error):
                self._give_up(messages[0], error)
        except Unavailable as trouble:
            return self._go_back(trouble)
        self._committing.worked()
        return True

    def _give_up(self, message: Message, error: DataError) -> None:
        topic, partition, offset = clients.place_of(message)
        log.error(
            "change_set_aside", topic=topic, partition=partition, offset=offset, error=type(error).__name__
        )
        following = {(topic, partition): offset + 1}
        self._set_aside.check(0, 1)
        self._commit(self._batch(), [Refused(message, error, without_value=True)], following)
        self._committed(self._batch(), following)

    def _fold_less(self, message: Message, error: DataError) -> bool:
        """
        Fold a change without the values that make it too large or that the brokers refuse; the state then names them.
        Returns whether that was done.
        """
        topic, partition, offset = clients.place_of(message)
        codecs, following = self._codecs[self._objects[topic]], {(topic, partition): offset + 1}
        for less in reductions(codecs, message.value() or b"", error):
            batch, encoded = self._batch(), codecs.changes.encode(less)
            if self._add(batch, message, instead=encoded) is not None:
                return False
            aside = [Refused(message, error, instead=encoded)]
            try:
                self._commit(batch, aside, following)
            except DataError:
                continue  # still too much
            log.warning(
                "change_folded_in_part",
                topic=topic,
                partition=partition,
                offset=offset,
                fields=sorted(less.misfits),
                error=type(error).__name__,
            )
            self._committed(batch, following)
            report_batch(self._metrics, batch, 1, 1)
            return True
        return False

    def _mark(self, *, idle: bool) -> None:
        """Mark the copies, so that the next start reads only what comes later."""
        try:
            self._stores.note_ends()
            if idle:  # no batch will tell whether the partitions are still ours
                self._commit(self._batch(), (), self._next)
                self._committed(self._batch(), {})
        except Unavailable as trouble:
            log.info("caches_not_marked", reason=str(trouble))  # they are good up to their older marks

    def _judge_again(self) -> None:
        batch = self._batch()
        try:
            with self._judging.step(batch) as place:
                self._commit(batch, (), {place: self._next[place]})
                self._committed(batch, {})
        except Unavailable as trouble:
            self._settled = not self._go_back(trouble)  # no states were in it

    def _commit(
        self,
        batch: Batch,
        refused: Sequence[Refused],
        following: Mapping[Place, int],
    ) -> None:
        self._settled = False
        committing = self._metrics.committing(dead_letters=len(refused))
        with committing, self._producer.transaction() as transaction:
            for output in (*batch.outputs, *batch.requests(), *batch.states.values()):
                transaction.produce(output.topic, output.key, output.value, partition=output.partition)
            for output in self._set_aside.outputs(refused):
                transaction.produce(output.topic, output.key, output.value, headers=output.headers)
            for place, offset in following.items():
                transaction.produce(self._topics.offsets, *self._record_of(place, offset))
            offsets = [TopicPartition(*place, offset) for place, offset in following.items()]
            transaction.send_offsets(offsets, self._consumer.consumer_group_metadata())

    def _record_of(self, place: Place, offset: int) -> tuple[str, bytes | None]:
        """The record in `offsets` that says where a partition continues."""
        topic, partition = place
        position = {"offset": offset, "topic_id": self._topic_ids[topic], **self._judging.position(place)}
        return self._places.record(CONNECTOR, f"{topic}/{partition}", position)

    def _committed(self, batch: Batch, following: Mapping[Place, int]) -> None:
        self._set_aside.committed()
        self._next.update(following)
        self._stores.committed(
            {
                (self._topics.changes(name), partition): (
                    states,
                    {key: batch.states[name, key].value for key in states},
                )
                for (name, partition), states in batch.drafts.items()
            }
        )
        self._settled = True

    def _batch(self) -> Batch:
        return Batch(self._topics, self._conflicts, self._signals)

    def _go_back(self, trouble: Unavailable) -> bool:
        """Continue at the last commit, after the next poll has shown whether the partitions are still ours."""
        rewind(self._consumer, self._next)
        self._committing.failed("committing a batch", trouble)
        return False

    # Partitions come and go.

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Called from within a poll, so the loop raises its errors."""
        self._health.holds(len(self._stores) + len(partitions))  # to load them may take minutes
        try:
            with self._metrics.taking_over():
                placed = self._retrying.until_it_works("loading states", lambda: self._load(partitions))
        except (SalmonError, Stopping) as trouble:
            self._troubled = trouble
            return
        consumer.incremental_assign(placed)
        self._metrics.partition_count.set(len(self._stores))

    def _load(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Bring the states of *partitions* up to date, and find the offset at which each continues."""
        positions = self._settled_positions(partitions)
        starts: dict[Place, Start] = {}
        for topic in sorted({each.topic for each in partitions}):
            starts |= self._open(topic, [p.partition for p in partitions if p.topic == topic], positions)
        if holes := {place: s.lost_after for place, s in starts.items() if s.lost_after is not None}:
            self._ask_for_rows(holes)
        return [TopicPartition(*place, start.offset) for place, start in starts.items()]

    def _settled_positions(self, partitions: Sequence[TopicPartition]) -> Mapping[str, Position]:
        """Wait until no transaction of a former owner is open, and return the stored positions."""
        try:
            self._consumer.committed(list(partitions), timeout=_ASK_S)  # answered after offsets are settled
        except KafkaException as error:
            raise clients.translated(error, "asking for merge's offsets") from error
        positions = self._places.load(CONNECTOR, lambda *_: self._go_on())
        self._set_aside.restore(positions)
        return positions

    def _open(
        self, topic: str, numbers: Sequence[int], positions: Mapping[str, Position]
    ) -> dict[Place, Start]:
        """Open the states of some partitions of one topic, and return where each continues."""
        codecs, starts = self._codecs[self._objects[topic]], dict[Place, Start]()
        found = extents(self._admin, topic, numbers)
        topic_id = self._topic_ids[topic] = tables.describe(self._admin, topic).topic_id
        opened = self._stores.open(topic, numbers, codecs.states, codecs.rules, self._go_on)
        for (_, number), store in opened.items():
            start = start_of(positions.get(f"{topic}/{number}", {}), found[number], topic_id)
            starts[topic, number], self._next[topic, number] = start, start.offset
            self._judging.opened((topic, number), store, codecs, positions.get(f"{topic}/{number}", {}))
            keys = len(store.cache)
            log.info("partition_taken", topic=topic, partition=number, keys_about=keys, offset=start.offset)
        return starts

    def _go_on(self) -> None:
        """Called now and then while states are read."""
        self._health.turned()
        if self._stop.is_set():
            raise Stopping

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = [(each.topic, each.partition) for each in partitions]
        self._stores.close(places)
        for place in places:
            self._next.pop(place, None)
            self._judging.closed(place)
        if not len(self._stores):
            self._committing.worked()  # another instance has what could not be committed
        self._metrics.partition_count.set(len(self._stores))

    # Holes: changes that were lost before merge read them.

    def _reopen(self, reason: SalmonError) -> None:
        """Take all partitions again, because an offset is no longer in its topic, or a copy is damaged."""
        log.error("partitions_reopened", error=type(reason).__name__, reason=str(reason))
        held = [TopicPartition(*place) for place in self._next]
        placed = self._retrying.until_it_works("loading states", lambda: self._load(held))
        clients.continue_at(self._consumer, placed)

    def _ask_for_rows(self, holes: Mapping[Place, int]) -> None:
        """
        Ask all sources to read these objects again. What was lost comes back as rows, and deletions as absent records.

        The new places are committed with the signals, so that a restart does not ask once more.
        """
        for (topic, partition), offset in holes.items():
            log.error("changes_lost", topic=topic, partition=partition, offset=offset)
        with self._producer.transaction() as transaction:
            for name in sorted({self._objects[topic] for topic, _ in holes}):
                signal = Signal(0, SignalKind.SNAPSHOT, name, reason="merge lost its place in changes")
                value = self._signals.encode(signal)
                for side in self._roster.of(name):
                    transaction.produce(self._topics.signals(side.source), name, value, partition=0)
            for place in holes:
                transaction.produce(self._topics.offsets, *self._record_of(place, self._next[place]))
