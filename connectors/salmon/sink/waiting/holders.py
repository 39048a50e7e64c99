"""
Follows the partitions of the records that hold unique values on which refusals depend, whichever instance has them.

A refusal may end with the next write to the holder, and that write may be another instance's to carry out, or may have come
while no instance ran. So each holder's partition is read from where the refusal was decided (Refused.seen).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog
from confluent_kafka import Message

from salmon.errors import PositionLost, Unavailable
from salmon.kafka.foreign import looks_ours
from salmon.kafka.reader import Place, Reader
from salmon.runtime.instance import Instance
from salmon.sink.waiting.refusals import RecordId, Refused

log = structlog.get_logger(__name__)

Found = tuple[RecordId, str, bytes]  # a holder, the topic of its writes, the value of a write to it


class HolderWatch:
    """
    Only the loop uses it.

    Args:
        place_of: The partition of `writes` that a record is in.
    """

    def __init__(self, instance: Instance, place_of: Callable[[RecordId], Place]) -> None:
        self._instance, self._place_of = instance, place_of
        self._known: frozenset[Refused] = frozenset()
        self._next: dict[Place, int] = {}
        self._reader: Reader | None = None

    def turn(self, refusals: Iterable[Refused]) -> list[Found]:
        """
        Return writes to holders of *refusals* that have come since.

        Raises:
            Unavailable: Kafka does not answer; call again.
        """
        followed = {each: self._place_of(each.holder) for each in refusals if each.seen is not None}
        if followed.keys() != self._known or (followed and self._reader is None):
            self._follow(followed)
        if self._reader is None:
            return []
        holders = {(topic, each.holder[1].encode()): each.holder for each, (topic, _) in followed.items()}
        found: list[Found] = []

        def take(records: Sequence[Message], after: Mapping[Place, int]) -> None:
            for message in records:
                topic, key, value = message.topic() or "", message.key() or b"", message.value()
                if value is not None and (topic, key) in holders and looks_ours(message):
                    found.append((holders[topic, key], topic, value))
            self._next |= after

        try:
            self._reader.step(take, 0.0)
        except PositionLost:
            log.warning("holders_not_followed", partitions=len(self._next))
            self._next = {}
            self.close()
        except Unavailable:
            self.close()
            raise
        return found

    def close(self) -> None:
        """Give up the connection."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _follow(self, followed: Mapping[Refused, Place]) -> None:
        """Read on where we were; for a refusal that is new, from where it was decided."""
        starts: dict[Place, int] = {}
        for refused, place in followed.items():
            at = self._next.get(place) if refused in self._known else refused.seen
            if at is not None:
                starts[place] = min(at, starts.get(place, at), self._next.get(place, at))
        if starts != self._next or self._reader is None:
            self.close()
            self._next = starts
            if starts:
                self._reader = Reader(self._instance.clients, starts, name=f"{self._instance.id}.holders")
        self._known = frozenset(followed)
