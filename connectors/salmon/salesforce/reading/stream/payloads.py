"""
Payloads of platform events -> their fields, by the version of the event's schema that each was published with.

Sources: Pub/Sub API, "Event Avro Schemas" (one datum, without a header).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import fastavro

from salmon.errors import SchemaMismatch
from salmon.model.event_schema import event_schema

_UNREADABLE: Final = (
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    MemoryError,
    AttributeError,
)


class PayloadReader:
    """Reads payloads of one version of an event."""

    def __init__(self, name: str, text: Mapping[str, Any]) -> None:
        self._name = name
        self.names = event_schema(name, text).by_name.keys()
        try:
            self._parsed = fastavro.parse_schema(dict(text))
        except (fastavro.schema.SchemaParseException, *_UNREADABLE) as error:
            raise SchemaMismatch(
                f"{name}: its schema is not one of Avro ({type(error).__name__})."
            ) from error

    def read(self, payload: bytes) -> Mapping[str, Any]:
        """Raises SchemaMismatch for bytes that are not of this version."""
        source = io.BytesIO(payload)
        try:
            found = fastavro.schemaless_reader(source, self._parsed, None)
        except (*_UNREADABLE, StopIteration) as error:
            raise SchemaMismatch(
                f"{self._name}: an event cannot be read by its schema ({type(error).__name__}). Find out who published it."
            ) from None
        if not isinstance(found, dict) or source.tell() != len(payload):
            raise SchemaMismatch(
                f"{self._name}: an event is longer than its schema says. Find out who published it."
            )
        return found
