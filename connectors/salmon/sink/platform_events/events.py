"""
Carries one kind of platform event from a topic to a side: into a collection, or out as events of the org.

It is a part of the sink's process, with a consumer group, a thread and a health of its own, so that it holds up nothing else
and nothing holds it up. A batch is committed when each of its records is confirmed or set aside; after a kill it is put
again, which the task must bear. What a side cannot serve now is put again, for as long as it takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from salmon.backoff import Backoff, Tries
from salmon.errors import (
    ClientLost,
    DataError,
    FatalError,
    Fenced,
    PositionLost,
    RequestRejected,
    RetriableError,
    SalmonError,
    StartAgain,
    Unavailable,
)
from salmon.kafka import clients
from salmon.kafka.dead_letters import dead_letter_headers
from salmon.kafka.output import Output
from salmon.kafka.transactions import TransactionalProducer
from salmon.plugin.contract import Closes, OutcomeKind, SinkRecord, SinkTask, WaitingObject, Watched
from salmon.runtime.error_limit import ErrorLimit
from salmon.runtime.instance import Instance
from salmon.runtime.membership import Membership, Seat
from salmon.sink.platform_events.event_batch import EventBatch

log = structlog.get_logger(__name__)

BATCH_MAX: Final = 500
POLL_S: Final = 0.2
_ASK_S: Final = 10.0
_SHOWN_AFTER_S: Final = 10.0  # what is over sooner is no news for people
_DONE: Final = frozenset({OutcomeKind.APPLIED, OutcomeKind.SKIPPED, OutcomeKind.EXISTS})
_AGAIN: Final = Backoff(first_s=0.5, max_s=5.0)
_PERSON_AGAIN_S: Final = 60.0  # what a person must correct
_REFUSED: Final = "{event} {key} was refused: {reason}"
UNTOLD: Final = "What became of {event} {key} cannot be written into its document: {reason}"


@dataclass(frozen=True, slots=True)
class Carrier:
    """
    What carries the records of a topic.

    Args:
        decode: Makes a record for the task; None: this one is not carried. Raises DataError, Unavailable, StartAgain.
        step: What becomes of a record, for the metrics: inserted, published, told.
        tell: Makes the records that follow from what became of one: why it was set aside, or "". They are written with the offsets.
        refusal: How it is said that one was refused.
    """

    task: SinkTask
    decode: Callable[[Message], SinkRecord | None]
    step: str
    tell: Callable[[Message, str], Sequence[Output]] = lambda *_: ()
    refusal: str = _REFUSED


class EventSink:
    """One kind of event on its way to a side; a part (see lifecycle)."""

    def __init__(
        self,
        instance: Instance,
        event: str,
        topic: str,
        carrier: Callable[[], Carrier | None],
        *,
        replays: str | None = None,
        backoff: Backoff = _AGAIN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            event: Its API name.
            topic: Where its records are read.
            replays: Where an operator puts those that were set aside, to be carried once more; None: nowhere.
            carrier: Makes what carries them; None while a schema that it needs is not registered. Raises our errors.
        """
        self.name = f"events/{event}"
        self._instance, self._event, self._topic, self._make = instance, event, topic, carrier
        group, topics = f"{instance.group}-{event}", [topic] if replays is None else [topic, replays]
        self._seat = Seat(instance.clients, group, f"{group}-{instance.ordinal}", topics)
        self._stop = Event()
        self._tries = Tries(backoff)
        self._clock = clock
        self._batch = EventBatch()
        self._limit = ErrorLimit(instance.tolerance)
        self._owned: set[tuple[str, int]] = set()
        self._paused = False
        self._failure: SalmonError | None = None  # in a callback of the consumer
        self._trouble: tuple[float, str] | None = None  # since when, and why
        self._again_at = 0.0
        self._again = False  # it joins its group once more, as a new member
        self._unshared: tuple[float, str] | None = None  # since when nobody has a partition
        self._consumer: Consumer | None = None
        self._producer: TransactionalProducer | None = None
        self._carrier: Carrier | None = None

    # The part's view.

    def run(self) -> None:
        """
        Carry events until asked to stop. What a person must correct is waited for.

        Raises:
            StartAgain: the process must restart, because a schema is newer than ours.
        """
        with self._seat.watched(self, self._instance.metrics, self._instance.rng) as membership:
            while not self._stop.is_set():
                try:
                    self._work(membership)
                except SalmonError as error:
                    self._fails(error)
                except KafkaException as error:
                    self._fails(clients.translated(error, f"carrying {self._event}"))
                finally:
                    self._give_up()
                self._stop.wait(max(0.0, self._again_at - self._clock()))
        self._show(None)

    def stop(self) -> None:
        self._stop.set()
        if (carrier := self._carrier) is not None:
            carrier.task.stop()

    def cut(self) -> None:
        if (producer := self._producer) is not None:
            producer.close()

    # Starting and ending.

    def _work(self, membership: Membership) -> None:
        carrier = self._carrier = self._make()
        if carrier is None:
            raise Unavailable(
                f"its schema is not registered yet. salesforce-source does that when it starts and can read {self._event}: see its /health."
            )
        if isinstance(carrier.task, Watched):
            carrier.task.watch(self._instance.health.calls)
        client_id = self._seat.client_id
        self._producer = self._instance.clients.producer(transactional_id=client_id, client_id=client_id)
        self._producer.start()
        self._consumer = self._seat.consumer(again=self._again)
        self._consumer.subscribe(
            [*self._seat.topics],
            on_assign=self._assigned,
            on_revoke=self._taken_away,
            on_lost=self._taken_away,
        )
        log.info("event_sink_started", kind=self._event, topic=self._topic)
        self._works()
        while not self._stop.is_set():
            self._turn(self._consumer, carrier)
            if membership.must_join_again() and not self._owned:
                self._again = True
                raise Unavailable(self._nobodys)

    def _give_up(self) -> None:
        self._batch, self._failure, self._paused = EventBatch(), None, False
        self._owned.clear()
        if self._consumer is not None:
            clients.close(self._consumer)
        if self._producer is not None:
            self._producer.close()
        if self._carrier is not None:
            self._carrier.task.stop()
            if isinstance(self._carrier.task, Closes):
                self._carrier.task.close()
        self._consumer = self._producer = self._carrier = None

    # The loop.

    def _turn(self, consumer: Consumer, carrier: Carrier) -> None:
        self._hold_up(consumer)
        try:
            self._batch.add(clients.read(consumer, BATCH_MAX, POLL_S))
        except PositionLost:
            self._begin_anew(consumer)
        except Unavailable as error:
            self._fails(error)
            self._stop.wait(POLL_S)
        if self._failure is not None:
            raise self._failure
        if not self._batch.messages:
            self._limit.nothing_left()
        if not self._batch.messages or self._clock() < self._again_at:
            self._show(self._trouble or self._unshared)
            return
        try:
            self._decode(carrier)
            self._put(carrier)
            if self._batch.is_done:
                self._commit(consumer)
                self._batch = EventBatch()
        except (RetriableError, FatalError) as error:
            # Nothing is known of what was put: the same is put again.
            self._fails(error)
        else:
            if not self._batch.messages:
                self._works()

    def _hold_up(self, consumer: Consumer) -> None:
        """Read no more while much is not carried yet; what is read meanwhile must not outgrow the memory."""
        full = len(self._batch.messages) >= BATCH_MAX
        if full != self._paused and self._owned:
            places = [TopicPartition(*place) for place in self._owned]
            (consumer.pause if full else consumer.resume)(places)
            self._paused = full

    def _decode(self, carrier: Carrier) -> None:
        while self._batch.undecoded:
            message = self._batch.undecoded[0]
            try:
                record = carrier.decode(message)
            except DataError as error:
                self._batch.set_aside.append((message, error))
                record = None
            if record is not None:
                self._batch.left.append((message, record))
            self._batch.undecoded.pop(0)

    def _put(self, carrier: Carrier) -> None:
        """Put what is left, each key once: a second record of a key is the same event again."""
        while self._batch.left:
            now: dict[str, tuple[Message, SinkRecord]] = {}
            rest: list[tuple[Message, SinkRecord]] = []
            most = self._limit.at_most(BATCH_MAX)
            for each in self._batch.left:
                if len(now) < most or each[1].key in now:
                    now.setdefault(each[1].key, each)
                else:
                    rest.append(each)
            outcomes = carrier.task.put([record for _, record in now.values()])
            later: dict[str, tuple[Message, SinkRecord]] = {}
            reason, now_s = "", time.time()
            done = sum(outcome.kind in _DONE for outcome in outcomes)
            waits = sum(outcome.kind is OutcomeKind.RETRY_LATER for outcome in outcomes)
            may_fail = self._limit.allows(done, len(outcomes) - done - waits)
            for (message, record), outcome in zip(now.values(), outcomes, strict=True):
                if outcome.kind is OutcomeKind.RETRY_LATER:
                    later[record.key], reason = (message, record), outcome.reason
                    continue
                if outcome.kind not in _DONE and not may_fail:
                    later[record.key], reason = (message, record), self._limit.why
                    continue
                step = carrier.step if outcome.kind is OutcomeKind.APPLIED else "skipped"
                if outcome.kind in _DONE:
                    self._batch.done.append(message)
                else:
                    step = "set_aside"
                    refused = carrier.refusal.format(event=self._event, key=record.key, reason=outcome.reason)
                    self._batch.set_aside.append(
                        (message, RequestRejected(refused, code=outcome.code or outcome.kind))
                    )
                self._instance.metrics.event_passed(self._event, step, record.write.committed_at, now_s)
            self._batch.left = [*later.values(), *rest]
            if later:
                raise Unavailable(reason or f"{self._instance.side} asks to try again later.")

    def _commit(self, consumer: Consumer) -> None:
        assert self._producer is not None
        letters = [self._letter(message, error) for message, error in self._batch.set_aside]
        told = self._told()
        try:
            self._write(self._producer, consumer, [*letters, *told])
        except DataError:  # a dead letter is too large: it goes without its original
            bare = [replace(letter, value=None) for letter in letters]
            self._write(self._producer, consumer, [*bare, *told])
        if letters:
            log.warning("events_set_aside", kind=self._event, count=len(letters))
            self._instance.metrics.records_set_aside(len(letters))

    def _told(self) -> list[Output]:
        """What follows from what became of each record."""
        assert self._carrier is not None
        tell = self._carrier.tell
        outcomes = [(message, "") for message in self._batch.done]
        outcomes += [(message, str(error)) for message, error in self._batch.set_aside]
        return [told for message, error in outcomes for told in tell(message, error)]

    def _write(self, producer: TransactionalProducer, consumer: Consumer, outputs: Sequence[Output]) -> None:
        letters = len(self._batch.set_aside)
        committing = self._instance.metrics.committing(dead_letters=letters)
        with committing, producer.transaction() as transaction:
            for each in outputs:
                transaction.produce(each.topic, each.key, each.value, headers=each.headers)
            transaction.send_offsets(self._batch.ends(), consumer.consumer_group_metadata())

    def _letter(self, message: Message, error: Exception) -> Output:
        assert self._carrier is not None
        connector, task = self._instance.connector, type(self._carrier.task)
        headers = dead_letter_headers(
            message,
            error,
            connector=connector,
            stage="TASK_PUT" if isinstance(error, RequestRejected) else "VALUE_CONVERTER",
            class_name=f"{task.__module__}.{task.__qualname__}",
            subject=self._event,
        )
        topic = self._instance.topics.dlq(connector)
        return Output(topic, message.key(), message.value(), tuple(headers))

    # Partitions.

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            starts = [self._start(consumer, each) for each in partitions]
        except KafkaException as error:
            self._failure = clients.translated(error, f"asking for the offsets of {self._topic}")
            return
        consumer.incremental_assign(starts)
        self._owned.update((each.topic, each.partition) for each in starts)
        self._unshared = None
        if self._paused:
            consumer.pause(starts)

    def _taken_away(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = {(each.topic, each.partition) for each in partitions}
        self._owned -= places
        self._batch.forget(places)

    def _start(self, consumer: Consumer, place: TopicPartition) -> TopicPartition:
        """Where to go on: after what was committed; at a first start, with the oldest."""
        asked = TopicPartition(place.topic, place.partition)
        committed = consumer.committed([asked], timeout=_ASK_S)[0].offset
        low, high = consumer.get_watermark_offsets(asked, timeout=_ASK_S)
        if low <= committed <= high:
            return TopicPartition(place.topic, place.partition, committed)
        if committed >= 0:
            self._lost(max(0, low - committed))
        return TopicPartition(place.topic, place.partition, low)

    def _begin_anew(self, consumer: Consumer) -> None:
        """Records have expired before they were read: go on with the oldest that is left."""
        places = [TopicPartition(*place) for place in self._owned]
        low = [
            TopicPartition(
                each.topic, each.partition, consumer.get_watermark_offsets(each, timeout=_ASK_S)[0]
            )
            for each in places
        ]
        self._lost(0)
        self._batch = EventBatch()
        clients.continue_at(consumer, low)

    def _lost(self, count: int) -> None:
        log.error(
            "events_expired",
            kind=self._event,
            topic=self._topic,
            count=count,
            mend="the topic's retention.ms is shorter than the sink was away: read the lost events from the topic's source",
        )

    # What watches the group asks and says this; see runtime.membership.

    @property
    def without_partitions(self) -> bool:
        return self._consumer is not None and not self._owned

    def spare(self, is_spare: bool) -> None:
        if is_spare:
            self._unshared = None
        elif self._unshared is None:
            self._unshared = (self._clock(), self._nobodys)

    @property
    def _nobodys(self) -> str:
        return f"its consumer group {self._seat.group} has given its partitions to nobody of this sync."

    # Waiting.

    def _fails(self, error: SalmonError) -> None:
        """Wait for it. A Kafka client that can do no more is made again; for any other new start, the process is asked."""
        if isinstance(error, StartAgain) and not isinstance(error, ClientLost | Fenced):
            raise error
        self._instance.metrics.retries.inc()
        wait_s = _PERSON_AGAIN_S if isinstance(error, FatalError) else self._tries.failed()
        self._again_at = self._clock() + wait_s
        since = self._trouble[0] if self._trouble is not None else self._clock()
        if self._trouble is None or self._trouble[1] != str(error):
            log.warning("event_sink_waits", kind=self._event, reason=str(error), again_in_s=round(wait_s, 1))
        self._trouble = (since, str(error))
        self._show(self._trouble)

    def _works(self) -> None:
        self._tries.worked()
        if self._trouble is not None:
            log.info("event_sink_recovered", kind=self._event)
            self._trouble = None
            self._show(None)

    def _show(self, trouble: tuple[float, str] | None) -> None:
        waits: list[WaitingObject] = []
        if trouble is not None and (since_s := self._clock() - trouble[0]) >= _SHOWN_AFTER_S:
            sentence = f"events.{self._event}: {trouble[1]} It is tried again, and nothing is lost meanwhile."
            waits.append(WaitingObject(self._event, since_s, sentence))
        self._instance.health.objects_wait(waits, of=self.name)


class NoIdentities:
    """Events refer to no records."""

    def native_id(self, object: str, key: str) -> str | None:  # noqa: A002
        return None

    def key(self, object: str, native_id: str) -> str | None:  # noqa: A002
        return None
