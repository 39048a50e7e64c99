"""
The time before the stream's first position: where nobody works in the org, its first response may take minutes.

The records are read meanwhile, and the place is "". What is committed while the stream is being set up may never come on it, so all
that was read before its first response is read again then, with what was deleted since. The stream is not taken from its earliest event
instead: all events of 72 hours would be delivered, and the org delivers so many a day. Pure; the time is the org's.
Source: Pub/Sub API, "Subscribe RPC Method" (a keepalive within 270 seconds), "Platform Event Allocations".
"""

from __future__ import annotations

from typing import Any, Final

from salmon.plugin.contract import Position

NO_PLACE: Final = ""
_SINCE: Final = "beginning_at"


class Beginning:
    """Since when records are read without a position, by the stream's *stored* one. What was deleted before is in no row."""

    def __init__(self, stored: Position | None) -> None:
        self.since: int = 0 if stored is None else stored.get(_SINCE, 0)

    def begins(self, covered: int | None) -> None:
        """Note that rows will hold all that was committed up to *covered*."""
        self.since = covered or 0

    def to_position(self, place: str) -> dict[str, Any]:
        """What is to be stored with the stream's position."""
        return {} if place else {_SINCE: self.since}
