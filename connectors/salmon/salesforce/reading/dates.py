"""
What the positions in the event bus say of time: up to when all events were taken. For metrics.

A replay id says nothing of its time. Its position has the time of the last event, and an id that moves without an event is of a
keepalive, which comes where nothing is left to send. Events are kept for 72 hours (Pub/Sub API, Event Message Durability).
"""

from __future__ import annotations

from typing import Final

from salmon.plugin.contract import Position
from salmon.salesforce.reading.feed import STREAM
from salmon.salesforce.reading.platform_events import is_position_of_events

KEPT_S: Final = 72 * 3600.0


class Dates:
    """See salmon.plugin.dates.PositionDates."""

    def reached_s(
        self, partition: str, position: Position, before: Position | None, now_s: float
    ) -> float | None:
        is_of_events = is_position_of_events(partition)
        if partition != STREAM and not is_of_events:
            return None
        moved = before is not None and position["replay_id"] != before["replay_id"]
        if is_of_events:
            return now_s if moved else None  # it has no times
        last_at = int(position["commit_time"])
        told_at = int(position.get("told_up_to", last_at))
        if told_at < last_at:
            return told_at / 1000 if told_at else None  # an event waits for its record
        if before is None:
            return last_at / 1000 if last_at else now_s
        if last_at != before["commit_time"]:
            return min(last_at / 1000, now_s)
        return now_s if moved else None

    def kept_s(self, now_s: float) -> float | None:
        return KEPT_S
