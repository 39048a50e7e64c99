"""What a strike hits is counted, and what meets nobody is counted apart."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from salmon.kafka.topics import CONNECTORS
from support.chaos import striking
from support.chaos.plan import ALL, OWN_SUPERVISOR, RUN_ALL, Fault
from support.chaos.striking import Striker


class Crew:
    """Processes with a pid each; the one that is looked for may come later."""

    def __init__(self, *runs: str, comes: str = "", supervisor: str = OWN_SUPERVISOR) -> None:
        self.supervisor = supervisor
        self._running = {name: number for number, name in enumerate(runs, start=1)}
        self._comes = comes
        self._looks = 0
        self.resumed: list[int] = []

    def pids(self) -> dict[str, int]:
        self._looks += 1
        if self._comes and self._looks > 2:
            self._running[self._comes] = 9
        return dict(self._running)

    def kill(self, name: str) -> bool:
        return self._running.pop(name, None) is not None

    def suspend(self, name: str) -> int | None:
        return self._running.get(name)

    def resume(self, pid: int) -> None:
        self.resumed.append(pid)


class Server:
    """A server that runs, or has ended."""

    def __init__(self, *, runs: bool) -> None:
        self.runs = runs
        self.did: list[str] = []

    def kill(self) -> bool:
        was, self.runs = self.runs, False
        return was

    def suspend(self) -> bool:
        return self.runs

    def resume(self) -> None:
        self.did.append("resumed")

    def start_again(self) -> None:
        self.runs = True
        self.did.append("started")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(striking, "_VICTIM_MAX_S", 0.05)
    monkeypatch.setattr(striking, "_LOOK_S", 0.01)


def striker(crew: Crew, server: Server | None = None) -> Striker:
    servers = {} if server is None else {"mongodb": server}
    stage: Any = SimpleNamespace(kills=servers, suspends=servers)
    return Striker(stage, crew, {})  # type: ignore[arg-type]


def strike(one: Striker, kind: str, target: str, lasts_s: float = 0.0) -> bool:
    return one.strike(Fault(1, kind, (target,), 0, lasts_s), threading.Event())


@pytest.mark.parametrize("kind", ["kill", "stop"])
def test_what_hits_counts_as_a_fault_and_what_meets_nobody_as_missed(kind: str) -> None:
    """One process runs, the other does not."""
    one = striker(Crew("merge"))
    assert not strike(one, kind, "mongodb-sink", lasts_s=60), "and nothing is waited for"
    assert strike(one, kind, "merge")
    assert (one.struck, one.missed) == ({kind: 1}, {kind: 1})
    assert one.kills == ({"merge": 1} if kind == "kill" else {})


def test_all_are_hit_if_one_is() -> None:
    """Who is just being started again is spared."""
    one = striker(Crew("merge", "mongodb-sink"))
    assert strike(one, "kill", ALL)
    assert not strike(one, "kill", ALL)
    assert (one.struck, one.missed) == ({"kill": 1}, {"kill": 1})
    assert one.kills == {"merge": 1, "mongodb-sink": 1}


def test_a_strike_waits_for_what_is_being_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run all` that was killed has no children for a while; a strike at one of them then would go nowhere."""
    monkeypatch.setattr(striking, "_VICTIM_MAX_S", 30)
    one = striker(Crew("supervisor", comes="merge", supervisor=RUN_ALL))
    assert strike(one, "kill", "merge")
    assert one.struck == {"kill": 1}


def test_nobody_is_waited_for_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends does not wait for a victim."""
    monkeypatch.setattr(striking, "_VICTIM_MAX_S", 30)
    one, enough = striker(Crew()), threading.Event()
    enough.set()
    assert not one.strike(Fault(1, "kill", (CONNECTORS[0],), 0), enough)
    assert one.missed == {"kill": 1}


@pytest.mark.parametrize("kind", ["server-kill", "server-stop"])
def test_a_server_that_was_down_already_is_missed(kind: str) -> None:
    """One that has ended by itself is not suspended, and not killed again; after a kill it serves all the same."""
    up, down = Server(runs=True), Server(runs=False)
    one, other = striker(Crew(), up), striker(Crew(), down)
    assert strike(one, kind, "mongodb")
    assert up.did == ["started" if kind == "server-kill" else "resumed"]
    assert not strike(other, kind, "mongodb")
    assert (other.struck, other.missed, +other.kills) == ({}, {kind: 1}, {})
    assert down.did == (["started"] if kind == "server-kill" else [])


class Org:
    """Writes down what its control API is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def tell_org(self, fault: str, **params: Any) -> None:
        self.told.append((fault, params))

    def move_org(self, host: str) -> None:
        self.told.append(host)


def test_an_object_is_selected_again_when_the_fault_is_over() -> None:
    """Change Data Capture is off only for as long as the fault lasts."""
    org: Any = Org()
    params = {"object": "Account", "on": False}
    Striker(org, Crew(), {}).strike(Fault(1, "cdc", ("org",), 0, 0.01, params), threading.Event())  # type: ignore[arg-type]
    assert org.told == [("cdc", params), ("cdc", {"object": "Account", "on": True})]


def test_calls_of_the_pubsub_api_are_refused_to_open_streams_too() -> None:
    """A stream that is open stays open in the simulator, so that it is cut."""
    org: Any = Org()
    Striker(org, Crew(), {}).strike(Fault(1, "grpc", ("org",), 0, 0, {"code": "x"}), threading.Event())  # type: ignore[arg-type]
    assert org.told == [("grpc", {"code": "x"}), ("cut_streams", {})]


def test_the_org_moves_there_and_back() -> None:
    """Each time to where it is not."""
    org: Any = Org()
    one = Striker(org, Crew(), {})  # type: ignore[arg-type]
    for _ in range(3):
        strike(one, "move", "org")
    assert org.told == ["localhost", "127.0.0.1", "localhost"]
    assert one.struck == {"move": 3}
