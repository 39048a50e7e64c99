"""The org's own clock. Tests may skew it, or move it forward without waiting."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import format_datetime


class OrgClock:
    """
    Wall clock plus what POST /clock has advanced plus the skew of the fault `clock_skew`.

    Reading and setting are single attribute accesses, so any thread may do either.
    """

    __slots__ = ("_advanced_ms", "_skew_ms")

    def __init__(self) -> None:
        self._advanced_ms = 0
        self._skew_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since the epoch, as the org sees them."""
        return time.time_ns() // 1_000_000 + self._advanced_ms + self._skew_ms

    def elapsed_s(self) -> float:
        """Seconds from some start: they run on with the wall clock and with `advance`, and no skew moves them."""
        return time.monotonic() + self._advanced_ms / 1000

    def advance(self, seconds: float) -> None:
        """Move the clock on by *seconds*, for good."""
        self._advanced_ms += round(seconds * 1000)

    def skew(self, seconds: float) -> None:
        """Set the clock off by *seconds* (negative: behind); it replaces an earlier skew."""
        self._skew_ms = round(seconds * 1000)

    def http_date(self) -> str:
        """Now as the Date header of a response has it (RFC 7231)."""
        return http_date(self.now_ms())


def http_date(ms: int) -> str:
    """Epoch milliseconds as a header has them."""
    return format_datetime(datetime.fromtimestamp(ms // 1000, UTC), usegmt=True)


def whole_second_ms(ms: int) -> int:
    """*ms* without its fraction of a second: the resolution of every stamp that Salesforce keeps."""
    return ms - ms % 1000


def datetime_text(ms: int) -> str:
    """Epoch milliseconds as the REST API shows a datetime: 2022-03-17T16:21:26.000+0000."""
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}+0000"
