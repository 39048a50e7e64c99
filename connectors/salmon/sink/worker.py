"""
The worker of a sink: it takes writes from Kafka to the task, and outcomes and offsets back to Kafka.

One thread, the loop, reads into the buffer, reports outcomes and commits; the putters give the writes to the task. Offsets
are committed up to the first unfinished record. So a crash repeats writes, but loses none.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Collection, Mapping
from threading import Event
from typing import Any, Final

import structlog
from confluent_kafka import Message

from salmon.config.sections.deletions import DeleteGuardConfig
from salmon.errors import Stopping, Unavailable
from salmon.kafka import clients
from salmon.kafka.codecs.serdes import Changes, Signals, Writes
from salmon.kafka.foreign import FOREIGN
from salmon.kafka.offsets import OffsetStore
from salmon.model import sides
from salmon.model.change import Write
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import CatchesUp, Closes, Doubts, LooksUp, Position, ReportsWaiting, SinkTask
from salmon.runtime.error_limit import ErrorLimit
from salmon.runtime.every import Every
from salmon.runtime.fellows import Fellows
from salmon.runtime.instance import FailureReporter, Instance
from salmon.runtime.retry import Retrying
from salmon.sink.buffer import SinkBuffer
from salmon.sink.foreign_writes import fault_of
from salmon.sink.guard.guard_watch import GuardWatch
from salmon.sink.identity_tables import IdentityTables
from salmon.sink.partitions import SURE_COMMIT_MAX_S, SinkPartitions
from salmon.sink.putters import Putters
from salmon.sink.reporting import OutcomeEncoder
from salmon.sink.reports import SinkReports
from salmon.sink.waiting.holders import HolderWatch
from salmon.sink.waiting.unanswered import Unanswered
from salmon.sink.waiting.unread import UnreadWrites

log = structlog.get_logger(__name__)

READ_MAX: Final = 1_000
# A record that arrives ends the wait. An outcome from a putter, or a parent's Id, waits at most this long.
POLL_S: Final = 0.05
IDLE_POLL_S: Final = 0.25  # when the putters have nothing to do
COMMIT_EVERY_S: Final = 1.0
MEASURE_EVERY_S: Final = 2.0
HOLDERS_EVERY_S: Final = 1.0
FIRST_CONTACT_MAX_S: Final = 30.0  # a server that was never reached is a mistake in the config, not an outage
JOIN_MAX_S: Final = 2.0


class SinkWorker:
    """
    One instance of a sink connector; a part (see lifecycle).

    Args:
        schemas: Object -> schema, of all synced objects.
        written: The objects that are written to this side.
        unread: Those of them that are not read there.
        guards: Object -> the limits for its deletes; other objects have the defaults.
        graces: Object -> seconds that a deletion waits for the record to be created again; other objects do not wait.
        first_contact_max_s: How long a server may be away that was never reached before.
    """

    def __init__(
        self,
        instance: Instance,
        task: SinkTask,
        schemas: Mapping[str, ObjectSchema],
        written: Collection[str],
        *,
        unread: Collection[str] = (),
        guards: dict[str, DeleteGuardConfig] | None = None,
        graces: Mapping[str, float] | None = None,
        buffer: SinkBuffer | None = None,
        first_contact_max_s: float = FIRST_CONTACT_MAX_S,
    ) -> None:
        topics, registry, side = instance.topics, instance.registry, sides.named(instance.side)
        self.name = instance.connector
        self.buffer = buffer or SinkBuffer()
        self._instance, self._task, self._schemas = instance, task, schemas
        self._health, self._metrics = instance.health, instance.metrics
        self._first_contact_max_s = first_contact_max_s
        self._stop, self._cut = Event(), Event()
        listener = FailureReporter(instance)
        self._retrying = Retrying(self._stop, listener, rng=instance.rng)
        self._objects = {topics.writes(instance.side, name): name for name in written}
        self._codecs = {
            topic: Writes(schemas[name], registry, topic) for topic, name in self._objects.items()
        }
        entries = OffsetStore(instance.clients, topics, registry)
        outcomes = OutcomeEncoder(
            connector=instance.connector,
            side=instance.side,
            topics=topics,
            changes={name: Changes(schemas[name], registry, topics.changes(name)) for name in written},
            signals=Signals(registry, topics.signals(side.source)),
            entries=entries,
            task_class=f"{type(task).__module__}.{type(task).__qualname__}",
            seen=self._seen,
        )
        limit = ErrorLimit(instance.tolerance)
        self._fellows = Fellows.of(instance, entries, task, ordinal=str(instance.ordinal))
        self._reports = SinkReports(
            instance, self.buffer, outcomes, entries, group=self._group, listener=listener, limit=limit
        )
        # The limits may change meanwhile, and with them the mapping.
        limits = ChainMap({} if guards is None else guards, {name: DeleteGuardConfig() for name in written})
        self._guard = GuardWatch(instance, limits, self.buffer, entries)
        self._unanswered = Unanswered(self._objects, self._metrics, unread=unread)
        self._putters = Putters(
            task,
            self.buffer,
            self._codecs,
            self._reports.waits,
            self._guard.guard,
            metrics=self._metrics,
            listener=listener,
            direction=side.direction,
            rng=instance.rng,
            graces=graces,
            limit=limit,
            unanswered=self._unanswered,
        )
        self._unread = UnreadWrites(instance, self.buffer.next_offsets, self._putters.decoded, self._is_ours)
        self._holders = HolderWatch(instance, self._unread.place_of)
        if isinstance(task, LooksUp):
            task.look_up(self._owed)
        self._trusted = False  # whether the former owners of our partitions left no write in doubt
        self._took_before = False
        # Whether writes are left that were waiting when we started or last took partitions.
        self._behind = True
        self._commit_time, self._measure_time = Every(COMMIT_EVERY_S), Every(MEASURE_EVERY_S)
        self._holders_time = Every(HOLDERS_EVERY_S)
        self._identities: IdentityTables | None = None
        self._partitions: SinkPartitions | None = None

    # The part's view.

    def run(self) -> None:
        """
        Work until asked to stop.

        Raises:
            FatalError: a person has to change something.
            StartAgain: the process has to restart, e.g. because an object has a newer schema.
        """
        try:
            self._begin()
            self._loop()
            self._drain()
        except Stopping:
            pass  # Nothing was written yet.
        finally:
            self._close()

    def stop(self) -> None:
        """Start no more writes, finish those in flight, and end."""
        self._stop.set()
        self.buffer.stop()

    def cut(self) -> None:
        """Abandon the writes in flight; they are repeated after the next start."""
        self._cut.set()
        self._task.stop()
        self._reports.close()

    # Starting: fence the older instance, note that we are running (not stopped cleanly), read what waits, connect.

    def _begin(self) -> None:
        patiently = self._retrying.until_it_works
        patiently("starting transactions", self._reports.start)
        entries = patiently("loading entries", self._reports.load)
        clean = self._trusted = self._reports.was_clean(entries)
        patiently("noting the start", lambda: self._reports.note_clean(False))
        patiently("reading approvals", self._guard.start)
        identities = self._identities = patiently(
            "loading identities", lambda: IdentityTables.loaded(self._instance, self._schemas)
        )
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
            report=self._report_all,
            is_command=self._is_ours,
        )
        self._putters.start()
        self._fellows.begin()
        self._health.running()
        self._metrics.leads.set(1)
        log.info("sink_worker_started", objects=sorted(self._objects.values()), clean=clean)

    def _owed(self, name: str, key: str) -> Write | None:
        """Return the newest unfinished write to a record, whichever instance has its partition. From any thread."""
        return self._putters.owed(name, key) or self._unread.owed(name, key)

    def _seen(self, holder: tuple[str, str]) -> int | None:
        return self._unread.quiet_since(holder)

    def _take_waits(self) -> None:
        owned = [(self._objects[topic], number) for topic, number in self.buffer.places]
        entries = self._reports.load()
        self._reports.take_waits(entries, owned)
        self._guard.take(entries, owned)
        self._doubt_if_taken_over(entries)

    def _doubt_if_taken_over(self, entries: Mapping[str, Position]) -> None:
        """
        Doubt the writes in newly taken partitions, unless this is our start and the other instances have stopped cleanly.

        Partitions that come later are always doubted: their former owner may have crashed, or its last put may still have
        run after the handover. If we take our own partitions again, writes behind a held back delete are repeated.
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
                # The next read shows whether our partitions are still ours.
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
        trouble = self._keep_lease(partitions)
        idle = self.buffer.idle and not self._reports.waits
        for message in partitions.read(READ_MAX, IDLE_POLL_S if idle else POLL_S):
            self._add(message)
        if trouble is not None:
            raise trouble
        if self._putters.failure is not None:
            raise self._putters.failure
        self._report()
        assert self._identities is not None
        self._reports.answer_waits(self._identities)
        self._follow_holders()
        self._reports.send_again_refused()
        self._guard.turn(settled=partitions.caught_up and self.buffer.idle)
        if self._commit_time.due():
            self._keep_counts()
            partitions.commit(self.buffer.positions())
        partitions.hold_up_or_go_on()
        if self._measure_time.due():
            self._metrics.records_active.set(self.buffer.count)
            self._metrics.record_lag_max.set(partitions.lag())
            self._putters.show_parked(self._health)
            self._unanswered.keep(self.buffer.places)
            if isinstance(self._task, ReportsWaiting):
                self._health.objects_wait(self._task.waiting())
        if self._behind and partitions.caught_up and self.buffer.idle:
            self._behind = False
            if isinstance(self._task, CatchesUp):
                self._task.caught_up()
            log.info("sink_caught_up")

    def _keep_lease(self, partitions: SinkPartitions) -> Unavailable | None:
        """
        Let the putters continue. After a pause of the whole process (a suspended machine, SIGSTOP) another instance may
        have our partitions, so Kafka must first accept a commit from us. The lease begins before that: a pause in the
        middle of this function leaves it expired.

        Returns why Kafka cannot be asked. It is to be raised after the next read: only a read takes us back into the group, if
        Kafka has counted us out.
        """
        since = self.buffer.now()
        if self.buffer.lease_expired and self.buffer.places:
            log.info("loop_was_held_up")
            try:
                self._keep_counts()
                positions = self.buffer.positions(moved_only=False)
                if not partitions.commit(positions, within_s=SURE_COMMIT_MAX_S):
                    return None
            except Unavailable as trouble:
                return trouble
        self.buffer.renew(since)
        return None

    def _add(self, message: Message) -> None:
        topic, number, offset = clients.place_of(message)
        fault = self._retrying.until_it_works("looking at a record", lambda: fault_of(message, self._codecs))
        if fault is not None:
            error, stage = fault
            FOREIGN.pass_over(topic, number, offset, message.key(), str(error))
            self._retrying.until_it_works(
                "setting a record aside", lambda: self._reports.set_aside(message, error, stage)
            )
            self.buffer.pass_over((topic, number), offset)
            return
        record = (self._objects[topic], (message.key() or b"").decode())
        self._unanswered.read((topic, number), record, message)
        self.buffer.add((topic, number), offset, record, message.value(), message)
        self._look_for_what_it_kept(message, record)

    def _is_ours(self, message: Message) -> bool:
        return fault_of(message, self._codecs) is None

    def _look_for_what_it_kept(self, message: Message, record: tuple[str, str]) -> None:
        """If other records wait for a unique value of this one, let the reports check whether this write changes it."""
        if self._reports.keeps_away(record):
            # The buffer is not asked, because the write may have been carried out by now.
            self._note_write(record, message.topic() or "", message.value())

    def _follow_holders(self) -> None:
        """The same, for records whose writes are other instances', or were while we did not run."""
        if self._holders_time.due():
            for holder, topic, value in self._holders.turn(self._reports.waits.refusals):
                self._note_write(holder, topic, value)

    def _note_write(self, record: tuple[str, str], topic: str, value: bytes | None) -> None:
        if (write := self._putters.decoded(topic, value)) is not None:
            self._reports.note_write(record, write)
            self._unread.forget(record)

    def _report(self) -> None:
        self._reports.take(self._putters.landed())
        if self._reports.has_news:
            self._keep_counts()

    def _report_all(self) -> None:
        self._reports.take(self._putters.landed())
        self._keep_counts()

    def _keep_counts(self) -> None:
        """Write the guard's counts together with the outcomes, so that they are stored before any offset is committed."""
        counts = self._guard.outputs()
        try:
            self._reports.report([*counts.values(), *self._fellows.outputs()])
        except BaseException:
            self._guard.guard.keep(counts)
            raise

    def _group(self) -> Any:
        assert self._partitions is not None
        return self._partitions.consumer.consumer_group_metadata()

    # Stopping.

    def _drain(self) -> None:
        """Wait for the writes in flight, report and commit, and note whether any write is left in doubt."""
        assert self._partitions is not None
        while not self.buffer.wait_landed(POLL_S) and not self._cut.is_set():
            self._health.turned()
            if not self.buffer.lease_expired:
                self.buffer.renew(self.buffer.now())  # what is in flight may be many calls (see Leave)
            try:
                self._report()
            except Unavailable as trouble:
                log.warning("drain_waits_for_kafka", reason=str(trouble))
                self._cut.wait(POLL_S)
        if self._putters.failure is not None:
            raise self._putters.failure
        landed = self.buffer.wait_landed(0)
        committed = False
        try:
            self._report_all()
            committed = self._partitions.commit(self.buffer.positions(), within_s=SURE_COMMIT_MAX_S)
        except Unavailable as trouble:
            log.warning("drain_waits_for_kafka", reason=str(trouble))
        # Writes that a former instance may have carried out are in doubt until all of them have been checked.
        sure = self._trusted or not self._behind
        # Writes that were carried out after an unfinished one (a held back delete, a write that waits for its next
        # attempt) are read again, and must be checked then.
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
        self._unread.close()
        self._holders.close()
        if self._partitions is not None:
            self._partitions.close()
        if self._identities is not None:
            self._identities.close()
        self._guard.close()
        self._fellows.close()
        self._reports.close()
        if isinstance(self._task, Closes):
            self._task.close()
        self._metrics.leads.set(0)
