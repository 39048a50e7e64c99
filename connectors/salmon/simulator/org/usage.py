"""Counts API calls by resource, delivered events and what bulk jobs use, and keeps the daily allowances."""

from __future__ import annotations

import threading
from collections import Counter, deque

from salmon.simulator.org.clock import OrgClock

# Large enough for a long day of tests; `exhaust_api` shows what happens at its end.
DAILY_API_REQUESTS = 1_000_000
DAILY_DELIVERIES = 100_000_000
_HOUR_MS = 3600 * 1000
_DAY_MS = 24 * _HOUR_MS
_SLOT_MS = 15 * 60 * 1000

# Allowances by their names in the limits resource ("Bulk API 2.0 Limits and Allocations").
API_REQUESTS = "DailyApiRequests"
QUERY_JOBS = "DailyBulkV2QueryJobs"
QUERY_STORAGE_MB = "DailyBulkV2QueryFileStorageMB"
BULK_BATCHES = "DailyBulkApiBatches"
DELIVERIES = "DailyDeliveredPlatformEvents"
PUBLISHED = "HourlyPublishedPlatformEvents"
_ALLOWANCES = {
    QUERY_JOBS: 10_000,
    QUERY_STORAGE_MB: 976_562,
    BULK_BATCHES: 15_000,
    DELIVERIES: DAILY_DELIVERIES,
    PUBLISHED: 250_000,
}


class Rolling:
    """A sum over the last 24 hours, or another time, in slots of a quarter of an hour. Callers hold a lock."""

    def __init__(self, clock: OrgClock, window_ms: int = _DAY_MS) -> None:
        self._clock = clock
        self._window_ms = window_ms
        self._slots: deque[list[float]] = deque()  # [start of the slot, sum in it]

    def add(self, amount: float) -> None:
        """Add to the newest slot."""
        slot = self._clock.now_ms() // _SLOT_MS * _SLOT_MS
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append([slot, 0])
        self._slots[-1][1] += amount

    def total(self) -> float:
        """The sum of what is not older."""
        oldest = self._clock.now_ms() - self._window_ms
        while self._slots and self._slots[0][0] < oldest:
            self._slots.popleft()
        return sum(amount for _start, amount in self._slots)


class Usage:
    """Counters of one org. Safe for any thread."""

    def __init__(self, clock: OrgClock, daily_api_requests: int = DAILY_API_REQUESTS) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._events_delivered = 0
        self._spent = {name: Rolling(clock) for name in (API_REQUESTS, *_ALLOWANCES)}
        self._spent[PUBLISHED] = Rolling(clock, _HOUR_MS)
        # By the names of the limits resource; the control API may set them.
        self.allowances: dict[str, int] = {API_REQUESTS: daily_api_requests, **_ALLOWANCES}

    @property
    def daily_api_requests(self) -> int:
        """How many API calls the org may be asked within 24 hours."""
        return self.allowances[API_REQUESTS]

    def count_call(self, resource: str) -> None:
        """One API call to *resource* (query, collections, rows, ...); it uses up the allowance."""
        with self._lock:
            self._calls[resource] += 1
            self._spent[API_REQUESTS].add(1)

    def spend(self, allowance: str, amount: float = 1) -> None:
        """Use up some of an allowance."""
        with self._lock:
            self._spent[allowance].add(amount)

    def left(self, allowance: str) -> int:
        """What is left of an allowance now, in whole units; never below 0."""
        return max(0, int(self.allowances[allowance] - self.spent(allowance)))

    def spent(self, allowance: str) -> float:
        """What the last 24 hours have used up of an allowance; of an hourly one, the last hour."""
        with self._lock:
            return self._spent[allowance].total()

    def count_login(self) -> None:
        """One call to the token endpoint; it does not use up the allowance."""
        with self._lock:
            self._calls["oauth"] += 1

    def count_events(self, delivered: int) -> None:
        """That many change events went out to subscribers."""
        with self._lock:
            self._events_delivered += delivered
            self._spent[DELIVERIES].add(delivered)

    def deliveries_left(self) -> int:
        """How many change events may still go out today."""
        return self.left(DELIVERIES)

    @property
    def events_delivered(self) -> int:
        """Change events that went out to subscribers so far."""
        return self._events_delivered

    def calls_today(self) -> int:
        """API calls within the last 24 hours of the org's clock."""
        with self._lock:
            return int(self._spent[API_REQUESTS].total())

    def calls(self) -> dict[str, int]:
        """Calls so far by resource, and their total (without logins)."""
        with self._lock:
            total = sum(count for resource, count in self._calls.items() if resource != "oauth")
            return {"total": total, **dict(sorted(self._calls.items()))}
