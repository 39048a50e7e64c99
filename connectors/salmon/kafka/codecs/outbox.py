"""
The codecs of an outbox's two topics: documents on their way to become events, and what became of each.

Both have the record key of the document. The fields of an event are JSON, because only the org knows their types.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from salmon.errors import SchemaMismatch
from salmon.foreign_json import json_in
from salmon.kafka.codecs import schemas
from salmon.kafka.codecs.avro import Codec
from salmon.kafka.codecs.registry import Registry

# Of the ids of published events (RFC 9562, UUIDs of version 5).
IDS: Final = uuid.UUID("7d4f1c2e-6c0b-5d0a-9a3e-5a1b0c9f2e11")


def document_event_id(topic: str, key: str) -> str:
    """The id of a document's event: always the same, however often the document is read. *topic*: the outbox's."""
    return str(uuid.uuid5(IDS, f"{topic}/{key}"))


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a document's event. *at*: when, in ms since 1970. *error*: why it was refused; empty: it was published."""

    event_uuid: str
    at: int
    error: str = ""


class Documents(Codec):
    """The codec of an outbox's topic."""

    def __init__(self, registry: Registry, topic: str) -> None:
        super().__init__(schemas.fixed("outbox"), registry, topic)

    def encode(self, fields: Mapping[str, Any], inserted_at: int) -> bytes:
        """Encode an event's fields, as REST shows values. *inserted_at*: ms since 1970; 0: not known."""
        text = json.dumps(dict(fields), ensure_ascii=False, allow_nan=False)
        return self.encode_datum({"fields": text, "inserted_at": inserted_at})

    def decode(self, data: bytes) -> tuple[dict[str, Any], int]:
        """The inverse of encode. Raises SchemaMismatch: the bytes are not of this topic."""
        datum = self.decode_datum(data)
        try:
            fields = json_in(datum["fields"])
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise SchemaMismatch(
                f"{self.topic}: a record's fields are not a JSON object. Find out who wrote it."
            )
        return fields, datum["inserted_at"]


class Outcomes(Codec):
    """The codec of the topic that says what became of an outbox's documents."""

    def __init__(self, registry: Registry, topic: str) -> None:
        super().__init__(schemas.fixed("outcome"), registry, topic)

    def encode(self, outcome: Published) -> bytes:
        return self.encode_datum(
            {"event_uuid": outcome.event_uuid, "at": outcome.at, "error": outcome.error or None}
        )

    def decode(self, data: bytes) -> Published:
        """Raises SchemaMismatch: the bytes are not an outcome."""
        datum = self.decode_datum(data)
        return Published(datum["event_uuid"], datum["at"], datum["error"] or "")
