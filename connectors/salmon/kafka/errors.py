"""
Translates Kafka's errors into ours, by code and never by wording.

kafka.transactions decides what an error means for the transaction in which it came.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

from salmon.errors import (
    ClientLost,
    DataError,
    Fenced,
    PositionLost,
    RecordTooLarge,
    SalmonError,
    SetupError,
    SignInRefused,
    Unavailable,
    UnfitServer,
)

T = TypeVar("T")

_ANSWER_MARGIN_S: Final = 5.0  # librdkafka's own timeout comes first, with a reason
_FENCED: Final = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.FENCED_INSTANCE_ID,
    }
)
_LOST: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})
_FORBIDDEN: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
_UNTRUSTED: Final = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
_REFUSED: Final = frozenset(
    {
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_REQUEST,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.INVALID_TRANSACTION_TIMEOUT,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError._UNSUPPORTED_FEATURE,
    }
)

# Settings of the sync that Kafka does not know by our name.
_MENDS: Final = {
    KafkaError.INVALID_REPLICATION_FACTOR: "Set topics.replication_factor to the number of brokers or fewer: 3 in "
    "production, 1 to try it out on a single broker.",
    KafkaError.INVALID_PARTITIONS: "Correct topics.partitions.",
}


def translated(error: KafkaError | KafkaException, doing: str) -> SalmonError:
    """
    Translate a Kafka error.

    Args:
        error: librdkafka's error.
        doing: What we were doing, e.g. "reading crm.state.Account"; the message begins with it.
    """
    cause: KafkaError = error.args[0] if isinstance(error, KafkaException) else error
    code = cause.code()
    what = f"{doing}: Kafka said {cause.name()}"
    if code in _FENCED:
        # The broker says the same to an instance that stood still while its transaction timed out, and to a member of a
        # group whose answer was lost on the way, and who has joined again.
        return Fenced(
            f"{what}: a newer instance of this process has taken its place, or this one was away for longer than Kafka "
            f"waits. It restarts and finds out which."
        )
    if code in _LOST:
        return PositionLost(f"{what}: the topic no longer has this offset.")
    if code == KafkaError.INVALID_RECORD:
        return DataError(
            f"{what}: the brokers refuse the record ({cause.str()}). See how the topic checks records."
        )
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return RecordTooLarge(
            f"{what}: the record is larger than the topic takes. Raise its max.message.bytes (and "
            f"kafka.message.max.bytes), or exclude large fields from the sync."
        )
    if code in _FORBIDDEN:
        return UnfitServer(
            f"{what}: the user of this process has no permission for it. Grant it (ACL) and start again."
        )
    if code in _UNTRUSTED:
        return SignInRefused(
            f"{what}. Check kafka.sasl.mechanism, kafka.sasl.username and kafka.sasl.password."
        )
    if code == KafkaError._SSL:
        return SignInRefused(
            f"{what}: the TLS handshake failed. Check kafka.security.protocol, and that kafka.ssl.ca.location "
            f"has the CA that signed the broker's certificate."
        )
    if code in _MENDS:
        return SetupError(f"{what} ({cause.str()}). {_MENDS[code]}")
    if code in _REFUSED:
        return SetupError(f"{what} ({cause.str()}). Correct the setting it names.")
    if cause.fatal() or code == KafkaError._FATAL:
        return ClientLost(f"{what} ({cause.str()}). This client cannot continue; the process restarts.")
    return Unavailable(f"{what} ({cause.str()}). It is tried again; check the brokers if this lasts.")


def answered(answer: Future[T], timeout_s: float, what: str) -> T:
    """
    Wait for the brokers' answer to a request of the AdminClient.

    Args:
        timeout_s: The timeout of that request.
        what: What we were doing; the message of an error begins with it.

    Raises:
        Unavailable, SetupError: see translated(); Unavailable also if there is no answer at all.
    """
    try:
        return answer.result(timeout_s + _ANSWER_MARGIN_S)
    except KafkaException as error:
        raise translated(error, what) from error
    except TimeoutError as error:
        raise Unavailable(
            f"{what}: no broker has answered within {timeout_s:.0f} s. It is tried again."
        ) from error
