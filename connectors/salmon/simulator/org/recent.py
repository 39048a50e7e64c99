"""The records that each user has worked with last."""

from __future__ import annotations

import threading

RECENT_MAX = 200  # REST API Developer Guide, "Recently Viewed Items"


class Recent:
    """Record ids by user, the latest first. Safe for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[str, dict[str, None]] = {}  # in the order in which they were touched

    def touch(self, user_id: str, record_id: str) -> None:
        """Let *record_id* be the user's latest."""
        with self._lock:
            ids = self._ids.setdefault(user_id, {})
            ids.pop(record_id, None)
            ids[record_id] = None
            while len(ids) > RECENT_MAX:
                del ids[next(iter(ids))]

    def of(self, user_id: str) -> list[str]:
        """The user's records, the latest first."""
        with self._lock:
            return list(reversed(self._ids.get(user_id, ())))
