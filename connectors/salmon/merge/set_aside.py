"""Changes that merge sets aside: their dead letters, and when there are too many of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Message

from salmon.errors import TooManyErrors
from salmon.kafka.dead_letters import dead_letter_headers
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.output import Output
from salmon.kafka.topics import Topics
from salmon.runtime.error_limit import ENTRY, Counts, ErrorLimit, Tolerance

CONNECTOR = "merge"


@dataclass(frozen=True, slots=True)
class Refused:
    """
    A change that is set aside. *without_value*: the change itself is too large for Kafka, so its dead letter has no value.
    *instead*: the reduced change that was folded in its place.
    """

    message: Message
    error: Exception
    without_value: bool = False
    instead: bytes | None = None


class SetAside:
    """Makes the records of a transaction that sets changes aside."""

    def __init__(
        self,
        topics: Topics,
        objects: Mapping[str, str],
        entries: OffsetStore,
        tolerance: Tolerance,
        *,
        ordinal: int,
    ) -> None:
        self._topics, self._objects, self._entries = topics, objects, entries
        self._limit = ErrorLimit(tolerance)
        self._entry = f"{ENTRY}/{ordinal}"
        self._is_restored = False
        self._writing: Counts | None = None
        self._committed = self._limit.counts

    def restore(self, positions: Mapping[str, Mapping[str, Any]]) -> None:
        """Go on with what was counted before the process restarted."""
        if not self._is_restored:
            self._limit.restore(positions.get(self._entry))
            self._committed = self._limit.counts
            self._is_restored = True

    def check(self, folded: int, refused: int) -> None:
        """Count a batch. Raises TooManyErrors if so many changes fail that none may be set aside."""
        # A batch that was not committed is folded again, and must not count twice.
        self._limit.recount(self._committed)
        if not self._limit.allows(folded, refused):
            raise TooManyErrors(self._limit.why)

    def outputs(self, refused: Sequence[Refused]) -> Iterator[Output]:
        """The dead letters, and what was counted."""
        for each in refused:
            headers = dead_letter_headers(
                each.message,
                each.error,
                connector=CONNECTOR,
                stage="VALUE_CONVERTER",
                subject=self._objects[each.message.topic() or ""],
            )
            value = None if each.without_value else each.instead or each.message.value()
            yield Output(self._topics.dlq(CONNECTOR), each.message.key(), value, tuple(headers))
        self._writing = self._limit.unsaved()
        if self._writing is not None:
            yield self._entries.output(CONNECTOR, self._entry, self._writing.position())

    def committed(self) -> None:
        """The transaction with outputs() was committed."""
        self._committed = self._limit.counts
        if self._writing is not None:
            self._limit.saved(self._writing)
            self._writing = None
