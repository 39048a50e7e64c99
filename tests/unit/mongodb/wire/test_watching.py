"""The driver's events: commands and heartbeats as watched calls, against a server that the test scripts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from salmon.calls import Calls, Peer
from salmon.mongodb.wire.watching import watching
from support.clock import Clock


def event(**facts: Any) -> Any:
    return SimpleNamespace(**facts)


def test_a_command_without_an_answer_is_a_silence() -> None:
    """And one that the server refuses is none: it is there (case S5)."""
    clock = Clock()
    calls = Calls(clock=clock)
    commands, _ = watching(calls)
    commands.started(event(request_id=1, command_name="getMore"))
    clock.now_s = 26.0
    assert [(each.peer, each.doing) for each in calls.silences()] == [(Peer.MONGODB, "getMore")]
    commands.failed(event(request_id=1, failure={"errmsg": "timed out", "errtype": "NetworkTimeout"}))
    assert calls.silences(), "no answer came"
    commands.started(event(request_id=2, command_name="getMore"))
    commands.failed(event(request_id=2, failure={"ok": 0.0, "code": 43}))
    assert calls.silences() == []


def test_a_heartbeat_that_nobody_waits_for_any_more_is_no_silence() -> None:
    """The client was closed, or the member has left the set."""
    clock = Clock()
    calls = Calls(clock=clock)
    _, heartbeats = watching(calls)
    heartbeats.started(event(connection_id=("a", 1)))
    clock.now_s = 26.0
    assert calls.silences()
    heartbeats.closed(event(server_address=("a", 1)))
    assert calls.silences() == []
