"""Processes in the background: what is started is ended, and nothing else ever."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from salmon.devstack.processes import Background, Died, ProcessId, accepts, last_line, on_free_ports
from salmon.errors import SetupError
from support.waiting import until

WAITS = [sys.executable, "-c", "input()"]


@pytest.fixture
def background(tmp_path: Path) -> Background:
    return Background("a server", tmp_path / "logs" / "server.log")


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


def test_a_server_is_started_and_ended(background: Background, tmp_path: Path) -> None:
    """It serves when start() returns, in a session of its own, and is gone when stop() does."""
    made = tmp_path / "serves"
    background.start(
        python(f"import signal; open({str(made)!r}, 'w'); signal.pause()"), serves=made.exists, within_s=20
    )
    (process,) = background.processes
    assert background.is_alive
    assert os.getsid(process.pid) == process.pid
    background.stop()
    background.stop()
    assert not background.is_alive
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_one_that_ends_while_it_starts_is_told_with_its_last_words(background: Background) -> None:
    """The log's last line says more than an exit code."""
    with pytest.raises(Died, match=r"exit code 3.*no licence") as died:
        background.start(python("print('no licence'); exit(3)"), serves=lambda: False, within_s=20)
    assert died.value.said == "no licence"
    assert str(background.log_file) in str(died.value)


def test_one_that_never_serves_is_not_left_behind(background: Background) -> None:
    """A bounded wait, and no orphan after it."""
    with pytest.raises(SetupError, match="was not ready within"):
        background.start(python("import signal; signal.pause()"), serves=lambda: False, within_s=0.2)
    assert not background.is_alive


def test_one_that_ignores_sigterm_is_killed(background: Background, tmp_path: Path) -> None:
    """Politely first."""
    made = tmp_path / "deaf"
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({str(made)!r}, 'w'); signal.pause()"
    background.start(python(deaf + "\nwhile True: signal.pause()"), serves=made.exists, within_s=20)
    background.stop(grace_s=0.1)
    assert not background.is_alive


def test_a_recycled_pid_is_somebody_else() -> None:
    """The note of a stack may be older than the process that has its pid now."""
    other = subprocess.Popen(WAITS, stdin=subprocess.PIPE)
    noted = ProcessId(other.pid, "an earlier boot 12345")
    assert not noted.is_alive
    noted.end(grace_s=0.1)
    assert other.poll() is None, "it was not touched"
    now = ProcessId.of(other.pid)
    assert now.is_alive
    now.end(grace_s=10)
    assert not now.is_alive
    other.communicate()


def test_a_zombie_is_dead() -> None:
    """A child that ended and was not waited for runs no longer."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    noted = ProcessId.of(child.pid)
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not noted.is_alive
    child.wait()


_FIRST_THREAD_ENDS = """
import ctypes, os, platform, socket, sys, threading
listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=sys.stdin.read).start()
print(listener.getsockname()[1], flush=True)
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)  # exit(2): of this thread alone
"""


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}, reason="asks Linux's /proc"
)
def test_a_process_lives_as_long_as_any_of_its_threads() -> None:
    """Its first thread is a zombie already, but the port that it listens on is not free yet."""
    child = subprocess.Popen(
        python(_FIRST_THREAD_ENDS), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    noted = ProcessId.of(child.pid)
    assert child.stdout is not None
    port = int(child.stdout.readline())
    stat = Path(f"/proc/{child.pid}/stat")
    until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z", "its first thread has ended")
    assert accepts(port)
    assert noted.is_alive
    noted.end(grace_s=5.0)
    assert not noted.is_alive
    assert not accepts(port)
    child.wait()


def test_a_port_that_was_taken_meanwhile_is_chosen_anew() -> None:
    """Between our choice and the server's bind() somebody else may be faster."""
    tried: list[tuple[int, ...]] = []

    def start(ports: tuple[int, ...]) -> None:
        tried.append(ports)
        if len(tried) < 3:
            raise Died("a server", 1, "address in use", Path("log"))

    on_free_ports(2, start)
    assert len(tried) == 3
    assert all(len(set(ports)) == 2 for ports in tried)


def test_a_server_that_always_dies_is_not_started_for_ever() -> None:
    """Three times, then the error is told."""
    tried = []

    def start(ports: tuple[int, ...]) -> None:
        tried.append(ports)
        raise Died("a server", 1, "bad option", Path("log"))

    with pytest.raises(Died):
        on_free_ports(1, start)
    assert len(tried) == 3


def test_the_last_line_that_says_something(tmp_path: Path) -> None:
    """Blank lines and missing files say nothing."""
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_text("first\nlast words\n\n  \n")
    assert last_line(log) == "last words"
