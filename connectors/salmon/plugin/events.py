"""What events are made of, and the contract of a source of events that runs beside a connector's task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from salmon.plugin.contract import Position, SnapshotProgress, SourceBatch, WaitingObject

# What a field of an event may be filled with, besides a field of the record.
KEY: Final = "$key"
CHANGE: Final = "$change"
CHANGED_AT: Final = "$changed_at"
DOCUMENT: Final = "$document"  # only of a document that is no record of an object


class EventSource(Protocol):
    """
    Reports events of one kind. It works in a thread of its own, so that its trouble holds up nothing else.

    Attributes:
        event: The API name of the event.
        tells: Whether it is written back what became of each event.
    """

    event: str
    tells: bool

    def start(self, positions: Mapping[str, Position]) -> None:
        """Begin after *positions*, or at the beginning. Returns at once, also if the side is away."""

    def take(self) -> SourceBatch | None:
        """
        The next batch, if there is one; returns at once. Each batch that was taken is committed before the next one.

        Raises whatever ended the thread, which is a mistake of ours.
        """

    def waiting(self) -> Sequence[WaitingObject]:
        """What it waits for, if it does. For health."""

    def note(self) -> str:
        """What a person should know, although all is well; empty where there is nothing. For health."""

    def progress(self) -> Sequence[SnapshotProgress]:
        """How far the first reading has come."""

    def stop(self) -> None:
        """End. Idempotent; called from any thread. What was not taken is read again after the next start."""

    def close(self) -> None:
        """Give up the connection, after stop()."""
