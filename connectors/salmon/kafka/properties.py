"""
librdkafka's properties: those that Salmon sets itself, and which one librdkafka refuses.

The clients are made in kafka.clients and kafka.transactions.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException

from salmon.errors import ConfigError

log = structlog.get_logger(__name__)

Client = TypeVar("Client")

BROKERS: Final = frozenset({"bootstrap.servers", "metadata.broker.list"})  # one property by two names

# Our promises depend on these, so a configuration must not set them.
OWN_PROPERTIES: Final = frozenset(
    {
        "acks",
        "auto.offset.reset",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "group.instance.id",
        "isolation.level",
        "partitioner",
        "request.required.acks",
        "transactional.id",
    }
)


def refuse_own_properties(kafka: Mapping[str, Any]) -> None:
    """Raise ConfigError for properties that a configuration must not set."""
    if taken := sorted(OWN_PROPERTIES & set(kafka)):
        raise ConfigError(
            f"{', '.join(f'kafka.{name}' for name in taken)}: set by Salmon itself, because its promises depend on "
            f"it. Remove it from the configuration."
        )


def common(kafka: Mapping[str, Any], client_id: str) -> dict[str, Any]:
    refuse_own_properties(kafka)
    return {
        "client.id": client_id,
        "logger": logging.getLogger("salmon.librdkafka"),
        # Only critical messages: everything else comes as an error, or is logged by _Trouble.
        "log_level": 2,
        **kafka,
    }


def made(
    kind: Callable[[dict[str, Any]], Client], settings: dict[str, Any], kafka: Mapping[str, Any]
) -> Client:
    """Make a client. Raises ConfigError, with the name but not the value of a property that librdkafka refuses."""
    settings.setdefault("error_cb", _Trouble(settings["client.id"]))
    try:
        return kind(settings)
    except (KafkaException, TypeError, ValueError) as error:
        cause = error.args[0]
        said = cause.str() if isinstance(cause, KafkaError) else str(cause)
        raise ConfigError(_why_refused(said, kafka)) from None


def _why_refused(said: str, kafka: Mapping[str, Any]) -> str:
    # librdkafka has one code for all of these; its text may name an alias of the property, or none.
    for name, value in sorted(kafka.items(), key=lambda item: -len(item[0])):
        if f'"{name}"' in said or f"{name} " in said or _is_refused(name, value):
            kind = type(value).__name__
            if "No such" in said:
                return f"kafka.{name}: librdkafka has no such property. See its CONFIGURATION.md."
            return f"kafka.{name}: librdkafka refuses its value (of type {kind}). See its CONFIGURATION.md."
    return f"kafka: librdkafka refuses these properties together: {_values_hidden(said, kafka)}."


def _is_refused(name: str, value: Any) -> bool:
    try:
        Consumer({"group.id": "a", "log_level": 0, name: value}).close()
    except (KafkaException, TypeError, ValueError):
        return True
    return False


def _values_hidden(said: str, kafka: Mapping[str, Any]) -> str:
    for value in map(str, kafka.values()):
        said = said.replace(value, "...") if len(value) > 3 else said
    return said


class _Trouble:
    """Logs a client's own errors (e.g. a broker is gone): each kind when it first occurs, then once a minute."""

    _AGAIN_S: Final = 60.0

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._logged_at: dict[int, float] = {}

    def __call__(self, error: KafkaError) -> None:
        now = time.monotonic()
        if now - self._logged_at.get(error.code(), -self._AGAIN_S) >= self._AGAIN_S:
            self._logged_at[error.code()] = now
            log.warning(
                "kafka_trouble_seen", client_id=self._client_id, error=error.name(), reason=error.str()
            )
