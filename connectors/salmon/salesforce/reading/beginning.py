"""
The stream's beginning as a place: where an org in which nobody works is heard from, until its first position comes.

After a restart, all that has been committed since is still to be had from the beginning on, as long as nothing of it can have expired.
Later, that start is a hole. Pure; the time is the org's.
Source: Pub/Sub API, "Event Message Durability" (72 hours; a day for standard-volume events).
"""

from __future__ import annotations

from typing import Any, Final

from salmon.plugin.contract import Position

# Half of the least time that events are kept.
GOOD_MS: Final = 12 * 3_600_000
_TAKEN_AT: Final = "beginning_at"


class Beginning:
    """When it was taken as the place, by the stream's *stored* position. What was committed before is in the rows."""

    def __init__(self, stored: Position | None) -> None:
        self._place: str | None = None if stored is None else stored["replay_id"]
        self._taken_at: int = 0 if stored is None else stored.get(_TAKEN_AT, 0)

    @property
    def is_stored(self) -> bool:
        """Whether it was the place when the source stopped."""
        return self._place == ""

    def taken(self, covered: int | None) -> None:
        """Note that rows will hold all that was committed up to *covered*."""
        self._taken_at = covered or 0

    def is_whole(self, now: int) -> bool:
        """Whether all that was committed since it was taken is still to be had from it."""
        return now - self._taken_at < GOOD_MS

    def to_position(self, place: str) -> dict[str, Any]:
        """What is to be stored with the stream's position."""
        return {} if place else {_TAKEN_AT: self._taken_at}
