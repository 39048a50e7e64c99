"""
The partitions of a sink, and its consumer: takes partitions, reads, pauses, commits and hands partitions over.

An instance that takes a partition first finds out what is left to write in it (sink.takeover). An instance that hands
one over first finishes the commands in flight and reports their outcomes. Only the sink's loop uses it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from threading import Event
from typing import Any, Final, cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from salmon.errors import PositionLost, RetriableError, SalmonError, Stopping, Unavailable
from salmon.kafka import clients
from salmon.kafka.clients import translated
from salmon.kafka.commits import OffsetCommit
from salmon.kafka.extents import lag
from salmon.runtime.every import Every
from salmon.runtime.instance import Instance
from salmon.runtime.retry import Retrying
from salmon.sink.buffer import SinkBuffer
from salmon.sink.commands import Place
from salmon.sink.takeover import Owed, scan

log = structlog.get_logger(__name__)

HELD_MAX: Final = 20_000  # commands of one topic that wait for a person: about 30 MB
LOOK_AGAIN_S: Final = 60.0  # how often we check the records that are not read because of HELD_MAX
HAND_OVER_MAX_S: Final = 10.0  # how long the commands in flight of a partition that is taken away may take
# How long the loop waits for a commit: less than a lease, so that writing goes on while the group's coordinator is away.
COMMIT_MAX_S: Final = 1.0
SURE_COMMIT_MAX_S: Final = 5.0  # where nothing can be done before it is known
_EARLY_MAX: Final = 1_000
_POLL_S: Final = 0.01  # librdkafka waits so long even if the answer comes sooner
_ASK_S: Final = 10.0
# Partitions are scanned when they are assigned, within a poll. With millions of writes that takes minutes.
_POLL_MAX_MS: Final = 3_600_000


class SinkPartitions:
    """
    Args:
        topics: The topics to read.
        taken: Called after partitions were taken; may raise Unavailable.
        report: Reports the outcomes of finished commands; called before partitions are handed over.
        is_command: See sink.takeover.scan.
    """

    def __init__(
        self,
        instance: Instance,
        buffer: SinkBuffer,
        topics: Collection[str],
        *,
        retrying: Retrying,
        stop: Event,
        taken: Callable[[], None],
        report: Callable[[], None],
        is_command: Callable[[Message], bool],
    ) -> None:
        self._is_command = is_command
        self._instance, self._metrics = instance, instance.metrics
        self._buffer, self._retrying, self._stop = buffer, retrying, stop
        self._on_taken, self._report = taken, report
        self._owed: dict[Place, Owed] = {}
        self._look_time = Every(LOOK_AGAIN_S)
        self._closing = False
        self._commit: OffsetCommit | None = None  # that is under way
        self._refusal: SalmonError | None = None  # of a commit, after which no later one can work
        self._early: list[Message] = []  # read while a commit was waited for
        self._full = False
        self._held_up: frozenset[Place] = frozenset()  # reading is paused there
        self._troubled: SalmonError | Stopping | None = None  # met in a rebalance, raised by the loop
        self._seat = instance.seat(topics, max_poll_interval_ms=_POLL_MAX_MS, on_commit=self._on_commit)
        self._membership = self._seat.watched(instance.health, instance.metrics, instance.rng)
        self.consumer = self._seat.consumer()
        self._join()

    def read(self, n: int, timeout_s: float) -> list[Message]:
        """
        Read up to *n* records, without those that a newer record supersedes.

        Raises:
            Unavailable, Fenced, SetupError: Kafka's answer.
            Stopping: the process was asked to stop while it waited for Kafka.
        """
        if not self._buffer.places and self._membership.must_join_again():
            self._join_again()
        try:
            messages, self._early = self._early or clients.read(self.consumer, n, timeout_s), []
        except PositionLost as lost:
            self._reopen(lost)
            messages = []
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise refusal
        if self._troubled is not None:
            trouble, self._troubled = self._troubled, None
            raise trouble
        self._metrics.records_read.inc(len(messages))
        return [message for message in messages if self._is_of_use(message)]

    def commit(self, positions: Mapping[Place, int], *, within_s: float = COMMIT_MAX_S) -> bool:
        """
        Commit *positions*. Returns whether Kafka has accepted them within *within_s*.

        If it has refused them, the next read() raises the reason. If it has not answered, the commit is still under way, and no other is
        begun before it has ended: the group's coordinator is away, and what is committed later covers this.

        Raises:
            Fenced, SetupError: a later attempt cannot work either.
        """
        if self._commit is not None:
            return False
        if not positions:
            return True
        try:
            commit = self._commit = OffsetCommit(self.consumer, positions, self._instance.health.calls)
        except KafkaException as failure:
            return self._refused(failure.args[0])
        self._await_answer(within_s)
        if not commit.is_answered:
            self._not_committed(f"Kafka has not answered for {within_s:.0f} s. The sink goes on meanwhile.")
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise refusal
        return commit.is_answered and commit.failure is None

    def _await_answer(self, within_s: float) -> None:
        """Poll until the commit is answered. What is read meanwhile is kept for the next read()."""
        deadline = time.monotonic() + within_s
        while self._commit is not None and len(self._early) < _EARLY_MAX and time.monotonic() < deadline:
            try:
                self._early.extend(clients.read(self.consumer, _EARLY_MAX, _POLL_S))
            except SalmonError as error:
                cast("Any", self.consumer).pending = error  # for the next read
                return

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Kafka has answered. Called from within a poll."""
        if (commit := self._commit) is None:
            return
        self._commit = None
        commit.answered(error, partitions)
        self._metrics.committed(commit.took_s, well=commit.failure is None)
        if commit.failure is None:
            self._buffer.committed(commit.positions)
            self._metrics.offset_commits.inc()
            return
        try:
            self._refused(commit.failure)
        except SalmonError as refusal:
            self._refusal = refusal

    def _refused(self, failure: KafkaError) -> bool:
        error = translated(failure, "committing offsets")
        if not isinstance(error, RetriableError | PositionLost):
            raise error
        self._not_committed(str(error))
        return False

    def _not_committed(self, reason: str) -> None:
        log.warning("offsets_not_committed", reason=reason)
        self._metrics.offset_commits_skipped.inc()

    def hold_up_or_go_on(self) -> None:
        """
        Pause reading while the buffer is full, and resume it later. Polling continues, so that the group keeps us.

        If too many commands of an object are held back, no more of it is read until a person has decided. Records that
        supersede them may then be among the unread ones, so its partitions are scanned again from time to time.
        """
        places = self._buffer.places
        held_up = self._held_up & places
        if self._buffer.full or (self._full and not self._buffer.roomy):
            wanted, self._full = places, True
        else:
            wanted, self._full = self._crammed(), False
            if self._look_time.due() and wanted:
                self._take_again(wanted)
                return
        if more := wanted - held_up:
            self.consumer.pause(_partitions(more))
            log.info("reading_paused", commands=self._buffer.count, partitions=len(more))
        if again := held_up - wanted:
            self.consumer.resume(_partitions(again))
            log.info("reading_resumed", partitions=len(again))
        self._held_up = wanted

    def _crammed(self) -> frozenset[Place]:
        """Return the partitions of the topics of which HELD_MAX commands are held back."""
        if self._buffer.held_count < HELD_MAX:
            return frozenset()
        held = self._buffer.held()
        counts: dict[str, int] = {}
        for (topic, _), count in held.items():
            counts[topic] = counts.get(topic, 0) + count
        return frozenset(place for place in self._buffer.places if counts.get(place[0], 0) >= HELD_MAX)

    def lag(self) -> int:
        """Return the largest number of records before a partition's end, by the ends that the consumer knows."""
        return lag(self.consumer, self._buffer.next_offsets())

    @property
    def caught_up(self) -> bool:
        """Whether everything that the scan found when the partitions were taken has been read."""
        return bool(self._buffer.places) and not self._owed

    def close(self) -> None:
        """Leave the group. Commands in flight are abandoned; the next owner of their partitions repeats them."""
        self._closing = True
        self._membership.close()
        self._leave()

    def _leave(self) -> None:
        clients.close(self.consumer)
        if self._commit is not None:
            self._commit.dropped()
            self._commit = None

    def _join(self) -> None:
        self.consumer.subscribe(
            sorted(self._seat.topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )

    def _join_again(self) -> None:
        """Join the group with a new consumer, because nobody has the partitions."""
        self._closing = True
        self._leave()
        self.consumer, self._closing = self._seat.consumer(again=True), False
        self._join()

    def _is_of_use(self, message: Message) -> bool:
        topic, number, offset = clients.place_of(message)
        place = (topic, number)
        if not self._buffer.holds(place):
            return False  # taken away since it was fetched
        owed = self._owed.get(place)
        if owed is None:
            return True
        if offset + 1 >= owed.end:
            del self._owed[place]
        if owed.superseded(message.key(), offset):
            self._buffer.pass_over(place, offset)
            return False
        return True

    # The group's view: partitions come and go. Kafka's client calls these from within a read.

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if not partitions or self._closing:
            return
        self._instance.health.holds(
            len(self._buffer.places) + len(partitions)
        )  # to scan them may take minutes
        try:
            with self._metrics.taking_over():
                placed = self._retrying.until_it_works("taking partitions", lambda: self._take(partitions))
        except (SalmonError, Stopping) as trouble:
            self._troubled = trouble
            placed = []
        since = self._buffer.now()
        consumer.incremental_assign(placed)
        self._buffer.renew(since)
        self._metrics.partition_count.set(len(self._buffer.places))

    def _take(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Find out where each partition continues, and what is left to write in it. Returns where to read on."""
        starts = self._starts(partitions)
        places = {place: at for place, (at, _) in starts.items()}
        owed = scan(
            self._instance.clients,
            self._instance.id,
            places,
            self._stop,
            turned=self._instance.health.turned,
            is_command=self._is_command,
        )
        for place, (at, known) in starts.items():
            self._buffer.open(place, at, committed=known)
            if owed[place].end > at:
                self._owed[place] = owed[place]
        self._on_taken()
        log.info(
            "partitions_taken",
            partitions=len(starts),
            from_the_start=sum(not known for _, known in starts.values()),
            owed=sum(len(each.newest) for each in owed.values()),
        )
        return [TopicPartition(topic, number, at) for (topic, number), at in places.items()]

    def _starts(self, partitions: Sequence[TopicPartition]) -> dict[Place, tuple[int, bool]]:
        """
        Ask where each partition continues.

        Returns:
            Partition -> (offset, whether it is the committed one). Without a valid committed offset it is the topic's
            first offset: then everything in the topic is still to be written.
        """
        starts: dict[Place, tuple[int, bool]] = {}
        try:
            for each in self.consumer.committed(list(partitions), timeout=_ASK_S):
                low, high = self.consumer.get_watermark_offsets(each, timeout=_ASK_S)
                known = low <= each.offset <= high
                if not known and each.offset >= 0:
                    log.warning("place_lost", topic=each.topic, partition=each.partition, offset=each.offset)
                starts[each.topic, each.partition] = (each.offset if known else low, known)
        except KafkaException as error:
            raise translated(error, "asking for committed offsets") from error
        return starts

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Finish what is in flight, report the outcomes and commit, before another instance continues."""
        places = _places(partitions)
        if self._closing:
            self._forget(places)  # The worker has drained, or had no time to.
            return
        if not self._buffer.close(places, wait_s=HAND_OVER_MAX_S, meanwhile=self._try_report):
            log.warning("hand_over_cut_short", partitions=len(places))
        try:
            self._report()
            done = {place: at for place, at in self._buffer.positions().items() if place in places}
            self.commit(
                done, within_s=0.0
            )  # this is within a poll; Kafka gets it before anybody is given the partitions
        except Unavailable as trouble:
            # The next owner repeats what was not committed. The other records of this read must not be lost because of it.
            log.warning("hand_over_not_committed", partitions=len(places), reason=str(trouble))
        except (SalmonError, Stopping) as trouble:
            self._troubled = trouble
        self._forget(places)

    def _try_report(self) -> None:
        """Report outcomes, because a command is in flight until that is done. After a failure there is a last attempt."""
        try:
            self._report()
        except (SalmonError, Stopping) as trouble:
            log.info("outcomes_not_reported_yet", reason=str(trouble))

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """The partitions belong to another instance already: nothing may be committed."""
        log.warning("partitions_lost", partitions=len(partitions))
        places = _places(partitions)
        self._buffer.close(places)
        self._forget(places)

    def _forget(self, places: Collection[Place]) -> None:
        for place in places:
            self._owed.pop(place, None)
        self._early = [each for each in self._early if clients.place_of(each)[:2] not in places]
        self._held_up -= frozenset(places)
        self._buffer.forget(places)
        self._metrics.partition_count.set(len(self._buffer.places))

    def _reopen(self, lost: PositionLost) -> None:
        """A topic was created again while we ran: everything in it is to be written."""
        log.warning("place_lost", reason=str(lost))
        self._take_again(self._buffer.places)

    def _take_again(self, places: frozenset[Place]) -> None:
        """Continue at the committed offsets, with a new scan of what is left to write."""
        held = _partitions(places)
        self._buffer.close(places, wait_s=HAND_OVER_MAX_S, meanwhile=self._try_report)
        if paused := self._held_up & places:
            self.consumer.resume(_partitions(paused))
        self._forget(places)
        placed = self._retrying.until_it_works("taking partitions", lambda: self._take(held))
        clients.continue_at(self.consumer, placed)


def _places(partitions: Iterable[TopicPartition]) -> frozenset[Place]:
    return frozenset((each.topic, each.partition) for each in partitions)


def _partitions(places: Iterable[Place]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic, number in places]
