"""
Transactions whose errors are ours: each happens as a whole, or not at all.

Which records go into one, and what happens after an error, is the worker's and merge's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any, Final, Protocol

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from salmon.errors import DataError, SalmonError, Unavailable
from salmon.kafka.errors import translated
from salmon.kafka.properties import common, made
from salmon.kafka.topics import RECORD_BYTES_MAX

log = structlog.get_logger(__name__)

# How long one call may block before we look around (for close(), and to say that we wait).
_CALL_S: Final = 2.0
_OFFSETS_S: Final = 5.0  # the one call that adds offsets
_ABORT_MAX_S: Final = 5.0
_PAUSE_S: Final = 0.1
_QUEUE_FULL_S_MAX: Final = 60.0
_PURGED: Final = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})


class Observer(Protocol):
    """Who is told that a transaction waits for Kafka: for the loop does not turn meanwhile."""

    def failing(self, doing: str, error: Exception) -> None:
        """*doing* was not answered and is tried again."""

    def recovered(self) -> None:
        """It was answered, after at least one time without an answer."""


class _Repeat(Protocol):
    """Call until Kafka has answered, or until after *deadline*; see TransactionalProducer."""

    def __call__(self, call: Callable[[], object], doing: str, *, deadline: float | None = None) -> None: ...


class _Tried(Exception):
    """All records of a trial were taken."""


class TransactionalProducer:
    """
    A producer of transactions: each block of transaction() happens as a whole, or not at all.

    One thread uses it, except for close(), which comes from any.
    """

    def __init__(
        self,
        kafka: Mapping[str, Any],
        *,
        transactional_id: str,
        client_id: str,
        observer: Observer | None = None,
        kind: Callable[[dict[str, Any]], Producer] = Producer,
    ) -> None:
        self.transactional_id = transactional_id
        self._observer = observer
        self._closing = Event()
        self._ended: SalmonError | None = None  # why this client can do no more
        self._unfinished = False  # the broker has not answered the last abort
        self._failed: tuple[KafkaError, str] | None = (
            None  # the first record of this block it could not deliver
        )
        settings = {
            # A change passes two transactions on its way; with librdkafka's defaults each of them would wait
            # 100 ms at "concurrent transactions", which Apache Kafka says just after every commit.
            "linger.ms": 0,
            "retry.backoff.ms": 2,
            # A dead instance's transaction holds up every reader behind it for that long.
            "transaction.timeout.ms": 10_000,
            "message.max.bytes": RECORD_BYTES_MAX,
            # Records of one object are much alike: a batch shrinks to a quarter, and costs no time that could be measured.
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
        Fence older instances of this transactional id and settle what they left open.

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

        A commit waits for Kafka's answer, however long, unless close() is called: it has happened or not, and
        only Kafka knows.

        Raises:
            Unavailable: nothing of the block happened (unless close() cut the commit short); repeat all of it.
            Fenced, ClientLost: this client can do no more.
            DataError: a record is too large; nothing of the block happened.
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
            if self._ended is None:
                self._unfinished = True
                if not self._closing.is_set():
                    self._abort_after(failure)
            raise

    def takes(self, fill: Callable[[Transaction], None]) -> bool:
        """
        Whether Kafka takes the records that *fill* produces, for what they are. They are sent, and not committed.

        Raises:
            Unavailable, Fenced: as transaction().
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
        """Cut short what waits. An open transaction is aborted by its owner, or by the broker in a few seconds."""
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
            # The next block aborts it first; what went wrong in this one is the news.
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
        """Call until Kafka has answered. A call that is cut short by its own timeout may be repeated."""
        waited = False
        while True:
            try:
                call()
                if waited and self._observer is not None:
                    self._observer.recovered()
                return
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                if cause.fatal():
                    # Whatever is asked of this client from now on, it answers with this, or with nonsense.
                    self._ended = translated(error, doing)
                over = deadline is not None and time.monotonic() >= deadline
                if not cause.retriable() or over or self._closing.wait(_PAUSE_S):
                    raise translated(error, doing) from error
                log.warning("kafka_awaited", doing=doing, error=cause.name())
                waited = True
                if self._observer is not None:
                    self._observer.failing(doing, translated(error, doing))

    def _doing(self, what: str) -> str:
        return f"{what} a transaction of {self.transactional_id}"

    def _not_delivered(self, error: KafkaError | None, message: Message) -> None:
        # What an abort purges is not delivered either, and only the first failure says why.
        if error is not None and error.code() not in _PURGED and self._failed is None:
            self._failed = (error, message.topic() or "")


class Transaction:
    """An open transaction, for the length of its block."""

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
        Add a record; None as its value is a tombstone. Without *partition* its key says which.

        Raises:
            DataError: it is larger than kafka.message.max.bytes.
            Unavailable: the queue stays full because the broker takes nothing.
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
                        f"writing to {topic}: the broker takes no records. Check the brokers."
                    ) from None
                self._producer.poll(0.1)
            except KafkaException as error:
                raise translated(error, f"writing to {topic}") from error

    def send_offsets(self, offsets: Sequence[TopicPartition], group: Any) -> None:
        """
        Commit *offsets* (the next ones to read) with this transaction.

        Args:
            group: The consumer's consumer_group_metadata(): an instance that has lost its partitions is refused.

        Raises:
            Unavailable: Kafka did not take them. They are not asked for twice in one transaction: after an error that
                may be repeated, librdkafka's second call has not come back, whatever its timeout.
        """
        self._repeat(
            lambda: self._producer.send_offsets_to_transaction(list(offsets), group, _OFFSETS_S),
            self._doing("adding offsets to"),
            deadline=time.monotonic(),
        )
