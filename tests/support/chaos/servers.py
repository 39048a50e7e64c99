"""
A server of the stage that can be suspended, killed, and started again as it was, on the same ports.

How it is started for the first time is salmon.devstack's; here its command line is read from the running process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from salmon.devstack.processes import ProcessId
from support.waiting import until

_AGAIN_MAX_S: Final = 120.0
_DEAD_MAX_S: Final = 20.0
_GRACE_S: Final = 20.0


class Victim:
    """
    One process of a server.

    Args:
        serves: Whether it answers.
    """

    def __init__(self, name: str, process: ProcessId, log_file: Path, serves: Callable[[], bool]) -> None:
        self.name = name
        self._id = process
        self._log_file = log_file
        self._serves = serves
        root = Path(f"/proc/{process.pid}")
        self._command = [part.decode() for part in (root / "cmdline").read_bytes().split(b"\0")[:-1]]
        pairs = (
            pair.decode().partition("=") for pair in (root / "environ").read_bytes().split(b"\0") if pair
        )
        self._environment = {name: value for name, _, value in pairs}
        self._again: subprocess.Popen[bytes] | None = None

    @property
    def is_alive(self) -> bool:
        return self._id.is_alive

    def suspend(self) -> None:
        os.kill(self._id.pid, signal.SIGSTOP)

    def resume(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._id.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and return when it is gone."""
        os.kill(self._id.pid, signal.SIGKILL)
        until(lambda: not self.is_alive, f"{self.name} is dead", within_s=_DEAD_MAX_S)
        self._reap()

    def start_again(self) -> None:
        """Start the very same command; return when it serves."""
        with self._log_file.open("ab") as log:
            self._again = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._id = ProcessId.of(self._again.pid)
        until(self._serves, f"{self.name} serves again", within_s=_AGAIN_MAX_S, every_s=0.1)

    def stop(self) -> None:
        """End it, whichever it is by now. Idempotent."""
        self.resume()
        self._id.end(grace_s=_GRACE_S)
        self._reap()

    def _reap(self) -> None:
        if self._again is not None:
            self._again.poll()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._id.pid, os.WNOHANG)
