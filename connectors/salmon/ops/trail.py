"""
The trail of an edit: one debug line for each step on its way, from the report of its side to the echo of its write on the other.

All lines of an edit have its `correlation`. Nobody pays for lines that nobody reads: callers ask followed() once per batch. Where
spans are collected (salmon.ops.spans), each step is also a span.
"""

from __future__ import annotations

import logging
import time
from enum import StrEnum
from typing import Any, Final, Protocol

import structlog

log = structlog.get_logger(__name__)
_LEVEL: Final = logging.getLogger(__name__)


class Step(StrEnum):
    """The steps, as the log names them."""

    REPORTED = "change_reported"  # the source has it in Kafka
    FINISHED = "write_finished"  # the sink has an outcome
    CAME_BACK = "write_came_back"  # merge has seen the echo, and nothing more is owed to the record


class Collector(Protocol):
    """Collects steps as spans."""

    def add(
        self,
        step: Step,
        *,
        correlation: str,
        object: str,  # noqa: A002
        key: str,
        began_ms: int,
        facts: dict[str, Any],
    ) -> None: ...


class _Collected:
    by: Collector | None = None  # of this process


def collect(collector: Collector | None) -> None:
    """Give all steps of this process to *collector* from now on."""
    _Collected.by = collector


def followed() -> bool:
    """Whether anybody wants to know of steps."""
    return _Collected.by is not None or _LEVEL.isEnabledFor(logging.DEBUG)


def went(
    step: Step,
    *,
    correlation: str,
    object: str,  # noqa: A002
    key: str,
    edited_at_ms: int = 0,
    **facts: Any,
) -> None:
    """
    An edit went this far.

    Args:
        correlation: Of the edit; empty for a row, whose writes are named after its place in `changes`.
        edited_at_ms: When its side committed it, in ms since 1970; 0: unknown.
        facts: What else is known, without values: op, seq, outcome.
    """
    after_s = {"after_s": round(max(0.0, time.time() - edited_at_ms / 1000), 3)} if edited_at_ms else {}
    log.debug(step.value, object=object, key=key, correlation=correlation or None, **facts, **after_s)
    if _Collected.by is not None and correlation:
        _Collected.by.add(
            step, correlation=correlation, object=object, key=key, began_ms=edited_at_ms, facts=facts
        )
