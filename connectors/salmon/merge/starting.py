"""Decides at which offset of `changes` merge continues. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from salmon.kafka.extents import Extent


@dataclass(frozen=True, slots=True)
class Start:
    """Where a partition continues. *lost_after*: the stored offset, if the changes after it are lost."""

    offset: int
    lost_after: int | None = None


def start_of(stored: Mapping[str, Any], extent: Extent, topic_id: str) -> Start:
    """
    Return where a partition continues.

    Args:
        stored: Its position in `offsets`; empty if there is none.
        extent: The offsets that the partition has now.
        topic_id: The topic's id; empty if Kafka does not report one.
    """
    offset = int(stored.get("offset", 0))
    # A topic that was deleted and created again also has this offset, as soon as it is long enough.
    is_another = bool(stored.get("topic_id")) and bool(topic_id) and stored["topic_id"] != topic_id
    if is_another or not extent.start <= offset <= extent.end:
        return Start(extent.start, lost_after=offset)
    return Start(offset)
