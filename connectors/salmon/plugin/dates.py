"""What a source may say of the time of its positions: how fresh it is, and how long it may stay away. For metrics."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from salmon.plugin.contract import Position


class PositionDates(Protocol):
    """What a source's positions say of time."""

    def reached_s(
        self, partition: str, position: Position, before: Position | None, now_s: float
    ) -> float | None:
        """
        Up to when everything that the side reported is before *position*, in seconds since 1970. None: the partition is not a
        stream, or it cannot be said.

        Args:
            before: The position that was stored before this one, if it is known. A side that had nothing to report may move it.
            now_s: When it was stored.
        """

    def kept_s(self, now_s: float) -> float | None:
        """For how long the side keeps what follows a position. None: not known. From any thread; quick."""


@runtime_checkable
class DatesPositions(Protocol):
    """A source whose positions say up to when it has read. For metrics."""

    dates: PositionDates
