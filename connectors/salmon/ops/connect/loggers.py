"""
The levels of Salmon's loggers, read and set while a process runs, by Log4j's names as in Kafka Connect.

Only `salmon` and what is below it: the debug lines of a driver or an HTTP client show records and addresses.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ROOT: Final = "salmon"
_OFF: Final = logging.CRITICAL + 10
# Log4j's name -> Python's number. Each number is shown by the first of its names.
LEVELS: Final[Mapping[str, int]] = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
    "OFF": _OFF,
    "TRACE": logging.DEBUG,
    "ALL": logging.DEBUG,
}
_NAMES: Final = {number: name for name, number in reversed(list(LEVELS.items()))}
_lock = threading.Lock()
_modified: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Level:
    """The level that counts for a logger. *last_modified*: in ms since 1970; None if it was not set while we run."""

    level: str
    last_modified: int | None


def all_levels() -> dict[str, Level]:
    """Every logger of ours that has been used or set, by name."""
    known = {name for name in logging.root.manager.loggerDict if is_ours(name)}
    return {name: level_of(name) for name in sorted(known | {ROOT})}


def is_ours(logger: str) -> bool:
    return logger == ROOT or logger.startswith(f"{ROOT}.")


def name_of(level: str) -> str:
    """Log4j's name of a level by Python's, in any case."""
    return _NAMES[logging.getLevelName(level.upper())]


def level_of(logger: str) -> Level:
    """The level that counts for a logger: its own, or that of the nearest logger above it."""
    number = logging.getLogger(logger).getEffectiveLevel()
    with _lock:
        return Level(_NAMES.get(number, logging.getLevelName(number)), _modified.get(logger))


def set_level(logger: str, level: str) -> list[str]:
    """
    Set the level of a logger and of all below it. What is not ours, and no level, is ignored: it may come from a later version.

    Returns:
        The loggers that were set.
    """
    if not is_ours(logger) or level not in LEVELS:
        return []
    below = [name for name in all_levels() if name.startswith(f"{logger}.")]
    for name in (logger, *below):
        logging.getLogger(name).setLevel(LEVELS[level])
        with _lock:
            _modified[name] = int(time.time() * 1000)
    return sorted({logger, *below})
