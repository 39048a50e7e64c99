"""What Kafka's errors mean for us."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from salmon.errors import (
    ClientLost,
    DataError,
    Fenced,
    PositionLost,
    RetriableError,
    SalmonError,
    SetupError,
)
from salmon.kafka.errors import translated


@pytest.mark.parametrize(
    ("code", "kind", "mend"),
    [
        (KafkaError._FENCED, Fenced, "newer instance"),
        (KafkaError.PRODUCER_FENCED, Fenced, "newer instance"),
        (KafkaError.INVALID_PRODUCER_EPOCH, Fenced, "newer instance"),
        (KafkaError._AUTO_OFFSET_RESET, PositionLost, "no longer has this offset"),
        (KafkaError.OFFSET_OUT_OF_RANGE, PositionLost, "no longer has this offset"),
        (KafkaError.MSG_SIZE_TOO_LARGE, DataError, "max.message.bytes"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, SetupError, "ACL"),
        (KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, SetupError, "ACL"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, SetupError, "kafka.sasl.password"),
        (KafkaError._AUTHENTICATION, SetupError, "kafka.sasl.password"),
        (KafkaError._SSL, SetupError, "kafka.ssl.ca.location"),
        (KafkaError.INVALID_REPLICATION_FACTOR, SetupError, "Set topics.replication_factor to"),
        (KafkaError.INVALID_PARTITIONS, SetupError, "Correct topics.partitions"),
        (KafkaError.POLICY_VIOLATION, SetupError, "Correct the setting"),
        (KafkaError._FATAL, ClientLost, "restarts"),
        (KafkaError._ALL_BROKERS_DOWN, RetriableError, "tried again"),
        (KafkaError._TRANSPORT, RetriableError, "tried again"),
        (KafkaError.NOT_LEADER_FOR_PARTITION, RetriableError, "tried again"),
        (KafkaError.ILLEGAL_GENERATION, RetriableError, "tried again"),
        (KafkaError.NOT_ENOUGH_REPLICAS, RetriableError, "tried again"),
    ],
)
def test_each_code_is_repeat_set_aside_or_stop(code: int, kind: type[SalmonError], mend: str) -> None:
    """By code and never by wording; the message says what was done, Kafka's word, and the mend."""
    for error in (KafkaError(code), KafkaException(KafkaError(code))):
        meaning = translated(error, "reading crm.state.Account")
        assert isinstance(meaning, kind)
        assert str(meaning).startswith(f"reading crm.state.Account: Kafka said {KafkaError(code).name()}")
        assert mend in str(meaning)


def test_what_ends_a_client_does_not_end_the_sync() -> None:
    """librdkafka will answer nothing else from then on, whatever the code: another client is needed, and no person."""
    meaning = translated(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "x", True), "writing")
    assert isinstance(meaning, ClientLost)
