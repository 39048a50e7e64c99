"""
Kafka transactions with our errors: each is committed as a whole, or not at all.

The workers and merge decide which records a transaction has, and what happens after an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Event, Thread
from typing import Any, Final, Protocol

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from salmon.errors import ClientLost, DataError, SalmonError, Unavailable
from salmon.kafka.errors import translated
from salmon.kafka.properties import common, made
from salmon.kafka.topics import RECORD_BYTES_MAX

log = structlog.get_logger(__name__)

# How long one call may block before we check for close() and report that we wait.
_CALL_S: Final = 2.0
_OFFSETS_S: Final = 5.0  # the one call that adds offsets
_RETURNS_S: Final = 3.0  # by so much may that call exceed its own time-out
_ABORT_MAX_S: Final = 5.0
_PAUSE_S: Final = 0.1
_QUEUE_FULL_S_MAX: Final = 60.0
_PURGED: Final = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})


class Listener(Protocol):
    """Is called when a transaction waits for Kafka, because the loop does not turn meanwhile."""

    def failing(self, doing: str, error: Exception) -> None:
        """Kafka has not answered *doing*; it is tried again."""

    def recovered(self) -> None:
        """Kafka has answered, after at least one attempt without an answer."""


class _Repeat(Protocol):
    """Call until Kafka has answered, or until *deadline* has passed; see TransactionalProducer."""

    def __call__(self, call: Callable[[], object], doing: str, *, deadline: float | None = None) -> None: ...


class _Tried(Exception):
    """Kafka has accepted all records of a trial."""


class TransactionalProducer:
    """
    A transactional producer: each block of transaction() is committed as a whole, or not at all.

    For one thread only, except for close(), which any thread may call.
    """

    def __init__(
        self,
        kafka: Mapping[str, Any],
        *,
        transactional_id: str,
        client_id: str,
        listener: Listener | None = None,
        kind: Callable[[dict[str, Any]], Producer] = Producer,
    ) -> None:
        self.transactional_id = transactional_id
        self._listener = listener
        self._closing = Event()
        self._ended: SalmonError | None = None  # why this client can do no more
        self._unfinished = False  # the broker has not answered the last abort
        # The first record of this block that it could not deliver.
        self._failed: tuple[KafkaError, str] | None = None
        settings = {
            # A change passes two transactions on its way; with librdkafka's defaults each of them would wait
            # 100 ms at "concurrent transactions", which Apache Kafka says just after every commit.
            "linger.ms": 0,
            "retry.backoff.ms": 2,
            # The open transaction of a dead instance blocks all readers for that long.
            "transaction.timeout.ms": 10_000,
            "message.max.bytes": RECORD_BYTES_MAX,
            # The records of an object are similar: a batch shrinks to a quarter, and takes no measurable time.
            "compression.type": "zstd",
            **common(kafka, client_id),
            "transactional.id": transactional_id,
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",  # as Java's clients, so that one key is in one partition for all
            "delivery.report.only.error": True,
            "on_delivery": self._not_delivered,
        }
        self._producer = made(kind, settings, kafka)

    def start(self, timeout_s: float = 60.0) -> None:
        """
        Fence older instances of this transactional id, and end the transaction that they left open.

        Raises:
            Unavailable: no answer within *timeout_s*; call again.
            SetupError, FatalError: the broker refuses.
        """
        deadline = time.monotonic() + timeout_s
        self._repeat(
            lambda: self._producer.init_transactions(_CALL_S), "starting transactions", deadline=deadline
        )

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """
        Open a transaction; commit it at the end of the block, abort it when an exception leaves the block.

        A commit waits for Kafka's answer without a bound, unless close() is called, because only Kafka knows whether
        it was committed.

        Raises:
            Unavailable: nothing was committed (unless close() interrupted the commit); repeat the whole block.
            Fenced, ClientLost: this client cannot be used any more.
            DataError: a record is too large; nothing was committed.
        """
        if self._ended is not None:
            raise self._ended
        if self._unfinished:
            self._abort()
        self._failed = None
        self._repeat(self._producer.begin_transaction, self._doing("beginning"))
        try:
            yield Transaction(self._producer, self._repeat, self._doing)
            self._commit()
        except BaseException as failure:
            if isinstance(failure, ClientLost):
                self._ended = failure  # even an abort would wait for the call that does not return
            if self._ended is None:
                self._unfinished = True
                if not self._closing.is_set():
                    self._abort_after(failure)
            raise

    def takes(self, fill: Callable[[Transaction], None]) -> bool:
        """
        Whether Kafka accepts the size and format of the records that *fill* produces. They are sent, but not committed.

        Raises:
            Unavailable, Fenced: see transaction().
        """
        try:
            with self.transaction() as transaction:
                fill(transaction)
                self._deliver()
                raise _Tried
        except _Tried:
            return True
        except DataError:
            return False

    def _deliver(self) -> None:
        while self._producer.flush(_CALL_S):
            if self._closing.is_set():
                raise Unavailable(f"{self._doing('trying')}: it was cut short.")
        if self._failed is not None:
            error, topic = self._failed
            raise translated(error, f"writing to {topic}")

    def close(self) -> None:
        """Interrupt calls that wait. Their thread, or the broker after a few seconds, aborts an open transaction."""
        self._closing.set()

    def _commit(self) -> None:
        try:
            self._repeat(lambda: self._producer.commit_transaction(_CALL_S), self._doing("committing"))
        except SalmonError:
            if self._failed is None or self._ended is not None:
                raise
            # The commit's own error only says that a record failed; the record's says why.
            error, topic = self._failed
            raise translated(error, f"writing to {topic}") from None

    def _abort_after(self, failure: BaseException) -> None:
        try:
            self._abort()
        except Unavailable as later:
            # The next block aborts it first. The error of this block is the one to raise.
            log.warning(
                "transaction_not_aborted_yet", transactional_id=self.transactional_id, error=str(later)
            )
        except SalmonError as worse:
            raise worse from failure

    def _abort(self) -> None:
        deadline = time.monotonic() + _ABORT_MAX_S
        self._repeat(
            lambda: self._producer.abort_transaction(_CALL_S), self._doing("aborting"), deadline=deadline
        )
        self._unfinished = False

    def _repeat(self, call: Callable[[], object], doing: str, *, deadline: float | None = None) -> None:
        """Call until Kafka has answered. A call that ended with its own timeout may be repeated."""
        waited = False
        while True:
            try:
                call()
                if waited and self._listener is not None:
                    self._listener.recovered()
                return
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                if cause.fatal():
                    # From now on this client answers every call with this error, or with a wrong one.
                    self._ended = translated(error, doing)
                over = deadline is not None and time.monotonic() >= deadline
                if not cause.retriable() or over or self._closing.wait(_PAUSE_S):
                    raise translated(error, doing) from error
                log.warning("kafka_awaited", doing=doing, error=cause.name())
                waited = True
                if self._listener is not None:
                    self._listener.failing(doing, translated(error, doing))

    def _doing(self, what: str) -> str:
        return f"{what} a transaction of {self.transactional_id}"

    def _not_delivered(self, error: KafkaError | None, message: Message) -> None:
        # Records that an abort removes are also not delivered, so only the first failure is the cause.
        if error is not None and error.code() not in _PURGED and self._failed is None:
            self._failed = (error, message.topic() or "")


class Transaction:
    """An open transaction. It is valid inside its block."""

    def __init__(
        self,
        producer: Producer,
        repeat: _Repeat,
        doing: Callable[[str], str],
    ) -> None:
        self._producer = producer
        self._repeat = repeat
        self._doing = doing

    def produce(
        self,
        topic: str,
        key: str | bytes | None,
        value: bytes | None,
        *,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int | None = None,
    ) -> None:
        """
        Add a record. A *value* of None is a tombstone. Without *partition*, it follows from the key.

        Raises:
            DataError: the record is larger than kafka.message.max.bytes.
            Unavailable: the queue stays full, because the broker accepts nothing.
        """
        placed: dict[str, Any] = {} if partition is None else {"partition": partition}
        if headers:
            placed["headers"] = list(headers)
        deadline = 0.0
        while True:
            try:
                self._producer.produce(topic, value, key, **placed)
                return
            except BufferError:
                now = time.monotonic()
                deadline = deadline or now + _QUEUE_FULL_S_MAX
                if now >= deadline:
                    raise Unavailable(
                        f"writing to {topic}: the broker accepts no records. Check the brokers."
                    ) from None
                self._producer.poll(0.1)
            except KafkaException as error:
                raise translated(_cause(self._producer, error), f"writing to {topic}") from error

    def send_offsets(self, offsets: Sequence[TopicPartition], group: Any) -> None:
        """
        Commit *offsets* (the next ones to read) with this transaction.

        Args:
            group: The consumer's consumer_group_metadata(). Kafka refuses an instance that has lost its partitions.

        Raises:
            Unavailable: Kafka did not accept them. The call is not repeated in the same transaction: after an error that
                may be repeated, librdkafka's second call never returned, whatever its timeout.
            ClientLost: librdkafka did not return from the call. A broken connection can make it forget the answer.
        """
        doing = self._doing("adding offsets to")
        call = partial(self._producer.send_offsets_to_transaction, list(offsets), group, _OFFSETS_S)
        self._repeat(
            lambda: _returning(call, _OFFSETS_S + _RETURNS_S, doing), doing, deadline=time.monotonic()
        )


def _cause(producer: Producer, error: KafkaException) -> KafkaException:
    """
    Find the error behind _FATAL, which is all that produce() says of a client that has ended, whatever ended it.

    Only transactional calls say what it was: rd_kafka_begin_transaction() returns "the fatal error" (librdkafka's rdkafka.h).
    """
    if error.args[0].code() == KafkaError._FATAL:
        try:
            producer.begin_transaction()
        except KafkaException as ended:
            if ended.args[0].fatal():
                return ended
    return error


def _returning(call: Callable[[], object], within_s: float, doing: str) -> None:
    """Make a call of librdkafka in a thread of its own, which is left behind if the call does not return."""
    failures: list[Exception] = []

    def run() -> None:
        try:
            call()
        except Exception as failure:  # noqa: BLE001 - raised again by the caller
            failures.append(failure)

    thread = Thread(target=run, name="adding offsets", daemon=True)
    thread.start()
    thread.join(within_s)
    if thread.is_alive():
        raise ClientLost(
            f"{doing}: librdkafka has not answered for {within_s:.0f} s, longer than its own time-out. The process restarts."
        )
    if failures:
        raise failures[0]
