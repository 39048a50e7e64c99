"""
Foreign records: what somebody else has written into a topic of ours.

One of them must never stop a reader, least of all for ever. It is passed over, as if it had not been written: the key
keeps the value that it had. It is counted for the metrics, and the log names its place once.
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
_NAMED_MAX: Final = 1_000  # places that are remembered, and named in the log
_KEY_SHOWN: Final = 80


class ForeignRecords:
    """What this process has passed over. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: set[tuple[str, int, int | None, bytes | None]] = set()
        self._counts: Counter[str] = Counter()

    def pass_over(
        self, topic: str, partition: int, offset: int | None, key: bytes | None, reason: str
    ) -> None:
        """
        Count the record at that place, and name it in the log; only once, however often it is read.

        Args:
            offset: None where it is not known any more.
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
        """Topic -> records."""
        with self._lock:
            return dict(self._counts)


FOREIGN: Final = ForeignRecords()


def key_text(topic: str, key: bytes) -> str:
    """The key of a record. Raises SchemaMismatch for one that cannot be ours."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise SchemaMismatch(
            f"{topic}: a key is not UTF-8 text, as all of ours are. Find out who wrote it."
        ) from None


def decoded(message: Message, decode: Callable[[bytes], T]) -> T | None:
    """
    The value of a record, or None where it is foreign, which is reported.

    Raises:
        RetriableError, FatalError: *decode* cannot tell now.
    """
    try:
        return decode(message.value() or b"")
    except DataError as error:
        FOREIGN.pass_over(*place_of(message), message.key(), str(error))
        return None


def looks_ours(message: Message) -> bool:
    """Whether a record may be ours, as far as its key and its first byte show: for who counts, and decodes nothing."""
    key, value = message.key(), message.value()
    try:
        (key or b"").decode()
    except UnicodeDecodeError:
        return False
    return key is not None and (value is None or value[:1] == _MAGIC)


def key_shown(key: bytes | None) -> str | None:
    """A key of any bytes as text that is harmless on a terminal, shortened."""
    if key is None:
        return None
    text = ascii(key.decode(errors="backslashreplace"))[1:-1]
    return text if len(text) <= _KEY_SHOWN else f"{text[:_KEY_SHOWN]}..."
