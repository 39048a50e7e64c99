"""
Records the driver's own events as calls (see salmon.calls): each command, and the heartbeat with each member.

So code that uses the client need not record anything, and a server that hangs is noticed even if no command is sent.
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
    """Return the listeners for a client whose calls are recorded."""
    return _Commands(calls), _Heartbeats(calls)


class _Commands(CommandListener):
    """Records commands. Called in the thread that waits for the answer."""

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
            # An answer of the server has "ok"; the driver's own errors do not.
            (self._calls.answered if "ok" in event.failure else self._calls.given_up)(call)


class _Heartbeats(ServerHeartbeatListener, ServerListener):
    """Records heartbeats. Called in the driver's threads, one per member. An answer of any member counts."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._begun: dict[tuple[str, int | None], Call] = {}

    def opened(self, event: ServerOpeningEvent) -> None: ...

    def description_changed(self, event: ServerDescriptionChangedEvent) -> None: ...

    def closed(self, event: ServerClosedEvent) -> None:
        """The member has left the set, or the client is closed: no answer is waited for any more."""
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
