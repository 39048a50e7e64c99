"""A record that is to be written to a topic. Every worker gives these to its transaction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Output:
    """
    One record to produce.

    Args:
        value: None for a tombstone.
        partition: None: it follows from the key.
    """

    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None
