"""Free ports, and a port that a former process still has."""

from __future__ import annotations

import errno
import socket

import pytest

from salmon.ports import free_ports, listening
from support.at_hand.connect_rest import Worker, running


def test_free_ports_are_different_and_no_outgoing_connection_takes_one() -> None:
    """Linux gives ports from 32768 on to outgoing connections; one of those would keep a server from starting later."""
    found = free_ports(50)
    assert len(set(found)) == 50
    assert max(found) < 32768


def test_a_port_that_a_former_process_still_has_is_waited_for() -> None:
    """`run all` was killed, and its processes end some seconds later (case S1)."""
    former = socket.create_server(("127.0.0.1", 0))
    port = former.getsockname()[1]
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            former.close()

    with listening("127.0.0.1", port, pause=pause) as listener:
        assert listener.getsockname()[1] == port
    assert len(pauses) == 3


def test_a_port_that_another_program_keeps_is_given_up() -> None:
    """After the given time."""
    pauses: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use") as refused:
        listening("127.0.0.1", other.getsockname()[1], patience_s=5.0, pause=pauses.append)
    assert refused.value.errno == errno.EADDRINUSE
    assert sum(pauses) == 5.0


def test_a_port_where_another_program_answers_is_given_up_at_once() -> None:
    """A Kafka Connect on 8083, say, will not go; a person should not wait half a minute for that."""
    worker = Worker("merge")
    with running(worker):
        port = worker.server.port
        with pytest.raises(OSError, match="in use"):
            listening("127.0.0.1", port, sync="hr", pause=pytest.fail)  # type: ignore[arg-type]
        pauses: list[float] = []
        with pytest.raises(OSError, match="in use"):
            listening("127.0.0.1", port, sync="crm", patience_s=1.0, pause=pauses.append)
    assert sum(pauses) == 1.0, "one of its own sync may be ending"


def test_an_address_that_is_not_ours_is_refused_at_once() -> None:
    """Waiting would not help."""
    with pytest.raises(OSError, match="assign"):
        listening("203.0.113.1", 0, pause=pytest.fail)  # type: ignore[arg-type]
