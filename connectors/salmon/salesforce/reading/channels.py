"""
The channel that change events come on: the org's standard one, or a custom one that carries the synced objects.

A position is of one channel, since Salesforce says of a replay id only that it belongs to the channel that it came on. Another channel
than before is a hole, and everything is read again. A custom channel may enrich its events: what such a field shows is not among the
changed ones, so it is no edit; a merged event comes as one for each record, with one replay id for all.
Source: Change Data Capture Developer Guide, "Compose Streams of Change Data Capture Notifications with Custom Channels", "Enrich
Change Events with Extra Fields".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog

from salmon.plugin.contract import Position
from salmon.salesforce.reading.feed import STREAM

log = structlog.get_logger(__name__)

STANDARD: Final = "/data/ChangeEvents"
_CHANNEL: Final = "channel"


def of_channel(positions: Mapping[str, Position], channel: str) -> dict[str, Position]:
    """*positions*, without the stream's if that is of another channel."""
    stream = positions.get(STREAM)
    if stream is None or stream.get(_CHANNEL, STANDARD) == channel:
        return dict(positions)
    log.warning("channel_changed", before=stream.get(_CHANNEL, STANDARD), now=channel, so="all is read again")
    return {name: each for name, each in positions.items() if name != STREAM}


def with_channel(positions: Mapping[str, Position | None], channel: str) -> dict[str, Position | None]:
    """*positions* as they are stored; of the standard channel, as they were before there were others."""
    stream = positions.get(STREAM)
    if stream is None or channel == STANDARD:
        return dict(positions)
    return {**positions, STREAM: {**stream, _CHANNEL: channel}}
