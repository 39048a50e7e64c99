"""
The headers of a dead letter, by the names that Kafka Connect gives them (KIP-298).

The key, the value and the headers of the failed record keep their original bytes. These headers say where it came from
and why it failed. Three more, without Connect's prefix, are for `salmon dlq`: which object or event it is about, the error's
code, and when the record was written.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Message

PREFIX: Final = "__connect.errors."
SUBJECT: Final = "salmon.subject"
CODE: Final = "salmon.code"
WRITTEN_AT: Final = "salmon.written.at"
_OWN: Final = frozenset({SUBJECT, CODE, WRITTEN_AT})
# A header is for people, who cannot use more than a screen of text; and Kafka limits the size of a record.
_TEXT_MAX: Final = 8_000

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record was written first, and when (ms since 1970)."""

    topic: str
    partition: int
    offset: int
    at_ms: int


def origin_of(message: Message) -> Origin:
    """Where a record was written first. One that `salmon dlq` has given to its sink again says so in its headers."""
    told = headers_of(message)
    try:
        return Origin(
            told[f"{PREFIX}topic"],
            int(told[f"{PREFIX}partition"]),
            int(told[f"{PREFIX}offset"]),
            int(told[WRITTEN_AT]),
        )
    except (KeyError, ValueError):
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        return Origin(message.topic() or "", partition, offset, message.timestamp()[1])


def mark_of(queue: str, offset: int, at_ms: int) -> str:
    """
    The key that says a letter was dealt with. With the time, because a queue that was deleted and created again counts from 0
    again. *queue*: the connector in whose queue it is.
    """
    return f"{queue}/{offset}/{at_ms}"


def headers_of(message: Message) -> Mapping[str, str]:
    """The headers of a record as text."""
    headers: Any = message.headers() or ()
    return {name: (value or b"").decode(errors="replace") for name, value in headers}


def dead_letter_headers(
    message: Message | None,
    error: Exception,
    *,
    connector: str,
    stage: str,
    task: str = "0",
    class_name: str = "",
    subject: str = "",
) -> Headers:
    """
    Build the headers of a dead letter: first those of the failed record, then ours.

    Args:
        message: The record that failed, if it came from Kafka.
        stage: Kafka Connect's stage: TASK_POLL, TASK_PUT, VALUE_CONVERTER, ...
        class_name: Name of the class that failed, e.g. the task's; None: the connector's name.
        subject: The object or event that the record is about, if that is known.
    """
    kept: Sequence[tuple[str, bytes | None]] = (message.headers() or ()) if message is not None else ()  # type: ignore[assignment]
    headers: Headers = [
        (name, value or b"") for name, value in kept if not name.startswith(PREFIX) and name not in _OWN
    ]
    context = {
        "connector.name": connector,
        "task.id": task,
        "stage": stage,
        "class.name": class_name or connector,
        "exception.class.name": f"{type(error).__module__}.{type(error).__name__}",
        "exception.message": str(error),
        "exception.stacktrace": "".join(traceback.format_exception(error)),
    }
    own = {SUBJECT: subject, CODE: str(getattr(error, "code", ""))}
    if message is not None:
        origin = origin_of(message)
        context = {
            "topic": origin.topic,
            "partition": str(origin.partition),
            "offset": str(origin.offset),
            **context,
        }
        own[WRITTEN_AT] = str(origin.at_ms)
    said = {PREFIX + name: text for name, text in context.items()} | {
        n: text for n, text in own.items() if text
    }
    return headers + [(name, text[:_TEXT_MAX].encode()) for name, text in said.items()]
