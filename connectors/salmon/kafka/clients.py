"""
Opens Kafka clients with the settings on which our promises depend.

Transactions are in kafka.transactions, and compacted topics in kafka.tables.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Final, cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from salmon.errors import Fenced, PositionLost, SalmonError, SetupError, Unavailable
from salmon.kafka.errors import translated
from salmon.kafka.properties import common, made
from salmon.kafka.transactions import Listener, Transaction, TransactionalProducer

__all__ = [
    "Brokers",
    "Clients",
    "Transaction",
    "TransactionalProducer",
    "admin",
    "arrived",
    "clients_of",
    "close",
    "connect",
    "consumer",
    "place_of",
    "producer",
    "read",
    "translated",
    "write",
]

log = structlog.get_logger(__name__)

SESSION_MS: Final = 6000
CLOSE_MAX_S: Final = 3.0
_WRITE_MAX_S: Final = 10.0


Rebalanced = Callable[[Consumer, list[TopicPartition]], None]


class _Consumer(Consumer):
    """
    A consumer that keeps an error which arrived together with records, for the next read.

    In a rebalance it takes and gives back partitions itself, unless its callback has done so. Otherwise confluent-kafka would do
    it, and would first ask librdkafka for the protocol: while a consumer is closed, that can wait for ever (librdkafka's
    issue 4041), and Python's lock is kept meanwhile.
    """

    pending: SalmonError | None = None
    _is_done = False  # what the rebalance asks for

    def subscribe(
        self,
        topics: list[str],
        on_assign: Rebalanced | None = None,
        on_revoke: Rebalanced | None = None,
        on_lost: Rebalanced | None = None,
    ) -> None:
        """As Consumer.subscribe, with the cooperative protocol."""
        super().subscribe(
            topics,
            on_assign=self._followed(on_assign, self.incremental_assign),
            on_revoke=self._followed(on_revoke, self.incremental_unassign),
            on_lost=self._followed(on_lost or on_revoke, self.incremental_unassign),
        )

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        """As Consumer.incremental_assign."""
        self._is_done = True
        super().incremental_assign(partitions)

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        """As Consumer.incremental_unassign."""
        self._is_done = True
        super().incremental_unassign(partitions)

    def _followed(
        self, callback: Rebalanced | None, act: Callable[[list[TopicPartition]], None]
    ) -> Rebalanced:
        def rebalance(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            self._is_done = False
            if callback is not None:
                callback(consumer, partitions)
            if not self._is_done:
                act(partitions)

        return rebalance


@dataclass(frozen=True, slots=True)
class Clients:
    """
    Opens clients to one cluster. A worker gets it passed in and opens clients in no other way, so that a test can pass in
    one whose broker is in memory (tests/support/at_hand/memory_broker.py).

    Args:
        properties: The configuration's `kafka` block: librdkafka properties. They may hold secrets.
        consumer_kind, producer_kind, admin_kind: What makes a client from librdkafka's settings.
    """

    properties: Mapping[str, Any] = field(repr=False)
    consumer_kind: Callable[[dict[str, Any]], Consumer] = _Consumer
    producer_kind: Callable[[dict[str, Any]], Producer] = Producer
    admin_kind: Callable[[dict[str, Any]], AdminClient] = AdminClient

    def producer(
        self, *, transactional_id: str, client_id: str, listener: Listener | None = None
    ) -> TransactionalProducer:
        """
        Make a transactional producer; call start() before its first transaction.

        Args:
            transactional_id: Stable over restarts, and of one instance at a time: a newer one fences the older.
            listener: Is called when a transaction waits for Kafka, and when it no longer does.

        Raises:
            ConfigError: naming the property that librdkafka refuses.
        """
        return TransactionalProducer(
            self.properties,
            transactional_id=transactional_id,
            client_id=client_id,
            listener=listener,
            kind=self.producer_kind,
        )

    def consumer(
        self, *, group_id: str, client_id: str, instance_id: str | None = None, **properties: Any
    ) -> Consumer:
        """
        Make a consumer of committed records that never resets and never commits by itself.

        Args:
            group_id: Its consumer group. librdkafka requires one even if partitions are only assigned.
            instance_id: Makes it a static member: a restart within the session causes no rebalance.
            properties: More librdkafka properties, with _ for the dots, e.g. enable_partition_eof=True.

        Raises:
            ConfigError: naming the property that librdkafka refuses.
        """
        settings = {
            # The minimum that brokers allow by default (group.min.session.timeout.ms): a dead instance's partitions
            # are taken over that soon. Heartbeats come from librdkafka's own thread, however long a batch takes.
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": 2000,
            # The default, 1 s, is how long a fetcher sleeps after it has filled its queue.
            "fetch.queue.backoff.ms": 10,
            # Partitions that stay where they are continue while others move.
            "partition.assignment.strategy": "cooperative-sticky",
            **common(self.properties, client_id),
            "group.id": group_id,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            **({"group.instance.id": instance_id} if instance_id else {}),
            **{_property(name): value for name, value in properties.items()},
        }
        return made(self.consumer_kind, settings, self.properties)

    def admin(self, *, client_id: str = "salmon") -> AdminClient:
        """
        Make an admin client. It connects when it is first used: see connect().

        Raises:
            ConfigError: naming the property that librdkafka refuses.
        """
        return made(self.admin_kind, common(self.properties, client_id), self.properties)


def _property(name: str) -> str:
    """The name of a property; those that begin with on_ are confluent-kafka's."""
    return name if name.startswith("on_") else name.replace("_", ".")


# How to reach the brokers: librdkafka properties, or an object that opens clients.
Brokers = Mapping[str, Any] | Clients


def clients_of(kafka: Brokers) -> Clients:
    """Return the object that opens clients to *kafka*; if it is one already, it is returned unchanged."""
    return kafka if isinstance(kafka, Clients) else Clients(kafka)


# For commands, which get no Clients passed in: each opens what it needs.


def producer(
    kafka: Brokers, *, transactional_id: str, client_id: str, listener: Listener | None = None
) -> TransactionalProducer:
    """See Clients.producer."""
    return clients_of(kafka).producer(
        transactional_id=transactional_id, client_id=client_id, listener=listener
    )


def consumer(
    kafka: Brokers, *, group_id: str, client_id: str, instance_id: str | None = None, **properties: Any
) -> Consumer:
    """See Clients.consumer."""
    return clients_of(kafka).consumer(
        group_id=group_id, client_id=client_id, instance_id=instance_id, **properties
    )


def admin(kafka: Brokers, *, client_id: str = "salmon") -> AdminClient:
    """See Clients.admin."""
    return clients_of(kafka).admin(client_id=client_id)


def connect(kafka: Mapping[str, Any], *, client_id: str = "salmon", timeout_s: float = 30.0) -> AdminClient:
    """
    Make an admin client and wait until a broker answers it.

    Raises:
        ConfigError: naming the property that librdkafka refuses.
        SetupError: a broker answers, but the sign-in or the TLS handshake failed.
        Unavailable: no broker answered within *timeout_s*.
    """
    reported: list[KafkaError] = []
    client = made(AdminClient, {**common(kafka, client_id), "error_cb": reported.append}, kafka)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            client.list_topics(timeout=min(1.0, timeout_s))
            return client
        except KafkaException as error:
            client.poll(0)
            for cause in (*reported, error.args[0]):
                if not isinstance(meaning := translated(cause, "connecting to Kafka"), Unavailable):
                    raise meaning from None
            if time.monotonic() >= deadline:
                reason = f" ({reported[0].str()})" if reported else ""
                raise Unavailable(
                    f"no Kafka broker answers at {kafka.get('bootstrap.servers')}{reason}. Start it, or correct "
                    f"kafka.bootstrap.servers and kafka.security.protocol."
                ) from None


def read(consumer: Consumer, n: int, timeout_s: float) -> list[Message]:
    """
    Return up to *n* records that arrived within *timeout_s*, values and tombstones alike.

    Args:
        consumer: One that consumer() made.

    Raises:
        PositionLost, Unavailable, SetupError, Fenced: see read_with_ends().
    """
    return [message for message in read_with_ends(consumer, n, timeout_s) if message.error() is None]


def read_with_ends(consumer: Consumer, n: int, timeout_s: float) -> list[Message]:
    """
    Return up to *n* records, and ends of partitions, that arrived within *timeout_s*.

    If records and an error arrive together, the records are returned, and the next call raises the error.

    Args:
        consumer: One that consumer() made.

    Raises:
        PositionLost: the topic no longer has the next offset. The partition delivers nothing until continue_at().
        Unavailable, SetupError, Fenced: the brokers' answer. Of several errors that arrive together, the gravest.
    """
    keeper = cast("_Consumer", consumer)
    if (error := keeper.pending) is not None:
        keeper.pending = None
        raise error
    messages = arrived(consumer, n, timeout_s)
    good = [message for message in messages if _error_of(message) is None]
    if len(good) < len(messages) and (error := _gravest_error(messages)) is not None:
        if not good:
            raise error
        keeper.pending = error
    return good


def arrived(consumer: Consumer, n: int, timeout_s: float) -> list[Message]:
    """
    Return up to *n* messages that arrived within *timeout_s*: records, errors and ends of partitions, in their order.

    Raises:
        Unavailable, SetupError, Fenced: librdkafka's error. No message that arrived before it is lost.
    """
    # consume() would wait for all *n*, but the first message must not wait for a second one.
    try:
        first = consumer.poll(timeout_s)
    except KafkaException as failure:
        raise translated(failure, "reading from Kafka") from failure
    if first is None:
        return []
    try:
        return [first, *consumer.consume(n - 1, 0)]
    except KafkaException:
        return [first]  # the next call gets the error again


def write(kafka: Mapping[str, Any], client_id: str, topic: str, key: str, value: bytes | None) -> None:
    """
    Write one record without a transaction, and wait until the brokers have stored it.

    Raises:
        Unavailable, SetupError: the brokers' answer.
    """
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    settings = {
        **common(kafka, client_id),
        "acks": "all",
        "partitioner": "murmur2_random",
        "message.timeout.ms": int(_WRITE_MAX_S * 1000),
    }
    writer = made(Producer, settings, kafka)
    try:
        writer.produce(topic, value, key, on_delivery=delivered)
        unwritten = writer.flush(_WRITE_MAX_S + 1.0)
    except KafkaException as error:
        raise translated(error, f"writing to {topic}") from error
    if failures:
        raise translated(failures[0], f"writing to {topic}")
    if unwritten:
        raise Unavailable(f"writing to {topic}: the brokers do not answer. It is tried again.")


def close(consumer: Consumer, *, within_s: float = CLOSE_MAX_S) -> None:
    """
    Leave the group. The consumer's on_revoke is called.

    librdkafka waits for the brokers without a bound. So it closes in a thread that ends with the process, and we wait for
    that thread only up to *within_s*.
    """
    closing = Thread(target=consumer.close, name="closing a consumer", daemon=True)
    closing.start()
    closing.join(within_s)
    if closing.is_alive():
        log.warning("consumer_not_closed", waited_s=within_s, reason="the brokers do not answer")


def place_of(message: Message) -> tuple[str, int, int]:
    """Return topic, partition and offset of a message that was consumed."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return topic, partition, offset


def continue_at(consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
    """
    Continue at other offsets in partitions that *consumer* has. Unlike seek(), this also works after PositionLost, when
    librdkafka has stopped fetching and refuses a seek ("Erroneous state").
    """
    consumer.incremental_unassign(list(partitions))
    consumer.incremental_assign(list(partitions))


def _gravest_error(messages: Sequence[Message]) -> SalmonError | None:
    """librdkafka reports a lost position only once, so it must not be hidden by a connection that broke before it."""
    errors = [
        _translated(message, error) for message in messages if (error := _error_of(message)) is not None
    ]
    return min(errors, key=_gravity, default=None)


def _gravity(error: SalmonError) -> int:
    kinds: Sequence[type[SalmonError]] = (Fenced, PositionLost, SetupError)
    return next((place for place, kind in enumerate(kinds) if isinstance(error, kind)), len(kinds))


def _translated(message: Message, error: KafkaError) -> SalmonError:
    if error.code() == KafkaError._FATAL:
        # The only fatal error of a consumer: its group.instance.id was given to another member (librdkafka,
        # INTRODUCTION). That may be this consumer itself, if it joined twice because an answer was lost.
        return Fenced(
            "reading from Kafka: the group membership of this instance was taken over, by a newer instance or by itself "
            "when it joined again. It restarts and finds out which."
        )
    where = f"{message.topic()}[{message.partition()}]" if message.topic() else "from Kafka"
    return translated(error, f"reading {where}")


def _error_of(message: Message) -> KafkaError | None:
    """Return the error of a message. The end of a partition is not an error."""
    error = message.error()
    return None if error is not None and error.code() == KafkaError._PARTITION_EOF else error
