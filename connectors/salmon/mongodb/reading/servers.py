"""
Which server process answers. Another one may have been restored from a backup, and accepts a position all the same.

So the source looks for the last reported event in the server's log, at each start and whenever another server process answers. If it is
not there, or all collections were created again and the position is lost, the history went back: everything is read again, and each
change names its history.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
from pymongo import MongoClient

from salmon.mongodb.reading.dates import Dates
from salmon.mongodb.wire.client import Document, border

log = structlog.get_logger(__name__)

_LOOK_S: Final = 10.0


class Server:
    """
    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: object = None
        self._looked_at_s = clock()

    def has_changed(self, client: MongoClient[Document], dates: Dates) -> bool:
        """
        Look now and then; *dates* look at the same time. If another server process answers, the stream must be reopened: PyMongo would
        continue, even if the files of the server were replaced.

        Raises:
            RetriableError, FatalError: the server cannot be used.
        """
        now_s = self._clock()
        if self._known is not None and now_s - self._looked_at_s < _LOOK_S:
            return False
        self._looked_at_s = now_s
        with border("asking the server for its identity"):
            answer = client.admin.command("hello")
        dates.look(client, now_s)
        before = self._known
        self._known = answer.get("me"), (answer.get("topologyVersion") or {}).get("processId")
        if before in (None, self._known):
            return False
        log.info("server_changed", server=answer.get("me"))
        return True
