"""
The driver's own events as watched calls (see salmon.calls): each command, and the heartbeat that it asks of each member.

So no place that uses the client needs to say anything, and a server that hangs is noticed while nobody asks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
    ServerClosedEvent,
    ServerDescriptionChangedEvent,
    ServerHeartbeatFailedEvent,
    ServerHeartbeatListener,
    ServerHeartbeatStartedEvent,
    ServerHeartbeatSucceededEvent,
    ServerListener,
    ServerOpeningEvent,
)

from salmon.calls import Call, Calls, Peer


def watching(calls: Calls) -> Sequence[Any]:
    """The listeners of a client whose calls are to be watched."""
    return _Commands(calls), _Heartbeats(calls)


class _Commands(CommandListener):
    """Called in the thread that waits for the answer."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._begun: dict[int, Call] = {}

    def started(self, event: CommandStartedEvent) -> None:
        self._begun[event.request_id] = self._calls.begin(Peer.MONGODB, event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if (call := self._begun.pop(event.request_id, None)) is not None:
            self._calls.answered(call)

    def failed(self, event: CommandFailedEvent) -> None:
        if (call := self._begun.pop(event.request_id, None)) is not None:
            # What the server itself says has "ok"; of the driver's own errors it has not.
            (self._calls.answered if "ok" in event.failure else self._calls.given_up)(call)


class _Heartbeats(ServerHeartbeatListener, ServerListener):
    """Called in the driver's threads, one to a member. An answer of any member will do: elections are the driver's."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._begun: dict[tuple[str, int | None], Call] = {}

    def opened(self, event: ServerOpeningEvent) -> None: ...

    def description_changed(self, event: ServerDescriptionChangedEvent) -> None: ...

    def closed(self, event: ServerClosedEvent) -> None:
        """The member has left the set, or the client is closed: nobody waits for its answer any more."""
        if (call := self._begun.pop(event.server_address, None)) is not None:
            self._calls.dropped(call)

    def started(self, event: ServerHeartbeatStartedEvent) -> None:
        self._begun[event.connection_id] = self._calls.begin(Peer.MONGODB, "heartbeat", ours=False)

    def succeeded(self, event: ServerHeartbeatSucceededEvent) -> None:
        if (call := self._begun.pop(event.connection_id, None)) is not None:
            self._calls.answered(call)

    def failed(self, event: ServerHeartbeatFailedEvent) -> None:
        if (call := self._begun.pop(event.connection_id, None)) is not None:
            self._calls.given_up(call)
