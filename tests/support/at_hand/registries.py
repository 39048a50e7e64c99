"""A schema registry in memory, for tests that need ids and nothing else of one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from salmon.errors import SchemaMismatch


class MemoryRegistry:
    """Gives the same id for the same schema, as Confluent's does. Takes every schema for compatible."""

    def __init__(self) -> None:
        self.schemas: list[str] = []
        self.subjects: dict[str, list[int]] = {}

    def register(self, subject: str, schema: Mapping[str, Any]) -> int:
        text = json.dumps(schema)
        if text not in self.schemas:
            self.schemas.append(text)
        schema_id = self.schemas.index(text) + 1
        versions = self.subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return schema_id

    def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        if not 0 < schema_id <= len(self.schemas):
            raise SchemaMismatch(f"the registry has no schema {schema_id}.")
        schema: dict[str, Any] = json.loads(self.schemas[schema_id - 1])
        return schema

    def latest(self, subject: str) -> tuple[int, dict[str, Any]] | None:
        if subject not in self.subjects:
            return None
        schema_id = self.subjects[subject][-1]
        return schema_id, self.schema_by_id(schema_id)
