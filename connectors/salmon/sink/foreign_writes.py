"""Tells the records of other programs in `writes` from commands of ours and their tombstones."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import Message

from salmon.errors import DataError
from salmon.kafka.codecs.serdes import Writes
from salmon.kafka.foreign import key_text


def fault_of(message: Message, codecs: Mapping[str, Writes]) -> tuple[DataError, str] | None:
    """
    Check whether a record is foreign. This is done before the buffer is used, because a foreign record must not replace
    the key's command there.

    Args:
        codecs: Topic -> its codec.

    Returns:
        The error, and Kafka Connect's name of the stage; None for a command or a tombstone.

    Raises:
        Unavailable: the registry does not answer.
    """
    topic, key, value = message.topic() or "", message.key(), message.value()
    stage = "KEY_CONVERTER"
    try:
        if key is None:
            raise DataError(f"{topic}: a record without a key is not a write. Find out who wrote it.")
        key_text(topic, key)
        stage = "VALUE_CONVERTER"
        if value is not None:
            codecs[topic].check_writer(value)
    except DataError as error:
        return error, stage
    return None
