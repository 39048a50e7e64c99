"""
One change stream on the database. A thread reads it ahead, into a bounded buffer.

So a caller can wait for events, for a time in the stream or for a request, whichever comes first, and can take what has
arrived without waiting for more. What the events mean is in salmon.mongodb.reading.events.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from bson.timestamp import Timestamp
from pymongo.change_stream import ChangeStream
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from salmon.errors import HistoryWentBack, PositionLost, Unavailable
from salmon.mongodb.reading.events import time_of
from salmon.mongodb.wire.client import TOO_LARGE, Document, border, is_retriable, translated, whole

log = structlog.get_logger(__name__)

Token = Mapping[
    str, Any
]  # a resume token, {"_data": HEX, and sometimes "_typeBits"}: opaque except for the time at its beginning

# The server answers at once if there is an event. If there is none, it answers after this time. So this is also how long it
# takes at most until we know that the stream has passed a time.
_AWAIT_MS: Final = 100
_BUFFER_EVENTS: Final = 1_000
_CLOSE_WAIT_S: Final = 1.0
# MongoDB's error_codes.yml: the stream cannot be continued. ChangeStreamFatalError, ChangeStreamHistoryLost.
_LOST_CODES: Final = frozenset({280, 286, TOO_LARGE})
# A position may be one tick ahead of an idle server's last operation, which is at most 10 s old.
_AHEAD_MAX_S: Final = 60
_TIMESTAMP_TAG: Final = "82"  # a resume token begins with the cluster time: a type tag, seconds, ordinal


@dataclass(frozen=True, slots=True)
class Taken:
    """Events in order, the position after them, and the cluster time up to which all events are taken now."""

    events: list[Document]
    token: Token
    passed: int


class ChangeFeed:
    """
    The changes of some collections of one database, from a position on.

    Args:
        database: It must use our codec, and read from the primary.
        collections: Whose events are wanted. The server filters out those of other collections.
    """

    def __init__(self, database: Database[Document], collections: Collection[str]) -> None:
        self._database = database
        collections = sorted(collections)
        self._pipeline: list[Mapping[str, Any]] = [
            {
                "$match": {
                    "$or": [
                        {"ns.coll": {"$in": collections}},
                        {"to.coll": {"$in": collections}},
                        {"operationType": {"$in": ["dropDatabase", "invalidate"]}},
                    ]
                }
            }
        ]
        self._changed = threading.Condition()
        self._buffer: deque[Document] = deque()
        self._token: Token = {}  # the position after everything in the buffer
        self._passed = 0  # every event up to this time is in the buffer or taken
        self._error: Exception | None = None
        self._woken = False
        self._closing = False
        self._thread: threading.Thread | None = None
        self.proven = False  # whether the server's log has the last event that was taken, so that its history is the known one

    def open(self, after: Token | None, *, seen: Token | None = None) -> Token:
        """
        Open the stream after *after*, or at the present. Returns the position at which it begins.

        Args:
            seen: The last event that was ever taken. A server that was restored from a backup may accept the position; an
                event that is missing in its log proves the restore.

        Raises:
            HistoryWentBack: the server never had what was reported before.
            PositionLost: the server no longer has what follows *after*, or does not know *after*.
            RetriableError: the server cannot serve us now. FatalError: a person must correct something.
        """
        if after is not None:
            self._require_past(after, seen)
        stream = self._watch(after)
        token = stream.resume_token
        assert token is not None, "servers since 4.0.7 return a position at once"
        self._token, self._passed = token, time_of_token(token) - 1
        self._thread = threading.Thread(
            target=self._read_on, args=(stream,), name="mongodb-stream", daemon=True
        )
        self._thread.start()
        return token

    def take(self, limit: int, timeout_s: float, *, until: int | None = None) -> Taken:
        """
        Take up to *limit* events. Wait up to *timeout_s* for the first one, for wake(), or until the stream has passed the
        time *until*.

        Raises:
            PositionLost: the stream cannot continue. RetriableError, FatalError: as in open().
        """
        with self._changed:
            self._changed.wait_for(lambda: self._has_news(until), timeout_s)
            self._woken = False
            if not self._buffer and self._error is not None:
                raise self._error
            events = [self._buffer.popleft() for _ in range(min(limit, len(self._buffer)))]
            self._changed.notify_all()  # There is room again.
            if self._buffer:
                # The next event is known, so there is no other event before its time.
                token = events[-1]["_id"] if events else self._token
                return Taken(events, token, time_of(self._buffer[0]) - 1)
            return Taken(events, self._token, self._passed)

    def put_back(self, events: list[Document]) -> None:
        """Put back the last events that were taken, so that they are taken again."""
        with self._changed:
            self._buffer.extendleft(reversed(events))

    def wake(self) -> None:
        """Let take() return at once. May be called from any thread."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """End the stream. Waits a moment for the thread, which may hang in a dead network."""
        self.cancel()
        if self._thread is not None:
            self._thread.join(_CLOSE_WAIT_S)

    def cancel(self) -> None:
        """End the stream without waiting. May be called from any thread."""
        with self._changed:
            self._closing = self._woken = True
            self._changed.notify_all()

    def _has_news(self, until: int | None) -> bool:
        ended = self._error is not None or self._woken
        return bool(self._buffer) or ended or (until is not None and self._passed >= until)

    def _watch(self, after: Token | None) -> ChangeStream[Document]:
        try:
            # Unlike resumeAfter, startAfter also continues after an invalidation.
            return self._database.watch(self._pipeline, start_after=after, max_await_time_ms=_AWAIT_MS)
        except PyMongoError as error:
            if after is not None and self._is_lost(error):
                code = getattr(error, "code", None)
                raise PositionLost(f"MongoDB refuses the stream's position (code {code}).") from error
            raise translated(error, "opening the change stream") from error

    def _is_lost(self, error: PyMongoError) -> bool:
        """Whether the position is the cause: the code says so, or the server opens a stream without it."""
        if not isinstance(error, OperationFailure) or is_retriable(error):
            return False
        if error.code in _LOST_CODES:
            return True
        try:
            self._database.watch([], max_await_time_ms=_AWAIT_MS).close()
        except PyMongoError:
            return False
        return True

    def _require_past(self, token: Token, seen: Token | None) -> None:
        """Refuse a position ahead of the server's clock: it is from another history, and the stream would wait forever."""
        with border("asking for the cluster's time"):
            answer = self._database.client.admin.command("hello")
        cluster_time = answer.get("$clusterTime", {}).get("clusterTime")
        times = [time for time in (answer.get("operationTime"), cluster_time) if time is not None]
        if not times:
            return
        now = max(times)
        try:
            ahead = (time_of_token(token) >> 32) - now.time > _AHEAD_MAX_S
            # The position was committed by a majority, so no server that continues from there can be behind it.
            ahead = ahead or (seen is not None and time_of_token(seen) > now.time << 32 | now.inc)
        except (KeyError, TypeError, ValueError):
            raise PositionLost("the stream's stored position is not a resume token.") from None
        if ahead:
            raise HistoryWentBack("the stream's position is ahead of the cluster's time.")
        if seen is not None:
            self._require_event(seen)

    def _require_event(self, seen: Token) -> None:
        """
        Look for the last reported event by its time: no two events have the same time, and a newer server may write the
        token differently. If we asked by its token, we would notice only at the next event that it is missing.
        """
        told_at = time_of_token(seen)
        since = Timestamp(told_at >> 32, told_at & 0xFFFFFFFF)
        try:
            # Without a filter, because its object may no longer be synced.
            with self._database.watch(
                [{"$project": {"clusterTime": 1}}], start_at_operation_time=since, max_await_time_ms=_AWAIT_MS
            ) as stream:
                while stream.alive:
                    event = stream.try_next()
                    if event is not None and time_of(event) == told_at:
                        self.proven = True
                        return
                    token = stream.resume_token
                    if event is not None or (token is not None and time_of_token(token) > told_at):
                        raise HistoryWentBack("the last event that was read is not in MongoDB's log.")
        except PyMongoError as error:
            if is_retriable(error):
                raise translated(error, "looking for the last event that was read") from error
            # It has expired in the log, as old events do. That proves nothing.

    def _read_on(self, stream: ChangeStream[Document]) -> None:
        """The thread: put events into the buffer while there is room, and keep the position, even if there are none."""
        event: Document | None = None
        try:
            with stream:
                while stream.alive and not self._closing:
                    event = _event(stream.try_next())
                    self._keep(event, stream.resume_token or {})
            if not self._closing and (event is None or event["operationType"] != "invalidate"):
                self._fail(Unavailable("MongoDB ended the change stream."))
        except PyMongoError as error:
            self._fail(self._translated(error))
        except Exception as error:  # noqa: BLE001 -- a thread has no caller; take() raises the error
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _keep(self, event: Document | None, token: Token) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._buffer) < _BUFFER_EVENTS or self._closing)
            self._token = token
            if event is None:
                # Everything was read, so all events up to the position's time are in the buffer.
                self._passed = time_of_token(token)
            else:
                self._buffer.append(event)
                # Other events of the same transaction may follow, with the same time.
                self._passed = time_of(event) - 1
            self._changed.notify_all()

    def _translated(self, error: PyMongoError) -> Exception:
        if getattr(error, "code", None) in _LOST_CODES:
            return PositionLost(
                f"MongoDB cannot go on with the stream (code {getattr(error, 'code', None)})."
            )
        return translated(error, "reading the change stream")


def _event(event: Document | None) -> Document | None:
    """Return *event* with whole documents (see salmon.mongodb.wire.client.whole)."""
    if event is None:
        return None
    if event.get("fullDocument") is not None:
        event["fullDocument"] = whole(event["fullDocument"])
    if (description := event.get("updateDescription")) is not None:
        description["updatedFields"] = whole(description["updatedFields"])
    return event


def time_of_token(token: Token) -> int:
    """
    Return the cluster time at the beginning of a resume token.

    Raises:
        KeyError, TypeError, ValueError: it is not a resume token.
    """
    text = token["_data"]
    if not isinstance(text, str) or not text.startswith(_TIMESTAMP_TAG) or len(text) < 18:
        raise ValueError("not a resume token")
    return int(text[2:18], 16)
