"""How a process ends: its exit code, and what it says."""

from __future__ import annotations

import sys
from typing import Final

import structlog

from salmon.errors import FatalError, Fenced, Superseded
from salmon.harmless import harmless_sentences

log = structlog.get_logger(__name__)

EXIT_OK: Final = 0
EXIT_UNEXPECTED: Final = 1
EXIT_FATAL: Final = 2
EXIT_FENCED: Final = 3


def report_end(error: BaseException) -> int:
    """Report what ended the process, on standard error or in the log, and return the exit code."""
    if isinstance(error, Superseded | Fenced):
        sys.stderr.write(f"salmon: {harmless_sentences(str(error))}\n")
        return EXIT_FENCED
    if isinstance(error, FatalError):
        sys.stderr.write(f"salmon: {harmless_sentences(str(error))}\n")
        return EXIT_FATAL
    if isinstance(error, TimeoutError):
        log.error("stopped_late", reason=str(error))
    else:
        log.error("ended_unexpectedly", exc_info=error)
    return EXIT_UNEXPECTED
