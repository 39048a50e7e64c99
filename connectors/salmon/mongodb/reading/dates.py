"""
What the positions of the change stream say of time, and how far MongoDB's oplog goes back. For metrics.

A resume token begins with a cluster time, and it moves every ten seconds even if nothing happens (noopWriter). What follows it is kept
as long as the oplog has it. Its first entry is read once a minute; a user that may not read it (role read on the database local), and
a router of a sharded cluster, do not show it.
"""

from __future__ import annotations

from typing import Final

import structlog
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from salmon.mongodb.reading.snapshot import SNAPSHOT
from salmon.mongodb.reading.subscription import time_of_token
from salmon.mongodb.stored import token_from_json
from salmon.mongodb.wire.client import Document
from salmon.plugin.contract import Position

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 60.0
_PATIENCE_MS: Final = 1_000


class Dates:
    """See salmon.plugin.dates.PositionDates. The loop calls look()."""

    def __init__(self) -> None:
        self._look_at_s = 0.0
        self._oldest_s: float | None = None  # of the oplog's first entry, in seconds since 1970
        self._said = False

    def reached_s(
        self, partition: str, position: Position, before: Position | None, now_s: float
    ) -> float | None:
        if partition.startswith(SNAPSHOT):
            return None
        try:
            return float(time_of_token(token_from_json(position.get("token", {}))) >> 32)
        except (KeyError, TypeError, ValueError):
            return None

    def kept_s(self, now_s: float) -> float | None:
        oldest_s = self._oldest_s
        return None if oldest_s is None else max(0.0, now_s - oldest_s)

    def look(self, client: MongoClient[Document], at_s: float) -> None:
        """
        Look how far the oplog goes back, if that was not done for a while. Never raises: the sync does not need it.

        Args:
            at_s: The present by a monotonic clock.
        """
        if at_s < self._look_at_s:
            return
        self._look_at_s = at_s + LOOK_EVERY_S
        try:
            oplog = client["local"]["oplog.rs"]
            first = oplog.find_one({}, {"ts": 1}, sort=[("$natural", 1)], max_time_ms=_PATIENCE_MS)
        except PyMongoError as error:
            first = None
            if not self._said:
                log.info("oplog_not_visible", error=type(error).__name__, code=getattr(error, "code", None))
                self._said = True
        self._oldest_s = None if first is None else float(first["ts"].time)
