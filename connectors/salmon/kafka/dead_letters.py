"""
The headers of a dead letter, by the names that Kafka Connect gives them (KIP-298).

The key, the value and the headers of the failed record keep their original bytes. These headers say where it came from
and why it failed.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Final

from confluent_kafka import Message

PREFIX: Final = "__connect.errors."
# A header is for people, who cannot use more than a screen of text; and Kafka limits the size of a record.
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
    Build the headers of a dead letter: first those of the failed record, then ours.

    Args:
        message: The record that failed, if it came from Kafka.
        stage: Kafka Connect's stage: TASK_POLL, TASK_PUT, VALUE_CONVERTER, ...
        class_name: Name of the class that failed, e.g. the task's; None: the connector's name.
    """
    kept: Sequence[tuple[str, bytes | None]] = (message.headers() or ()) if message is not None else ()  # type: ignore[assignment]
    headers: Headers = [(name, value or b"") for name, value in kept if not name.startswith(PREFIX)]
    context = {
        "connector.name": connector,
        "task.id": task,
        "stage": stage,
        "class.name": class_name or connector,
        "exception.class.name": f"{type(error).__module__}.{type(error).__name__}",
        "exception.message": str(error),
        "exception.stacktrace": "".join(traceback.format_exception(error)),
    }
    if message is not None:
        context = {
            "topic": message.topic() or "",
            "partition": str(message.partition()),
            "offset": str(message.offset()),
            **context,
        }
    return headers + [(PREFIX + name, text[:_TEXT_MAX].encode()) for name, text in context.items()]
