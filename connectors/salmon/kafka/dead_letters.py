"""
The headers of a dead letter, by the names that Kafka Connect gives them (KIP-298).

Key, value and headers of the record that failed stay as its original bytes; these say where it came from and why.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Final

from confluent_kafka import Message

PREFIX: Final = "__connect.errors."
# A header is for people: what does not fit on a screen does not help them, and Kafka's records have a limit.
_TEXT_MAX: Final = 8_000

Headers = list[tuple[str, bytes]]


def dead_letter_headers(
    message: Message | None,
    error: Exception,
    *,
    connector: str,
    stage: str,
    task: str = "0",
    class_name: str = "",
) -> Headers:
    """
    The headers of a dead letter; those that the record had come first.

    Args:
        message: The record that failed, if it came from Kafka.
        stage: Kafka Connect's stage: TASK_POLL, TASK_PUT, VALUE_CONVERTER, ...
        class_name: What failed, e.g. the task's class; the connector's name by default.
    """
    kept: Sequence[tuple[str, bytes | None]] = (message.headers() or ()) if message is not None else ()  # type: ignore[assignment]
    headers: Headers = [(name, value or b"") for name, value in kept if not name.startswith(PREFIX)]
    told = {
        "connector.name": connector,
        "task.id": task,
        "stage": stage,
        "class.name": class_name or connector,
        "exception.class.name": f"{type(error).__module__}.{type(error).__name__}",
        "exception.message": str(error),
        "exception.stacktrace": "".join(traceback.format_exception(error)),
    }
    if message is not None:
        told = {
            "topic": message.topic() or "",
            "partition": str(message.partition()),
            "offset": str(message.offset()),
            **told,
        }
    return headers + [(PREFIX + name, text[:_TEXT_MAX].encode()) for name, text in told.items()]
