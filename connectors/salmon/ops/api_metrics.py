"""What the process of the API counts, beside what every process does."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from salmon.ops.connect_metrics import CALL_BUCKETS_S
from salmon.ops.metrics import Metrics

_LABELS = ("connector", "route", "method")
# Any word may be a method, and each one would be a time series of its own.
_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


class ApiMetrics(Metrics):
    """The metrics of the API's process."""

    def __init__(self, connector: str) -> None:
        super().__init__(connector)
        self._requests = Counter(
            "salmon_api_requests",
            "Requests, by route (with {key} for the key), method and HTTP status.",
            (*_LABELS, "code"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "salmon_api_request_seconds",
            "How long requests took, streams and what waited for Salesforce among them.",
            _LABELS,
            buckets=CALL_BUCKETS_S,
            registry=self.registry,
        )
        self._streams = Gauge(
            "salmon_api_streams",
            "Clients that listen to a stream of changes.",
            ("connector",),
            registry=self.registry,
        ).labels(connector)

    def api_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that was answered. A method that HTTP's callers do not use counts as "other"."""
        method = method if method in _METHODS else "other"
        self._requests.labels(self.connector, route, method, str(status)).inc()
        self._seconds.labels(self.connector, route, method).observe(seconds)

    def streams(self, count: int) -> None:
        """How many clients listen now."""
        self._streams.set(count)
