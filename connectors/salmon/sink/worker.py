"""
The worker of a sink: writes from Kafka to the task, outcomes and offsets back to Kafka.

One thread, the loop, reads into the buffer, tells outcomes and commits; the putters do the writing. Offsets are
committed up to the first record that is not finished; so a crash repeats writes and loses none.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from threading import Event
from typing import Any, Final

import structlog
from confluent_kafka import Message

from salmon.config.models import DeleteGuardConfig
from salmon.errors import DataError, Unavailable
from salmon.kafka import clients
from salmon.kafka.codecs.serdes import Changes, Signals, Writes
from salmon.kafka.foreign import FOREIGN, key_text
from salmon.kafka.offsets import OffsetStore
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import CatchesUp, Closes, Doubts, LooksUp, Position, SinkTask
from salmon.runtime.every import Every
from salmon.runtime.instance import FailuresTold, Instance
from salmon.runtime.retry import Retrying, Stopping
from salmon.sink.buffer import SinkBuffer
from salmon.sink.guard_watch import GuardWatch
from salmon.sink.identity_tables import IdentityTables
from salmon.sink.partitions import SinkPartitions
from salmon.sink.putters import Putters
from salmon.sink.reporting import Telling
from salmon.sink.reports import SinkReports

log = structlog.get_logger(__name__)

READ_MAX: Final = 1_000
# A record that arrives ends the wait; what putters leave for the loop, or a parent's Id, waits so long at most.
POLL_S: Final = 0.05
IDLE_POLL_S: Final = 0.25  # when nobody can leave anything
COMMIT_EVERY_S: Final = 1.0
MEASURE_EVERY_S: Final = 2.0
FIRST_CONTACT_MAX_S: Final = 30.0  # a server that was never reached is a mistake in the config, not an outage
JOIN_MAX_S: Final = 2.0


class SinkWorker:
    """
    One instance of a sink connector; a part (see lifecycle).

    Args:
        schemas: Object -> schema, of all synced objects.
        written: Those that are written to this side.
        guards: Object -> how many deletes are believed; for those that are not named, the defaults.
        graces: Object -> how long a deletion waits for a re-creation, in seconds; for those not named, not at all.
    """

    def __init__(
        self,
        instance: Instance,
        task: SinkTask,
        schemas: Mapping[str, ObjectSchema],
        written: Collection[str],
        *,
        guards: Mapping[str, DeleteGuardConfig] | None = None,
        graces: Mapping[str, float] | None = None,
        buffer: SinkBuffer | None = None,
        first_contact_max_s: float = FIRST_CONTACT_MAX_S,
    ) -> None:
        topics, registry = instance.topics, instance.registry
        self.name = instance.connector
        self.buffer = buffer or SinkBuffer()
        self._instance, self._task, self._schemas = instance, task, schemas
        self._health, self._metrics = instance.health, instance.metrics
        self._first_contact_max_s = first_contact_max_s
        self._stop, self._cut = Event(), Event()
        observer = FailuresTold(instance)
        self._retrying = Retrying(self._stop, observer, rng=instance.rng)
        self._objects = {topics.writes(instance.side, name): name for name in written}
        self._codecs = {
            topic: Writes(schemas[name], registry, topic) for topic, name in self._objects.items()
        }
        entries = OffsetStore(instance.clients, topics, registry)
        telling = Telling(
            connector=instance.connector,
            side=instance.side,
            topics=topics,
            changes={name: Changes(schemas[name], registry, topics.changes(name)) for name in written},
            signals=Signals(registry, topics.signals(f"{instance.side}-source")),
            entries=entries,
            task_class=f"{type(task).__module__}.{type(task).__qualname__}",
        )
        self._reports = SinkReports(
            instance, self.buffer, telling, entries, group=self._group, observer=observer
        )
        limits = {name: (guards or {}).get(name, DeleteGuardConfig()) for name in written}
        self._guard = GuardWatch(instance, limits, self.buffer, entries)
        self._putters = Putters(
            task,
            self.buffer,
            self._codecs,
            self._reports.waits,
            self._guard.guard,
            metrics=self._metrics,
            observer=observer,
            direction=f"to_{instance.side}",
            rng=instance.rng,
            graces=graces,
        )
        if isinstance(task, LooksUp):
            task.look_up(self._putters.owed)
        self._trusted = False  # whoever had our partitions before us left nothing in doubt
        self._took_before = False
        # Not everything is put yet that was owed when we started, or last took partitions.
        self._behind = True
        self._commit_time, self._measure_time = Every(COMMIT_EVERY_S), Every(MEASURE_EVERY_S)
        self._identities: IdentityTables | None = None
        self._partitions: SinkPartitions | None = None

    # The part's view.

    def run(self) -> None:
        """Work until told to stop. Raises FatalError for what only a person can mend, StartAgain for what is of no use."""
        try:
            self._begin()
            self._loop()
            self._drain()
        except Stopping:
            pass  # Nothing had begun.
        finally:
            self._close()

    def stop(self) -> None:
        """Begin nothing new, finish what flies, and end."""
        self._stop.set()
        self.buffer.stop()

    def cut(self) -> None:
        """Give up what flies; it is put again after the next start."""
        self._cut.set()
        self._task.stop()
        self._reports.close()

    # Starting: fence the older instance, note that we may leave in disorder, learn what waits, connect.

    def _begin(self) -> None:
        patiently = self._retrying.until_it_works
        patiently("starting transactions", self._reports.start)
        entries = patiently("loading entries", self._reports.load)
        clean = self._trusted = self._reports.was_clean(entries)
        patiently("noting the start", lambda: self._reports.note_clean(False))
        patiently("hearing approvals", self._guard.start)
        identities = self._identities = patiently("loading identities", self._load_identities)
        self._health.starting(f"connecting to {self._instance.side}")
        self._retrying.first_contact(
            "starting the task",
            lambda: self._task.start(self._schemas, identities, clean=clean),
            max_s=math.inf if self._reports.side_was_reached else self._first_contact_max_s,
        )
        if not self._reports.side_was_reached:
            patiently("noting that the side was reached", self._reports.note_reached)
        self._partitions = SinkPartitions(
            self._instance,
            self.buffer,
            self._objects,
            retrying=self._retrying,
            stop=self._stop,
            taken=self._take_waits,
            tell=self._tell_all,
            is_command=lambda message: self._fault(message) is None,
        )
        self._putters.start()
        self._health.running()
        self._metrics.leads.set(1)
        log.info("sink_worker_started", objects=sorted(self._objects.values()), clean=clean)

    def _load_identities(self) -> IdentityTables:
        instance = self._instance
        tables = IdentityTables(instance.clients, instance.topics, instance.registry, self._schemas)
        try:
            tables.load()
        except BaseException:
            tables.close()
            raise
        return tables

    def _take_waits(self) -> None:
        owned = [(self._objects[topic], number) for topic, number in self.buffer.places]
        entries = self._reports.load()
        self._reports.take_waits(entries, owned)
        self._guard.take(entries, owned)
        self._doubt_if_taken_over(entries)

    def _doubt_if_taken_over(self, entries: Mapping[str, Position]) -> None:
        """
        Whether the last owner of what we take at our start left in order, the start has found out, unless others have
        started since. Of partitions that come later nobody knows that: another replica may have died, or its last put
        outlived the handing over. Of those that we take anew ourselves, what was put behind a held back delete is put
        again.
        """
        if self._took_before or not self._reports.others_were_clean(entries):
            self._trusted, self._behind = False, True
            if isinstance(self._task, Doubts):
                self._task.doubt()
        self._took_before = True

    # The loop.

    def _loop(self) -> None:
        assert self._partitions is not None
        tries = 0
        while not self._stop.is_set():
            self._health.turned()
            try:
                self._turn(self._partitions)
                if tries:
                    self._health.recovered()
                tries = 0
            except Unavailable as trouble:
                # Whether our partitions are still ours is known after the next read.
                tries += 1
                try:
                    self._retrying.wait("working with Kafka", trouble, tries)
                except Stopping:
                    return
            except Stopping:
                return

    def _turn(self, partitions: SinkPartitions) -> None:
        if self._objects:
            self._health.holds(len(self.buffer.places))
        self._keep_lease(partitions)
        idle = self.buffer.idle and not self._reports.waits
        for message in partitions.read(READ_MAX, IDLE_POLL_S if idle else POLL_S):
            self._add(message)
        if self._putters.failure is not None:
            raise self._putters.failure
        self._tell()
        assert self._identities is not None
        self._reports.answer_waits(self._identities)
        self._reports.send_again_refused()
        self._guard.turn(settled=partitions.caught_up and self.buffer.idle)
        if self._commit_time.due():
            self._keep_counts()
            partitions.commit(self.buffer.positions())
        partitions.hold_up_or_go_on()
        if self._measure_time.due():
            self._metrics.records_active.set(self.buffer.count)
            self._metrics.record_lag_max.set(partitions.lag())
        if self._behind and partitions.caught_up and self.buffer.idle:
            self._behind = False
            if isinstance(self._task, CatchesUp):
                self._task.caught_up()
            log.info("sink_caught_up")

    def _keep_lease(self, partitions: SinkPartitions) -> None:
        """
        Let the putters go on. After a pause of the whole process (a suspended machine, SIGSTOP) somebody else may
        have our partitions: Kafka must first take a commit from us.
        """
        if self.buffer.lease_expired and self.buffer.places:
            log.info("loop_was_held_up")
            self._keep_counts()
            if not partitions.commit(self.buffer.positions(moved_only=False)):
                return
        self.buffer.renew()

    def _add(self, message: Message) -> None:
        topic, number, offset = clients.place_of(message)
        fault = self._retrying.until_it_works("looking at a record", lambda: self._fault(message))
        if fault is not None:
            error, stage = fault
            FOREIGN.pass_over(topic, number, offset, message.key(), str(error))
            self._retrying.until_it_works(
                "setting a record aside", lambda: self._reports.set_aside(message, error, stage)
            )
            self.buffer.pass_over((topic, number), offset)
            return
        record = (self._objects[topic], (message.key() or b"").decode())
        self.buffer.add((topic, number), offset, record, message.value(), message)
        self._look_for_what_it_kept(message, record)

    def _fault(self, message: Message) -> tuple[DataError, str] | None:
        """
        Why a record is foreign, and Kafka Connect's name of the stage that finds it out; None for a command, and for
        what takes one back. It must not take the place of the key's command, so this is asked before anything is coalesced.

        Raises:
            Unavailable: the registry cannot be asked now.
        """
        topic, key, value = message.topic() or "", message.key(), message.value()
        stage = "KEY_CONVERTER"
        try:
            if key is None:
                raise DataError(f"{topic}: a record without a key is not a write. Find out who wrote it.")
            key_text(topic, key)
            stage = "VALUE_CONVERTER"
            if value is not None:
                self._codecs[topic].check_writer(value)
        except DataError as error:
            return error, stage
        return None

    def _look_for_what_it_kept(self, message: Message, record: tuple[str, str]) -> None:
        """A write to a record that kept others' values away may give them up: it is looked into for that."""
        if self._reports.keeps_away(record):
            # Not asked of the buffer: it may have been carried out by now.
            write = self._putters.decoded(message.topic() or "", message.value())
            if write is not None:
                self._reports.heard_of(record, write)

    def _tell(self) -> None:
        self._reports.take(self._putters.landed())
        if self._reports.has_news:
            self._keep_counts()

    def _tell_all(self) -> None:
        self._reports.take(self._putters.landed())
        self._keep_counts()

    def _keep_counts(self) -> None:
        """What the guard has counted is kept before any offset is committed, and with what there is to tell."""
        besides = self._guard.outputs()
        try:
            self._reports.tell([*besides.values()])
        except BaseException:
            self._guard.guard.keep(besides)
            raise

    def _group(self) -> Any:
        assert self._partitions is not None
        return self._partitions.consumer.consumer_group_metadata()

    # Stopping.

    def _drain(self) -> None:
        """Let land what flies, tell and commit, and note whether anything is left in doubt."""
        assert self._partitions is not None
        while not self.buffer.wait_landed(POLL_S) and not self._cut.is_set():
            self._health.turned()
            try:
                self._tell()
            except Unavailable as trouble:
                log.warning("drain_waits_for_kafka", reason=str(trouble))
                self._cut.wait(POLL_S)
        if self._putters.failure is not None:
            raise self._putters.failure
        landed = self.buffer.wait_landed(0)
        committed = False
        try:
            self._tell_all()
            committed = self._partitions.commit(self.buffer.positions())
        except Unavailable as trouble:
            log.warning("drain_waits_for_kafka", reason=str(trouble))
        # What an instance before us may have carried out is in doubt until all that it may have been is looked at.
        sure = self._trusted or not self._behind
        # What was carried out behind a write that was not (a delete that is held back, one that waits for its next try)
        # is read again: it must be looked at then.
        gaps = self.buffer.leaves_gaps()
        if landed and committed and sure and not gaps and not self._putters.in_doubt:
            self._reports.note_clean(True)
            log.info("sink_drained")
        else:
            log.warning(
                "sink_not_drained",
                landed=landed,
                committed=committed,
                caught_up=sure,
                gaps=gaps,
                in_doubt=len(self._putters.in_doubt),
            )

    def _close(self) -> None:
        self._stop.set()
        self.buffer.stop()
        self._task.stop()
        self._putters.join(JOIN_MAX_S)
        if self._partitions is not None:
            self._partitions.close()
        if self._identities is not None:
            self._identities.close()
        self._guard.close()
        self._reports.close()
        if isinstance(self._task, Closes):
            self._task.close()
        self._metrics.leads.set(0)
