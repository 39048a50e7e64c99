"""
Checks that the topics still exist. Kafka's own clients wait for a deleted topic, or report odd sequence numbers.

It is a part of the process (see lifecycle). If somebody has deleted a topic, it ends the process: the topic's records are
lost, and a person should know.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Event
from typing import Final

from salmon.errors import RetriableError, SetupError, TopicGone
from salmon.kafka import topics
from salmon.kafka.kept import KeptAdmin
from salmon.kafka.topics import TopicSpec
from salmon.ops.health import Health

LOOK_EVERY_S: Final = 4.0
# A broker that has just come back may not know of all topics yet.
LOOKS_MAX: Final = 3


class TopicWatch:
    """Runs in a thread of its own; any thread may call missing_topic()."""

    name = "topics"

    def __init__(self, health: Health, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self._health, self._look_every_s = health, look_every_s
        self._stop = Event()
        self._admin: KeptAdmin | None = None
        self._wanted: tuple[TopicSpec, ...] = ()

    def watch(self, admin: KeptAdmin, wanted: Iterable[TopicSpec]) -> None:
        """Watch these topics, which exist now."""
        self._admin, self._wanted = admin, tuple(wanted)

    def missing_topic(self) -> TopicGone | None:
        """Return the error for a topic that does not exist any more; None if all exist, or if Kafka does not answer."""
        if self._admin is None:
            return None
        try:
            return self._admin.ask(lambda admin: topics.gone(admin, self._wanted))
        except (RetriableError, SetupError):
            return None  # the part that works with Kafka reports it

    def run(self) -> None:
        """Check from time to time until asked to stop. Raises TopicGone."""
        looks = 0
        while not self._stop.wait(self._look_every_s):
            gone = self.missing_topic()
            looks = looks + 1 if gone is not None else 0
            if gone is not None and looks >= LOOKS_MAX:
                self._health.ended(gone)
                raise gone

    def stop(self) -> None:
        self._stop.set()

    def cut(self) -> None:
        pass
