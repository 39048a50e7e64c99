"""
Server processes in the background: started detached, identified by pid *and* start time, ended with SIGTERM and then SIGKILL.

What runs in them, and how to see that it is ready, is in the modules of the servers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from salmon.devstack import private
from salmon.errors import SetupError
from salmon.ports import free_ports

HOST: Final = "127.0.0.1"
_POLL_S: Final = 0.02
_PORT_ATTEMPTS: Final = 3
_KILLED_WITHIN_S: Final = 10.0


class Server(Protocol):
    """A server of a stack. It is started once and ended once."""

    @property
    def name(self) -> str: ...

    def start(self) -> None:
        """Start it and return when it serves. SetupError, with the mend, where it does not."""

    def stop(self) -> None:
        """End what start() began. Idempotent."""

    @property
    def is_alive(self) -> bool: ...

    @property
    def processes(self) -> tuple[ProcessId, ...]:
        """What start() began; empty for a server that others run."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """Identifies a process for good. A pid alone may soon belong to another process."""

    pid: int
    started: str  # boot and clock ticks: equal for no two processes of one pid

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has *pid* now. SetupError where there is none."""
        if (started := _start_of(pid)) is None:
            raise SetupError(f"process {pid} has ended already.")
        return cls(pid, started)

    @property
    def is_alive(self) -> bool:
        """Whether any of its threads runs. A zombie has none."""
        return _start_of(self.pid) == self.started

    def end(self, *, grace_s: float) -> None:
        """SIGTERM; SIGKILL after *grace_s*. Touches nothing if the pid is another process's by now."""
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, _KILLED_WITHIN_S)):
            if not self.is_alive:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            deadline = time.monotonic() + wait_s
            while self.is_alive and time.monotonic() < deadline:
                time.sleep(_POLL_S)
        # Ours, if this very process started it: otherwise it would stay a zombie until we end.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Background:
    """One detached process with a log file. What it serves is for its owner to know."""

    def __init__(self, name: str, log_file: Path) -> None:
        self.name = name
        self.log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None
        self._id: ProcessId | None = None

    def start(
        self,
        command: Sequence[str | Path],
        *,
        serves: Callable[[], bool],
        within_s: float,
        environment: Mapping[str, str] | None = None,
        output: Path | None = None,
    ) -> None:
        """
        Start *command* in a session of its own and wait until it *serves*.

        Args:
            command: Program and arguments.
            serves: Asked again and again; must answer soon.
            within_s: How long to wait for it.
            environment: Variables besides our own.
            output: Where standard output goes, if not into the log.

        Raises:
            SetupError: it ended, or did not serve in time. It is not left behind.
        """
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as files:
            log = files.enter_context(self.log_file.open("ab"))
            out = files.enter_context(private.opened(output)) if output else log
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**os.environ, **(environment or {})},
                # Ctrl-C in our terminal is not meant for it, and it outlives us.
                start_new_session=True,
            )
        try:
            with contextlib.suppress(SetupError):  # it has ended already: the wait says how
                self._id = ProcessId.of(self._process.pid)
            self._wait(serves, within_s)
        except BaseException:
            self.stop()
            raise

    def stop(self, *, grace_s: float = 20.0) -> None:
        """End it and reap it. Idempotent."""
        if self._id is not None:
            self._id.end(grace_s=grace_s)
        if self._process is not None:
            self._process.poll()

    @property
    def is_alive(self) -> bool:
        return self._id is not None and self._id.is_alive

    @property
    def processes(self) -> tuple[ProcessId, ...]:
        return () if self._id is None else (self._id,)

    def _wait(self, serves: Callable[[], bool], within_s: float) -> None:
        assert self._process is not None
        deadline = time.monotonic() + within_s
        while not serves():
            if (code := self._process.poll()) is not None:
                raise Died(self.name, code, last_line(self.log_file), self.log_file)
            if time.monotonic() > deadline:
                raise SetupError(
                    f"{self.name} was not ready within {within_s:.0f} s. Its last line: {last_line(self.log_file) or 'none'}. "
                    f"See {self.log_file}."
                )
            time.sleep(_POLL_S)


class InBackground:
    """What all servers that are one process of ours have in common; see Server. They start *_background* themselves."""

    _background: Background

    def stop(self) -> None:
        self._background.stop()

    @property
    def is_alive(self) -> bool:
        return self._background.is_alive

    @property
    def processes(self) -> tuple[ProcessId, ...]:
        return self._background.processes


class Died(SetupError):
    """A server ended while it was starting. *said* is the last line of its log."""

    def __init__(self, name: str, code: int, said: str, log_file: Path) -> None:
        self.said = said
        super().__init__(
            f"{name} ended with exit code {code} while it was starting: {said or 'it says nothing'}. See {log_file}."
        )


def on_free_ports(count: int, start: Callable[[tuple[int, ...]], None]) -> None:
    """
    Call *start* with *count* free ports, and again with others if it fails.

    Another process may take a port between our choice and the server's bind().
    """
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        try:
            start(free_ports(count))
            return
        except Died:
            if attempt == _PORT_ATTEMPTS:
                raise


def accepts(port: int, host: str = HOST) -> bool:
    """Whether somebody listens on *port*."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def last_line(file: Path) -> str:
    """The last line of a log that says something, or an empty string."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - 4096))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _start_of(pid: int) -> str | None:
    """Return when *pid* started, in a form that is unique for the process; None if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _start_by_ps(pid)
    # proc(5): the name stands in parentheses and may hold anything; state is field 3, num_threads field 20, starttime field 22.
    fields = stat.rpartition(")")[2].split()
    # The first thread is a zombie as soon as it has ended, but while other threads live, the sockets stay open.
    ended = fields[0] in "ZX" and int(fields[17]) <= 1
    return None if ended else f"{boot} {fields[19]}"


def _start_by_ps(pid: int) -> str | None:
    """The same where there is no /proc (macOS)."""
    said = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    return " ".join(said[1:]) if said and not said[0].startswith("Z") else None
