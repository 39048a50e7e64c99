"""Counts API calls by resource and delivered events, and keeps the daily allowance of calls."""

from __future__ import annotations

import threading
from collections import Counter, deque

from salmon.simulator.org.clock import OrgClock

# Large enough for a long day of tests; `exhaust_api` shows what happens at its end.
DAILY_API_REQUESTS = 1_000_000
_DAY_MS = 24 * 3600 * 1000
_SLOT_MS = 15 * 60 * 1000


class Usage:
    """Counters of one org. Safe for any thread."""

    def __init__(self, clock: OrgClock, daily_api_requests: int = DAILY_API_REQUESTS) -> None:
        self.daily_api_requests = daily_api_requests
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._events_delivered = 0
        # [start of the quarter of an hour, calls in it]: the allowance is for rolling 24 hours.
        self._slots: deque[list[int]] = deque()

    def count_call(self, resource: str) -> None:
        """One API call to *resource* (query, collections, rows, ...); it uses up the allowance."""
        slot = self._clock.now_ms() // _SLOT_MS * _SLOT_MS
        with self._lock:
            self._calls[resource] += 1
            if not self._slots or self._slots[-1][0] != slot:
                self._slots.append([slot, 0])
            self._slots[-1][1] += 1

    def count_login(self) -> None:
        """One call to the token endpoint; it does not use up the allowance."""
        with self._lock:
            self._calls["oauth"] += 1

    def count_events(self, delivered: int) -> None:
        """That many change events went out to subscribers."""
        with self._lock:
            self._events_delivered += delivered

    @property
    def events_delivered(self) -> int:
        """Change events that went out to subscribers so far."""
        return self._events_delivered

    def calls_today(self) -> int:
        """API calls within the last 24 hours of the org's clock."""
        oldest = self._clock.now_ms() - _DAY_MS
        with self._lock:
            while self._slots and self._slots[0][0] < oldest:
                self._slots.popleft()
            return sum(calls for _start, calls in self._slots)

    def calls(self) -> dict[str, int]:
        """Calls so far by resource, and their total (without logins)."""
        with self._lock:
            total = sum(count for resource, count in self._calls.items() if resource != "oauth")
            return {"total": total, **dict(sorted(self._calls.items()))}
