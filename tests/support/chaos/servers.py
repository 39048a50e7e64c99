"""
A server of the stage that can be suspended, killed, and started again as it was, on the same ports.

How it is started for the first time is salmon.devstack's; here its command line is read from the running process.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from salmon.devstack.processes import Background, ProcessId

_AGAIN_MAX_S: Final = 120.0
_GRACE_S: Final = 20.0


class Victim:
    """
    One process of a server.

    Args:
        serves: Whether it answers.
    """

    def __init__(self, name: str, process: ProcessId, log_file: Path, serves: Callable[[], bool]) -> None:
        self.name = name
        self._process = process
        self._again = Background(name, log_file)
        self._serves = serves
        root = Path(f"/proc/{process.pid}")
        self._command = [part.decode() for part in (root / "cmdline").read_bytes().split(b"\0")[:-1]]
        pairs = (
            pair.decode().partition("=") for pair in (root / "environ").read_bytes().split(b"\0") if pair
        )
        self._environment = {name: value for name, _, value in pairs}

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive

    def suspend(self) -> bool:
        """SIGSTOP; whether there was such a process."""
        return self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> bool:
        """SIGKILL, and return when it is gone; whether there was such a process."""
        hit = self._signal(signal.SIGKILL)
        self._process.end(grace_s=_GRACE_S)
        return hit

    def start_again(self) -> None:
        """
        Start the very same command; return when it serves.

        Raises:
            SetupError: it ended, or does not serve.
        """
        self._again.start(
            self._command, serves=self._serves, within_s=_AGAIN_MAX_S, environment=self._environment
        )
        (self._process,) = self._again.processes

    def stop(self) -> None:
        """End it, whichever process it is by now. Idempotent."""
        self.resume()
        self._process.end(grace_s=_GRACE_S)

    def _signal(self, number: int) -> bool:
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)
                return True
        return False
