"""
Checks that the topics still exist. Kafka's own clients wait for a deleted topic, or report odd sequence numbers.

It is a part of the process (see lifecycle). If somebody has deleted a topic, it ends the process: the topic's records are
lost, and a person should know.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Event
from typing import Final

from confluent_kafka.admin import AdminClient

from salmon.errors import RetriableError, SetupError, TopicGone
from salmon.kafka import topics
from salmon.kafka.topics import TopicSpec
from salmon.ops.health import Health

LOOK_EVERY_S: Final = 4.0
# A broker that has just come back may not know of all topics yet.
LOOKS_MAX: Final = 3


class TopicWatch:
    """One thread runs it; any may ask look()."""

    name = "topics"

    def __init__(self, health: Health, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self._health, self._look_every_s = health, look_every_s
        self._stop = Event()
        self._admin: AdminClient | None = None
        self._wanted: tuple[TopicSpec, ...] = ()

    def watch(self, admin: AdminClient, wanted: Iterable[TopicSpec]) -> None:
        """These topics are there now."""
        self._admin, self._wanted = admin, tuple(wanted)

    def look(self) -> TopicGone | None:
        """What there is to say of topics that are gone; None where there are none, or where Kafka does not say."""
        if self._admin is None:
            return None
        try:
            return topics.gone(self._admin, self._wanted)
        except (RetriableError, SetupError):
            return None  # whoever works with Kafka says so

    def run(self) -> None:
        """Look until told to stop. Raises TopicGone."""
        looks = 0
        while not self._stop.wait(self._look_every_s):
            gone = self.look()
            looks = looks + 1 if gone is not None else 0
            if gone is not None and looks >= LOOKS_MAX:
                self._health.ended(gone)
                raise gone

    def stop(self) -> None:
        self._stop.set()

    def cut(self) -> None:
        pass
