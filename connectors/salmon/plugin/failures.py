"""
Failures of transforms and predicates of installed packages, and of computed fields, while they work: counted for the metrics, and named in
the log once.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_MEND: Final = "correct the package; until then a one-way transform leaves the field out, and a predicate leaves a side as it is"


class Failures:
    """What has failed in this process. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._named: set[tuple[str, str]] = set()

    def count(self, plugin: str, why: str, *, mend: str = _MEND) -> None:
        """
        *plugin* has failed for a value or a record.

        Args:
            plugin: Its name; of a computed field the path of its key.
            why: A type of error, or what it gave instead; never a value.
            mend: What to do.
        """
        with self._lock:
            self._counts[plugin] += 1
            is_new = (plugin, why) not in self._named
            self._named.add((plugin, why))
        if is_new:
            log.error("plugin_failed", plugin=plugin, why=why, mend=mend)

    def counts(self) -> Mapping[str, int]:
        """Plugin -> how often it has failed."""
        with self._lock:
            return dict(self._counts)


FAILURES: Final = Failures()
