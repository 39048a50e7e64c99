"""
Foreign records: records in a topic of ours that another program has written.

A foreign record must never stop a reader. It is skipped as if it had not been written: the key keeps its former
value. It is counted for the metrics, and the log names its topic, partition and offset once.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import structlog
from confluent_kafka import Message

from salmon.errors import DataError, SchemaMismatch
from salmon.kafka.clients import place_of

log = structlog.get_logger(__name__)

T = TypeVar("T")

_MAGIC: Final = b"\0"  # of the Confluent wire format
_NAMED_MAX: Final = 1_000  # records that are remembered, and named in the log
_KEY_SHOWN: Final = 80


class ForeignRecords:
    """The foreign records that this process has skipped. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: set[tuple[str, int, int | None, bytes | None]] = set()
        self._counts: Counter[str] = Counter()

    def pass_over(
        self, topic: str, partition: int, offset: int | None, key: bytes | None, reason: str
    ) -> None:
        """
        Count a record, and name it in the log; only once, however often it is read.

        Args:
            offset: None if it is not known any more.
            reason: Why the record is foreign, without its values.
        """
        place = topic, partition, offset, key
        with self._lock:
            if place in self._places:
                return
            named = len(self._places) < _NAMED_MAX
            if named:
                self._places.add(place)
            self._counts[topic] += 1
        if named:
            log.error(
                "foreign_record_passed_over",
                topic=topic,
                partition=partition,
                offset=offset,
                key=key_shown(key),
                reason=reason,
            )

    def counts(self) -> Mapping[str, int]:
        """Return the number of foreign records by topic."""
        with self._lock:
            return dict(self._counts)


FOREIGN: Final = ForeignRecords()


def key_text(topic: str, key: bytes) -> str:
    """Decode the key of a record. Raises SchemaMismatch if the key cannot be ours."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise SchemaMismatch(
            f"{topic}: a key is not UTF-8 text, as all of ours are. Find out who wrote it."
        ) from None


def decoded(message: Message, decode: Callable[[bytes], T]) -> T | None:
    """
    Decode the value of a record; None if it is foreign, which is then counted and logged.

    Raises:
        RetriableError, FatalError: *decode* raised it, e.g. because the registry does not answer.
    """
    try:
        return decode(message.value() or b"")
    except DataError as error:
        FOREIGN.pass_over(*place_of(message), message.key(), str(error))
        return None


def looks_ours(message: Message) -> bool:
    """Whether a record may be ours, by its key and its first byte. For counting without decoding."""
    key, value = message.key(), message.value()
    try:
        (key or b"").decode()
    except UnicodeDecodeError:
        return False
    return key is not None and (value is None or value[:1] == _MAGIC)


def key_shown(key: bytes | None) -> str | None:
    """Format a key of any bytes as short text that is safe on a terminal."""
    if key is None:
        return None
    text = ascii(key.decode(errors="backslashreplace"))[1:-1]
    return text if len(text) <= _KEY_SHOWN else f"{text[:_KEY_SHOWN]}..."
