"""Transactions that wait for Kafka: who is told, and what ends the wait."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import pytest
from confluent_kafka import KafkaError, KafkaException

from salmon.errors import ClientLost, Fenced, Unavailable
from salmon.kafka.transactions import TransactionalProducer


class Heard:
    """An listener that remembers."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def failing(self, doing: str, error: Exception) -> None:
        self.told.append(f"{doing}: {type(error).__name__}")

    def recovered(self) -> None:
        self.told.append("recovered")


class Kafka:
    """A producer of librdkafka's that answers a commit as the test says: an error to raise, or None."""

    def __init__(self, *answers: KafkaError | None, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.answers, self.meanwhile = list(answers), meanwhile
        self.calls: list[str] = []
        self.ended: KafkaError | None = None  # what has ended this client for good

    def begin_transaction(self) -> None:
        self.calls.append("begin")
        if self.ended is not None:
            raise KafkaException(self.ended)

    def produce(self, *_record: object) -> None:
        self.calls.append("produce")
        if self.ended is not None:
            raise KafkaException(KafkaError(KafkaError._FATAL, "Local: Fatal error"))

    def commit_transaction(self, _timeout_s: float) -> None:
        self.calls.append("commit")
        self.meanwhile()
        if self.answers and (error := self.answers.pop(0)) is not None:
            raise KafkaException(error)

    def send_offsets_to_transaction(self, _offsets: object, _group: object, _timeout_s: float) -> None:
        self.calls.append("offsets")
        if self.answers and (error := self.answers.pop(0)) is not None:
            raise KafkaException(error)

    def abort_transaction(self, _timeout_s: float) -> None:
        self.calls.append("abort")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salmon.kafka.transactions._PAUSE_S", 0.0)


def producer(kafka: Kafka, heard: Heard) -> TransactionalProducer:
    made = TransactionalProducer(
        {"bootstrap.servers": "127.0.0.1:1"}, transactional_id="crm-merge-0", client_id="test", listener=heard
    )
    made._producer = kafka  # type: ignore[assignment]
    return made


LATE = KafkaError(KafkaError._TIMED_OUT, "late", False, True)  # not fatal, and may be called again


def test_a_commit_that_kafka_does_not_answer_shows_in_health_until_it_does() -> None:
    """The loop does not turn meanwhile: without a word it would be taken for one that hangs (case S3)."""
    heard, kafka = Heard(), Kafka(LATE, LATE, None)
    with producer(kafka, heard).transaction():
        pass
    doing = "committing a transaction of crm-merge-0"
    assert heard.told == [f"{doing}: Unavailable", f"{doing}: Unavailable", "recovered"]


def test_a_commit_that_kafka_answers_at_once_tells_nobody() -> None:
    """A recovery would take back what others say is failing."""
    heard = Heard()
    with producer(Kafka(), heard).transaction():
        pass
    assert heard.told == []


def test_who_is_told_to_cut_short_does_not_wait_for_an_abort_as_well() -> None:
    """The deadline of a stop is near, and the broker aborts by itself (case S8)."""
    kafka = Kafka(LATE)
    made = producer(kafka, Heard())
    kafka.meanwhile = made.close
    with pytest.raises(Unavailable), made.transaction():
        pass
    assert kafka.calls == ["begin", "commit"]


def test_a_client_that_is_dead_says_so_from_then_on() -> None:
    """Whatever is asked of it: so that the process begins again, and does not wait for it."""
    fatal = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "x", True)
    made = producer(Kafka(fatal), Heard())
    for _ in range(2):
        with pytest.raises(ClientLost), made.transaction():
            pass


def test_a_call_that_librdkafka_never_returns_from_ends_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has forgotten the answer after a cut connection, and its own time-out; even an abort would wait (case S3)."""
    monkeypatch.setattr("salmon.kafka.transactions._OFFSETS_S", 0.01)
    monkeypatch.setattr("salmon.kafka.transactions._RETURNS_S", 0.01)
    released = Event()

    class Stuck(Kafka):
        def send_offsets_to_transaction(self, *_: object) -> None:
            released.wait(20)

    kafka = Stuck()
    made = producer(kafka, Heard())
    for _ in range(2):
        with pytest.raises(ClientLost), made.transaction() as transaction:
            transaction.send_offsets([], object())
    released.set()
    assert kafka.calls == ["begin"]


def test_offsets_are_not_asked_for_twice_in_one_transaction() -> None:
    """librdkafka's second call has not come back after a cut connection; the whole transaction is repeated instead."""
    kafka = Kafka(LATE)
    with pytest.raises(Unavailable), producer(kafka, Heard()).transaction() as transaction:
        transaction.send_offsets([], object())
    assert kafka.calls == ["begin", "offsets", "abort"]


def test_who_learns_of_its_successor_in_the_middle_of_a_transaction_says_so() -> None:
    """The next record is refused with "fatal error" only; what it was decides whether the process may come back."""
    kafka = Kafka()

    def write() -> None:
        with producer(kafka, Heard()).transaction() as transaction:
            kafka.ended = KafkaError(KafkaError._FENCED, "a newer one", True)
            transaction.produce("crm.records", "001A", b"1")

    with pytest.raises(Fenced, match=r"writing to crm\.records: Kafka said _FENCED"):
        write()


def test_what_ended_a_client_is_told_as_it_is_where_nobody_knows_more() -> None:
    """A client that begins a transaction all the same must not hide that the record was refused."""
    kafka = Kafka()

    def refuse(*_record: object) -> None:
        raise KafkaException(KafkaError(KafkaError._FATAL, "Local: Fatal error"))

    def write() -> None:
        with producer(kafka, Heard()).transaction() as transaction:
            transaction.produce("crm.records", "001A", b"1")

    kafka.produce = refuse  # type: ignore[method-assign]
    with pytest.raises(ClientLost, match="Local: Fatal error"):
        write()
