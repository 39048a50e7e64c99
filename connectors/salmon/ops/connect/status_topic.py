"""
The records of `<name>.status`: what a person asked of each connector, and which processes there are.

Keys and states are Kafka Connect's (KafkaStatusBackingStore, KafkaConfigBackingStore), values are JSON, so any consumer can read
them:

| key | value |
|---|---|
| `target-state-<connector>` | `state`: STARTED, PAUSED or STOPPED. It holds until another one is written |
| `restart-connector-<connector>` | a request to restart, of all replicas or of one `task`. It is obeyed once, by those that run |
| `logger-cluster-<logger>` | the `level` of a logger. It is set in all processes that run |
| `status-task-<connector>-<ordinal>` | a process: its `state`, `worker_id`, `url`, and a `trace` if it has failed |
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from salmon.errors import DataError
from salmon.foreign_json import json_in

_LOGGER: Final = "logger-cluster-"
_PROCESS: Final = re.compile(r"status-task-(.+)-(\d+)")

Row = Mapping[str, Any]
T = TypeVar("T")


class Target(StrEnum):
    """What a person wants a connector to do. Kafka Connect's TargetState."""

    STARTED = "STARTED"
    PAUSED = "PAUSED"
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A target state, and when it was asked for (0: nobody has asked)."""

    target: Target = Target.STARTED
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Restart:
    """A request to restart. *task*: of this replica only; None: of all."""

    id: str
    task: int | None = None

    def is_for(self, ordinal: int) -> bool:
        return self.task is None or self.task == ordinal


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the sync, as it described itself when its state last changed."""

    connector: str
    ordinal: int
    state: str
    worker_id: str
    url: str
    at_ms: int
    trace: str | None = None


def decode(value: bytes) -> Row:
    """
    Return the value of a record.

    Raises:
        DataError: it is not a JSON object, so another program wrote it.
    """
    try:
        row = json_in(value)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise DataError("the status topic: a record is not a JSON object. Find out who wrote it.")
    return row


def target_record(connector: str, target: Target, at_ms: int) -> tuple[str, bytes]:
    """Key and value of the record that asks for a target state."""
    return f"target-state-{connector}", _encoded({"state": target, "at_ms": at_ms})


def restart_record(connector: str, task: int | None, at_ms: int) -> tuple[str, bytes]:
    """Key and value of the record that asks for a restart."""
    return f"restart-connector-{connector}", _encoded({"id": uuid.uuid4().hex, "task": task, "at_ms": at_ms})


def logger_record(logger: str, level: str, at_ms: int) -> tuple[str, bytes]:
    """Key and value of the record that asks all processes to log more, or less."""
    return f"{_LOGGER}{logger}", _encoded({"level": level, "at_ms": at_ms})


def process_record(process: Process) -> tuple[str, bytes]:
    """Key and value of the record in which a process describes itself."""
    row = {
        "state": process.state,
        "trace": process.trace,
        "worker_id": process.worker_id,
        "url": process.url,
        "at_ms": process.at_ms,
    }
    return f"status-task-{process.connector}-{process.ordinal}", _encoded(row)


def wanted_of(rows: Mapping[str, Row], connector: str) -> Wanted:
    """What is wanted of a connector. A state that this version does not know is ignored."""
    return _read(rows.get(f"target-state-{connector}"), _wanted) or Wanted()


def restart_of(changed: Mapping[str, Row | None], connector: str) -> Restart | None:
    """The request to restart among records that have just arrived."""
    return _read(changed.get(f"restart-connector-{connector}"), _restart)


def levels_of(changed: Mapping[str, Row | None]) -> dict[str, str]:
    """Logger -> level, of the records that have just arrived."""
    return {
        key.removeprefix(_LOGGER): str(row["level"])
        for key, row in changed.items()
        if key.startswith(_LOGGER) and row is not None and "level" in row
    }


def processes_of(rows: Mapping[str, Row]) -> list[Process]:
    """All processes that have ever described themselves, by connector and ordinal."""
    found = []
    for key, row in rows.items():
        if (name := _PROCESS.fullmatch(key)) and (
            process := _read(row, _process_named(name[1], int(name[2])))
        ):
            found.append(process)
    return sorted(found, key=lambda each: (each.connector, each.ordinal))


def _wanted(row: Row) -> Wanted:
    return Wanted(Target(row["state"]), int(row.get("at_ms", 0)))


def _restart(row: Row) -> Restart:
    return Restart(str(row["id"]), None if row.get("task") is None else int(row["task"]))


def _process_named(connector: str, ordinal: int) -> Callable[[Row], Process]:
    def process(row: Row) -> Process:
        return Process(
            connector,
            ordinal,
            str(row["state"]),
            str(row["worker_id"]),
            str(row["url"]),
            int(row["at_ms"]),
            None if row.get("trace") is None else str(row["trace"]),
        )

    return process


def _read(row: Row | None, make: Callable[[Row], T]) -> T | None:
    """What a record says; None if there is none, or if it is of a kind that this version does not know."""
    try:
        return None if row is None else make(row)
    except (KeyError, TypeError, ValueError):
        return None


def _encoded(row: Row) -> bytes:
    return json.dumps(row).encode()
