"""The codec of a platform event's topic: one flat record, made as the rows of `records` are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from salmon.kafka.codecs.registry import Registry
from salmon.kafka.codecs.serdes import Records
from salmon.model.schema import ObjectSchema

NAMESPACE: Final = "salmon.events"


class Events(Records):
    """The codec of one platform event's topic. The schema describes events as `Records` describes rows."""

    def __init__(self, schema: ObjectSchema, registry: Registry, topic: str) -> None:
        super().__init__(schema, registry, topic, avro=event_avro(schema))


def event_avro(schema: ObjectSchema) -> Mapping[str, Any]:
    """The Avro record of an event."""
    return {
        **schema.to_avro(),
        "namespace": NAMESPACE,
        "doc": f"The platform event {schema.name}. The Kafka record's key is its EventUuid; an event that comes twice has "
        f"the same one.",
    }
