"""
The org's clock, as its responses show it: the one clock that rows and events are compared by.

Our own clock plays no part: only differences of a monotonic one, to know when asking again is worth a call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

# commitTimestamp and the Date header are cut to whole seconds, each by itself.
SECOND_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class _Seen:
    date_ms: int
    at_s: float  # our monotonic clock, when the response was there


class OrgClock:
    """
    What the org's clock has been seen to show. Threads may share one: what is seen is one assignment.

    All times are milliseconds since 1970 on the org's clock.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._seen: _Seen | None = None
        self._passed: _Seen | None = None

    def saw(self, date_header: str | None) -> int | None:
        """Note the Date header of a response that just came (RFC 9110, section 6.6.1); what it says, in ms."""
        try:
            date_ms = round(parsedate_to_datetime(date_header or "").timestamp() * 1000)
        except ValueError:
            return None
        self._seen = _Seen(date_ms, self._monotonic_s())
        return date_ms

    def passed(self, commit_time: int) -> None:
        """Note that the org's clock has shown *commit_time*: an event says so. It counts for `now` alone."""
        if commit_time > self.now:
            self._passed = _Seen(commit_time, self._monotonic_s())

    @property
    def covered(self) -> int | None:
        """
        A query that is sent now surely sees every commit whose commit time is not above this. None: nothing
        seen yet.

        The Date of a response that is here already is a time that has passed, and a commit time is cut to its
        second: so a second less.
        """
        seen = self._seen
        return None if seen is None else seen.date_ms - SECOND_MS

    @property
    def now(self) -> int:
        """At least what the org's clock shows now, unless it was set back; 0 before any response."""
        now_s = self._monotonic_s()
        sights = [seen for seen in (self._seen, self._passed) if seen is not None]
        return max((seen.date_ms + int((now_s - seen.at_s) * 1000) for seen in sights), default=0)

    @staticmethod
    def read_until(date_ms: int, took_s: float) -> int:
        """
        A time after which the read is surely over that took *took_s* and was answered with the Date *date_ms*:
        wherever on its way the header was stamped and however it was cut.
        """
        return date_ms + int(took_s * 1000) + SECOND_MS
