"""A server of the stage can be suspended, and killed and started again on its own port."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from salmon.devstack.processes import Background, accepts
from salmon.ports import free_ports
from support.chaos.servers import Victim
from support.waiting import until


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def victim(tmp_path: Path, port: int) -> Iterator[Victim]:
    """Python's own small web server."""
    server = Background("a server", tmp_path / "server.log")
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    server.start(command, serves=lambda: accepts(port), within_s=20)
    victim = Victim("a server", server.processes[0], tmp_path / "server.log", lambda: accepts(port))
    yield victim
    victim.stop()
    assert not accepts(port)


def state(victim: Victim) -> str:
    """As proc(5) has it: T for one that is suspended."""
    stat = Path(f"/proc/{victim.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0]


def test_it_is_suspended_and_runs_on(victim: Victim) -> None:
    """Its connections stay."""
    victim.suspend()
    until(lambda: state(victim) == "T", "it is suspended")
    victim.resume()
    until(lambda: state(victim) != "T", "it runs on")


def test_it_is_killed_and_serves_again_where_it_was(victim: Victim, port: int) -> None:
    """As often as one likes."""
    for _ in range(2):
        victim.kill()
        assert not victim.is_alive
        until(lambda: not accepts(port), "nobody listens there")
        victim.start_again()
        assert victim.is_alive
        assert accepts(port)


def test_a_suspended_server_can_be_ended(victim: Victim, port: int) -> None:
    """Nothing is left behind by a run that ends in the middle of a fault."""
    victim.suspend()
    victim.stop()
    assert not victim.is_alive
