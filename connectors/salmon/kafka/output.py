"""A record on its way into a topic: what every writer of ours hands to its transaction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Output:
    """
    One record to produce.

    Args:
        value: None is a tombstone.
        partition: None where the key says which.
    """

    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None
