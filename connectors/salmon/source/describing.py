"""
Registers what the side says of its objects for those who fill them in (salmon.model.described), at the start and from time to time.

A thread of its own, so that neither the side nor the registry delays the source. What cannot be had is tried again next time; until then the
former one counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Event, Thread
from typing import Final

import structlog

from salmon.errors import SalmonError
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.topics import Topics
from salmon.model.described import described
from salmon.plugin.describing import ShowsDescribes

log = structlog.get_logger(__name__)

# One API call for each object: 48 a day.
LOOK_EVERY_S: Final = 1800.0
_JOIN_MAX_S: Final = 1.0


class Describing:
    """Registers from its construction until it is closed. *objects*: their names."""

    def __init__(
        self,
        registry: Registry,
        topics: Topics,
        objects: Iterable[str],
        source: ShowsDescribes,
        *,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._registry, self._topics, self._source = registry, topics, source
        self._objects, self._every_s = tuple(objects), every_s
        self._closing = Event()
        self._thread = Thread(target=self._run, name="describing", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._closing.set()
        self._thread.join(_JOIN_MAX_S)

    def _run(self) -> None:
        while True:
            for name in self._objects:
                if self._closing.is_set():
                    return
                try:
                    self._register(name)
                except (SalmonError, KeyError, TypeError) as error:
                    log.warning("object_not_described", object=name, error=type(error).__name__)
            if self._closing.wait(self._every_s):
                return

    def _register(self, name: str) -> None:
        found, subject = described(self._source.describe_of(name)), self._topics.described(name)
        latest = self._registry.latest(subject)
        if latest is None or latest[1] != found.to_registry():
            self._registry.register(subject, found.to_registry())


def describing(registry: Registry, topics: Topics, objects: Iterable[str], task: object) -> Describing | None:
    """Begin, if the source can be asked."""
    return Describing(registry, topics, objects, task) if isinstance(task, ShowsDescribes) else None
