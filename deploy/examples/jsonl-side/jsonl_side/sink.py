"""The sink: writes in, lines out. Under the file's lock it compares markers and writes, so nothing is done twice or too late."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonl_side.journal import Journal, line_of, require_folder
from salmon.plugin import (
    Due,
    Identities,
    ObjectSchema,
    Outcome,
    SinkRecord,
    Unavailable,
    due,
    to_json,
)

if TYPE_CHECKING:
    from jsonl_side import JsonlSettings


class JsonlSink:
    """See salmon.plugin.contract.SinkTask. References are record keys, as in `changes`, so no identities are needed."""

    def __init__(self, settings: JsonlSettings, objects: Mapping[str, Any], _sync_name: str) -> None:
        self._folder, self._settings, self._objects = Path(settings.folder), settings, tuple(objects)
        self._schemas: Mapping[str, ObjectSchema] = {}
        self._journals: dict[str, Journal] = {}
        self._stopping = threading.Event()

    def connect(self) -> None:
        """For `salmon doctor`, and for the worker before the start."""
        require_folder(self._folder)

    def start(self, schemas: Mapping[str, ObjectSchema], identities: Identities, *, clean: bool) -> None:
        self._stopping.clear()
        self._schemas = schemas
        for name in self._objects:
            journal = Journal(self._folder / f"{name}.jsonl", self._settings.keep_bytes)
            journal.open()
            self._journals[name] = journal

    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]:
        if self._stopping.is_set():
            raise Unavailable("the sink of jsonl stops.")
        outcomes: dict[tuple[str, str], Outcome] = {}
        for name in {record.object for record in records}:
            of_object = [record for record in records if record.object == name]
            outcomes |= {(name, key): outcome for key, outcome in self._put(name, of_object).items()}
        return [outcomes[record.object, record.key] for record in records]

    def stop(self) -> None:
        self._stopping.set()

    def _put(self, name: str, records: Sequence[SinkRecord]) -> dict[str, Outcome]:
        journal, schema = self._journals[name], self._schemas[name]
        outcomes: dict[str, Outcome] = {}
        lines: list[bytes] = []
        with journal.locked():
            try:
                for _ in journal.follow():
                    pass
            except LookupError:
                journal.load()
            for record in records:
                held = journal.records.get(record.key)
                found = due(record.write, None if held is None else held.marker, schema.by_name)
                outcomes[record.key] = found.outcome
                if found.writes:
                    lines.append(_line(record, found, schema))
            if lines:
                journal.write(lines)
        return outcomes


def _line(record: SinkRecord, found: Due, schema: ObjectSchema) -> bytes:
    if found.deletes:
        return line_of(record.key, None, record.write.seq)
    fields = {
        name: None if value is None else to_json(schema.by_name[name], value)
        for name, value in (found.fields or {}).items()
    }
    return line_of(record.key, fields, record.write.seq)
