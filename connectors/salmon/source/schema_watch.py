"""
Checks whether the objects still have the schemas with which the process started.

A source needs it if another process registers the schemas: it only writes, so it would not notice newer ones by itself. So does the one
that registers them, for those that the registry has refused: `salmon schemas register` may do it with another account. A
thread of its own asks the registry, so that an outage of the registry does not delay the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event, Thread
from typing import Final

import structlog

from salmon.errors import SchemaOutdated, SetupError
from salmon.kafka.codecs.avro import supersedes
from salmon.kafka.codecs.registry import Registry, object_schema
from salmon.kafka.topics import Topics
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import KeepsSchemas
from salmon.runtime import schemas as subjects
from salmon.runtime.instance import Instance

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 2.0
_JOIN_MAX_S: Final = 1.0


class SchemaWatch:
    """
    Checks from its construction until it is closed or has found a newer schema.

    Args:
        schemas: Object -> the schema that this process uses.
        every_s: Seconds between two checks.
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
        """Raise SchemaOutdated if an object has a newer schema."""
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
                self._compare()
                trouble = ""
            except SchemaOutdated as outdated:
                self._outdated = outdated
            except Exception as error:  # noqa: BLE001 - whatever the registry says, it is asked again
                if trouble != (trouble := type(error).__name__):
                    log.warning("schemas_not_checked", error=trouble, reason=str(error))

    def _compare(self) -> None:
        for name, schema in self._schemas.items():
            latest = object_schema(self._registry, self._topics.records(name))
            if latest is not None and supersedes(latest.to_avro(), schema.to_avro()):
                raise SchemaOutdated(
                    f"{name}: its schema has changed since this process started. The process restarts to use it."
                )


def register_or_keep(
    instance: Instance, schemas: Mapping[str, ObjectSchema], keeps: KeepsSchemas | None
) -> tuple[Mapping[str, ObjectSchema], Mapping[str, ObjectSchema]]:
    """
    Register the *schemas* of objects.

    Args:
        keeps: The task, if it goes on with the registered schema of an object whose new one is refused.

    Returns:
        The schemas as they are registered; and of these, those that were kept. Raises as `runtime.schemas.register` does.
    """
    kept: dict[str, ObjectSchema] = {}

    def keep(name: str, why: SetupError) -> ObjectSchema:
        if keeps is None:
            raise why
        kept[name] = keeps.keep_registered(name, why)
        return kept[name]

    found = subjects.register(
        instance.registry, instance.topics, schemas, roster=instance.roster, refused=keep
    )
    return found, kept
