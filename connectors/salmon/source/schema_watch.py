"""
Whether the objects still have the schemas that a process began with.

For those who write by them and read nothing by which they would see that there are newer ones. A thread asks: a
registry that is out holds up nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event, Thread
from typing import Final

import structlog

from salmon.errors import SchemaOutdated
from salmon.kafka.codecs.avro import supersedes
from salmon.kafka.codecs.registry import Registry, object_schema
from salmon.kafka.topics import Topics
from salmon.model.schema import ObjectSchema

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 2.0
_JOIN_MAX_S: Final = 1.0


class SchemaWatch:
    """
    Looks from its making on, until it is closed or has seen a newer schema.

    Args:
        schemas: Object -> the schema that is written by.
    """

    def __init__(
        self,
        registry: Registry,
        topics: Topics,
        schemas: Mapping[str, ObjectSchema],
        *,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._registry, self._topics, self._schemas = registry, topics, schemas
        self._every_s = every_s
        self._closing = Event()
        self._outdated: SchemaOutdated | None = None
        self._thread = Thread(target=self._run, name="schemas", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises SchemaOutdated where an object has a newer schema."""
        if self._outdated is not None:
            raise self._outdated

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._closing.set()
        self._thread.join(_JOIN_MAX_S)

    def _run(self) -> None:
        trouble = ""
        while self._outdated is None and not self._closing.wait(self._every_s):
            try:
                self._look()
                trouble = ""
            except SchemaOutdated as outdated:
                self._outdated = outdated
            except Exception as error:  # noqa: BLE001 - whatever the registry says, it is asked again
                if trouble != (trouble := type(error).__name__):
                    log.warning("schemas_not_looked_at", error=trouble, reason=str(error))

    def _look(self) -> None:
        for name, schema in self._schemas.items():
            latest = object_schema(self._registry, self._topics.records(name))
            if latest is not None and supersedes(latest.to_avro(), schema.to_avro()):
                raise SchemaOutdated(f"{name}: its schema has changed since this process began. Begin again.")
